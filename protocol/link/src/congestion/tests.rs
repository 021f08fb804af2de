//! The window on simulated lines: packets that wait in a queue, are lost by chance or where the queue is full, and are
//! acknowledged a round trip later. No clock, no socket; chance by a seed.

use std::collections::VecDeque;

use super::*;

const PACKET: u64 = 1452;

/// A line from one sender or more.
#[derive(Debug, Clone, Copy)]
struct Line {
    bytes_per_s: u64,
    /// There and back, without a queue.
    round_trip_us: Micros,
    queue_bytes: u64,
    /// Of every packet, by chance.
    loss: f64,
    /// Of every round trip, by chance, up to this.
    jitter_us: Micros,
}

const FAST: Line = Line {
    bytes_per_s: 60_000_000,
    round_trip_us: 100_000,
    queue_bytes: 6_000_000,
    loss: 0.0,
    jitter_us: 0,
};

/// Somebody who always has something to send, up to a limit of what may be under way.
struct Sender {
    window: Window,
    under_way: u64,
    delivered: u64,
    lost: u64,
    /// As flow control would.
    most: u64,
}

impl Sender {
    fn new(loss_tolerated: f64) -> Self {
        let mut window = Window::new(PACKET);
        window.loss_tolerated = loss_tolerated;
        Self {
            window,
            under_way: 0,
            delivered: 0,
            lost: 0,
            most: 4 * 1024 * 1024,
        }
    }

    fn share_lost(&self) -> f64 {
        self.lost as f64 / (self.lost + self.delivered).max(1) as f64
    }
}

/// What becomes of a packet, and when its sender knows.
struct Fate {
    known_at: Micros,
    sent: Micros,
    from: usize,
    arrives: bool,
}

/// The same numbers for the same seed: SplitMix64.
struct Chance(u64);

