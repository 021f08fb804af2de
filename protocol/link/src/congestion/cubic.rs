//! How the window grows between congestions: CUBIC, RFC 9438.

use super::{Micros, REDUCED_TO};

/// Packets per cubed second (RFC 9438, section 5).
const C: f64 = 0.4;

/// What a window reaches at most of its size, within one round trip (RFC 9438, section 4.4).
const GROWTH_MAX: f64 = 1.5;

/// The curve since the last congestion.
#[derive(Debug, Clone, Default)]
pub(super) struct Cubic {
    /// The window at the last congestion, in packets; where the curve is flat.
    flat_at: f64,
    /// Seconds from the congestion to there.
    flat_after_s: f64,
    /// Seconds that count: those in which there was something to send.
    active_s: f64,
    /// When it last grew; `None` while nothing has since the congestion.
    grew_at: Option<Micros>,
    /// The window that Reno would have, in packets (section 4.3).
    reno: f64,
}

impl Cubic {
    /// The window before it is reduced.
    pub(super) fn congested(&mut self, bytes: u64, packet_bytes: u64) {
        let packets = bytes as f64 / packet_bytes as f64;
        // A flow that has less than before leaves more to others (fast convergence, section 4.7).
        self.flat_at = match packets < self.flat_at {
            true => packets * (1.0 + REDUCED_TO) / 2.0,
            false => packets,
        };
        let reduced = packets * REDUCED_TO;
        self.flat_after_s = ((self.flat_at - reduced).max(0.0) / C).cbrt();
        self.active_s = 0.0;
        self.grew_at = None;
        self.reno = reduced;
    }

    /// There is nothing to send: the time until there is does not count.
    pub(super) fn pauses(&mut self, now: Micros) {
        self.grew_at = self.grew_at.map(|_| now);
    }

    /// The window after `arrived` of its bytes arrived.
    pub(super) fn grown(
        &mut self,
        now: Micros,
        bytes: u64,
        arrived: u64,
        packet_bytes: u64,
        round_trip_us: Micros,
    ) -> u64 {
        let packet = packet_bytes as f64;
        let window = bytes as f64 / packet;
        if self.flat_at == 0.0 {
            // Slow start ended without a congestion: the curve begins here, at its flat point.
            self.flat_at = window;
            self.reno = window;
        }
        let since = self
            .grew_at
            .map_or(0, |grew_at| now.saturating_sub(grew_at));
        self.grew_at = Some(now);
        self.active_s += since as f64 / 1e6;
        let ahead_s = self.active_s + round_trip_us as f64 / 1e6;
        let curve = C * (ahead_s - self.flat_after_s).powi(3) + self.flat_at;
        let share = arrived as f64 / bytes.max(1) as f64;
        // As fast as Reno is on average with the same loss, and once it is where it was, as Reno is.
        let alpha = match self.reno < self.flat_at {
            true => 3.0 * (1.0 - REDUCED_TO) / (1.0 + REDUCED_TO),
            false => 1.0,
        };
        self.reno += alpha * share;
        let target = curve.clamp(window, window * GROWTH_MAX);
        let next = (window + (target - window) * share).max(self.reno.min(window * GROWTH_MAX));
        ((next * packet) as u64).max(bytes)
    }
}
