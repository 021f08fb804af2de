//! Ed25519 signatures (RFC 8032) over what members say: bundles, checkpoints, run files. Verifying only; keys that sign
//! stay in `consilium-link`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A public key is 32 bytes long (RFC 8032, section 5.1.5).
pub const PUBLIC_KEY_BYTES: usize = 32;
/// A signature is 64 bytes long (RFC 8032, section 5.1.6).
pub const SIGNATURE_BYTES: usize = 64;

/// An Ed25519 public key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

/// An Ed25519 signature, written as 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

/// The text is no key or signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {digits} hexadecimal digits")]
pub struct SignatureTextError {
    what: &'static str,
    digits: usize,
}

/// The bytes that are signed for `message` under `context`: the context, a zero byte, the message. A context holds no
/// zero byte, so a signature made for one purpose never passes for another.
#[must_use]
pub fn signed_bytes(context: &str, message: &[u8]) -> Vec<u8> {
    [context.as_bytes(), &[0], message].concat()
}

impl PublicKey {
    /// The key of these bytes; `None` unless there are [`PUBLIC_KEY_BYTES`] of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.0
    }

    /// Whether this key signed `message` under `context`.
    #[must_use]
    pub fn verify(&self, context: &str, message: &[u8], signature: &Signature) -> bool {
        !context.contains('\0') && self.verify_plain(&signed_bytes(context, message), signature)
    }

    /// Whether this key signed exactly these bytes. For formats of others that bring their own separation (notes of the
    /// transparency logs); everything of ours goes by [`PublicKey::verify`].
    #[must_use]
    pub fn verify_plain(&self, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(bytes, &signature.0)
            .is_ok()
    }
}

impl Signature {
    /// The signature of these bytes; `None` unless there are [`SIGNATURE_BYTES`] of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The signature's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        self.0
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], SignatureTextError> {
    let read = || -> Option<[u8; N]> {
        let digits: Vec<u8> = text
            .chars()
            .take(2 * N + 1)
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        bytes.try_into().ok().filter(|_| rest.is_empty())
    };
    read().ok_or(SignatureTextError {
        what,
        digits: 2 * N,
    })
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl FromStr for PublicKey {
    type Err = SignatureTextError;

    fn from_str(text: &str) -> Result<Self, SignatureTextError> {
        read_hex("an Ed25519 public key", text).map(Self)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl FromStr for Signature {
    type Err = SignatureTextError;

    fn from_str(text: &str) -> Result<Self, SignatureTextError> {
        read_hex("an Ed25519 signature", text).map(Self)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (key, message, signature) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                b"".as_slice(),
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                &[0x72],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key: PublicKey = key.parse().unwrap();
            let signature: Signature = signature.parse().unwrap();
            assert!(key.verify_plain(message, &signature));
            assert!(!key.verify_plain(b"other", &signature));
            assert!(!key.verify("context", message, &signature));
            assert_eq!(signature.to_string().parse(), Ok(signature));
        }
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        for text in [
            "",
            "12",
            &"z".repeat(64),
            &"1".repeat(65),
            &"1".repeat(4000),
        ] {
            assert!(text.parse::<PublicKey>().is_err());
        }
    }
}
