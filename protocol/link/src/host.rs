//! The machine that a binary runs on: its clock and its stop signal.

use std::time::{SystemTime, UNIX_EPOCH};

use consilium_protocol::Millis;

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
