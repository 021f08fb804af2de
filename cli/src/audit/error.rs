//! What can be wrong with what an auditor brings or asks.

use std::path::PathBuf;

use consilium_journal::EntryProofError;
use consilium_journal::checkpoint::NoteError;

/// Why evidence is none, or a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("`{path}`, line {line}: {problem}; write name+id+key, or give a member's certificate")]
    NotAKey {
        path: PathBuf,
        line: usize,
        problem: NoteError,
    },
    #[error(
        "`{path}`: {problem}; it was changed, or is not from the site whose key you gave: ask that site for its own"
    )]
    NotACheckpoint { path: PathBuf, problem: NoteError },
    #[error("no checkpoint is there to prove it under; give one with --checkpoint")]
    NoCheckpoint,
    #[error(
        "no key is known by which the checkpoint could be believed; give one with --authority or --key"
    )]
    NoKey,
    #[error(
        "the checkpoint is not signed by a site whose key is known; give that site's with --key or --authority"
    )]
    NotSigned,
    #[error(
        "the journal is in order, and no checkpoint that a witness cosigned was checked ({unchecked} are signed by \
         keys not known here); give one with --checkpoint, and its keys with --authority or --key"
    )]
    NotWitnessed { unchecked: u64 },
    #[error("{0}; do not rely on it")]
    Proof(EntryProofError),
    #[error("{0}")]
    NotProved(EntryProofError),
    #[error("`{path}` names no bundle: {problem}")]
    Bundle { path: PathBuf, problem: String },
}

impl AuditError {
    /// The code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotAKey { .. } => "bad-key",
            Self::NotACheckpoint { .. } => "bad-checkpoint",
            Self::NoCheckpoint => "no-checkpoint",
            Self::NoKey => "no-key",
            Self::NotSigned => "checkpoint-not-signed",
            Self::NotWitnessed { .. } => "not-witnessed",
            Self::Proof(_) => "proof-does-not-hold",
            Self::NotProved(_) => "not-proved",
            Self::Bundle { .. } => "bad-bundle",
        }
    }
}