impl Chance {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Lets everybody send for so long, a tenth of a millisecond after the other; each is paced as quinn does.
fn run(line: Line, senders: &mut [Sender], seconds: u64, seed: u64) {
    const STEP: Micros = 100;
    let mut chance = Chance(seed);
    let mut fates: VecDeque<Fate> = VecDeque::new();
    let mut free_at: Micros = 0;
    let time_of = |bytes: u64| bytes * 1_000_000 / line.bytes_per_s;
    let mut owed = vec![0.0_f64; senders.len()];
    let mut now = 0;
    while now < seconds * 1_000_000 {
        now += STEP;
        let due = fates.partition_point(|fate| fate.known_at <= now);
        for fate in fates.drain(..due) {
            let sender = &mut senders[fate.from];
            sender.under_way -= PACKET;
            let is_idle = sender.window.bytes > sender.most;
            if fate.arrives {
                sender.delivered += PACKET;
                let arrived = Arrived {
                    bytes: PACKET,
                    sent: fate.sent,
                    is_new: true,
                };
                sender.window.acknowledged(now, arrived, is_idle);
            } else {
                sender.lost += PACKET;
                sender.window.lost(now, fate.sent, PACKET, false);
            }
        }
        for (from, sender) in senders.iter_mut().enumerate() {
            let window = sender.window.bytes.min(sender.most);
            let pace = 1.25 * window as f64 / line.round_trip_us as f64;
            owed[from] = (owed[from] + pace * STEP as f64).min(10.0 * PACKET as f64);
            while sender.under_way + PACKET <= window && owed[from] >= PACKET as f64 {
                owed[from] -= PACKET as f64;
                sender.under_way += PACKET;
                let waits = free_at.saturating_sub(now);
                let has_room = waits <= time_of(line.queue_bytes);
                let arrives = has_room && chance.share() >= line.loss;
                if has_room {
                    free_at = now + waits + time_of(PACKET);
                }
                let queued = if has_room { free_at - now } else { waits };
                let jitter = (chance.share() * line.jitter_us as f64) as Micros;
                let fate = Fate {
                    known_at: now + queued + line.round_trip_us + jitter,
                    sent: now,
                    from,
                    arrives,
                };
                let at = fates.partition_point(|other| other.known_at <= fate.known_at);
                fates.insert(at, fate);
            }
        }
    }
}

/// Bytes that one sender delivers in these seconds.
fn delivered(line: Line, loss_tolerated: f64, seconds: u64, seed: u64) -> u64 {
    let mut senders = [Sender::new(loss_tolerated)];
    run(line, &mut senders, seconds, seed);
    senders[0].delivered
}

#[test]
fn a_line_that_loses_packets_by_itself_is_used() {
    let clean = delivered(FAST, LOSS_TOLERATED, 10, 1);
    for (seed, loss) in [(2, 0.01), (3, 0.02), (4, 0.05), (5, 0.05), (6, 0.05)] {
        let line = Line { loss, ..FAST };
        let lossy = delivered(line, LOSS_TOLERATED, 10, seed);
        assert!(
            lossy * 3 > clean * 2,
            "{loss}, seed {seed}: {lossy} of {clean} bytes"
        );
    }
}

#[test]
fn who_takes_every_loss_for_congestion_does_not_get_going() {
    let line = Line { loss: 0.05, ..FAST };
    let clean = delivered(FAST, 0.0, 10, 1);
    assert!(delivered(line, 0.0, 10, 4) * 10 < clean);
}

#[test]
fn jitter_alone_ends_neither_slow_start_nor_anything() {
    for (seed, loss) in [(1, 0.0), (2, 0.05)] {
        let line = Line {
            loss,
            jitter_us: 40_000,
            ..FAST
        };
        let clean = delivered(FAST, LOSS_TOLERATED, 10, 1);
        let jittery = delivered(line, LOSS_TOLERATED, 10, seed);
        assert!(jittery * 2 > clean, "{loss}: {jittery} of {clean} bytes");
    }
}

/// 1 Mbit/s, and a queue that holds half a second of it.
const NARROW: Line = Line {
    bytes_per_s: 125_000,
    round_trip_us: 40_000,
    queue_bytes: 64 * 1024,
    loss: 0.0,
    jitter_us: 0,
};

#[test]
fn a_narrow_line_is_full_and_loses_little() {
    for loss in [0.0, 0.02] {
        let mut senders = [Sender::new(LOSS_TOLERATED)];
        run(Line { loss, ..NARROW }, &mut senders, 60, 1);
        let sender = &senders[0];
        let carried = 60 * NARROW.bytes_per_s;
        assert!(
            sender.delivered * 10 > carried * 9,
            "{} of {carried} bytes",
            sender.delivered
        );
        assert!(sender.share_lost() < 0.03 + loss, "{}", sender.share_lost());
    }
}

#[test]
fn slow_start_leaves_a_line_where_it_is_full_and_not_where_it_overflows() {
    let line = Line {
        bytes_per_s: 1_250_000,
        queue_bytes: 250_000,
        ..FAST
    };
    let mut senders = [Sender::new(LOSS_TOLERATED)];
    run(line, &mut senders, 3, 1);
    let sender = &senders[0];
    assert!(sender.window.threshold_bytes < u64::MAX);
    assert!(sender.share_lost() < 0.05, "{}", sender.share_lost());
    assert!(
        sender.delivered * 10 > 3 * line.bytes_per_s * 8,
        "{}",
        sender.delivered
    );
}

#[test]
fn a_queue_too_short_to_be_seen_is_bounded_by_what_it_loses() {
    let line = Line {
        bytes_per_s: 1_250_000,
        queue_bytes: 5 * PACKET,
        ..FAST
    };
    let mut senders = [Sender::new(LOSS_TOLERATED)];
    run(line, &mut senders, 30, 1);
    assert!(
        senders[0].share_lost() < 1.5 * LOSS_TOLERATED,
        "{}",
        senders[0].share_lost()
    );
    assert!(senders[0].delivered * 10 > 30 * line.bytes_per_s * 7);
}

#[test]
fn two_share_a_line_and_neither_starves() {
    for loss in [0.0, 0.02] {
        let line = Line {
            bytes_per_s: 2_500_000,
            queue_bytes: 250_000,
            loss,
            ..FAST
        };
        // The second takes every loss for congestion, as most others do.
        for tolerated in [LOSS_TOLERATED, 0.0] {
            let mut senders = [Sender::new(LOSS_TOLERATED), Sender::new(tolerated)];
            run(line, &mut senders, 60, 1);
            let [one, other] = [&senders[0], &senders[1]].map(|sender| sender.delivered);
            let both = one + other;
            println!(
                "{loss} {tolerated}: {one} {other} of {}",
                60 * line.bytes_per_s
            );
            assert!(both * 10 > 60 * line.bytes_per_s * 8, "{one} and {other}");
            // By chance alone the cautious one has little; congestion is shared.
            assert!(loss > 0.0 || other * 5 > both, "{one} and {other}");
        }
    }
}

#[test]
fn nothing_that_arrives_leaves_two_packets_and_a_slow_start() {
    let mut window = Window::new(PACKET);
    window.bytes = 100 * PACKET;
    window.lost(1_000, 900, PACKET, true);
    assert_eq!(window.bytes, PACKETS_MIN * PACKET);
    assert_eq!(window.threshold_bytes, 70 * PACKET);
    let arrived = |sent| Arrived {
        bytes: PACKET,
        sent,
        is_new: true,
    };
    window.acknowledged(2_000, arrived(950), false);
    assert_eq!(window.bytes, 2 * PACKET, "it was under way before");
    window.acknowledged(3_000, arrived(1_500), false);
    assert_eq!(window.bytes, 3 * PACKET);
}

#[test]
fn a_router_that_says_so_is_believed_once_a_round_trip() {
    let mut window = Window::new(PACKET);
    window.bytes = 100 * PACKET;
    window.congested(1_000, 900, false);
    window.congested(1_100, 950, false);
    assert_eq!(window.bytes, 70 * PACKET);
    window.congested(2_000, 1_500, false);
    assert_eq!(window.bytes, 49 * PACKET);
}

#[test]
fn an_acknowledgement_tells_when_its_newest_packet_was_sent() {
    let mut under_way = UnderWay::default();
    // Of the handshake or not, nobody knows.
    under_way.sent(10, 1_000, 3);
    let arrived = under_way.acknowledged(0, Some(3));
    assert_eq!((arrived.bytes, arrived.is_new), (1_000, false));
    under_way.sent(100, 14_520, 25);
    under_way.sent(200, 14_520, 35);
    let arrived = under_way.acknowledged(14_520, Some(25));
    assert_eq!(
        (arrived.bytes, arrived.sent, arrived.is_new),
        (14_520, 100, true)
    );
    // A gap is filled: no newer packet, and bytes all the same.
    let arrived = under_way.acknowledged(13_000, Some(25));
    assert_eq!(
        (arrived.bytes, arrived.sent, arrived.is_new),
        (1_520, 100, false)
    );
    under_way.lost(3_000);
    let arrived = under_way.acknowledged(0, Some(35));
    assert_eq!(
        (arrived.bytes, arrived.sent, arrived.is_new),
        (10_000, 200, true)
    );
}

/// Number 36 was a probe, sent at 250, of which nobody was told. Taken for a part of the batch that follows, it would
/// be the shortest round trip there ever was, and every packet lost from then on would be congestion.
#[test]
fn repro_a_probe_was_taken_for_the_shortest_round_trip_ever() {
    let mut under_way = UnderWay::default();
    under_way.sent(200, 14_520, 35);
    under_way.sent(100_240, 14_520, 46);
    let arrived = under_way.acknowledged(20_000, Some(36));
    assert_eq!((arrived.sent, arrived.is_new), (200, true));
    let arrived = under_way.acknowledged(0, Some(46));
    assert_eq!((arrived.sent, arrived.is_new), (100_240, true));
}

#[test]
fn time_without_anything_to_send_does_not_make_the_window_grow() {
    let mut window = Window::new(PACKET);
    window.congested(0, 0, false);
    let arrived = |sent| Arrived {
        bytes: PACKET,
        sent,
        is_new: true,
    };
    window.acknowledged(100_000, arrived(50_000), false);
    let before = window.bytes;
    window.acknowledged(100_000_000, arrived(99_900_000), true);
    window.acknowledged(100_100_000, arrived(100_000_000), false);
    assert!(
        window.bytes < before + 10 * PACKET,
        "{} from {before}",
        window.bytes
    );
}
