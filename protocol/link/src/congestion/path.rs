//! What a path shows of itself: how long it is, and what it loses.

use super::Micros;

/// A way is longer where its least round trip is so much over the least ever, by its length: an eighth is RFC 9406's
/// choice, a quarter bears jitter and queues of a few packets that come and go.
const LONGER_SHARE: u64 = 4;
/// But at least so much: below, it may be the time that a busy machine lets pass; and at most so much.
const LONGER_US: (Micros, Micros) = (8_000, 60_000);

/// Round trips whose least says something (RFC 9406, section 4.2).
const SAMPLES_MIN: u32 = 8;

/// Packets whose fate is known that the share of the lost is taken of, at most; then the older half counts half.
const PACKETS_REMEMBERED: u64 = 512;

/// Fewer say nothing about a share.
const PACKETS_MIN: u64 = 64;

/// The least round trips: ever, of the last few, and of a whole round. The least, for jitter and late acknowledgements
/// only add to it, and a queue adds to all. Few tell early, many surely.
#[derive(Debug, Clone, Default)]
pub(super) struct Delay {
    least_us: Option<Micros>,
    few: Samples,
    round: Samples,
    last_round: Option<Least>,
    /// What is sent from then on belongs to the round.
    began_at: Micros,
}

#[derive(Debug, Clone, Copy, Default)]
struct Samples {
    count: u32,
    least_us: Micros,
}

/// The least of some round trips.
#[derive(Debug, Clone, Copy)]
pub(super) struct Least {
    pub(super) least_us: Micros,
    /// Than the least ever, by more than jitter.
    pub(super) is_longer: bool,
}

/// What one more round trip shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) few: Option<Least>,
    /// Of the round that ends with it.
    pub(super) round: Option<Least>,
}

impl Delay {
    /// A packet's round trip.
    pub(super) fn measured(&mut self, now: Micros, sent: Micros) -> Seen {
        let round_trip = now.saturating_sub(sent).max(1);
        let least = self
            .least_us
            .map_or(round_trip, |least| least.min(round_trip));
        self.least_us = Some(least);
        let mut seen = Seen::default();
        self.few.take(round_trip);
        if self.few.count >= SAMPLES_MIN {
            seen.few = Some(std::mem::take(&mut self.few).against(least));
        }
        if sent < self.began_at {
            return seen;
        }
        self.round.take(round_trip);
        let ends_at = self.began_at.saturating_add(self.round.least_us);
        if self.round.count >= SAMPLES_MIN && now >= ends_at {
            let round = std::mem::take(&mut self.round).against(least);
            self.last_round = Some(round);
            self.began_at = now;
            seen.round = Some(round);
        }
        seen
    }

    /// Whether packets queued in the last round.
    pub(super) fn is_longer(&self) -> bool {
        self.last_round.is_some_and(|round| round.is_longer)
    }

    pub(super) fn least_of_late_us(&self) -> Micros {
        let last = self.last_round.map(|round| round.least_us);
        last.or(self.least_us).unwrap_or_default()
    }
}

impl Samples {
    fn take(&mut self, round_trip: Micros) {
        self.least_us = match self.count {
            0 => round_trip,
            _ => self.least_us.min(round_trip),
        };
        self.count += 1;
    }

    fn against(self, least_ever: Micros) -> Least {
        let (shortest, longest) = LONGER_US;
        let longer_by = (least_ever / LONGER_SHARE).clamp(shortest, longest);
        Least {
            least_us: self.least_us,
            is_longer: self.least_us >= least_ever.saturating_add(longer_by),
        }
    }
}

/// How many of the bytes sent of late are lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Losses {
    arrived: u64,
    lost: u64,
    /// Bytes of a packet, as last told.
    packet: u64,
}

impl Losses {
    pub(super) fn arrived(&mut self, bytes: u64, packet_bytes: u64) {
        self.arrived += bytes;
        self.forget_old(packet_bytes);
    }

    pub(super) fn lost(&mut self, bytes: u64, packet_bytes: u64) {
        self.lost += bytes;
        self.forget_old(packet_bytes);
    }

    /// The share of the lost; of too few packets it is what so many would show if the others arrived.
    pub(super) fn share(&self) -> f64 {
        let known = (self.arrived + self.lost).max(PACKETS_MIN * self.packet);
        self.lost as f64 / known.max(1) as f64
    }

    fn forget_old(&mut self, packet_bytes: u64) {
        self.packet = packet_bytes;
        if self.arrived + self.lost > PACKETS_REMEMBERED * packet_bytes {
            self.arrived /= 2;
            self.lost /= 2;
        }
    }
}
