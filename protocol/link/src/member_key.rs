//! A member's private key. It is made where it is used and never travels.

use std::path::Path;
use std::sync::Arc;

use consilium_protocol::signature::{PublicKey, Signature, signed_bytes};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::error::IdentityError;
use crate::key_file;

/// The key's file in a member's folder.
pub(crate) const KEY_FILE: &str = "identity.key";

/// An Ed25519 private key (RFC 8032). Wiped from memory when dropped; has no `Debug` of its own.
pub struct MemberKey {
    pair: KeyPair,
}

impl MemberKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(IdentityError::cryptography)?;
        Ok(Self { pair })
    }

    /// Writes the key to `identity.key` (mode 0600) in a folder that holds none yet, so
    /// that a crash between the request and its answer does not lose it.
    ///
    /// # Errors
    /// A key lies there already, or the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        key_file::create_folder(folder)?;
        key_file::create_private(&folder.join(KEY_FILE), &self.to_pem())
    }

    /// Reads `identity.key` back.
    ///
    /// # Errors
    /// The file is missing, readable by others, or holds no Ed25519 key.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        Self::load_file(&folder.join(KEY_FILE))
    }

    /// A certificate request (PKCS#10, DER): the public key, signed with the private one.
    /// It asks for no name, since only the authority gives one.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn certificate_request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params
            .serialize_request(&self.pair)
            .map_err(IdentityError::cryptography)?;
        Ok(request.der().to_vec())
    }

    pub(crate) fn load_file(path: &Path) -> Result<Self, IdentityError> {
        let pem = key_file::read_private(path)?;
        let not_a_key = || IdentityError::NotAKey { path: path.into() };
        let pair = KeyPair::from_pem(&pem).map_err(|_| not_a_key())?;
        if *pair.algorithm() != PKCS_ED25519 {
            return Err(not_a_key());
        }
        Ok(Self { pair })
    }

    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// The public half.
    ///
    /// # Errors
    /// Never for a key that was loaded or made here.
    pub fn public_key(&self) -> Result<PublicKey, IdentityError> {
        PublicKey::from_bytes(self.public_key_bytes())
            .ok_or_else(|| IdentityError::cryptography("the key has no Ed25519 public half"))
    }

    /// Signs `message` under `context`, for [`PublicKey::verify`].
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign(&self, context: &str, message: &[u8]) -> Result<Signature, IdentityError> {
        self.sign_plain(&signed_bytes(context, message))
    }

    /// Signs exactly these bytes. Inside this crate only, where every caller brings a separation of its own.
    pub(crate) fn sign_plain(&self, bytes: &[u8]) -> Result<Signature, IdentityError> {
        let signature = self.pair.sign(bytes).map_err(IdentityError::cryptography)?;
        Signature::from_bytes(&signature)
            .ok_or_else(|| IdentityError::cryptography("a signature has another length"))
    }

    /// The 32 bytes of the public key.
    pub(crate) fn public_key_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    /// The key as TLS uses it.
    pub(crate) fn for_tls(&self) -> Result<Arc<dyn rustls::sign::SigningKey>, IdentityError> {
        // Borrowed: no second copy of the key is left in memory.
        let der = PrivatePkcs8KeyDer::from(self.pair.serialized_der());
        rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&der).map_err(IdentityError::cryptography)
    }
}

impl Drop for MemberKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

/// Reads a certificate from a PEM file, unchecked: DER.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let der = read_pem_certificate(&key_file::read_public(path)?, path)?;
    Ok(der.to_vec())
}

/// The certificate in a PEM text, unchecked: DER.
///
/// # Errors
/// The text holds no certificate.
pub fn certificate_of_pem(pem: &str) -> Result<Vec<u8>, IdentityError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    Ok(der.map_err(|_| IdentityError::NotACertificate)?.to_vec())
}

/// A certificate in PEM (RFC 7468).
#[must_use]
pub fn pem_certificate(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// The one certificate of a PEM file.
pub(crate) fn read_pem_certificate(
    pem: &str,
    path: &Path,
) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| IdentityError::NotPem { path: path.into() })
}
