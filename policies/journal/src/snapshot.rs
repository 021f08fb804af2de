//! A journal as it stood at one moment, for proofs about it.

use std::path::Path;
use std::sync::Arc;

use crate::frame::Frame;
use crate::merkle::{Tree, leaf_hash};
use crate::scan::Scan;
use crate::storage::Storage;
use crate::{ConsistencyProof, Digest, Head, InclusionProof, JournalError, TreeHead, VerifyError};

/// The tree over a journal's entries at one moment. The journal may go on meanwhile; what is proved here stays true.
pub struct Snapshot {
    storage: Arc<dyn Storage>,
    tree: Tree,
    chain: Head,
}

impl Snapshot {
    pub(crate) fn new(storage: Arc<dyn Storage>, tree: Tree, chain: Head) -> Self {
        Self {
            storage,
            tree,
            chain,
        }
    }

    /// Reads the journal in `folder` to its end, checking every entry on the way.
    ///
    /// # Errors
    /// There is none, or it is not what was written.
    pub fn read(folder: &Path) -> Result<Self, VerifyError> {
        crate::verify::verify_heads(folder, &[]).map(|(_, snapshot)| snapshot)
    }

    /// The tree's size and root, and where the chain ends.
    #[must_use]
    pub fn tree_head(&self) -> TreeHead {
        TreeHead {
            size: self.tree.size(),
            root: self.tree.root(),
            chain: self.chain.hash,
        }
    }

    /// The root over the first `size` entries.
    ///
    /// # Errors
    /// There are fewer, or the segments cannot be read any more.
    pub fn root_at(&self, size: u64) -> Result<Digest, JournalError> {
        self.tree
            .root_at(size, &mut |seqs| read_leaves(&self.storage, seqs))
    }

    /// That entry `seq` is in the tree of the first `size` entries.
    ///
    /// # Errors
    /// As [`Snapshot::root_at`].
    pub fn prove_inclusion(&self, seq: u64, size: u64) -> Result<InclusionProof, JournalError> {
        self.tree
            .prove_inclusion(seq, size, &mut |seqs| read_leaves(&self.storage, seqs))
    }

    /// Reads entry `seq` again.
    pub(crate) fn with_frame<T, E: From<JournalError>>(
        &self,
        seq: u64,
        read: impl FnOnce(Frame<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut scan = Scan::begin_before(Arc::clone(&self.storage), seq)?;
        loop {
            match scan.advance()? {
                Some((frame, _)) if frame.seq == seq => return read(frame),
                Some(_) => {}
                None => {
                    let size = scan.head.seq;
                    return Err(JournalError::BeyondTree { asked: seq, size }.into());
                }
            }
        }
    }

    /// That the tree of the first `new` entries continues the tree of the first `old`.
    ///
    /// # Errors
    /// As [`Snapshot::root_at`].
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, JournalError> {
        self.tree
            .prove_consistency(old, new, &mut |seqs| read_leaves(&self.storage, seqs))
    }
}

fn read_leaves(
    storage: &Arc<dyn Storage>,
    seqs: std::ops::Range<u64>,
) -> Result<Vec<Digest>, JournalError> {
    let mut scan = Scan::begin_before(Arc::clone(storage), seqs.start)?;
    let mut leaves = Vec::new();
    while scan.head.seq < seqs.end {
        match scan.advance()? {
            None => break,
            Some((frame, hash)) if seqs.contains(&frame.seq) => leaves.push(leaf_hash(hash)),
            Some(_) => {}
        }
    }
    Ok(leaves)
}
