//! The journal as a Merkle tree (RFC 6962, section 2.1), so that one entry, or that nothing was rewritten, is proved
//! with a few hashes instead of the whole journal.
//!
//! The tree's data for entry *n* is that entry's chain hash, 32 bytes: it covers the entry and, through the chain,
//! every entry before. Nothing of the tree lies on disk; it is made anew while a journal is read.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | growing it with every entry; paths out of it |
//! | `proof` | what a path proves to someone who has nothing else |

mod proof;
mod tree;

use serde::{Deserialize, Serialize};

use crate::{Digest, Head};

pub use proof::{ConsistencyProof, InclusionProof, PATH_HASHES_MAX, ProofError};
pub(crate) use tree::Tree;

/// A tree at one size, and the end of the chain at that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TreeHead {
    /// How many entries it holds.
    pub size: u64,
    /// The Merkle tree hash over them (RFC 6962, section 2.1).
    pub root: Digest,
    /// The chain hash of the last of them; of none, [`Head::EMPTY`]'s.
    pub chain: Digest,
}

impl TreeHead {
    /// Where the chain ends at this size.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            seq: self.size,
            hash: self.chain,
        }
    }
}

/// `MTH({})`, RFC 6962, section 2.1.
pub(crate) fn empty_root() -> Digest {
    Digest::of(&[])
}

/// `MTH({d})`, for the entry whose chain hash is `entry`.
pub(crate) fn leaf_hash(entry: Digest) -> Digest {
    Digest::of_parts(&[&[0], &entry.0])
}

/// The hash of an inner node.
pub(crate) fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    let (_, children) = bytes.split_at_mut(1);
    let (first, second) = children.split_at_mut(32);
    first.copy_from_slice(&left.0);
    second.copy_from_slice(&right.0);
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests;
