//! How a story is told: steps and progress on standard error, results on standard output.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use consilium_cli::Terminal;

/// Tells a step, or a line of what happened in it. A reader that went away is no failure of ours.
pub fn step(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Prints a line of results.
pub fn result(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Work of many equal parts: a bar on a terminal, a line at each quarter elsewhere.
pub struct Work {
    bar: Option<ProgressBar>,
    what: &'static str,
    done: usize,
    parts: usize,
}

impl Work {
    /// Nothing done yet of so many parts.
    #[must_use]
    pub fn of(what: &'static str, parts: usize) -> Self {
        let bar = (Terminal::of_this_process() == Terminal::Yes).then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(parts as u64), ProgressDrawTarget::stderr());
            // The default style serves if this one cannot be read.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  ETA {eta}")
            {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar
        });
        Self {
            bar,
            what,
            done: 0,
            parts,
        }
    }

    /// One part more is done.
    pub fn advance(&mut self) {
        let quarter = |done: usize| done * 4 / self.parts.max(1);
        let before = quarter(self.done);
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if quarter(self.done) > before => {
                step(&format!("  {} of {} {}", self.done, self.parts, self.what))
            }
            None => {}
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
