//! The head of a chain.

use std::fmt;

use consilium_protocol::Digest;
use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_head_is_the_digest_of_the_genesis_string() {
        assert_eq!(
            Head::EMPTY.hash,
            Digest::of(b"consilium journal genesis v1\0")
        );
    }
}
