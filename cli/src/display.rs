//! A run's progress for whoever looks on: a bar on a terminal, lines elsewhere.

use consilium_protocol::envelope::printable;
use consilium_protocol::message::RunEvent;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::moment::span;
use crate::output::{Streams, Terminal};
use crate::progress::Progress;

/// Shows a run's events on standard error as they come.
pub(crate) struct Display {
    progress: Progress,
    bar: Option<ProgressBar>,
}

impl Display {
    /// For a run of so many rounds.
    pub(crate) fn new(rounds: u32, terminal: Terminal) -> Self {
        let bar = (terminal == Terminal::Yes).then(|| {
            let bar = ProgressBar::with_draw_target(
                Some(u64::from(rounds)),
                ProgressDrawTarget::stderr(),
            );
            // The default style serves if this one cannot be read.
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30} round {pos}/{len}  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self {
            progress: Progress::of(rounds),
            bar,
        }
    }

    /// Takes in what happened before anybody looked on.
    pub(crate) fn catch_up(&mut self, event: &RunEvent) {
        self.progress.hear(event);
        self.draw();
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &RunEvent, streams: &mut Streams<'_>) {
        let round = self.progress.round;
        let text = self.progress.hear(event);
        self.draw();
        // A closed round moves the bar; a line for it would only push the bar down.
        if self.bar.is_none() || self.progress.round == round {
            text.lines().for_each(|line| self.note(line, streams));
        }
    }

    /// Shows a line that is not an event.
    pub(crate) fn note(&self, line: &str, streams: &mut Streams<'_>) {
        match &self.bar {
            Some(bar) => bar.println(printable(line)),
            None => streams.note(line),
        }
    }

    /// Leaves the bar as it is, above what is printed next.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn draw(&self) {
        let Some(bar) = &self.bar else { return };
        let left = match self.progress.left_ms() {
            Some(left_ms) if left_ms > 0 => format!("  ETA {}", span(left_ms)),
            _ => String::new(),
        };
        bar.set_message(printable(&format!("{}{left}", self.progress.figures)));
        bar.set_position(u64::from(self.progress.round));
    }
}
