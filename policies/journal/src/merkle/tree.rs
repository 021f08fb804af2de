//! The tree that grows with the journal.
//!
//! Kept in memory: the roots of the complete subtrees that make up the whole (O(log n): this is all an append needs),
//! the roots of all complete subtrees of [`GROUP_LEAVES`] leaves and more (64 bytes for 256 entries: 250 KB for a
//! million), and the newest leaves. Leaves further back are read from the segments when a path needs them, a group
//! at a time.

use std::collections::VecDeque;

use super::{ConsistencyProof, InclusionProof, empty_root, leaf_hash, node_hash};
use crate::{Digest, JournalError};

const GROUP_LEVEL: u32 = 8;
/// Leaves that are read together: a group.
const GROUP_LEAVES: u64 = 1 << GROUP_LEVEL;
/// Newest leaves kept in memory, at least; the paths of fresh checkpoints need no disk.
const RECENT_LEAVES: usize = 4096;

/// The tree over the entries pushed so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    size: u64,
    /// Roots of the complete subtrees, largest first, one for each bit of `size`.
    complete: Vec<Digest>,
    /// At `n`, the roots of all complete subtrees of `GROUP_LEAVES << n` leaves, in order.
    groups: Vec<Vec<Digest>>,
    /// The leaf hashes from `recent_from` to the last.
    recent: VecDeque<Digest>,
    recent_from: u64,
}

/// Reads the leaf hashes of the entries from the first number to before the second.
pub(crate) type ReadLeaves<'a> =
    &'a mut dyn FnMut(std::ops::Range<u64>) -> Result<Vec<Digest>, JournalError>;

impl Tree {
    /// Adds the entry with this chain hash.
    pub(crate) fn push(&mut self, entry: Digest) {
        let leaf = leaf_hash(entry);
        self.recent.push_back(leaf);
        if self.recent.len() >= 2 * RECENT_LEAVES {
            self.recent.drain(..RECENT_LEAVES);
            self.recent_from += RECENT_LEAVES as u64;
        }
        let mut node = leaf;
        let mut level = 0;
        while self.size >> level & 1 == 1 {
            let Some(left) = self.complete.pop() else {
                break;
            };
            node = node_hash(left, node);
            level += 1;
            self.keep(level, node);
        }
        self.complete.push(node);
        self.size += 1;
    }

