//! The limits, told to QUIC and to the kernel.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::udp::UdpSocketState;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};

use crate::congestion::LossTolerant;
use crate::limits::LinkLimits;
use crate::restart::{ConnectionIds, ResetKey};

/// Requests that one connection may open before its peer has proven who it is: the
/// greeting, then nothing until the other side allows more.
const REQUESTS_BEFORE_GREETING: u32 = 1;

/// Which end of a connection a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Listener,
    Dialer,
}

/// What QUIC is told. One request is one bidirectional stream; there is nothing else.
pub(crate) fn transport_config(limits: &LinkLimits, end: End) -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(limits.udp_payload_bytes_max);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(match end {
            End::Listener => REQUESTS_BEFORE_GREETING,
            End::Dialer => limits.requests_per_connection_max,
        }))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_millis(limits.idle_timeout_ms)).ok())
        .keep_alive_interval(Some(Duration::from_millis(limits.keep_alive_ms)))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(match end {
            // More where an update is asked for: `Connection::set_windows`.
            End::Listener => limits.request_window_bytes,
            End::Dialer => limits.connection_window_bytes,
        }))
        .send_window(limits.send_window_bytes)
        .congestion_controller_factory(Arc::new(LossTolerant))
        .mtu_discovery_config(Some(mtu));
    Arc::new(config)
}

/// A dialer's endpoint on its own UDP socket, within a tokio runtime.
pub(crate) fn dialing_endpoint(address: SocketAddr, limits: &LinkLimits) -> io::Result<Endpoint> {
    endpoint(address, EndpointConfig::default(), None, limits)
}

/// A listener's; `reset_secret` outlives the process.
pub(crate) fn listening_endpoint(
    address: SocketAddr,
    server: ServerConfig,
    reset_secret: [u8; 32],
    limits: &LinkLimits,
) -> io::Result<Endpoint> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_secret)));
    config.cid_generator(move || Box::new(ConnectionIds::new(seed)));
    endpoint(address, config, Some(server), limits)
}

fn endpoint(
    address: SocketAddr,
    mut config: EndpointConfig,
    server: Option<ServerConfig>,
    limits: &LinkLimits,
) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    enlarge_buffers(&socket, limits.socket_buffer_bytes);
    config
        .max_udp_payload_size(limits.udp_payload_bytes_max)
        .map_err(io::Error::other)?;
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// The kernel's default holds a few large packets only, and drops what exceeds it. It may
/// grant less than is asked, which costs speed and nothing else.
fn enlarge_buffers(socket: &UdpSocket, bytes: usize) {
    let asked = UdpSocketState::new(socket.into()).and_then(|state| {
        state.set_recv_buffer_size(socket.into(), bytes)?;
        state.set_send_buffer_size(socket.into(), bytes)
    });
    if let Err(error) = asked {
        tracing::debug!(%error, "the kernel grants no larger UDP buffers");
    }
}
