//! A member's key, certificate and authority together: what it needs to be believed.

use std::path::Path;
use std::sync::Arc;

use consilium_protocol::message::{REPLY_KEY_BYTES, SignedSearch};
use consilium_protocol::signature::{PublicKey, Signature};
use consilium_protocol::{Millis, Role};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::anchor::TrustAnchor;
use crate::error::IdentityError;
use crate::identity::{self, Fingerprint, Identity};
use crate::key_file;
use crate::member_key::{MemberKey, pem_certificate, read_pem_certificate};
use crate::tls;

const CERTIFICATE_FILE: &str = "identity.crt";
const AUTHORITY_FILE: &str = "consortium-ca.crt";

/// Goes before the bytes that are signed, so that a signature over a run file can never
/// pass for one over anything else that this key signs, TLS handshakes included.
const RUN_FILE_DOMAIN: &[u8] = b"consilium run file v1\0";

/// As [`RUN_FILE_DOMAIN`], for queries.
const QUERY_DOMAIN: &[u8] = b"consilium query v1\0";

/// As [`RUN_FILE_DOMAIN`], for what a project asks of its budgets.
const BUDGET_DOMAIN: &[u8] = b"consilium budget question v1\0";

/// As [`RUN_FILE_DOMAIN`], for the keys that mask sketches.
const SKETCH_KEY_DOMAIN: &[u8] = b"consilium sketch key v1\0";

/// As [`RUN_FILE_DOMAIN`], for searches.
const SEARCH_DOMAIN: &[u8] = b"consilium search v1\0";

/// As [`RUN_FILE_DOMAIN`], for what a site seals for whoever searched.
const SEALED_DOMAIN: &[u8] = b"consilium sealed answer v1\0";

/// How a checkpoint's text and a cosignature's message begin.
const NOTE_BEGINNINGS: [&[u8]; 2] = [b"consilium/", b"cosignature/v1\ntime "];

/// Signatures are Ed25519: 64 bytes (RFC 8032, section 5.1.6).
pub const SIGNATURE_BYTES: usize = 64;

/// Everything with which a member proves who it is. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<MemberKey>,
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor,
    identity: Identity,
    expires_at: Millis,
}

impl Credentials {
    /// Puts together what enrolment gave. Whether the certificate is in its time is not
    /// asked here: one that has expired must still be readable, to say so.
    ///
    /// # Errors
    /// The certificate is unreadable, names no member, or belongs to another key.
    pub fn new(
        key: MemberKey,
        certificate_der: &[u8],
        anchor: TrustAnchor,
    ) -> Result<Self, IdentityError> {
        let certificate = identity::parse(certificate_der)?;
        if *certificate.public_key().subject_public_key.data != *key.public_key_bytes() {
            return Err(IdentityError::OtherKey);
        }
        Ok(Self {
            identity: Identity::of_certificate(certificate_der)?,
            expires_at: identity::certificate_expires_at(certificate_der)?,
            certificate: CertificateDer::from(certificate_der.to_vec()),
            key: Arc::new(key),
            anchor,
        })
    }

    /// The same member with a newer certificate for the same key.
    ///
    /// # Errors
    /// As [`new`](Self::new), or the certificate names another member or comes from
    /// another authority.
    pub fn renewed(&self, certificate_der: &[u8], now: Millis) -> Result<Self, IdentityError> {
        let identity = self.anchor.identify(certificate_der, now)?;
        let certificate = identity::parse(certificate_der)?;
        if *certificate.public_key().subject_public_key.data != *self.key.public_key_bytes() {
            return Err(IdentityError::OtherKey);
        }
        if identity != self.identity {
            return Err(IdentityError::wrong_role(identity, &[self.identity.role]));
        }
        Ok(Self {
            expires_at: identity::certificate_expires_at(certificate_der)?,
            certificate: CertificateDer::from(certificate_der.to_vec()),
            ..self.clone()
        })
    }

