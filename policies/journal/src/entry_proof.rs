//! That one entry is in a journal, for somebody who has a public key and not the journal.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{NoteError, SIGNATURES_MAX, SignedCheckpoint};
use crate::frame::Frame;
use crate::{Digest, Entry, InclusionProof, JournalError, ProofError, Snapshot, VerifyError};

/// How the form is called; it changes when the form does.
const FORMAT: &str = "consilium entry proof v1";

/// The longest proof that is read: an entry of the greatest length, escaped, and its path.
pub const ENTRY_PROOF_BYTES_MAX: usize = 40 << 20;

/// One entry, whole, with the path that leads from it to a signed checkpoint's root. Written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntryProof {
    format: String,
    seq: u64,
    batch: u64,
    at_ms: u64,
    hash_before: Digest,
    kind: String,
    /// The entry's JSON, byte for byte.
    payload: String,
    path: InclusionProof,
    /// A signed note.
    checkpoint: String,
    /// Of those who signed it, in PEM: whose keys these are, for a reader who knows the authority. Not looked at here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<String>,
}

/// Why there is no proof, or why one proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum EntryProofError {
    /// The journal itself.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The journal, while it was read again.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The checkpoint is older than the entry.
    #[error(
        "entry {seq} is not covered by the checkpoint, which covers {size} entries; wait for the next one"
    )]
    NotCovered {
        /// The entry.
        seq: u64,
        /// What the checkpoint covers.
        size: u64,
    },
    /// The checkpoint is of another journal, or of another state of it.
    #[error("the checkpoint does not belong to this journal: its root is another")]
    OtherJournal,
    /// The entry's payload is not text.
    #[error("entry {seq} is no text, and only text is proved")]
    NotText {
        /// The entry.
        seq: u64,
    },
    /// The bytes are no proof.
    #[error("this is no entry proof: {problem}")]
    NotAProof {
        /// What is wrong.
        problem: String,
    },
    /// The path leads elsewhere.
    #[error("the proof does not hold: {0}")]
    Path(#[from] ProofError),
    /// The checkpoint in it is none.
    #[error("the checkpoint in the proof is none: {0}")]
    Checkpoint(#[from] NoteError),
}

impl EntryProof {
    /// Proves entry `seq` of the journal in `folder`, under `checkpoint`. Reads the journal whole, checking it.
    ///
    /// # Errors
    /// The journal is damaged, has no such entry, or is not the one the checkpoint is of.
    pub fn make(
        folder: &Path,
        seq: u64,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Self, EntryProofError> {
        let snapshot = Snapshot::read(folder)?;
        let head = checkpoint.head();
        if seq >= head.size {
            return Err(EntryProofError::NotCovered {
                seq,
                size: head.size,
            });
        }
        if snapshot.root_at(head.size)? != head.root {
            return Err(EntryProofError::OtherJournal);
        }
        let path = snapshot.prove_inclusion(seq, head.size)?;
        snapshot.with_frame(seq, |frame| {
            Ok(Self {
                format: FORMAT.to_owned(),
                seq,
                batch: frame.batch,
                at_ms: frame.at_ms,
                hash_before: frame.hash_before,
                kind: frame.kind.to_owned(),
                payload: String::from_utf8(frame.payload.to_vec())
                    .map_err(|_| EntryProofError::NotText { seq })?,
                path,
                checkpoint: checkpoint.to_string(),
                certificates: Vec::new(),
            })
        })
    }

    /// The same proof with the certificates of those who signed, in PEM.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Vec<String>) -> Self {
        self.certificates = certificates;
        self.certificates.truncate(SIGNATURES_MAX);
        self
    }

    /// The certificates that came with it, in PEM, unchecked.
    #[must_use]
    pub fn certificates(&self) -> &[String] {
        &self.certificates
    }

    /// Reads a proof from its JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryProofError> {
        let problem = |problem: String| EntryProofError::NotAProof { problem };
        if bytes.len() > ENTRY_PROOF_BYTES_MAX {
            return Err(problem(format!(
                "it has more than {ENTRY_PROOF_BYTES_MAX} bytes"
            )));
        }
        let proof: Self =
            serde_json::from_slice(bytes).map_err(|error| problem(error.to_string()))?;
        if proof.format != FORMAT {
            return Err(problem(format!("it is not a `{FORMAT}`")));
        }
        if proof.certificates.len() > SIGNATURES_MAX {
            return Err(problem(format!(
                "it has more than {SIGNATURES_MAX} certificates"
            )));
        }
        Ok(proof)
    }

    /// The entry and the checkpoint that it is proved under. Whether the checkpoint is genuine, its signatures tell.
    ///
    /// # Errors
    /// The entry is not in the checkpoint's tree, or was changed.
    pub fn check(&self) -> Result<(Entry, SignedCheckpoint), EntryProofError> {
        let frame = Frame {
            seq: self.seq,
            batch: self.batch,
            at_ms: self.at_ms,
            hash_before: self.hash_before,
            kind: &self.kind,
            payload: self.payload.as_bytes(),
        };
        let hash = frame
            .encode(&mut Vec::new())
            .ok_or_else(|| EntryProofError::NotAProof {
                problem: "its entry is none a journal could hold".to_owned(),
            })?;
        let checkpoint = SignedCheckpoint::parse(self.checkpoint.as_bytes())?;
        let head = checkpoint.head();
        self.path.verify(hash, self.seq, head.size, head.root)?;
        let entry = Entry {
            seq: self.seq,
            at_ms: self.at_ms,
            kind: self.kind.clone(),
            payload: self.payload.clone().into_bytes(),
            hash,
        };
        Ok((entry, checkpoint))
    }
}
