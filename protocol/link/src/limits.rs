//! Every limit of a connection, with its name and its reason. The limits of what is
//! said (frames, chunks) are [`consilium_protocol::limits`].

use std::time::Duration;

/// Silence after which a connection counts as lost.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;

/// Shorter than the UDP timeout of a hospital's firewall (30 s is common), and several
/// fit in [`IDLE_TIMEOUT_MS`], so that a few lost packets lose no connection.
pub const KEEP_ALIVE_MS: u64 = 5_000;

/// From the first packet to both ends proven.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// A read or write on a stream that moves no byte for so long fails.
pub const STREAM_STALL_MS: u64 = 30_000;

/// A message or chunk that has begun is whole within this, or fails: the largest of
/// either then needs some 300 kbit/s, and a peer that sends or reads a byte now and then to stay
/// below [`STREAM_STALL_MS`] is shown out.
pub const TRANSFER_MS_MAX: u64 = 120_000;

/// How long the side that asked waits for an answer to begin: training takes its time.
/// A caller that knows better says so with `receive_within`.
pub const REPLY_WAIT_MS: u64 = 600_000;

/// Requests that one member may have open at once.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 64;

/// Requests that a stranger may make: it enrols and leaves.
pub const STRANGER_REQUESTS_MAX: u32 = 1;

/// A stranger's connection ends after this, whatever it does.
pub const STRANGER_LIFETIME_MS: u64 = 30_000;

/// Connections at once; the consortia aimed at have up to 100 hospitals.
pub const CONNECTIONS_MAX: usize = 1024;

/// Connections at once from one address; several members may share a hospital's NAT.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;

/// Connections at once of one member, wherever it calls from. A site has one and a person
/// a few; a stolen key must not be able to take every place there is.
pub const CONNECTIONS_PER_MEMBER_MAX: usize = 16;

/// Connections at once of strangers, who come to enrol and leave: whoever floods this
/// door keeps newcomers out and no member.
pub const STRANGERS_MAX: usize = 128;

/// Handshakes at once; more are refused before any cryptography.
pub const HANDSHAKES_MAX: usize = 256;

/// From so many handshakes at once on, a caller must first prove its address (a QUIC
/// Retry, RFC 9000 section 8.1.2): one more round trip, and forged addresses cost nothing.
pub const HANDSHAKES_BEFORE_RETRY: usize = 32;

/// Connections that stand and that nobody has accepted yet.
pub const ACCEPT_BACKLOG_MAX: usize = 64;

/// Packets kept for one connection attempt that is not decided on yet.
pub const INCOMING_BUFFER_BYTES_MAX: u64 = 64 * 1024;

/// Bytes that a peer may send on one stream before they are read. Two chunks, so that
/// one travels while the other is folded; at 50 ms of round trip it still allows 40 MB/s.
pub const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Bytes that a peer may send on all its streams before they are read.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// As [`CONNECTION_WINDOW_BYTES`], for who calls a listener: requests and no tensors, until
/// [`Connection::set_windows`] makes room for those. What a peer sends with gaps is kept until
/// the gaps are filled, and costs this much of memory and no more.
///
/// [`Connection::set_windows`]: crate::Connection::set_windows
pub const REQUEST_WINDOW_BYTES: u32 = 64 * 1024;

/// One request, the longest of which carries a run file with its signature and certificate.
pub const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// Bytes given to one connection that the peer has not acknowledged.
pub const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// The largest UDP payload tried; discovery starts at QUIC's safe 1200 and keeps what
/// the path carries. quinn hands the kernel ten packets at once and the kernel takes
/// 65,507 bytes at once; beyond a tenth of that it refuses whole batches, which quinn
/// mistakes for lost MTU probes and never sends again.
pub const UDP_PAYLOAD_BYTES_MAX: u16 = 6500;

/// Bytes under way before the first acknowledgement: ten of the largest packets
/// (RFC 9002, section 7.2), paced. Less, and one MTU probe fills the window, behind which
/// quinn holds back even the packet that closes a connection.
pub const INITIAL_WINDOW_BYTES: u64 = 10 * UDP_PAYLOAD_BYTES_MAX as u64;

/// What the kernel is asked to hold of one UDP socket, each way. It grants less where
/// `net.core.rmem_max` says so.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Addresses of one name that are tried in turn.
pub const ADDRESSES_TRIED_MAX: usize = 4;

/// The limits of one endpoint. [`Default`] gives the constants above; tests give less.
#[derive(Debug, Clone)]
pub struct LinkLimits {
    pub idle_timeout_ms: u64,
    pub keep_alive_ms: u64,
    pub handshake_timeout_ms: u64,
    pub stream_stall_ms: u64,
    pub transfer_ms_max: u64,
    pub reply_wait_ms: u64,
    pub requests_per_connection_max: u32,
    pub stranger_lifetime_ms: u64,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub connections_per_member_max: usize,
    pub strangers_max: usize,
    pub handshakes_max: usize,
    pub handshakes_before_retry: usize,
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
    pub request_window_bytes: u32,
    pub send_window_bytes: u64,
    pub udp_payload_bytes_max: u16,
    pub socket_buffer_bytes: usize,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            idle_timeout_ms: IDLE_TIMEOUT_MS,
            keep_alive_ms: KEEP_ALIVE_MS,
            handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS,
            stream_stall_ms: STREAM_STALL_MS,
            transfer_ms_max: TRANSFER_MS_MAX,
            reply_wait_ms: REPLY_WAIT_MS,
            requests_per_connection_max: REQUESTS_PER_CONNECTION_MAX,
            stranger_lifetime_ms: STRANGER_LIFETIME_MS,
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            connections_per_member_max: CONNECTIONS_PER_MEMBER_MAX,
            strangers_max: STRANGERS_MAX,
            handshakes_max: HANDSHAKES_MAX,
            handshakes_before_retry: HANDSHAKES_BEFORE_RETRY,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
            request_window_bytes: REQUEST_WINDOW_BYTES,
            send_window_bytes: SEND_WINDOW_BYTES,
            udp_payload_bytes_max: UDP_PAYLOAD_BYTES_MAX,
            socket_buffer_bytes: SOCKET_BUFFER_BYTES,
        }
    }
}

impl LinkLimits {
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }
}
