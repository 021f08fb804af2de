//! A slow way between a node and its coordinator: every packet takes so long, each way.
//!
//! In user space, because it then works without root and on kernels without `netem`.
//! The timer counts whole milliseconds, so a packet may take one more.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::measured::Outcome;

/// Packets under way in one direction; more are lost, as on any road.
const PACKETS_UNDER_WAY_MAX: usize = 65_536;
const PACKET_BYTES_MAX: usize = 65_536;

type UnderWay = (Instant, Vec<u8>);

/// Opens a road of its own for one node; what is sent to the address that it gives back
/// arrives at `coordinator`, and answers arrive where the last packet came from.
pub(crate) fn open(
    runtime: &Runtime,
    coordinator: SocketAddr,
    delay: Duration,
) -> Outcome<SocketAddr> {
    let bind = async || {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map(Arc::new)
    };
    let (near, far) =
        runtime.block_on(async { Ok::<_, std::io::Error>((bind().await?, bind().await?)) })?;
    let address = near.local_addr()?;
    let node = Arc::new(Mutex::new(address));
    let (out, outward) = mpsc::channel(PACKETS_UNDER_WAY_MAX);
    let (home, homeward) = mpsc::channel(PACKETS_UNDER_WAY_MAX);
    let seen = node.clone();
    runtime.spawn(take_in(near.clone(), out, delay, move |from| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = from;
    }));
    runtime.spawn(take_in(far.clone(), home, delay, |_| ()));
    runtime.spawn(hand_out(far, outward, move || coordinator));
    runtime.spawn(hand_out(near, homeward, move || {
        *node.lock().unwrap_or_else(PoisonError::into_inner)
    }));
    Ok(address)
}

async fn take_in(
    socket: Arc<UdpSocket>,
    road: mpsc::Sender<UnderWay>,
    delay: Duration,
    seen: impl Fn(SocketAddr),
) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while !road.is_closed() {
        // An error here is news of a packet sent before to nobody.
        let Ok((bytes, from)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        seen(from);
        let content = packet.get(..bytes).unwrap_or_default().to_vec();
        road.try_send((Instant::now() + delay, content)).ok();
    }
}

async fn hand_out(
    socket: Arc<UdpSocket>,
    mut road: mpsc::Receiver<UnderWay>,
    to: impl Fn() -> SocketAddr,
) {
    while let Some((due, packet)) = road.recv().await {
        sleep_until(due).await;
        socket.send_to(&packet, to()).await.ok();
    }
}
