//! The authority's certificate: what a chain must end in to be believed.

use std::path::Path;
use std::sync::Arc;

use consilium_protocol::Millis;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};

use crate::authority::COORDINATOR_DNS_NAME;
use crate::error::IdentityError;
use crate::identity::{self, Fingerprint, Identity};
use crate::key_file;
use crate::member_key::read_pem_certificate;
use crate::tls;

/// The certificate of a consortium's authority.
#[derive(Clone)]
pub struct TrustAnchor {
    der: CertificateDer<'static>,
    fingerprint: Fingerprint,
    public_key: Vec<u8>,
    roots: Arc<RootCertStore>,
}

impl TrustAnchor {
    /// Reads an authority's certificate. Whether it is the right one, the caller knows
    /// by its [`fingerprint`](Self::fingerprint).
    ///
    /// # Errors
    /// The bytes are no certificate, or not one of an authority.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let certificate = identity::parse(der)?;
        if !certificate.is_ca() {
            return Err(IdentityError::NotAnAuthority);
        }
        let public_key = certificate.public_key().subject_public_key.data.to_vec();
        let der = CertificateDer::from(der.to_vec());
        let mut roots = RootCertStore::empty();
        roots
            .add(der.clone())
            .map_err(|_| IdentityError::NotAnAuthority)?;
        Ok(Self {
            fingerprint: Fingerprint::of(&der),
            der,
            public_key,
            roots: Arc::new(roots),
        })
    }

    /// The certificate as it travels.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The consortium's name, as the authority's certificate says it; empty where it says none.
    #[must_use]
    pub fn consortium(&self) -> String {
        let name = |certificate: x509_parser::certificate::X509Certificate<'_>| {
            let mut names = certificate.subject().iter_common_name();
            Some(names.next()?.as_str().ok()?.to_owned())
        };
        identity::parse(&self.der)
            .ok()
            .and_then(name)
            .unwrap_or_default()
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Who a certificate names, if this authority issued it and it is valid at `now`.
    ///
    /// # Errors
    /// It was issued by another, is out of its time, or names no member.
    pub fn identify(&self, certificate: &[u8], now: Millis) -> Result<Identity, IdentityError> {
        self.identify_at(&CertificateDer::from(certificate), tls::unix_time(now))
    }

    pub(crate) fn identify_at(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Identity, IdentityError> {
        self.client_verifier()?
            .verify_client_cert(certificate, &[], now)
            .map_err(chain_error)?;
        Identity::of_certificate(certificate)
    }

    /// As [`identify`](Self::identify), for the certificate that a server showed: it must
    /// also carry the coordinator's DNS name and be meant for servers.
    pub(crate) fn identify_coordinator(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Identity, IdentityError> {
        let name =
            ServerName::try_from(COORDINATOR_DNS_NAME).map_err(IdentityError::cryptography)?;
        rustls::client::WebPkiServerVerifier::builder_with_provider(
            self.roots.clone(),
            tls::provider(),
        )
        .build()
        .map_err(IdentityError::cryptography)?
        .verify_server_cert(certificate, &[], &name, &[], now)
        .map_err(chain_error)?;
        Identity::of_certificate(certificate)
    }

    /// Demands that a client's certificate, where it shows one, chains to this authority.
    pub(crate) fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
        rustls::server::WebPkiClientVerifier::builder_with_provider(
            self.roots.clone(),
            tls::provider(),
        )
        .allow_unauthenticated()
        .build()
        .map_err(IdentityError::cryptography)
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    pub(crate) fn load(path: &Path) -> Result<Self, IdentityError> {
        let pem = key_file::read_public(path)?;
        Self::from_der(&read_pem_certificate(&pem, path)?)
    }
}

impl std::fmt::Debug for TrustAnchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TrustAnchor")
            .field(&self.fingerprint)
            .finish()
    }
}

fn chain_error(error: rustls::Error) -> IdentityError {
    let rustls::Error::InvalidCertificate(error) = error else {
        return IdentityError::cryptography(error);
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            IdentityError::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            IdentityError::NotYetValid
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => IdentityError::Foreign,
        CertificateError::BadEncoding => IdentityError::NotACertificate,
        _ => IdentityError::WrongUse,
    }
}
