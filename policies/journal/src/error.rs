//! What can go wrong while a journal is opened, appended to or read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Damage, KIND_BYTES_MAX};

/// Why a journal could not be opened, appended to or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process (or another part of this one) has it open for writing.
    #[error("the journal in `{}` is in use by another process; stop that one first", .folder.display())]
    Locked {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// There is nothing to read.
    #[error("there is no journal in `{}`", .folder.display())]
    NoJournal {
        /// The folder looked into.
        folder: PathBuf,
    },
    /// What lies on disk is not what was written; nothing was changed.
    #[error("the journal is damaged: {0}")]
    Damaged(Damage),
    /// The disk is full.
    #[error("the disk is full, could not {doing} `{file}`; free some space")]
    Full {
        /// What was attempted.
        doing: &'static str,
        /// The file in the journal's folder.
        file: String,
    },
    /// The storage failed.
    #[error(
        "could not {doing} `{file}`: {cause}; check the disk and the permissions of the journal's folder"
    )]
    Storage {
        /// What was attempted.
        doing: &'static str,
        /// The file in the journal's folder.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A write or fsync failed, now or earlier. An fsync that failed may have dropped what it should have
    /// written, so it is never tried again: the journal takes nothing more until it is opened anew, when
    /// everything is read back. The entry at hand may or may not be found then.
    #[error(
        "the journal stopped at entry {seq} and takes no more until it is opened anew: {cause}"
    )]
    Poisoned {
        /// The first entry that is not known to be durable.
        seq: u64,
        /// The first failure.
        cause: Arc<Self>,
    },
    /// Nobody was given that place, so nobody will make it durable.
    #[error("entry {seq} was never queued, the next is entry {queued}")]
    NotQueued {
        /// The entry waited for.
        seq: u64,
        /// The next place that will be given out.
        queued: u64,
    },
    /// A proof about entries that are not there (any more).
    #[error("entry or size {asked} lies beyond a tree of {size} entries")]
    BeyondTree {
        /// What was asked about.
        asked: u64,
        /// What there is.
        size: u64,
    },
    /// The thread that wrote for the others panicked.
    #[error("the thread that was writing gave up in the middle")]
    Abandoned,
    /// More than the limit allows.
    #[error("an entry of kind `{kind}` has {bytes} bytes, at most {bytes_max} are allowed")]
    EntryTooLarge {
        /// The entry's kind.
        kind: String,
        /// The length of its payload.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not a kind.
    #[error("a kind has 1 to {KIND_BYTES_MAX} printable ascii characters without blanks, not `{}`", .kind.escape_debug())]
    KindInvalid {
        /// What was given.
        kind: String,
    },
    /// The value could not be written as JSON.
    #[error("an entry of kind `{kind}` could not be written as json: {cause}")]
    NotSerializable {
        /// The entry's kind.
        kind: String,
        /// Why.
        cause: serde_json::Error,
    },
    /// The payload is not what the reader took it for. The value itself is not repeated here.
    #[error(
        "entry {seq} of kind `{kind}` does not have the expected form, from column {column} on"
    )]
    NotReadable {
        /// The entry.
        seq: u64,
        /// Its kind.
        kind: String,
        /// Where in the payload.
        column: usize,
    },
    /// A limit no journal can have.
    #[error("the limit `{name}` is {value}; it must be between 1 and {max}")]
    LimitOutOfRange {
        /// The limit's name.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The most it can be.
        max: usize,
    },
}

impl JournalError {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged(damage) => damage.fault.code(),
            Self::NoJournal { .. } => "no-journal",
            Self::Locked { .. } => "journal-in-use",
            Self::Full { .. } => "disk-full",
            _ => "journal-unreadable",
        }
    }

    /// Whether the storage is to blame, and not what lies on it: once it is good again, opening anew may help.
    #[must_use]
    pub fn is_of_storage(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::Storage { .. } | Self::Poisoned { .. } | Self::Abandoned
        )
    }

    /// The error of a storage verb on one file.
    pub(crate) fn storage(doing: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |cause| match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                doing,
                file: file.to_owned(),
            },
            _ => Self::Storage {
                doing,
                file: file.to_owned(),
                cause,
            },
        }
    }
}
