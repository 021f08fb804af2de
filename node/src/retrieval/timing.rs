//! When an answer about patients leaves: neither how long a search took nor whether it was refused for its patients
//! is to be seen from outside.

use std::time::Duration;

/// No answer about patients leaves sooner: longer than a search of a large collection and its fsyncs take on an idle
/// machine.
pub const ANSWER_MIN_MS: u64 = 25;
/// Later ones leave at multiples of this.
pub const ANSWER_STEP_MS: u64 = 5;

/// How long to hold an answer that took `worked` so far.
#[must_use]
pub fn held_for(worked: Duration) -> Duration {
    let step = Duration::from_millis(ANSWER_STEP_MS).as_nanos();
    let steps = worked.as_nanos().div_ceil(step);
    let at = u64::try_from(steps * step).map_or(Duration::MAX, Duration::from_nanos);
    at.max(Duration::from_millis(ANSWER_MIN_MS))
        .saturating_sub(worked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_at_steps_and_none_early() {
        for (worked_us, leaves_ms) in [
            (0, 25),
            (3_000, 25),
            (25_000, 25),
            (25_001, 30),
            (31_400, 35),
        ] {
            let worked = Duration::from_micros(worked_us);
            assert_eq!(worked + held_for(worked), Duration::from_millis(leaves_ms));
        }
    }
}
