//! The auditor's walk: is this folder what was written?

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::merkle::Tree;
use crate::scan::Scan;
use crate::storage::{Disk, Storage};
use crate::{Damage, Digest, Head, JournalError, Snapshot, TreeHead};

/// A journal that is what was written, as far as its own chain (and the expected head, if one was given) can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    /// How many entries it has.
    pub entries: u64,
    /// How many segment files.
    pub segments: u64,
    /// Where the chain ends.
    pub head: Head,
    /// The root of the Merkle tree over all entries.
    pub root: Digest,
    /// Bytes after the last entry that a crash left, or that are just being written; opening cuts them.
    pub torn_tail_bytes: u64,
}

/// Why a journal is not what was written, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is nothing to verify.
    #[error("there is no journal in `{}`", .folder.display())]
    NoJournal {
        /// The folder looked into.
        folder: PathBuf,
    },
    /// An entry or segment was changed, moved, removed or brought in.
    #[error("{0}")]
    Damaged(Damage),
    /// The end is gone.
    #[error(
        "the journal was cut: it ends after {found_entries} entries at segment `{segment}`, byte {offset}, but a head was \
         recorded after entry {}, {} missing", .expected.seq.saturating_sub(1),
        .expected.seq.saturating_sub(*.found_entries)
    )]
    Truncated {
        /// The head that had been recorded.
        expected: Head,
        /// How many entries are left.
        found_entries: u64,
        /// The segment that they end in.
        segment: String,
        /// Where in it.
        offset: u64,
    },
    /// The chain is whole but is another one.
    #[error(
        "the journal was rewritten: after {} entries its hash is {found}, recorded was {}",
        .expected.seq, .expected.hash
    )]
    Rewritten {
        /// The head that had been recorded.
        expected: Head,
        /// The hash found at that place.
        found: Digest,
    },
    /// The chain is the one recorded and the tree is not: the record contradicts itself.
    #[error(
        "after {size} entries the journal's tree has the root {found}, recorded was {expected}, though the chain is \
         the recorded one: whoever wrote that record did not write it from this journal"
    )]
    OtherRoot {
        /// How many entries.
        size: u64,
        /// The root that had been recorded.
        expected: Digest,
        /// The root found.
        found: Digest,
    },
    /// It could not be read to the end.
    #[error("{0}")]
    Unreadable(JournalError),
}

/// Walks the journal in `folder` from its first entry to its last. With `expected`, a head recorded elsewhere, also
/// shows that nothing up to that head was cut off or rewritten; entries after it are fine.
pub fn verify(folder: &Path, expected: Option<Head>) -> Result<Verified, VerifyError> {
    on_disk(folder, |storage| verify_on(storage, expected))
}

/// As [`verify()`], on any storage; `None` if it holds no segment at all.
pub fn verify_on(
    storage: Arc<dyn Storage>,
    expected: Option<Head>,
) -> Result<Option<Verified>, VerifyError> {
    let expected: Vec<Expected> = expected
        .map(|head| Expected { head, root: None })
        .into_iter()
        .collect();
    let walked = walk(storage, expected)?;
    Ok(walked.map(|(verified, _)| verified))
}

/// As [`verify()`], against any number of tree heads recorded elsewhere (those of checkpoints), in any order. Also
/// returns the journal's tree, for proofs.
pub fn verify_heads(
    folder: &Path,
    recorded: &[TreeHead],
) -> Result<(Verified, Snapshot), VerifyError> {
    on_disk(folder, |storage| verify_heads_on(storage, recorded))
}

/// As [`verify_heads()`], on any storage; `None` if it holds no segment at all.
pub fn verify_heads_on(
    storage: Arc<dyn Storage>,
    recorded: &[TreeHead],
) -> Result<Option<(Verified, Snapshot)>, VerifyError> {
    let expected = recorded
        .iter()
        .map(|recorded| Expected {
            head: recorded.head(),
            root: Some(recorded.root),
        })
        .collect();
    let walked = walk(Arc::clone(&storage), expected)?;
    Ok(walked.map(|(verified, tree)| {
        let snapshot = Snapshot::new(storage, tree, verified.head);
        (verified, snapshot)
    }))
}

/// What was recorded of the journal at one size.
struct Expected {
    head: Head,
    root: Option<Digest>,
}

impl Expected {
    fn check(&self, head: Head, tree: &Tree) -> Result<(), VerifyError> {
        if self.head.hash != head.hash {
            return Err(VerifyError::Rewritten {
                expected: self.head,
                found: head.hash,
            });
        }
        match self.root {
            Some(root) if root != tree.root() => Err(VerifyError::OtherRoot {
                size: head.seq,
                expected: root,
                found: tree.root(),
            }),
            _ => Ok(()),
        }
    }
}

fn walk(
    storage: Arc<dyn Storage>,
    mut expected: Vec<Expected>,
) -> Result<Option<(Verified, Tree)>, VerifyError> {
    let mut scan = Scan::begin(storage)?;
    if scan.is_empty() {
        return Ok(None);
    }
    expected.sort_by_key(|expected| expected.head.seq);
    let mut expected = expected.into_iter().peekable();
    let mut tree = Tree::default();
    loop {
        while let Some(due) = expected.next_if(|next| next.head.seq == scan.head.seq) {
            due.check(scan.head, &tree)?;
        }
        match scan.advance()? {
            Some((_, hash)) => tree.push(hash),
            None => break,
        }
    }
    let head = scan.head;
    if let Some(Expected { head: expected, .. }) = expected.last() {
        let (segment, offset) = match &scan.end.last {
            Some(last) => (last.name.clone(), last.end),
            None => (String::new(), 0),
        };
        return Err(VerifyError::Truncated {
            expected,
            found_entries: head.seq,
            segment,
            offset,
        });
    }
    let verified = Verified {
        entries: head.seq,
        segments: scan.end.segments,
        head,
        root: tree.root(),
        torn_tail_bytes: scan.end.torn_bytes,
    };
    Ok(Some((verified, tree)))
}

fn on_disk<T>(
    folder: &Path,
    verify: impl FnOnce(Arc<dyn Storage>) -> Result<Option<T>, VerifyError>,
) -> Result<T, VerifyError> {
    let no_journal = || VerifyError::NoJournal {
        folder: folder.to_owned(),
    };
    match verify(Arc::new(Disk::for_reading(folder))) {
        Ok(None) => Err(no_journal()),
        Ok(Some(verified)) => Ok(verified),
        Err(VerifyError::Unreadable(JournalError::Storage { cause, .. }))
            if cause.kind() == io::ErrorKind::NotFound =>
        {
            Err(no_journal())
        }
        Err(error) => Err(error),
    }
}

impl From<JournalError> for VerifyError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Damaged(damage) => Self::Damaged(damage),
            other => Self::Unreadable(other),
        }
    }
}
