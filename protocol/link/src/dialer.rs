//! A node's or a person's way to the coordinator: always outwards.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use consilium_protocol::frame::FrameError;
use quinn::ClientConfig;
use tokio::time::timeout;

use crate::anchor::TrustAnchor;
use crate::authority::COORDINATOR_DNS_NAME;
use crate::close::{CloseCode, Closed};
use crate::connection::{Connection, Peer, certificate_of};
use crate::credentials::Credentials;
use crate::error::{DialError, LinkError};
use crate::greeting;
use crate::identity::{Fingerprint, Identity};
use crate::limits::{ADDRESSES_TRIED_MAX, LinkLimits};
use crate::tls::{self, CoordinatorVerifier, Disbelief, Expected, alert};
use crate::transport::{self, End};

/// Connects to a coordinator.
#[derive(Debug, Clone)]
pub struct Dialer {
    expected: Expected,
    credentials: Option<Credentials>,
    limits: LinkLimits,
}

impl Dialer {
    /// As a member. The coordinator must belong to the same consortium.
    #[must_use]
    pub fn member(credentials: Credentials, limits: LinkLimits) -> Self {
        Self {
            expected: Expected::Anchor(credentials.anchor().clone()),
            credentials: Some(credentials),
            limits,
        }
    }

    /// As an invited stranger who knows the consortium by the fingerprint of its
    /// authority, from the invitation, and shows no certificate.
    #[must_use]
    pub fn stranger(authority: Fingerprint, limits: LinkLimits) -> Self {
        Self {
            expected: Expected::Pinned(authority),
            credentials: None,
            limits,
        }
    }

    /// Connects to `host:port`. A name with several addresses has each tried in turn
    /// while none answers.
    ///
    /// # Errors
    /// [`DialError`] names whose fault it is and what to do.
    pub async fn dial(&self, address: &str) -> Result<Connection, DialError> {
        self.dial_and_learn(address)
            .await
            .map(|(connection, _)| connection)
    }

    /// As [`dial`](Self::dial), and also returns the authority that the coordinator's
    /// certificate chains to: what an enrolling stranger keeps.
    ///
    /// # Errors
    /// As there.
    pub async fn dial_and_learn(
        &self,
        address: &str,
    ) -> Result<(Connection, TrustAnchor), DialError> {
        let mut last = None;
        for address in resolve(address).await? {
            match self.dial_one(address).await {
                // Another address of the same host may be reachable.
                Err(error @ (DialError::TimedOut { .. } | DialError::Unreachable { .. })) => {
                    last = Some(error);
                }
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| DialError::NotAnAddress {
            address: address.to_owned(),
        }))
    }

    async fn dial_one(&self, address: SocketAddr) -> Result<(Connection, TrustAnchor), DialError> {
        let unreachable = |what: String| DialError::Unreachable { address, what };
        let here: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = transport::dialing_endpoint(here, &self.limits)
            .map_err(|error| unreachable(error.to_string()))?;
        let verifier = Arc::new(CoordinatorVerifier::new(self.expected.clone()));
        let tls =
            tls::client_config(verifier.clone(), self.credentials.as_ref()).map_err(|error| {
                DialError::Credentials {
                    what: error.to_string(),
                }
            })?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(transport::transport_config(&self.limits, End::Dialer));
        let connecting = endpoint
            .connect_with(config, address, COORDINATOR_DNS_NAME)
            .map_err(|error| unreachable(error.to_string()))?;

        let handshake = async {
            let quic = connecting.await.map_err(Closed::from)?;
            greeting::greet(&quic).await?;
            Ok::<_, LinkError>(quic)
        };
        let quic = timeout(self.limits.handshake_timeout(), handshake)
            .await
            .map_err(|_| self.timed_out(address))?
            .map_err(|error| self.blame(error, &verifier, address))?;

        let peer = coordinator(&quic).map_err(|what| unreachable(what.to_owned()))?;
        let anchor = verifier
            .anchor()
            .cloned()
            .ok_or_else(|| unreachable("TLS did not verify it".to_owned()))?;
        let limits = self.limits.clone();
        Ok((
            Connection::new(quic, peer, limits, None, Some(endpoint)),
            anchor,
        ))
    }

    /// What broke the handshake, as the operator of this side must understand it.
    fn blame(
        &self,
        error: LinkError,
        verifier: &CoordinatorVerifier,
        address: SocketAddr,
    ) -> DialError {
        let expected = verifier.expected();
        match verifier.disbelief() {
            Some(Disbelief::WrongConsortium) => {
                return DialError::WrongConsortium { address, expected };
            }
            Some(Disbelief::NotACoordinator(identity)) => {
                let identity = identity.clone();
                return DialError::NotACoordinator { address, identity };
            }
            Some(Disbelief::Certificate(cause)) => {
                let cause = cause.to_string();
                return DialError::CoordinatorCertificate { address, cause };
            }
            None => {}
        }
        match error {
            LinkError::Frame(FrameError::OtherVersion { theirs }) => DialError::VersionMismatch {
                address,
                theirs: Some(theirs),
            },
            LinkError::Closed(closed) => self.blame_closed(closed, address),
            cause => DialError::Broken { address, cause },
        }
    }

    fn blame_closed(&self, closed: Closed, address: SocketAddr) -> DialError {
        match closed {
            Closed::Alert {
                alert: alert::CERTIFICATE_EXPIRED,
            } => DialError::CertificateExpired { address },
            Closed::Alert {
                alert: alert::UNKNOWN_CA | alert::DECRYPT_ERROR,
            } => DialError::CertificateForeign { address },
            Closed::Alert {
                alert: alert::NO_APPLICATION_PROTOCOL,
            } => DialError::VersionMismatch {
                address,
                theirs: None,
            },
            Closed::Alert { alert } => DialError::CertificateRefused { address, alert },
            Closed::NoCommonVersion
            | Closed::ByPeer {
                code: CloseCode::Version,
                ..
            } => DialError::VersionMismatch {
                address,
                theirs: None,
            },
            Closed::ByPeer {
                code: CloseCode::Evicted | CloseCode::NotAdmitted,
                reason,
            } => DialError::Evicted { address, reason },
            Closed::Refused
            | Closed::ByPeer {
                code: CloseCode::Busy,
                ..
            } => DialError::Busy { address },
            Closed::Silent => self.timed_out(address),
            closed => DialError::Broken {
                address,
                cause: closed.into(),
            },
        }
    }

    fn timed_out(&self, address: SocketAddr) -> DialError {
        let waited_ms = self.limits.handshake_timeout_ms;
        DialError::TimedOut { address, waited_ms }
    }
}

/// The addresses of `host:port`, a few at most.
async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let not_an_address = || DialError::NotAnAddress {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(not_an_address)?;
    let port: u16 = port.parse().map_err(|_| not_an_address())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(not_an_address());
    }
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|source| DialError::UnknownHost {
            host: host.to_owned(),
            source,
        })?;
    Ok(found.take(ADDRESSES_TRIED_MAX).collect())
}

/// The coordinator's identity, which the verifier has seen in the same certificate.
fn coordinator(quic: &quinn::Connection) -> Result<Peer, &'static str> {
    let certificate = certificate_of(quic).ok_or("it showed no certificate")?;
    let identity =
        Identity::of_certificate(&certificate).map_err(|_| "its certificate names no member")?;
    Ok(Peer::Member {
        identity,
        certificate: Fingerprint::of(&certificate),
    })
}
