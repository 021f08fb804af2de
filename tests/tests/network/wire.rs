//! A wire between a node and the coordinator that does what bad networks do.
//!
//! It carries UDP datagrams in user space, with the faults of Linux's `tc netem` and by the same rules: what is not
//! lost is doubled, damaged and delayed, and a reordered datagram is one that skips the delay. netem itself cannot be
//! counted on (many kernels are built without `sch_netem`), knows no seed, and its damage is caught by UDP's checksum
//! before QUIC sees it; here it reaches QUIC. The wire carries no more than an Ethernet frame and tells nobody, as a
//! path does whose ICMP is filtered.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::process::runtime;

/// An Ethernet frame's 1500 bytes without the headers of IPv4 and UDP.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1500 - 20 - 8;

/// Datagrams on their way in one direction; what comes on top is lost. Enough for 100 ms each way at 60 MB/s.
const ON_THE_WAY_MAX: usize = 8192;

/// Bytes that wait for a slow line; what comes on top is lost.
const WAITING_BYTES_MAX: u64 = 64 * 1024;

/// QUIC's datagrams have 1200 bytes at least where there is more to send than fits into one.
const BULK_BYTES_MIN: u64 = 1000;

/// Ports of one node that the wire has known: each reconnection is a new one.
const PORTS_MAX: usize = 256;

/// What goes wrong, in either direction. Shares are between 0 and 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loss: f64,
    pub(crate) delay_ms: u64,
    /// The delay is uniform within so much of `delay_ms`.
    pub(crate) jitter_ms: u64,
    /// The share that skips the delay.
    pub(crate) reordered: f64,
    pub(crate) doubled: f64,
    /// The share with one bit flipped.
    pub(crate) damaged: f64,
    /// Unlimited where there is none.
    pub(crate) bits_per_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the node to the coordinator.
    Up,
    Down,
}

/// One node's wire; it is gone when this is dropped.
pub(crate) struct Wire {
    address: SocketAddr,
    up: Arc<Line>,
    down: Arc<Line>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One direction.
#[derive(Default)]
struct Line {
    is_cut: AtomicBool,
    bytes: AtomicU64,
    bulk_bytes: AtomicU64,
    datagrams: AtomicU64,
    /// What did not fit into a frame.
    too_long: AtomicU64,
    /// What the wire had no room for.
    overflown: AtomicU64,
}

impl Wire {
    /// A wire that a node reaches at `near`, and that ends at the coordinator.
    pub(crate) fn new(near: Ipv4Addr, coordinator: SocketAddr, faults: Faults, seed: u64) -> Self {
        let (up, down) = (Arc::<Line>::default(), Arc::<Line>::default());
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let lines = (up.clone(), down.clone());
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let socket = UdpSocket::bind((near, 0)).await.unwrap();
                bound.send(socket.local_addr().unwrap()).unwrap();
                let carrying = carry(Arc::new(socket), coordinator, faults, seed, lines);
                tokio::select! {
                    () = carrying => {}
                    // Nobody says stop; the other half goes.
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            up,
            down,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What the node dials.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing goes this way; what is under way still arrives.
    pub(crate) fn cut(&self, way: Way) {
        self.line(way).is_cut.store(true, Relaxed);
    }

    pub(crate) fn cut_both_ways(&self) {
        self.cut(Way::Up);
        self.cut(Way::Down);
    }

    pub(crate) fn heal(&self) {
        self.up.is_cut.store(false, Relaxed);
        self.down.is_cut.store(false, Relaxed);
    }

    /// UDP payload bytes that it took in to carry this way.
    pub(crate) fn bytes(&self, way: Way) -> u64 {
        self.line(way).bytes.load(Relaxed)
    }

    /// Of these, what came in datagrams that are no mere acknowledgements.
    pub(crate) fn bulk_bytes(&self, way: Way) -> u64 {
        self.line(way).bulk_bytes.load(Relaxed)
    }

    /// What it took in and dropped by its own limits, for a line of print.
    pub(crate) fn story(&self) -> String {
        let line = |line: &Line| {
            let [datagrams, too_long, overflown] =
                [&line.datagrams, &line.too_long, &line.overflown].map(|count| count.load(Relaxed));
            format!("{datagrams} datagrams, {too_long} too long, {overflown} overflown")
        };
        format!("up {}; down {}", line(&self.up), line(&self.down))
    }

    fn line(&self, way: Way) -> &Line {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A datagram and where it goes: out of this socket, to this address or to the socket's one peer.
struct Datagram {
    bytes: Vec<u8>,
    socket: Arc<UdpSocket>,
    to: Option<SocketAddr>,
}

impl Datagram {
    async fn send(&self) {
        // Whoever is not there hears nothing, as on any wire.
        match self.to {
            Some(to) => self.socket.send_to(&self.bytes, to).await.ok(),
            None => self.socket.send(&self.bytes).await.ok(),
        };
    }
}

/// Carries both ways. Each port of the node has a port of its own towards the coordinator, as behind a NAT.
async fn carry(
    near: Arc<UdpSocket>,
    coordinator: SocketAddr,
    faults: Faults,
    seed: u64,
    (up, down): (Arc<Line>, Arc<Line>),
) {
    let (upwards, going_up) = mpsc::channel(ON_THE_WAY_MAX);
    let (downwards, going_down) = mpsc::channel(ON_THE_WAY_MAX);
    tokio::spawn(Delays::new(faults, seed).carry(going_up, up.clone()));
    tokio::spawn(Delays::new(faults, !seed).carry(going_down, down.clone()));
    let mut ports: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An ICMP answer to something sent before says nothing about the next datagram.
        let Ok((length, node)) = near.recv_from(&mut buffer).await else {
            continue;
        };
        let far = match ports.get(&node) {
            Some(far) => far.clone(),
            None => {
                assert!(ports.len() < PORTS_MAX, "the node has dialled too often");
                let far = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0))
                    .await
                    .unwrap();
                far.connect(coordinator).await.unwrap();
                let far = Arc::new(far);
                let back = (near.clone(), node);
                tokio::spawn(come_down(
                    far.clone(),
                    back,
                    downwards.clone(),
                    down.clone(),
                ));
                ports.insert(node, far.clone());
                far
            }
        };
        up.take_in(&buffer[..length], far, None, &upwards);
    }
}

async fn come_down(
    far: Arc<UdpSocket>,
    (near, node): (Arc<UdpSocket>, SocketAddr),
    downwards: mpsc::Sender<Datagram>,
    down: Arc<Line>,
) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        if let Ok(length) = far.recv(&mut buffer).await {
            down.take_in(&buffer[..length], near.clone(), Some(node), &downwards);
        }
    }
}

