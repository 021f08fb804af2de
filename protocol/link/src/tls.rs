//! TLS 1.3 and nothing older, no resumption, no early data: every connection proves both ends anew.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use consilium_protocol::{Millis, Role};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::anchor::TrustAnchor;
use crate::credentials::Credentials;
use crate::error::IdentityError;
use crate::identity::{Fingerprint, Identity};

/// The protocol as TLS negotiates it (RFC 7301); its number rises with [`consilium_protocol::frame::VERSION`].
pub(crate) const ALPN: &[u8] = b"consilium/1";

/// The TLS alerts that this room tells apart (RFC 8446, section 6).
pub(crate) mod alert {
    pub(crate) const CERTIFICATE_EXPIRED: u8 = 45;
    pub(crate) const UNKNOWN_CA: u8 = 48;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// The cryptographic library, chosen here once.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
        .clone()
}

/// A moment as the certificate library wants it.
pub(crate) fn unix_time(now: Millis) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(now.0))
}

/// Checks an Ed25519 signature with the library that TLS uses.
pub(crate) fn verify_ed25519(
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), IdentityError> {
    provider()
        .signature_verification_algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == SignatureScheme::ED25519)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| {
            algorithm
                .verify_signature(public_key, message, signature)
                .is_ok()
        })
        .then_some(())
        .ok_or(IdentityError::BadSignature)
}

/// The coordinator's side: a client may come without a certificate (to enrol), but one
/// that it shows must be a member's.
pub(crate) fn server_config(credentials: &Credentials) -> Result<QuicServerConfig, IdentityError> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::cryptography)?
        .with_client_cert_verifier(credentials.anchor().client_verifier()?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.for_tls()?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the client's certificate, and with it its expiry.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(IdentityError::cryptography)
}

/// A node's or a person's side.
pub(crate) fn client_config(
    verifier: Arc<CoordinatorVerifier>,
    credentials: Option<&Credentials>,
) -> Result<QuicClientConfig, IdentityError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::cryptography)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(credentials) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.for_tls()?))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(IdentityError::cryptography)
}

/// What a dialer knows of the consortium beforehand.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// A member: the authority's certificate.
    Anchor(TrustAnchor),
    /// An invited stranger: the fingerprint of it.
    Pinned(Fingerprint),
}

/// Why a server's certificate was not believed.
#[derive(Debug)]
pub(crate) enum Disbelief {
    WrongConsortium,
    Certificate(IdentityError),
    NotACoordinator(Identity),
}

/// Believes a server that this consortium's authority made a coordinator. Made for one
/// connection; keeps why it did not believe, which TLS would flatten into an alert.
#[derive(Debug)]
pub(crate) struct CoordinatorVerifier {
    expected: Expected,
    disbelief: OnceLock<Disbelief>,
    anchor: OnceLock<TrustAnchor>,
}

impl CoordinatorVerifier {
    pub(crate) fn new(expected: Expected) -> Self {
        Self {
            expected,
            disbelief: OnceLock::new(),
            anchor: OnceLock::new(),
        }
    }

    /// The authority that the server's certificate chained to.
    pub(crate) fn anchor(&self) -> Option<&TrustAnchor> {
        self.anchor.get()
    }

    pub(crate) fn disbelief(&self) -> Option<&Disbelief> {
        self.disbelief.get()
    }

    /// The fingerprint that the consortium was expected to have.
    pub(crate) fn expected(&self) -> Fingerprint {
        match &self.expected {
            Expected::Anchor(anchor) => anchor.fingerprint(),
            Expected::Pinned(fingerprint) => *fingerprint,
        }
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Disbelief> {
        let anchor = match &self.expected {
            Expected::Anchor(anchor) => anchor.clone(),
            Expected::Pinned(pinned) => {
                let shown = chain
                    .iter()
                    .find(|shown| Fingerprint::of(shown) == *pinned)
                    .ok_or(Disbelief::WrongConsortium)?;
                TrustAnchor::from_der(shown).map_err(Disbelief::Certificate)?
            }
        };
        match anchor.identify_coordinator(end_entity, now) {
            Ok(identity) if identity.role == Role::Coordinator => {}
            Ok(identity) => return Err(Disbelief::NotACoordinator(identity)),
            Err(IdentityError::Foreign) => return Err(Disbelief::WrongConsortium),
            Err(IdentityError::WrongUse) => {
                // It is no server's: if it is a member's, say whose.
                return Err(match anchor.identify_at(end_entity, now) {
                    Ok(identity) => Disbelief::NotACoordinator(identity),
                    Err(IdentityError::Foreign) => Disbelief::WrongConsortium,
                    Err(error) => Disbelief::Certificate(error),
                });
            }
            Err(error) => return Err(Disbelief::Certificate(error)),
        }
        self.anchor.get_or_init(|| anchor);
        Ok(())
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(disbelief) => {
                self.disbelief.get_or_init(|| disbelief);
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General(
            "TLS 1.2 is not spoken here".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
