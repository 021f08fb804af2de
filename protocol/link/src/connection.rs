//! A connection that stands: both ends proven, requests travel either way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use consilium_protocol::message::Request;
use consilium_protocol::wire;
use quinn::VarInt;
use rustls::pki_types::CertificateDer;

use crate::admission::Slot;
use crate::close::{self, CloseCode, Closed};
use crate::error::LinkError;
use crate::identity::{Fingerprint, Identity};
use crate::limits::{LinkLimits, STRANGER_REQUESTS_MAX};
use crate::stream::{RequestStream, Turn};

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A member, by its certificate. Whether it still is one, an allow-list says.
    Member {
        /// Who the certificate names.
        identity: Identity,
        /// SHA-256 of the certificate.
        certificate: Fingerprint,
    },
    /// Somebody without a certificate, who may make one request: to enrol.
    Stranger,
}

impl Peer {
    /// The member's identity, if it is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Member { identity, .. } => Some(identity),
            Self::Stranger => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member { identity, .. } => identity.fmt(f),
            Self::Stranger => f.write_str("a stranger"),
        }
    }
}

/// What a connection has carried so far, and how its path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionStats {
    /// UDP payload bytes sent.
    pub udp_sent_bytes: u64,
    /// UDP payload bytes received.
    pub udp_received_bytes: u64,
    /// Packets believed lost.
    pub packets_lost: u64,
    /// The estimated round-trip time.
    pub round_trip: Duration,
    /// The largest UDP payload that the path was found to carry.
    pub udp_payload_bytes: u16,
}

/// A handle to a connection; clones are handles to the same one. The connection ends
/// when it is closed, or when the last handle and stream are gone.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) quic: quinn::Connection,
    pub(crate) limits: LinkLimits,
    peer: Peer,
    /// Requests accepted from a stranger.
    accepted: AtomicU32,
    /// The place it takes in the listener's count, given back when this goes.
    _slot: Option<Slot>,
    /// The dialer's socket, which lives as long as its one connection.
    endpoint: Option<quinn::Endpoint>,
}

impl Connection {
    pub(crate) fn new(
        quic: quinn::Connection,
        peer: Peer,
        limits: LinkLimits,
        slot: Option<Slot>,
        endpoint: Option<quinn::Endpoint>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                quic,
                limits,
                peer,
                accepted: AtomicU32::new(0),
                _slot: slot,
                endpoint,
            }),
        }
    }

    /// Opens a stream for one request; waits while the peer allows no further one. The
    /// peer learns of it with the first message.
    ///
    /// # Errors
    /// The connection is closed, or the peer allowed no further request for too long.
    pub async fn open_request(&self) -> Result<RequestStream, LinkError> {
        let waited_ms = self.shared.limits.stream_stall_ms;
        let open = self.shared.quic.open_bi();
        let (send, receive) = tokio::time::timeout(Duration::from_millis(waited_ms), open)
            .await
            .map_err(|_| LinkError::Stalled { waited_ms })?
            .map_err(Closed::from)?;
        Ok(RequestStream::new(
            self.shared.clone(),
            send,
            receive,
            Turn::Asks,
        ))
    }

    /// Asks something that nothing follows, and leaves it to the caller to hear.
    ///
    /// # Errors
    /// As [`open_request`](Self::open_request) and [`RequestStream::send`].
    pub async fn ask(&self, request: Request) -> Result<RequestStream, LinkError> {
        let mut stream = self.open_request().await?;
        stream.send(&wire::Request::from(request)).await?;
        stream.finish()?;
        Ok(stream)
    }

    /// The peer's next request; waits for it without end, since a peer may have nothing
    /// to ask. Waiting may be cancelled.
    ///
    /// # Errors
    /// The connection is closed, or a stranger asked more than strangers may.
    pub async fn accept_request(&self) -> Result<RequestStream, LinkError> {
        let (send, receive) = self.shared.quic.accept_bi().await.map_err(Closed::from)?;
        if self.shared.peer == Peer::Stranger
            && self.shared.accepted.fetch_add(1, Ordering::Relaxed) >= STRANGER_REQUESTS_MAX
        {
            self.close(CloseCode::StrangerLimit, "a stranger may make one request");
            return Err(LinkError::StrangerRequests);
        }
        Ok(RequestStream::new(
            self.shared.clone(),
            send,
            receive,
            Turn::Answers,
        ))
    }

    /// Whether both are handles to one connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// The certificate that the peer showed in its handshake, DER; `None` for a stranger.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        certificate_of(&self.shared.quic).map(|der| der.to_vec())
    }

    /// Where the peer is now; it may change while the connection stands.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.shared.quic.remote_address()
    }

    /// Lets the peer send so many bytes on all its streams before they are read, and keeps as
    /// many of our own that it has not acknowledged. More than now counts at once, less once
    /// the difference has been read.
    pub fn set_windows(&self, bytes: u32) {
        self.shared.quic.set_receive_window(VarInt::from_u32(bytes));
        self.shared.quic.set_send_window(bytes.into());
    }

    /// What it has carried.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let stats = self.shared.quic.stats();
        ConnectionStats {
            udp_sent_bytes: stats.udp_tx.bytes,
            udp_received_bytes: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            round_trip: stats.path.rtt,
            udp_payload_bytes: stats.path.current_mtu,
        }
    }

    /// Closes the connection at once, with everything on it that is not delivered yet.
    /// `reason` is for a person and is cut to 200 bytes.
    /// One that has ended already keeps its cause: what the peer said last is not forgotten.
    pub fn close(&self, code: CloseCode, reason: &str) {
        if self.shared.quic.close_reason().is_none() {
            self.shared.quic.close(code.to_wire(), close::cut(reason));
        }
    }

    /// As [`close`](Self::close), and waits (a second at most) until the peer has been
    /// told: a program that exits at once would leave it to the idle limit.
    pub async fn close_and_tell(&self, code: CloseCode, reason: &str) {
        const TELL_MS: u64 = 1000;
        self.close(code, reason);
        if let Some(endpoint) = &self.shared.endpoint {
            let told = endpoint.wait_idle();
            // Untold, the peer finds out by itself.
            tokio::time::timeout(Duration::from_millis(TELL_MS), told)
                .await
                .ok();
        }
    }

    /// Waits until the connection is no more, and says why.
    pub async fn closed(&self) -> Closed {
        self.shared.quic.closed().await.into()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.shared.peer)
            .field("address", &self.peer_address())
            .finish_non_exhaustive()
    }
}

/// The certificate that the peer proved to have; TLS has verified its chain.
pub(crate) fn certificate_of(quic: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = quic
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    chain.into_iter().next()
}
