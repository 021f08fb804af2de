//! The auditor's walk: is this folder what was written?

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::scan::Scan;
use crate::storage::{Disk, Storage};
use crate::{Damage, Digest, Head, JournalError};

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
        "the journal was cut: it ends after {found_entries} entries, but a head was recorded after entry \
         {}, {} missing", .expected.seq.saturating_sub(1), .expected.seq.saturating_sub(*.found_entries)
    )]
    Truncated {
        /// The head that had been recorded.
        expected: Head,
        /// How many entries are left.
        found_entries: u64,
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
    /// It could not be read to the end.
    #[error("{0}")]
    Unreadable(JournalError),
}

/// Walks the journal in `folder` from its first entry to its last. With `expected`, a head recorded elsewhere, also
/// shows that nothing up to that head was cut off or rewritten; entries after it are fine.
pub fn verify(folder: &Path, expected: Option<Head>) -> Result<Verified, VerifyError> {
    let no_journal = || VerifyError::NoJournal {
        folder: folder.to_owned(),
    };
    match verify_on(Arc::new(Disk::for_reading(folder)), expected) {
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

/// As [`verify()`], on any storage; `None` if it holds no segment at all.
pub fn verify_on(
    storage: Arc<dyn Storage>,
    expected: Option<Head>,
) -> Result<Option<Verified>, VerifyError> {
    let mut scan = Scan::begin(storage)?;
    if scan.is_empty() {
        return Ok(None);
    }
    loop {
        if let Some(expected) = expected.filter(|expected| expected.seq == scan.head.seq)
            && expected.hash != scan.head.hash
        {
            return Err(VerifyError::Rewritten {
                expected,
                found: scan.head.hash,
            });
        }
        if scan.advance()?.is_none() {
            break;
        }
    }
    let head = scan.head;
    if let Some(expected) = expected.filter(|expected| expected.seq > head.seq) {
        return Err(VerifyError::Truncated {
            expected,
            found_entries: head.seq,
        });
    }
    Ok(Some(Verified {
        entries: head.seq,
        segments: scan.end.segments,
        head,
        torn_tail_bytes: scan.end.torn_bytes,
    }))
}

impl From<JournalError> for VerifyError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Damaged(damage) => Self::Damaged(damage),
            other => Self::Unreadable(other),
        }
    }
}
