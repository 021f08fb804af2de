//! Who a member is, read from a certificate and from nothing else.

use std::fmt;
use std::str::FromStr;

use consilium_protocol::limits::DER_BYTES_MAX;
use consilium_protocol::signature::PublicKey;
use consilium_protocol::{Digest, MemberName, Millis, Role};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::IdentityError;

/// The URI scheme of the subject alternative name that carries an identity.
const URI_SCHEME: &str = "consilium";

/// A member as the consortium's authority named it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What the member may do.
    pub role: Role,
    /// What the member is called.
    pub name: MemberName,
}

impl Identity {
    /// The identity of this role and name.
    #[must_use]
    pub fn new(role: Role, name: MemberName) -> Self {
        Self { role, name }
    }

    /// Reads the identity that a certificate carries. The caller has verified the
    /// certificate's chain, or does so before it believes the answer.
    ///
    /// # Errors
    /// The bytes are not a certificate, or it carries no identity, or more than one.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let certificate = parse(der)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| IdentityError::NotACertificate)?
            .ok_or(IdentityError::NoIdentity)?;
        let mut identities = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Self::from_uri(uri),
                _ => None,
            });
        match (identities.next(), identities.next()) {
            (Some(identity), None) => Ok(identity),
            _ => Err(IdentityError::NoIdentity),
        }
    }

    /// `consilium:<role>:<name>`, as it stands in the certificate.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{URI_SCHEME}:{}:{}", self.role, self.name)
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.splitn(3, ':');
        if parts.next()? != URI_SCHEME {
            return None;
        }
        let role = parts.next()?.parse().ok()?;
        let name = parts.next()?.parse().ok()?;
        Some(Self { role, name })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.name)
    }
}

/// SHA-256 of a certificate's DER: what an allow-list holds and what an invitation pins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub Digest);

impl Fingerprint {
    /// The fingerprint of this certificate.
    #[must_use]
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(Digest::of(certificate_der))
    }
}

/// Hexadecimal in groups of four, so that two people can compare it by voice.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.0.to_string().chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = IdentityError;

    /// Reads a fingerprint as people copy it: grouped by `-`, `:` or spaces, or not at all.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        // 64 digits and at most one separator after each.
        if text.len() > 128 {
            return Err(IdentityError::NotAFingerprint);
        }
        let digits: String = text
            .chars()
            .filter(|c| !matches!(c, '-' | ':' | ' '))
            .collect();
        digits
            .to_ascii_lowercase()
            .parse()
            .map(Self)
            .map_err(|_| IdentityError::NotAFingerprint)
    }
}

/// The moment after which nobody accepts this certificate.
///
/// # Errors
/// The bytes are not a certificate.
pub fn certificate_expires_at(der: &[u8]) -> Result<Millis, IdentityError> {
    let seconds = parse(der)?.validity().not_after.timestamp();
    Ok(Millis(
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1000),
    ))
}

/// The moment at which the authority made this certificate, which it backdates.
///
/// # Errors
/// The bytes are not a certificate.
pub fn certificate_issued_at(der: &[u8]) -> Result<Millis, IdentityError> {
    let seconds = parse(der)?.validity().not_before.timestamp();
    let not_before = Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Ok(not_before.plus_ms(crate::authority::BACKDATED_MS))
}

/// The key that a certificate is for. Whose it is, the caller knows from the certificate's chain.
///
/// # Errors
/// The bytes are not a certificate, or its key is no Ed25519 key.
pub fn certificate_key(der: &[u8]) -> Result<PublicKey, IdentityError> {
    let certificate = parse(der)?;
    PublicKey::from_bytes(&certificate.public_key().subject_public_key.data)
        .ok_or(IdentityError::NotACertificate)
}

/// The certificate, whole and within the protocol's limit.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    if der.len() > DER_BYTES_MAX {
        return Err(IdentityError::NotACertificate);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(IdentityError::NotACertificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_from_its_uri_and_from_no_other() {
        let identity = Identity::new(Role::Site, "cleveland".parse().unwrap());
        assert_eq!(identity.to_uri(), "consilium:site:cleveland");
        assert_eq!(Identity::from_uri(&identity.to_uri()), Some(identity));
        for foreign in [
            "https:site:cleveland",
            "consilium:root:cleveland",
            "consilium:site",
            "consilium:site:",
            "consilium:site:a:b",
            "consilium:site:../a",
        ] {
            assert_eq!(Identity::from_uri(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_fingerprint_reads_back_however_it_was_copied() {
        let fingerprint = Fingerprint::of(b"certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 64 + 15);
        for copied in [
            text.clone(),
            text.replace('-', ""),
            text.replace('-', " "),
            text.replace('-', ":").to_uppercase(),
        ] {
            assert_eq!(copied.parse::<Fingerprint>().unwrap(), fingerprint);
        }
        for wrong in ["", "12", &"z".repeat(64), &"-".repeat(4000)] {
            assert!(wrong.parse::<Fingerprint>().is_err());
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        for bytes in [&b""[..], b"garbage", &[0x30; 40_000]] {
            assert!(matches!(
                Identity::of_certificate(bytes),
                Err(IdentityError::NotACertificate)
            ));
        }
    }
}
