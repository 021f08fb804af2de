//! Checkpoints: what a site says of its journal at one moment, signed, for others to remember.
//!
//! A checkpoint is a C2SP `tlog-checkpoint` in a C2SP `signed-note`, so that tools of the transparency world read it:
//!
//! ```text
//! consilium/heart/cleveland                                  origin: consortium and site
//! 1204                                                       entries
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=              the tree's root (RFC 6962)
//! chain 4e54a7a8...                                          the last entry's chain hash
//!
//! — consilium/heart/cleveland 1qXJ...                        the site's own signature
//! — consilium/heart 9Zkx...                                  the coordinator's cosignature, with its time
//! — consilium/heart/hungary a2Rt...                          another site's
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `note` | notes, keys and signatures |
//! | `file` | the file that a site keeps its checkpoints in |
//! | `witness` | what a witness remembers of others' journals |
//! | `base64` | bytes in a line of text |

pub mod base64;
mod file;
mod note;
mod witness;

use std::fmt;

use consilium_protocol::SiteName;
use consilium_protocol::signature::{PublicKey, Signature};

use crate::{Digest, TreeHead};

pub use file::{CHECKPOINTS_FOLDER, CheckpointFile, OpenedCheckpoints, read_checkpoints};
pub use note::{
    KeyKind, KeyName, NOTE_BYTES_MAX, NoteError, NoteSignature, SIGNATURES_MAX, SignedNote,
    VerifierKey,
};
pub use witness::{Seen, Witness, WitnessError};

/// The extension line that holds the chain's head.
const CHAIN: &str = "chain ";

/// What one site says of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose journal: the consortium and the site.
    pub origin: KeyName,
    /// Its size, root and chain head.
    pub head: TreeHead,
}

/// A checkpoint with the signatures under it, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
}

/// The name under which a site signs checkpoints, and of its log: `consilium/<consortium>/<site>`.
#[must_use]
pub fn site_key_name(consortium: &str, site: &SiteName) -> KeyName {
    KeyName::of_parts(&["consilium", consortium, site.as_str()])
}

/// The name under which a consortium's coordinator cosigns: `consilium/<consortium>`, which is no site's.
#[must_use]
pub fn coordinator_key_name(consortium: &str) -> KeyName {
    KeyName::of_parts(&["consilium", consortium])
}

impl Checkpoint {
    /// The note's text.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n{CHAIN}{}\n",
            self.origin,
            self.head.size,
            base64::encode(&self.head.root.0),
            self.head.chain
        )
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// It is not as [`Checkpoint::text`] writes it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split_terminator('\n');
        let mut line = |what| lines.next().ok_or(NoteError::NotACheckpoint { what });
        let origin = line("the origin")?.parse()?;
        let size_line = line("the size")?;
        let size: u64 = size_line
            .parse()
            .map_err(|_| NoteError::NotACheckpoint { what: "the size" })?;
        let root = base64::decode(line("the root")?)
            .and_then(|bytes| Digest::from_bytes(&bytes))
            .ok_or(NoteError::NotACheckpoint { what: "the root" })?;
        let no_chain = || NoteError::NotACheckpoint {
            what: "the chain's head",
        };
        let chain = line("the chain's head")?
            .strip_prefix(CHAIN)
            .and_then(|hex| hex.parse().ok())
            .ok_or_else(no_chain)?;
        let checkpoint = Self {
            origin,
            head: TreeHead { size, root, chain },
        };
        // One text for each checkpoint: no leading zeros, no lines more.
        if checkpoint.text() == text {
            Ok(checkpoint)
        } else {
            Err(NoteError::NotACheckpoint {
                what: "nothing but the four lines",
            })
        }
    }

    /// Signs the checkpoint as the log it is of. `sign` signs exactly the bytes it is given.
    ///
    /// # Errors
    /// What `sign` says.
    pub fn sign<E>(
        self,
        key: PublicKey,
        sign: impl FnOnce(&[u8]) -> Result<Signature, E>,
    ) -> Result<SignedCheckpoint, E> {
        let mut note = SignedNote::unsigned(self.text());
        let key = VerifierKey {
            name: self.origin.clone(),
            kind: KeyKind::Log,
            key,
        };
        note.sign(&key, 0, sign)?;
        Ok(SignedCheckpoint {
            checkpoint: self,
            note,
        })
    }
}

impl SignedCheckpoint {
    /// Reads a checkpoint with its signatures, as a file or the network brought it.
    ///
    /// # Errors
    /// It is no note, or the note is no checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { checkpoint, note })
    }

    /// What it says. Nobody is known to have signed it before [`SignedCheckpoint::verify`] says so.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The size, root and chain head that it says.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.checkpoint.head
    }

    /// Whether the site whose log this is signed it with `key`.
    ///
    /// # Errors
    /// No signature by this key, or a wrong one.
    pub fn verify(&self, key: PublicKey) -> Result<(), NoteError> {
        let key = VerifierKey {
            name: self.checkpoint.origin.clone(),
            kind: KeyKind::Log,
            key,
        };
        self.note.verify(&key).map(drop)
    }

    /// When the witness of this name and key cosigned it, in seconds since 1970.
    ///
    /// # Errors
    /// No cosignature by this key, or a wrong one.
    pub fn cosigned_at(&self, name: &KeyName, key: PublicKey) -> Result<u64, NoteError> {
        let key = VerifierKey {
            name: name.clone(),
            kind: KeyKind::Witness,
            key,
        };
        self.note.verify(&key)
    }

    /// A cosignature for it (C2SP `tlog-cosignature`, v1) at `at_s`, seconds since 1970. Whoever cosigns has checked
    /// before that it continues what was cosigned last.
    ///
    /// # Errors
    /// What `sign` says.
    pub fn cosign<E>(
        &self,
        name: &KeyName,
        key: PublicKey,
        at_s: u64,
        sign: impl FnOnce(&[u8]) -> Result<Signature, E>,
    ) -> Result<NoteSignature, E> {
        let key = VerifierKey {
            name: name.clone(),
            kind: KeyKind::Witness,
            key,
        };
        self.note.signature(&key, at_s, sign)
    }

    /// Puts a cosignature under it. One of a key that is there already takes its place.
    ///
    /// # Errors
    /// There are [`SIGNATURES_MAX`] of others already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.note.add(signature)
    }

    /// The names under which it is signed or cosigned; as the note says it, not checked.
    pub fn signers(&self) -> impl Iterator<Item = &KeyName> {
        self.note.signatures().iter().map(NoteSignature::name)
    }

    /// How many signatures are under it besides the log's own name's.
    #[must_use]
    pub fn cosignatures(&self) -> usize {
        self.signers()
            .filter(|name| **name != self.checkpoint.origin)
            .count()
    }
}

/// The note, as it is kept and sent.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

#[cfg(test)]
mod tests;