impl Line {
    fn take_in(
        &self,
        bytes: &[u8],
        socket: Arc<UdpSocket>,
        to: Option<SocketAddr>,
        on_the_way: &mpsc::Sender<Datagram>,
    ) {
        if self.is_cut.load(Relaxed) {
            return;
        }
        if bytes.len() > DATAGRAM_BYTES_MAX {
            self.too_long.fetch_add(1, Relaxed);
            return;
        }
        let length = bytes.len() as u64;
        self.bytes.fetch_add(length, Relaxed);
        if length >= BULK_BYTES_MIN {
            self.bulk_bytes.fetch_add(length, Relaxed);
        }
        self.datagrams.fetch_add(1, Relaxed);
        let bytes = bytes.to_vec();
        if on_the_way.try_send(Datagram { bytes, socket, to }).is_err() {
            self.overflown.fetch_add(1, Relaxed);
        }
    }
}

/// What happens to datagrams in one direction, by a seed.
struct Delays {
    faults: Faults,
    state: u64,
    /// When a slow line has sent all that it was given.
    free_at: Instant,
    on_the_way: BinaryHeap<Reverse<Due>>,
    taken: u64,
}

/// Ordered by when it is due, and then by when it came.
struct Due {
    at: Instant,
    number: u64,
    datagram: Datagram,
}

impl Delays {
    fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            state: seed,
            free_at: Instant::now(),
            on_the_way: BinaryHeap::new(),
            taken: 0,
        }
    }

    async fn carry(mut self, mut coming: mpsc::Receiver<Datagram>, line: Arc<Line>) {
        loop {
            let due = self.on_the_way.peek().map(|Reverse(due)| due.at);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    while self.on_the_way.peek().is_some_and(|Reverse(due)| due.at <= now)
                        && let Some(Reverse(due)) = self.on_the_way.pop()
                    {
                        due.datagram.send().await;
                    }
                }
                datagram = coming.recv() => {
                    let Some(datagram) = datagram else { return };
                    if !self.take(datagram) {
                        line.overflown.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    /// False where there is no room for it.
    fn take(&mut self, mut datagram: Datagram) -> bool {
        if self.happens(self.faults.loss) {
            return true;
        }
        if self.happens(self.faults.doubled) {
            let twin = Datagram {
                bytes: datagram.bytes.clone(),
                socket: datagram.socket.clone(),
                to: datagram.to,
            };
            self.send_off(twin);
        }
        if self.happens(self.faults.damaged) {
            let bits = datagram.bytes.len() as u64 * 8;
            let bit = self.draw() % bits.max(1);
            if let Some(byte) = datagram.bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
        self.send_off(datagram)
    }

    fn send_off(&mut self, datagram: Datagram) -> bool {
        let now = Instant::now();
        let mut at = now;
        if let Some(bits_per_s) = self.faults.bits_per_s {
            let waiting = self.free_at.saturating_duration_since(now);
            if waiting > time_of(WAITING_BYTES_MAX, bits_per_s) {
                return false;
            }
            self.free_at = now + waiting + time_of(datagram.bytes.len() as u64, bits_per_s);
            at = self.free_at;
        }
        if self.on_the_way.len() >= ON_THE_WAY_MAX {
            return false;
        }
        if !self.happens(self.faults.reordered) {
            let Faults {
                delay_ms,
                jitter_ms,
                ..
            } = self.faults;
            let jitter = self.draw() % (2 * jitter_ms + 1);
            at += Duration::from_millis((delay_ms + jitter).saturating_sub(jitter_ms));
        }
        self.taken += 1;
        let number = self.taken;
        self.on_the_way.push(Reverse(Due {
            at,
            number,
            datagram,
        }));
        true
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && ((self.draw() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn time_of(bytes: u64, bits_per_s: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / bits_per_s as f64)
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}
