//! SHA-256 digests and the head of a chain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest; written and read as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

/// Text that should have been a digest and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits, this text of {characters} characters is none")]
pub struct DigestInvalid {
    characters: usize,
}

/// Where a chain ends: how many entries it has, and the hash of the last.
///
/// A head kept away from the journal (by another site, on paper) is what proves later that nothing was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The sequence number of the next entry, which is the number of entries.
    pub seq: u64,
    /// The hash of the last entry; of an empty journal, [`Head::EMPTY`]'s.
    pub hash: Digest,
}

impl Digest {
    /// SHA-256 over the parts in order, as if they were one.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut sha = Sha256::new();
        for part in parts {
            sha.update(part);
        }
        Self(sha.finalize().into())
    }
}

impl Head {
    /// The head of a journal without entries. Its hash is `SHA-256("consilium journal genesis v1\0")`, not zeros:
    /// a run of zeros on disk means a lost write (see `torn`).
    pub const EMPTY: Self = Self {
        seq: 0,
        hash: Digest([
            0x4e, 0x54, 0xa7, 0xa8, 0x00, 0xb5, 0xbf, 0x16, 0x18, 0x3f, 0x91, 0x9e, 0xe7, 0x0a,
            0xd0, 0xbf, 0xc5, 0xe0, 0x68, 0x79, 0x12, 0x45, 0xa7, 0x99, 0x94, 0x86, 0xdb, 0x3e,
            0x7a, 0x4e, 0xf4, 0xbe,
        ]),
    };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestInvalid;

    fn from_str(text: &str) -> Result<Self, DigestInvalid> {
        let invalid = || DigestInvalid {
            characters: text.chars().count(),
        };
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(invalid)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err(invalid()),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestInvalid;

    fn try_from(text: String) -> Result<Self, DigestInvalid> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_head_is_the_digest_of_the_genesis_string() {
        assert_eq!(
            Head::EMPTY.hash,
            Digest::of(&[b"consilium journal genesis v1\0"])
        );
    }

    #[test]
    fn a_digest_survives_its_own_text() {
        let digest = Digest::of(&[b"rounds ", b"14"]);
        assert_eq!(digest, Digest::of(&[b"rounds 14"]));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        let short = "ab".repeat(31);
        let odd = format!("{}a", "ab".repeat(32));
        let signs = "+f".repeat(32);
        for text in ["", "ab", &short, &odd, &signs, "é"] {
            assert!(
                text.parse::<Digest>().is_err(),
                "`{text}` was read as a digest"
            );
        }
    }
}
