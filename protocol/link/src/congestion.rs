//! How much may be under way: CUBIC (RFC 9438), but a lost packet alone is no congestion.
//!
//! A hospital's line may lose packets by itself: radio, an old cable, a firewall under load. A controller that slows
//! down at each of them never gets going: at 5 % loss and 100 ms CUBIC keeps a few packets under way and a 40 MB update
//! takes minutes. What congestion does beside losing packets is to queue them first, or to lose many. So the window is
//! reduced where packets are lost **and**
//!
//! - the way has become longer: the least round trip of late is over the least ever by more than jitter is
//!   (the signal of Vegas, Copa and LEDBAT), or
//! - the share that is lost is more than a line loses by itself ([`LOSS_TOLERATED`]; BBR's later versions call it
//!   `loss_thresh`, and take 2 %), or
//! - a router says so (ECN), or nothing comes through at all (RFC 9002, section 7.6).
//!
//! Slow start ends as by HyStart++ (RFC 9406), where the way becomes longer, and else at the first congestion. Without
//! loss this grows as CUBIC does.
//!
//! The price: where a queue is so short that it loses packets before it delays any, up to [`LOSS_TOLERATED`] of them
//! are lost, and whoever shares it by older rules has less than half.

mod cubic;
mod path;
#[cfg(test)]
mod tests;
mod under_way;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};

use crate::limits::INITIAL_WINDOW_BYTES;
use cubic::Cubic;
use path::{Delay, Losses, Seen};
use under_way::{Arrived, UnderWay};

/// Least window: two packets (RFC 9002, section 7.2).
const PACKETS_MIN: u64 = 2;

/// What a congestion leaves of the window, and of the threshold of slow start.
const REDUCED_TO: f64 = 0.7;

/// The share of bytes lost that a line may lose by itself. Twice of what is to be borne, for the share is taken of a
/// few hundred packets, and chance makes it larger now and then.
const LOSS_TOLERATED: f64 = 0.10;

/// Conservative slow start grows by a quarter, and ends after so many round trips (RFC 9406, section 4.2, which waits
/// for 5: there a single sample begins it that is an eighth longer).
const CAUTIOUS_GROWTH: u64 = 4;
const CAUTIOUS_ROUNDS: u32 = 2;

/// Microseconds since the connection began.
type Micros = u64;

/// A window in bytes. Knows no clock and no socket.
#[derive(Debug, Clone)]
struct Window {
    packet_bytes: u64,
    bytes: u64,
    /// Slow start goes up to here.
    threshold_bytes: u64,
    cautious: Option<Cautious>,
    cubic: Cubic,
    delay: Delay,
    losses: Losses,
    /// What was sent until then is told by a congestion that has been reacted to.
    reduced_at: Option<Micros>,
    loss_tolerated: f64,
}

/// Slow start that has seen the way become longer.
#[derive(Debug, Clone, Copy)]
struct Cautious {
    rounds: u32,
    /// The least round trip when it began: if that was jitter, it will be below again.
    least_us: Micros,
}

impl Window {
    fn new(packet_bytes: u64) -> Self {
        Self {
            packet_bytes,
            bytes: INITIAL_WINDOW_BYTES,
            threshold_bytes: u64::MAX,
            cautious: None,
            cubic: Cubic::default(),
            delay: Delay::default(),
            losses: Losses::default(),
            reduced_at: None,
            loss_tolerated: LOSS_TOLERATED,
        }
    }

