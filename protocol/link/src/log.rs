//! The log on standard error, and how much of it one peer can fill.
//!
//! What a peer does is logged where it may matter to an operator, and a hostile peer does it thousands of times. So
//! each line counts for its peer and its kind, which is the place in the code that it comes from; beyond [`limit`]'s
//! numbers lines are left out, and once a minute a line says how many.

mod limit;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use limit::{LeftOut, LineLimit};

/// Which log lines are wanted: `RUST_LOG`'s syntax.
const LOG_VARIABLE: &str = "CONSILIUM_LOG";

/// The target of the lines that tell what was left out; they are never left out themselves.
const TOLD: &str = "consilium_link::left_out";

/// Writes the log to standard error: lines for people on a terminal, JSON for a
/// collector where `CONSILIUM_LOG_FORMAT=json`.
pub fn log_to_stderr() {
    let wanted = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let limited = Limited::default();
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(false);
    let json = std::env::var_os("CONSILIUM_LOG_FORMAT").is_some_and(|format| format == "json");
    let lines = match json {
        true => lines.json().with_filter(limited.clone()).boxed(),
        false => lines.with_filter(limited.clone()).boxed(),
    };
    let log = tracing_subscriber::registry().with(wanted).with(lines);
    // A second call, as in a test that runs both binaries, keeps the first's log.
    if log.try_init().is_ok() {
        limited.tells_each_minute();
    }
}

/// Lets a line through unless its peer has written too many of its kind.
#[derive(Clone, Default)]
struct Limited(Arc<Mutex<LineLimit>>);

impl Limited {
    fn tells_each_minute(self) {
        let telling = std::thread::Builder::new().name("log".into());
        let period = Duration::from_millis(limit::PERIOD_MS);
        let limited = self.clone();
        let (never, ticks) = std::sync::mpsc::channel::<()>();
        let told = telling.spawn(move || {
            let _never = never;
            loop {
                // Nobody sends: it is the timer.
                ticks.recv_timeout(period).ok();
                limited.tells();
            }
        });
        if told.is_err() {
            // Nobody would begin the next period: better a long log than none.
            self.with(LineLimit::lift);
        }
    }

    fn tells(&self) {
        for LeftOut {
            what,
            lines,
            peers,
            most_by,
        } in self.with(LineLimit::next_period)
        {
            tracing::warn!(target: TOLD, what, lines, peers, most_by, "lines of the last minute were left out");
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut LineLimit) -> T) -> T {
        // Counts only: a panic leaves them whole.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Filter<S> for Limited {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if metadata.target() == TOLD {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        // An event's name is its file and line.
        self.with(|limit| limit.admits(metadata.name(), &line.peer(), &line.message))
    }
}

/// What a line says of whose doing it is.
#[derive(Default)]
struct Line {
    message: String,
    /// A member, by what the handshake proved.
    member: String,
    address: String,
    run: String,
}

impl Line {
    /// A member wherever it calls from; otherwise the address, whatever the port; otherwise the run.
    fn peer(&self) -> String {
        if !self.member.is_empty() {
            return self.member.clone();
        }
        match self.address.parse::<SocketAddr>() {
            Ok(address) => address.ip().to_string(),
            Err(_) => self.run.clone(),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "peer" | "site" | "role" | "name" => {
                if !self.member.is_empty() {
                    self.member.push(' ');
                }
                self.member.push_str(&format!("{value:?}"));
            }
            "address" => self.address = format!("{value:?}"),
            "run_id" => self.run = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `doing` runs, and then what is told of the rest.
    fn written(doing: impl FnOnce()) -> (String, String) {
        let (paper, limited) = (Paper::default(), Limited::default());
        let paper_for_lines = paper.clone();
        let lines = fmt::layer()
            .with_ansi(false)
            .with_writer(move || paper_for_lines.clone())
            .with_filter(limited.clone());
        let log = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(log, || {
            doing();
            let text = || String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
            let during = text();
            limited.tells();
            let after = text();
            (during.clone(), after[during.len()..].to_owned())
        })
    }

    #[test]
    fn a_member_that_misbehaves_a_thousand_times_fills_no_log_and_hides_no_other() {
        let (during, after) = written(|| {
            for peer in std::iter::repeat_n("site `mallory`", 1000).chain(["site `va`"]) {
                tracing::warn!(%peer, "a request could not be read");
            }
            tracing::warn!(peer = "site `mallory`", "something else");
        });
        let by = |peer: &str| during.lines().filter(|line| line.contains(peer)).count() as u64;
        assert_eq!(by("mallory"), limit::LINES_PER_PEER_MAX + 1, "{during}");
        assert_eq!(by("va"), 1);
        let left_out = 1000 - limit::LINES_PER_PEER_MAX;
        assert!(after.contains(&format!("lines={left_out}")), "{after}");
        assert!(after.contains("a request could not be read") && after.contains("mallory"));
        assert_eq!(after.lines().count(), 1);
    }

    #[test]
    fn a_stranger_is_the_same_from_every_port() {
        let (during, after) = written(|| {
            for port in 1..=500_u16 {
                let address = SocketAddr::from(([192, 0, 2, 7], port));
                tracing::info!(%address, "a handshake failed");
            }
        });
        assert_eq!(during.lines().count() as u64, limit::LINES_PER_PEER_MAX);
        assert!(after.contains("192.0.2.7"), "{after}");
    }
}
