//! The consortium's linkage key: what sites share, and the coordinator does not have.
//!
//! With it a site turns what identifies a patient into a cell of a sketch, the same cell at every site. Whoever holds
//! it can do so for anybody whose identifier they know; its operators place it, in person or by a channel of their own.

use std::path::Path;

use consilium_protocol::Digest;
use consilium_protocol::message::LINKAGE_ID_BYTES;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::IdentityError;
use crate::key_file;

const KEY_BYTES: usize = 32;

/// 32 random bytes, the same at every site. Wiped from memory when dropped; has no `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LinkageKey([u8; KEY_BYTES]);

/// The linkage key made over for one query, so that cells of two queries do not tell who is in both.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct QueryLinkage([u8; KEY_BYTES]);

impl LinkageKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut key = Self([0; KEY_BYTES]);
        getrandom::fill(&mut key.0)
            .map_err(|error| IdentityError::cryptography(error.to_string()))?;
        Ok(key)
    }

    /// Writes the key to a file that did not exist, mode 0600: 64 hexadecimal digits.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in self.0 {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(half.into(), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        key_file::create_private(path, &text)
    }

    /// Reads the key back.
    ///
    /// # Errors
    /// The file is missing, can be read by others, or holds no such key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = key_file::read_private(path)?;
        let not_one = || IdentityError::NotALinkageKey { path: path.into() };
        let digits = text.trim_end().as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return Err(not_one());
        };
        if pairs.len() != KEY_BYTES {
            return Err(not_one());
        }
        let mut key = Self([0; KEY_BYTES]);
        for (byte, pair) in key.0.iter_mut().zip(pairs) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).ok_or_else(not_one)?;
                *byte = *byte << 4 | u8::try_from(digit).unwrap_or_default();
            }
        }
        Ok(key)
    }

    /// Tells two keys apart and nothing else of them.
    #[must_use]
    pub fn id(&self) -> [u8; LINKAGE_ID_BYTES] {
        let derived = blake3::derive_key("consilium-link 1 linkage key id", &self.0);
        let mut id = [0; LINKAGE_ID_BYTES];
        id.iter_mut().zip(derived).for_each(|(to, from)| *to = from);
        id
    }

    /// The key for one query.
    #[must_use]
    pub fn for_query(&self, query: Digest) -> QueryLinkage {
        QueryLinkage(self.derived("consilium-link 1 linkage of a query", query))
    }

    /// What goes into every mask besides two sites' agreement: whoever has a certificate in a site's name and not this
    /// key (the consortium's authority could make one) cannot take a mask off.
    pub(crate) fn for_masks(&self, query: Digest) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.derived("consilium-link 1 linkage in masks", query))
    }

    fn derived(&self, context: &str, query: Digest) -> [u8; KEY_BYTES] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.0).update(&query.0);
        *hasher.finalize().as_bytes()
    }
}

impl QueryLinkage {
    /// 64 bits of an identifier, the same at every site: BLAKE3 under the query's key.
    #[must_use]
    pub fn hash(&self, identifier: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.0, identifier);
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linkage.key");
        let key = LinkageKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(LinkageKey::load(&path).unwrap().id(), key.id());
        assert!(matches!(key.save(&path), Err(IdentityError::Exists { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let error = LinkageKey::load(&path).err().unwrap();
            assert!(
                matches!(error, IdentityError::KeyFileOpen { .. }),
                "{error}"
            );
        }
        for (n, wrong) in ["", "12", &"z".repeat(64), &"1".repeat(65), &"é".repeat(32)]
            .into_iter()
            .enumerate()
        {
            let path = folder.path().join(format!("wrong-{n}"));
            key_file::create_private(&path, wrong).unwrap();
            assert!(LinkageKey::load(&path).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sites_with_one_key_agree_on_a_patients_hash_in_one_query_only() {
        let (ours, theirs) = (LinkageKey([7; 32]), LinkageKey([7; 32]));
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let hash = ours.for_query(one).hash(b"943 476 5919");
        assert_eq!(hash, theirs.for_query(one).hash(b"943 476 5919"));
        assert_ne!(hash, ours.for_query(other).hash(b"943 476 5919"));
        assert_ne!(hash, ours.for_query(one).hash(b"943 476 5918"));
        assert_ne!(
            hash,
            LinkageKey([8; 32]).for_query(one).hash(b"943 476 5919")
        );
        assert_ne!(ours.id(), LinkageKey([8; 32]).id());
    }
}