    /// Packets have arrived. `is_idle`: there was less to send than might have been.
    fn acknowledged(&mut self, now: Micros, arrived: Arrived, is_idle: bool) {
        let Arrived {
            bytes,
            sent,
            is_new,
        } = arrived;
        self.losses.arrived(bytes, self.packet_bytes);
        if is_new {
            let seen = self.delay.measured(now, sent);
            self.watch_slow_start(seen);
        }
        if is_idle {
            return self.cubic.pauses(now);
        }
        if self.reduced_at.is_some_and(|reduced_at| sent <= reduced_at) {
            return;
        }
        if self.bytes < self.threshold_bytes {
            let slower = self.cautious.map_or(1, |_| CAUTIOUS_GROWTH);
            self.bytes += bytes / slower;
            return;
        }
        let round_trip = self.delay.least_of_late_us();
        let grown = self
            .cubic
            .grown(now, self.bytes, bytes, self.packet_bytes, round_trip);
        self.bytes = grown;
    }

    /// Slow start: is the way becoming longer?
    fn watch_slow_start(&mut self, seen: Seen) {
        if self.bytes >= self.threshold_bytes {
            return;
        }
        let Some(cautious) = &mut self.cautious else {
            let longer = seen.few.filter(|few| few.is_longer);
            self.cautious = longer.map(|few| Cautious {
                rounds: 0,
                least_us: few.least_us,
            });
            return;
        };
        if seen.few.is_some_and(|few| few.least_us < cautious.least_us) {
            self.cautious = None;
        } else if seen.round.is_some() {
            cautious.rounds += 1;
            if cautious.rounds >= CAUTIOUS_ROUNDS {
                self.cautious = None;
                self.threshold_bytes = self.bytes;
            }
        }
    }

    /// Packets are lost, the last of them sent at `sent`.
    fn lost(&mut self, now: Micros, sent: Micros, bytes: u64, cut_off: bool) {
        self.losses.lost(bytes, self.packet_bytes);
        let share = self.losses.share();
        let is_congestion = cut_off || self.delay.is_longer() || share > self.loss_tolerated;
        if is_congestion {
            self.congested(now, sent, cut_off);
        }
    }

    /// Reacts to congestion, once for all that was under way when it was first seen.
    fn congested(&mut self, now: Micros, sent: Micros, cut_off: bool) {
        if self.reduced_at.is_some_and(|reduced_at| sent <= reduced_at) {
            return;
        }
        self.reduced_at = Some(now);
        self.cautious = None;
        self.cubic.congested(self.bytes, self.packet_bytes);
        let least = PACKETS_MIN * self.packet_bytes;
        self.threshold_bytes = ((self.bytes as f64 * REDUCED_TO) as u64).max(least);
        self.bytes = match cut_off {
            true => least,
            false => self.threshold_bytes,
        };
    }

    fn has_packets_of(&mut self, bytes: u64) {
        self.packet_bytes = bytes;
        self.bytes = self.bytes.max(PACKETS_MIN * bytes);
    }
}

/// Makes a [`Window`] for each path.
#[derive(Debug, Default)]
pub(crate) struct LossTolerant;

impl ControllerFactory for LossTolerant {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(OfPath {
            began: now,
            under_way: UnderWay::default(),
            window: Window::new(current_mtu.into()),
        })
    }
}

/// As quinn asks for it.
#[derive(Debug, Clone)]
struct OfPath {
    began: Instant,
    under_way: UnderWay,
    window: Window,
}

impl OfPath {
    fn micros(&self, moment: Instant) -> Micros {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Controller for OfPath {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        let now = self.micros(now);
        self.under_way.sent(now, bytes, last_packet_number);
    }

    /// The one place where acknowledgements are heard: quinn's other tells more, and has an argument whose type it
    /// does not give away.
    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        let largest = largest_packet_num_acked;
        let arrived = self.under_way.acknowledged(in_flight, largest);
        self.window
            .acknowledged(self.micros(now), arrived, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        let (now, sent) = (self.micros(now), self.micros(sent));
        self.under_way.lost(lost_bytes);
        match lost_bytes {
            // By ECN.
            0 => self.window.congested(now, sent, false),
            lost => self.window.lost(now, sent, lost, is_persistent_congestion),
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.window.has_packets_of(new_mtu.into());
    }

    fn window(&self) -> u64 {
        self.window.bytes
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
