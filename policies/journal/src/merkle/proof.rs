//! What a path of hashes proves, to someone who has the roots and nothing else (RFC 9162, sections 2.1.3.2 and
//! 2.1.4.2; the trees are those of RFC 6962).

use serde::{Deserialize, Serialize};

use super::{leaf_hash, node_hash};
use crate::Digest;

/// No path in a tree of 2⁶⁴ leaves is longer than this plus one.
pub const PATH_HASHES_MAX: usize = 64;

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More hashes than any tree is high.
    #[error("a path has at most {PATH_HASHES_MAX} hashes, this one has {0}")]
    TooLong(usize),
    /// The entry lies beyond the tree's end.
    #[error("entry {seq} is not in a tree of {size} entries")]
    Beyond {
        /// The entry.
        seq: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree does not become smaller.
    #[error("a tree of {new} entries cannot continue one of {old}")]
    Smaller {
        /// The size before.
        old: u64,
        /// The size after.
        new: u64,
    },
    /// The hashes lead elsewhere.
    #[error("the hashes do not lead to the root")]
    OtherRoot,
}

/// That one entry is in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InclusionProof {
    path: Vec<Digest>,
}

/// That one tree continues another: every entry of the first is in the second, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsistencyProof {
    path: Vec<Digest>,
}

impl InclusionProof {
    /// The path from the leaf's sibling to the root's child.
    #[must_use]
    pub fn new(path: Vec<Digest>) -> Self {
        Self { path }
    }

    /// The hashes, from the leaf up.
    #[must_use]
    pub fn path(&self) -> &[Digest] {
        &self.path
    }

    /// Whether the entry with chain hash `entry` is number `seq` of the tree with this size and root.
    ///
    /// # Errors
    /// It is not, as far as this proof shows.
    pub fn verify(
        &self,
        entry: Digest,
        seq: u64,
        size: u64,
        root: Digest,
    ) -> Result<(), ProofError> {
        check_length(&self.path)?;
        if seq >= size {
            return Err(ProofError::Beyond { seq, size });
        }
        let mut walk = Walk {
            at: seq,
            last: size - 1,
        };
        let mut hash = leaf_hash(entry);
        for &sibling in &self.path {
            hash = match walk.up().ok_or(ProofError::OtherRoot)? {
                Side::Left => node_hash(sibling, hash),
                Side::Right => node_hash(hash, sibling),
            };
        }
        walk.arrived_at(hash == root)
    }
}

impl ConsistencyProof {
    /// The path, from the bottom up.
    #[must_use]
    pub fn new(path: Vec<Digest>) -> Self {
        Self { path }
    }

    /// The hashes, from the bottom up.
    #[must_use]
    pub fn path(&self) -> &[Digest] {
        &self.path
    }

    /// Whether the tree `new` (size and root) continues the tree `old`.
    ///
    /// # Errors
    /// It does not, as far as this proof shows.
    pub fn verify(&self, old: (u64, Digest), new: (u64, Digest)) -> Result<(), ProofError> {
        check_length(&self.path)?;
        let ((old_size, old_root), (new_size, new_root)) = (old, new);
        if old_size > new_size {
            return Err(ProofError::Smaller {
                old: old_size,
                new: new_size,
            });
        }
        if old_size == new_size || old_size == 0 {
            let same = old_size < new_size || old_root == new_root;
            return match self.path.is_empty() && same {
                true => Ok(()),
                false => Err(ProofError::OtherRoot),
            };
        }
        let mut walk = Walk {
            at: old_size - 1,
            last: new_size - 1,
        };
        walk.skip_right_edges();
        let mut path = self.path.iter().copied();
        let first = match old_size.is_power_of_two() {
            true => Some(old_root),
            false => path.next(),
        };
        let first = first.ok_or(ProofError::OtherRoot)?;
        let (mut old_hash, mut new_hash) = (first, first);
        for sibling in path {
            match walk.up().ok_or(ProofError::OtherRoot)? {
                Side::Left => {
                    old_hash = node_hash(sibling, old_hash);
                    new_hash = node_hash(sibling, new_hash);
                }
                Side::Right => new_hash = node_hash(new_hash, sibling),
            }
        }
        walk.arrived_at(old_hash == old_root && new_hash == new_root)
    }
}

fn check_length(path: &[Digest]) -> Result<(), ProofError> {
    match path.len() {
        0..=PATH_HASHES_MAX => Ok(()),
        longer => Err(ProofError::TooLong(longer)),
    }
}

/// On which side a sibling lies.
enum Side {
    Left,
    Right,
}

/// A walk from a node to the root: its number in its level, and the number of the level's last node.
struct Walk {
    at: u64,
    last: u64,
}

impl Walk {
    /// One step up; `None` at the root.
    fn up(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.at & 1 == 1 || self.at == self.last {
            // A node without a sibling is its own parent.
            while self.at & 1 == 0 && self.at != 0 {
                self.shift();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.shift();
        Some(side)
    }

    fn skip_right_edges(&mut self) {
        while self.at & 1 == 1 {
            self.shift();
        }
    }

    fn shift(&mut self) {
        self.at >>= 1;
        self.last >>= 1;
    }

    fn arrived_at(&self, root_is_right: bool) -> Result<(), ProofError> {
        match self.last == 0 && root_is_right {
            true => Ok(()),
            false => Err(ProofError::OtherRoot),
        }
    }
}