    /// Writes `identity.key` (if it is not there yet), `identity.crt` and
    /// `consortium-ca.crt` into a folder.
    ///
    /// # Errors
    /// Another key lies there already, or the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        match self.key.save(folder) {
            Err(IdentityError::Exists { path }) => {
                if MemberKey::load(folder)?.public_key_bytes() != self.key.public_key_bytes() {
                    return Err(IdentityError::Exists { path });
                }
            }
            saved => saved?,
        }
        key_file::write_public(
            &folder.join(AUTHORITY_FILE),
            &pem_certificate(self.anchor.der()),
        )?;
        key_file::write_public(
            &folder.join(CERTIFICATE_FILE),
            &pem_certificate(&self.certificate),
        )
    }

    /// Reads the three files back.
    ///
    /// # Errors
    /// A file is missing or unreadable, the key can be read by others, or the certificate
    /// belongs to another key.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let key = MemberKey::load(folder)?;
        let path = folder.join(CERTIFICATE_FILE);
        let certificate = read_pem_certificate(&key_file::read_public(&path)?, &path)?;
        let anchor = TrustAnchor::load(&folder.join(AUTHORITY_FILE))?;
        Self::new(key, &certificate, anchor)
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the certificate ends.
    #[must_use]
    pub fn expires_at(&self) -> Millis {
        self.expires_at
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The consortium's authority.
    #[must_use]
    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// A request for the next certificate of the same key.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn certificate_request(&self) -> Result<Vec<u8>, IdentityError> {
        self.key.certificate_request()
    }

    /// Signs a run file, [`SIGNATURE_BYTES`] long, for [`verify_run_file`].
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign_run_file(&self, text: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.key.sign_plain(&[RUN_FILE_DOMAIN, text].concat())?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Signs a query's canonical text, [`SIGNATURE_BYTES`] long, for [`verify_query`].
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign_query(&self, text: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.key.sign_plain(&[QUERY_DOMAIN, text].concat())?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Signs a question about a project's budgets, [`SIGNATURE_BYTES`] long, for [`verify_budget_question`].
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign_budget_question(&self, text: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.key.sign_plain(&[BUDGET_DOMAIN, text].concat())?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Signs this site's key for the masks of one query, for [`verify_sketch_key`].
    pub(crate) fn sign_sketch_key(&self, text: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.key.sign_plain(&[SKETCH_KEY_DOMAIN, text].concat())?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Signs a search, [`SIGNATURE_BYTES`] long, for [`verify_search`]: its canonical text, the key to which answers
    /// are sealed, and until when it may be answered.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign_search(
        &self,
        text: &[u8],
        reply_key: &[u8; REPLY_KEY_BYTES],
        expires_at_ms: u64,
    ) -> Result<Vec<u8>, IdentityError> {
        let signed = search_bytes(text, reply_key, expires_at_ms);
        Ok(self.key.sign_plain(&signed)?.to_bytes().to_vec())
    }

    /// Signs what a site sealed for whoever searched; for [`verify_sealed`].
    pub(crate) fn sign_sealed(&self, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.key.sign_plain(&[SEALED_DOMAIN, sealed].concat())?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Signs a checkpoint or a cosignature as the transparency logs define it: exactly these bytes. Only bytes that
    /// begin as one of those do are signed: nothing else that this key signs begins so, TLS handshakes included.
    ///
    /// # Errors
    /// The bytes are neither, or the cryptographic library fails.
    pub fn sign_note(&self, bytes: &[u8]) -> Result<Signature, IdentityError> {
        if !NOTE_BEGINNINGS.iter().any(|known| bytes.starts_with(known)) {
            return Err(IdentityError::cryptography(
                "neither a checkpoint nor a cosignature",
            ));
        }
        self.key.sign_plain(bytes)
    }

    /// The public half of this member's key.
    ///
    /// # Errors
    /// Never for credentials that were loaded or made here.
    pub fn public_key(&self) -> Result<PublicKey, IdentityError> {
        self.key.public_key()
    }

    /// A secret of this member for QUIC's stateless resets; the same after a restart, and
    /// says nothing about the key.
    pub(crate) fn reset_secret(&self) -> [u8; 32] {
        blake3::derive_key(
            "consilium-link 1 stateless reset",
            self.key.pair().serialized_der(),
        )
    }

    /// Key and chain as TLS uses them; the authority goes along, for those who know it
    /// by its fingerprint only.
    pub(crate) fn for_tls(&self) -> Result<CertifiedKey, IdentityError> {
        let chain = vec![self.certificate.clone(), self.anchor.certificate()];
        Ok(CertifiedKey::new(chain, self.key.for_tls()?))
    }
}

/// Prints the member and nothing of the key.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// Who signed a run file: the certificate must come from the consortium's authority, be
/// valid at `now` and name one of the roles allowed, and the signature must be its key's.
///
/// # Errors
/// Each of these, by its name.
pub fn verify_run_file(
    text: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    allowed: &[Role],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = [RUN_FILE_DOMAIN, text].concat();
    verify_signed(&signed, signature, certificate_der, allowed, anchor, now)
}

/// Who signed a query: as [`verify_run_file`], and always a researcher.
///
/// # Errors
/// As [`verify_run_file`].
pub fn verify_query(
    text: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = [QUERY_DOMAIN, text].concat();
    let allowed = [Role::Researcher];
    verify_signed(&signed, signature, certificate_der, &allowed, anchor, now)
}

/// Who asks about a project's budgets: as [`verify_query`].
///
/// # Errors
/// As [`verify_run_file`].
pub fn verify_budget_question(
    text: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = [BUDGET_DOMAIN, text].concat();
    let allowed = [Role::Researcher];
    verify_signed(&signed, signature, certificate_der, &allowed, anchor, now)
}

/// Whose key for masks this is: always a site's.
pub(crate) fn verify_sketch_key(
    text: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = [SKETCH_KEY_DOMAIN, text].concat();
    let allowed = [Role::Site];
    verify_signed(&signed, signature, certificate_der, &allowed, anchor, now)
}

/// Who signed a search: as [`verify_run_file`], and always a researcher. Whether it has expired is not asked here.
///
/// # Errors
/// As [`verify_run_file`].
pub fn verify_search(
    search: &SignedSearch,
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = search_bytes(&search.text, &search.reply_key, search.expires_at_ms);
    let (signature, certificate) = (&search.signature, &search.certificate);
    let allowed = [Role::Researcher];
    verify_signed(&signed, signature, certificate, &allowed, anchor, now)
}

/// Which site signed what it sealed.
pub(crate) fn verify_sealed(
    sealed: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let signed = [SEALED_DOMAIN, sealed].concat();
    let allowed = [Role::Site];
    verify_signed(&signed, signature, certificate_der, &allowed, anchor, now)
}

/// What is signed of a search: parts of a fixed length first.
fn search_bytes(text: &[u8], reply_key: &[u8; REPLY_KEY_BYTES], expires_at_ms: u64) -> Vec<u8> {
    [SEARCH_DOMAIN, reply_key, &expires_at_ms.to_be_bytes(), text].concat()
}

fn verify_signed(
    signed: &[u8],
    signature: &[u8],
    certificate_der: &[u8],
    allowed: &[Role],
    anchor: &TrustAnchor,
    now: Millis,
) -> Result<Identity, IdentityError> {
    let identity = anchor.identify(certificate_der, now)?;
    if !allowed.contains(&identity.role) {
        return Err(IdentityError::wrong_role(identity, allowed));
    }
    let certificate = identity::parse(certificate_der)?;
    let public_key = &certificate.public_key().subject_public_key.data;
    if signature.len() != SIGNATURE_BYTES {
        return Err(IdentityError::BadSignature);
    }
    tls::verify_ed25519(public_key, signed, signature)?;
    Ok(identity)
}
