//! A machine's wall clock, which may be wrong.

use super::plan::ClockTrouble;
use super::world::BEGAN_AT_MS;

/// Right until something befalls it.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock {
    ahead_ms: i64,
    frozen_at_ms: Option<u64>,
}

impl WallClock {
    /// What it shows, in milliseconds since 1970, so long after the world began.
    #[must_use]
    pub fn now_ms(&self, since_ms: u64) -> u64 {
        let running = (BEGAN_AT_MS + since_ms).saturating_add_signed(self.ahead_ms);
        self.frozen_at_ms.unwrap_or(running)
    }

    /// It jumps, stops or goes on.
    pub fn befall(&mut self, trouble: ClockTrouble, since_ms: u64) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        match trouble {
            ClockTrouble::Forward(ms) => self.ahead_ms = self.ahead_ms.saturating_add(signed(ms)),
            ClockTrouble::Back(ms) => self.ahead_ms = self.ahead_ms.saturating_sub(signed(ms)),
            ClockTrouble::Freeze => self.frozen_at_ms = Some(self.now_ms(since_ms)),
            ClockTrouble::Thaw => self.frozen_at_ms = None,
        }
    }
}
