//! The consortium's certificate authority: it names members, and holds none of their keys.

use std::path::Path;
use std::time::Duration;

use consilium_protocol::limits::DER_BYTES_MAX;
use consilium_protocol::{Millis, Role};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ED25519, SanType,
    SerialNumber,
};

use crate::anchor::TrustAnchor;
use crate::error::IdentityError;
use crate::identity::{Fingerprint, Identity};
use crate::key_file;
use crate::member_key::{MemberKey, pem_certificate};

const KEY_FILE: &str = "consortium-ca.key";
const CERTIFICATE_FILE: &str = "consortium-ca.crt";

/// Every coordinator's certificate carries this DNS name and nodes ask for it, whatever
/// address they dial: a coordinator may move without a new certificate.
pub(crate) const COORDINATOR_DNS_NAME: &str = "coordinator.consilium";

/// A certificate is valid from a little before it was made: clocks differ.
pub const BACKDATED_MS: u64 = 5 * 60 * 1000;

/// The authority's own certificate: ten years. Replacing it means enrolling everyone again.
pub const AUTHORITY_LIFETIME_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// The year 9999, the last that a certificate can name.
const LAST_MOMENT_MS: u64 = 253_370_764_800_000;

const CONSORTIUM_NAME_CHARS_MAX: usize = 64;

/// The consortium's authority, with its private key. Lives at the coordinator only.
pub struct CertificateAuthority {
    key: MemberKey,
    anchor: TrustAnchor,
}

impl CertificateAuthority {
    /// A new authority with a new key, for the consortium of this name.
    ///
    /// # Errors
    /// The name is empty, too long or unprintable.
    pub fn create(consortium: &str, now: Millis) -> Result<Self, IdentityError> {
        let printable = !consortium.is_empty() && !consortium.chars().any(char::is_control);
        if !printable || consortium.chars().count() > CONSORTIUM_NAME_CHARS_MAX {
            return Err(IdentityError::ConsortiumName);
        }
        let key = MemberKey::generate()?;
        let mut params = parameters(consortium, AUTHORITY_LIFETIME_MS, now)?;
        // It signs members and no further authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(key.pair())
            .map_err(IdentityError::cryptography)?;
        let anchor = TrustAnchor::from_der(certificate.der())?;
        Ok(Self { key, anchor })
    }

    /// Writes the authority into a folder that holds none yet.
    ///
    /// # Errors
    /// A key lies there already, or the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        key_file::create_folder(folder)?;
        key_file::create_private(&folder.join(KEY_FILE), &self.key.to_pem())?;
        key_file::write_public(
            &folder.join(CERTIFICATE_FILE),
            &pem_certificate(self.anchor.der()),
        )
    }

    /// Reads the authority back from its folder.
    ///
    /// # Errors
    /// A file is missing, readable by others, unreadable, or the two do not belong together.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let key = MemberKey::load_file(&folder.join(KEY_FILE))?;
        let anchor = TrustAnchor::load(&folder.join(CERTIFICATE_FILE))?;
        if anchor.public_key() != key.public_key_bytes() {
            return Err(IdentityError::OtherKey);
        }
        Ok(Self { key, anchor })
    }

    /// What every member needs of the authority: its certificate.
    #[must_use]
    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// SHA-256 of the authority's certificate, as an invitation carries it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.anchor.fingerprint()
    }

    /// Issues a certificate for the key in `request_der` (PKCS#10), naming the member
    /// `identity`. The request proves possession of the key; its subject and its
    /// extensions are ignored, because only the authority says who a member is.
    ///
    /// # Errors
    /// The request is unreadable, is not signed by its own key, or the key is not Ed25519.
    pub fn issue(
        &self,
        request_der: &[u8],
        identity: &Identity,
        lifetime_ms: u64,
        now: Millis,
    ) -> Result<Vec<u8>, IdentityError> {
        if request_der.len() > DER_BYTES_MAX {
            return Err(IdentityError::NotARequest);
        }
        let request =
            CertificateSigningRequestParams::from_der(&request_der.into()).map_err(|error| {
                match error {
                    rcgen::Error::InvalidCertificationRequestSignature => {
                        IdentityError::RequestTampered
                    }
                    rcgen::Error::UnsupportedSignatureAlgorithm => IdentityError::RequestKeyKind,
                    _ => IdentityError::NotARequest,
                }
            })?;
        if *request.public_key.algorithm() != PKCS_ED25519 {
            return Err(IdentityError::RequestKeyKind);
        }
        let mut params = parameters(identity.name.as_str(), lifetime_ms, now)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![SanType::URI(ia5(identity.to_uri())?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role == Role::Coordinator {
            let name = ia5(COORDINATOR_DNS_NAME.to_owned())?;
            params.subject_alt_names.push(SanType::DnsName(name));
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let ca_der = self.anchor.der().into();
        let issuer = Issuer::from_ca_cert_der(&ca_der, self.key.pair())
            .map_err(IdentityError::cryptography)?;
        let certificate = params
            .signed_by(&request.public_key, &issuer)
            .map_err(IdentityError::cryptography)?;
        Ok(certificate.der().to_vec())
    }
}

/// Prints the fingerprint and nothing of the key.
impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// What every certificate has: a name, a random serial number and its time.
fn parameters(
    common_name: &str,
    lifetime_ms: u64,
    now: Millis,
) -> Result<CertificateParams, IdentityError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(IdentityError::cryptography)?;
    // RFC 5280, section 4.1.2.2: positive, so the first bit is clear; and not zero.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |ms: u64| epoch + Duration::from_millis(ms.min(LAST_MOMENT_MS));
    params.not_before = moment(now.0.saturating_sub(BACKDATED_MS));
    params.not_after = moment(now.plus_ms(lifetime_ms).0);
    Ok(params)
}

fn ia5(text: String) -> Result<Ia5String, IdentityError> {
    Ia5String::try_from(text).map_err(IdentityError::cryptography)
}
