//! The coordinator's door: it hears who calls, and never calls itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consilium_protocol::Role;
use quinn::{Endpoint, Incoming, ServerConfig, VarInt};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::admission::{Admission, Slot};
use crate::close::{self, CloseCode, Closed};
use crate::connection::{Connection, Peer, certificate_of};
use crate::credentials::Credentials;
use crate::error::{LinkError, ListenError};
use crate::greeting;
use crate::identity::{Fingerprint, Identity};
use crate::limits::{ACCEPT_BACKLOG_MAX, INCOMING_BUFFER_BYTES_MAX, LinkLimits};
use crate::tls;
use crate::transport::{self, End};

/// Listens for members and for strangers who want to become one. Whether a member is
/// (still) on the allow-list is asked by whoever accepts the connection.
pub struct Listener {
    endpoint: Endpoint,
    limits: LinkLimits,
    connections: mpsc::Receiver<Connection>,
    door: JoinHandle<()>,
}

impl Listener {
    /// Listens on this UDP address, as the coordinator of these credentials. Within a
    /// tokio runtime.
    ///
    /// # Errors
    /// The port is in use or the socket fails otherwise; the certificate is no
    /// coordinator's.
    pub fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        limits: LinkLimits,
    ) -> Result<Self, ListenError> {
        let config = server_config(credentials, &limits)?;
        let secret = credentials.reset_secret();
        let endpoint =
            transport::listening_endpoint(address, config, secret, &limits).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::AddrInUse => ListenError::PortInUse { address },
                    _ => ListenError::Socket { address, source },
                }
            })?;
        let (accepted, connections) = mpsc::channel(ACCEPT_BACKLOG_MAX);
        let door = tokio::spawn(keep_door(endpoint.clone(), limits.clone(), accepted));
        Ok(Self {
            endpoint,
            limits,
            connections,
            door,
        })
    }

    /// The address it listens on; tells the port where 0 was asked for.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The next connection that stands: handshake done, versions agreed. `None` once the
    /// listener is closed.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }

    /// Shows a renewed certificate to those who connect from now on.
    ///
    /// # Errors
    /// The certificate is no coordinator's.
    pub fn renew(&self, credentials: &Credentials) -> Result<(), ListenError> {
        let config = server_config(credentials, &self.limits)?;
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }

    /// Closes every connection and tells each peer why, waiting for that a second at most.
    pub async fn close(self, code: CloseCode, reason: &str) {
        const TELL_MS: u64 = 1000;
        self.endpoint.close(code.to_wire(), close::cut(reason));
        let told = self.endpoint.wait_idle();
        // Untold, the peers find out by themselves.
        timeout(Duration::from_millis(TELL_MS), told).await.ok();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.door.abort();
        // What was accepted lives on; only newcomers find nobody.
        self.endpoint.set_server_config(None);
    }
}

fn server_config(
    credentials: &Credentials,
    limits: &LinkLimits,
) -> Result<ServerConfig, ListenError> {
    if credentials.identity().role != Role::Coordinator {
        return Err(ListenError::NotACoordinator {
            identity: credentials.identity().clone(),
        });
    }
    let tls = tls::server_config(credentials).map_err(|error| ListenError::Tls {
        what: error.to_string(),
    })?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(transport::transport_config(limits, End::Listener))
        .max_incoming(limits.handshakes_max)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES_MAX * limits.handshakes_max as u64);
    Ok(config)
}

/// Decides on each caller, cheapest question first, and lets handshakes run side by side
/// so that a slow one delays nobody.
async fn keep_door(endpoint: Endpoint, limits: LinkLimits, accepted: mpsc::Sender<Connection>) {
    let admission = Admission::new(&limits);
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if handshakes.len() >= limits.handshakes_max {
                    incoming.refuse();
                } else if handshakes.len() >= limits.handshakes_before_retry
                    && !incoming.remote_address_validated()
                    && incoming.may_retry()
                {
                    // `may_retry` has just said that this cannot fail.
                    incoming.retry().ok();
                } else if let Some(slot) = admission.slot(incoming.remote_address().ip()) {
                    handshakes.spawn(welcome(incoming, slot, limits.clone(), accepted.clone()));
                } else {
                    tracing::warn!(address = %incoming.remote_address(), "no room for another connection");
                    incoming.refuse();
                }
            }
            Some(_) = handshakes.join_next() => {}
        }
    }
}

/// One caller's handshake and greeting, to the place where it is accepted.
async fn welcome(
    incoming: Incoming,
    mut slot: Slot,
    limits: LinkLimits,
    accepted: mpsc::Sender<Connection>,
) {
    let address = incoming.remote_address();
    let stands = timeout(limits.handshake_timeout(), handshake(incoming, &mut slot)).await;
    let (quic, peer) = match stands {
        Ok(Ok(stands)) => stands,
        Ok(Err(error)) => return tracing::info!(%address, %error, "a handshake failed"),
        Err(_) => return tracing::info!(%address, "a handshake took too long"),
    };
    match &peer {
        Peer::Member { .. } => {
            quic.set_max_concurrent_bi_streams(VarInt::from_u32(limits.requests_per_connection_max))
        }
        Peer::Stranger => {
            let lifetime = Duration::from_millis(limits.stranger_lifetime_ms);
            tokio::spawn(end_stranger(quic.clone(), lifetime));
        }
    }
    let connection = Connection::new(quic, peer, limits, Some(slot), None);
    // Waits where nobody accepts; the limit on handshakes then turns callers away.
    // Fails only where the listener is gone.
    accepted.send(connection).await.ok();
}

async fn handshake(
    incoming: Incoming,
    slot: &mut Slot,
) -> Result<(quinn::Connection, Peer), LinkError> {
    let quic = incoming.await.map_err(Closed::from)?;
    let peer = match certificate_of(&quic) {
        None => Peer::Stranger,
        Some(certificate) => match Identity::of_certificate(&certificate) {
            Ok(identity) => Peer::Member {
                identity,
                certificate: Fingerprint::of(&certificate),
            },
            Err(error) => {
                // Issued by the authority and yet no member's: nobody we know.
                let what = error.to_string();
                quic.close(CloseCode::NotAdmitted.to_wire(), close::cut(&what));
                return Err(Closed::Broken { what }.into());
            }
        },
    };
    if !slot.is_for(&peer) {
        let what = format!("{peer} has as many connections as it may");
        quic.close(CloseCode::Busy.to_wire(), close::cut(&what));
        return Err(Closed::Broken { what }.into());
    }
    greeting::answer(&quic).await?;
    Ok((quic, peer))
}

async fn end_stranger(quic: quinn::Connection, lifetime: Duration) {
    if timeout(lifetime, quic.closed()).await.is_err() {
        let reason = b"enrolment took too long";
        quic.close(CloseCode::StrangerLimit.to_wire(), reason);
    }
}