    fn keep(&mut self, level: u32, node: Digest) {
        let Some(at) = level.checked_sub(GROUP_LEVEL) else {
            return;
        };
        let at = at as usize;
        if self.groups.len() <= at {
            self.groups.resize(at + 1, Vec::new());
        }
        if let Some(roots) = self.groups.get_mut(at) {
            roots.push(node);
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The root over everything pushed so far.
    pub(crate) fn root(&self) -> Digest {
        let mut from_right = self.complete.iter().rev();
        let Some(last) = from_right.next() else {
            return empty_root();
        };
        from_right.fold(*last, |right, left| node_hash(*left, right))
    }

    /// The root as it was at `size`, which must not be beyond the tree's own.
    pub(crate) fn root_at(&self, size: u64, read: ReadLeaves<'_>) -> Result<Digest, JournalError> {
        self.check(size)?;
        match size {
            0 => Ok(empty_root()),
            _ => Paths::of(self, read).subtree(0, size),
        }
    }

    /// `PATH(seq, D[size])`: RFC 6962, section 2.1.1.
    pub(crate) fn prove_inclusion(
        &self,
        seq: u64,
        size: u64,
        read: ReadLeaves<'_>,
    ) -> Result<InclusionProof, JournalError> {
        self.check(size)?;
        if seq >= size {
            return Err(JournalError::BeyondTree { asked: seq, size });
        }
        let mut paths = Paths::of(self, read);
        let mut path = Vec::new();
        let (mut from, mut to) = (0, size);
        while to - from > 1 {
            let middle = from + largest_power_below(to - from);
            if seq < middle {
                path.push(paths.subtree(middle, to)?);
                to = middle;
            } else {
                path.push(paths.subtree(from, middle)?);
                from = middle;
            }
        }
        path.reverse();
        Ok(InclusionProof::new(path))
    }

    /// `PROOF(old, D[new])`: RFC 6962, section 2.1.2. Empty where nothing needs proof.
    pub(crate) fn prove_consistency(
        &self,
        old: u64,
        new: u64,
        read: ReadLeaves<'_>,
    ) -> Result<ConsistencyProof, JournalError> {
        self.check(new)?;
        if old > new {
            return Err(JournalError::BeyondTree {
                asked: old,
                size: new,
            });
        }
        let mut paths = Paths::of(self, read);
        let mut path = Vec::new();
        // `SUBPROOF(m, D[from..to], b)` as a loop; `b` holds while the walk stays on the left edge.
        let (mut from, mut to, mut known) = (0, new, true);
        while old > 0 && old < new && old != to {
            let middle = from + largest_power_below(to - from);
            if old <= middle {
                path.push(paths.subtree(middle, to)?);
                to = middle;
            } else {
                path.push(paths.subtree(from, middle)?);
                from = middle;
                known = false;
            }
        }
        if old > 0 && old < new && !known {
            path.push(paths.subtree(from, to)?);
        }
        path.reverse();
        Ok(ConsistencyProof::new(path))
    }

    /// Whether leaves before this one have been let go.
    #[cfg(test)]
    pub(crate) fn recent_from(&self) -> u64 {
        self.recent_from
    }

    fn check(&self, size: u64) -> Result<(), JournalError> {
        if size > self.size {
            return Err(JournalError::BeyondTree {
                asked: size,
                size: self.size,
            });
        }
        Ok(())
    }

    /// The root of the complete subtree of `GROUP_LEAVES << n` leaves that begins at `from`.
    fn kept(&self, from: u64, leaves: u64) -> Option<Digest> {
        let level = leaves.trailing_zeros().checked_sub(GROUP_LEVEL)?;
        let at = usize::try_from(from >> leaves.trailing_zeros()).ok()?;
        self.groups.get(level as usize)?.get(at).copied()
    }
}

/// The hashes of one path: what the tree keeps, and what is read once.
struct Paths<'a> {
    tree: &'a Tree,
    read: ReadLeaves<'a>,
    /// The first leaf and the leaves of the group read last.
    group: (u64, Vec<Digest>),
}

impl<'a> Paths<'a> {
    fn of(tree: &'a Tree, read: ReadLeaves<'a>) -> Self {
        Self {
            tree,
            read,
            group: (0, Vec::new()),
        }
    }

    /// `MTH(D[from..to])`. `from` is a multiple of the largest power of two that is not beyond the length.
    fn subtree(&mut self, from: u64, to: u64) -> Result<Digest, JournalError> {
        let leaves = to - from;
        if leaves <= 1 {
            return self.leaf(from);
        }
        if leaves.is_power_of_two()
            && let Some(kept) = self.tree.kept(from, leaves)
        {
            return Ok(kept);
        }
        let middle = from + largest_power_below(leaves);
        Ok(node_hash(
            self.subtree(from, middle)?,
            self.subtree(middle, to)?,
        ))
    }

    fn leaf(&mut self, seq: u64) -> Result<Digest, JournalError> {
        let recent = seq.checked_sub(self.tree.recent_from);
        if let Some(leaf) = recent.and_then(|at| self.tree.recent.get(usize::try_from(at).ok()?)) {
            return Ok(*leaf);
        }
        let begins = seq - seq % GROUP_LEAVES;
        if self.group.1.is_empty() || self.group.0 != begins {
            let ends = (begins + GROUP_LEAVES).min(self.tree.size);
            self.group = (begins, (self.read)(begins..ends)?);
        }
        let at = usize::try_from(seq - begins).unwrap_or(usize::MAX);
        let missing = || JournalError::BeyondTree {
            asked: seq,
            size: begins + self.group.1.len() as u64,
        };
        self.group.1.get(at).copied().ok_or_else(missing)
    }
}

/// The largest power of two below `leaves`, which is at least 2.
fn largest_power_below(leaves: u64) -> u64 {
    let below = leaves.saturating_sub(1).max(1);
    1 << (63 - below.leading_zeros())
}
