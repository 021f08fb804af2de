//! The machine that a binary runs on: its clock, its stop signal, its log.

use std::time::{SystemTime, UNIX_EPOCH};

use consilium_protocol::Millis;
use tracing_subscriber::EnvFilter;

/// Which log lines are wanted: `RUST_LOG`'s syntax.
const LOG_VARIABLE: &str = "CONSILIUM_LOG";

/// The wall clock. Decisions about security take the later of this and the
/// journal's last entry, so that a clock set back revives nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock; everything else is given `now`"
)]
#[must_use]
pub fn wall_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // Before 1970 the clock is wrong by any account.
    since.map_or(Millis(0), |since| {
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Waits until the operator or the system wants this process to stop (SIGINT, SIGTERM).
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes the log to standard error: lines for people on a terminal, JSON for a
/// collector where `CONSILIUM_LOG_FORMAT=json`.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    let json = std::env::var_os("CONSILIUM_LOG_FORMAT").is_some_and(|format| format == "json");
    // A second call, as in a test that runs both binaries, keeps the first's log.
    match json {
        true => log.json().try_init().ok(),
        false => log.try_init().ok(),
    };
}
