//! Signed notes (C2SP `signed-note` v1.0): a text, and lines under it that say who signed it.
//!
//! Two kinds of signature: a log's own, Ed25519 over the text (type 0x01), and a witness's, which also says when
//! (C2SP `tlog-cosignature` v1, type 0x04). A key's id is the first four bytes of
//! `SHA-256(name ‖ 0x0A ‖ type ‖ public key)`.

use std::fmt;
use std::str::FromStr;

use consilium_protocol::signature::{PublicKey, Signature};

use super::base64;
use crate::Digest;

/// No note longer than this is read.
pub const NOTE_BYTES_MAX: usize = 16 << 10;
/// Signatures under one note.
pub const SIGNATURES_MAX: usize = 16;
/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 512;

const SIGNATURE_PREFIX: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;
const TIME_BYTES: usize = 8;

/// Why bytes are no note, or nobody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too long to be read.
    #[error("a note has at most {NOTE_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Not text of lines.
    #[error("a note is lines of text without control characters")]
    NotText,
    /// No signature lines after an empty line.
    #[error("a note ends in an empty line and signatures")]
    NotSigned,
    /// A line under the text that is no signature.
    #[error("line {line} under the note is no signature")]
    NotASignature {
        /// Counted from 1.
        line: usize,
    },
    /// More than anybody needs.
    #[error("a note has at most {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Not a key's name.
    #[error("the name of a key has 1 to {NAME_BYTES_MAX} characters, no blanks and no `+`")]
    NotAName,
    /// Not `name+id+key`.
    #[error("a verifier key is written name+id+key")]
    NotAKey,
    /// The text is no checkpoint.
    #[error("the note is no checkpoint: it lacks {what}")]
    NotACheckpoint {
        /// What is missing or malformed.
        what: &'static str,
    },
    /// Nobody known signed it.
    #[error("`{name}` did not sign it with the key given")]
    NotSignedBy {
        /// Whose signature is missing.
        name: KeyName,
    },
    /// A signature that is none.
    #[error(
        "the signature of `{name}` does not belong to the note: the note or the signature was changed"
    )]
    WrongSignature {
        /// Whose signature is wrong.
        name: KeyName,
    },
}

/// The name of a key: of a log, or of a witness.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// A name of these parts, joined by `/`; whatever a name may not hold becomes `-`.
    pub(crate) fn of_parts(parts: &[&str]) -> Self {
        let part = |text: &&str| -> String {
            let kept: String = text
                .chars()
                .map(|c| if allowed(c) && c != '/' { c } else { '-' })
                .take(NAME_BYTES_MAX / 16)
                .collect();
            if kept.is_empty() { "-".into() } else { kept }
        };
        Self(parts.iter().map(part).collect::<Vec<_>>().join("/"))
    }

    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: a site's name, where it is a site's.
    #[must_use]
    pub fn last_part(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

fn allowed(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c != '+'
}

impl FromStr for KeyName {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if !(1..=NAME_BYTES_MAX).contains(&text.len()) || !text.chars().all(allowed) {
            return Err(NoteError::NotAName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Its own log's checkpoints.
    Log,
    /// That it saw another's, and when.
    Witness,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A public key under its name. Written `name+id+key`, as the transparency world's tools do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// Whose it is.
    pub name: KeyName,
    /// What it signs.
    pub kind: KeyKind,
    /// The key.
    pub key: PublicKey,
}

impl VerifierKey {
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest = Digest::of_parts(&[
            self.name.0.as_bytes(),
            b"\n",
            &[self.kind.byte()],
            &self.key.to_bytes(),
        ]);
        let [a, b, c, d, ..] = digest.0;
        [a, b, c, d]
    }

    fn message(&self, text: &str, at_s: u64) -> Vec<u8> {
        match self.kind {
            KeyKind::Log => text.as_bytes().to_vec(),
            KeyKind::Witness => format!("cosignature/v1\ntime {at_s}\n{text}").into_bytes(),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend(self.key.to_bytes());
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, base64::encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteError::NotAKey);
        let (name, _id, key) = (part()?.parse()?, part()?, part()?);
        let bytes = base64::decode(key).ok_or(NoteError::NotAKey)?;
        let (kind, key) = match bytes.split_first() {
            Some((0x01, key)) => (KeyKind::Log, key),
            Some((0x04, key)) => (KeyKind::Witness, key),
            _ => return Err(NoteError::NotAKey),
        };
        let key = PublicKey::from_bytes(key).ok_or(NoteError::NotAKey)?;
        let key = Self { name, kind, key };
        // The id in the middle too.
        match key.to_string() == text {
            true => Ok(key),
            false => Err(NoteError::NotAKey),
        }
    }
}

/// One line under a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: [u8; KEY_ID_BYTES],
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// Whose it says it is.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }
}

/// `name base64`: a signature as it stands in its line, for the wire too.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.bytes].concat();
        write!(f, "{} {}", self.name, base64::encode(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let none = NoteError::NotASignature { line: 1 };
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(text.len()));
        }
        let (name, bytes) = text.split_once(' ').ok_or(none.clone())?;
        let bytes = base64::decode(bytes).ok_or(none.clone())?;
        let (id, bytes) = bytes.split_first_chunk().ok_or(none)?;
        Ok(Self {
            name: name.parse()?,
            id: *id,
            bytes: bytes.to_vec(),
        })
    }
}

/// A text and the signatures under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    pub(super) fn unsigned(text: String) -> Self {
        Self {
            text,
            signatures: Vec::new(),
        }
    }

    /// Reads a note. Checks no signature: nobody's key is known here.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::NotText);
        }
        let at = note.rfind("\n\n").ok_or(NoteError::NotSigned)?;
        let (text, rest) = note.split_at(at + 1);
        let lines = rest.strip_prefix('\n').unwrap_or_default();
        if lines.is_empty() || !lines.ends_with('\n') {
            return Err(NoteError::NotSigned);
        }
        let mut signatures = Vec::new();
        for (number, line) in (1..).zip(lines.split_terminator('\n')) {
            if number > SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            let none = NoteError::NotASignature { line: number };
            let line = line.strip_prefix(SIGNATURE_PREFIX).ok_or(none.clone())?;
            signatures.push(line.parse().map_err(|_| none)?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, which ends in a line break.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines under it, unchecked.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Whether `key` signed this note; a witness's time in seconds, 0 for a log's own signature. Lines of other keys
    /// do not matter.
    ///
    /// # Errors
    /// There is no signature of this key, or one that does not belong to the note.
    pub fn verify(&self, key: &VerifierKey) -> Result<u64, NoteError> {
        let id = key.id();
        let line = self
            .signatures
            .iter()
            .find(|line| line.name == key.name && line.id == id)
            .ok_or_else(|| NoteError::NotSignedBy {
                name: key.name.clone(),
            })?;
        let wrong = || NoteError::WrongSignature {
            name: key.name.clone(),
        };
        let (at_s, signature) = match key.kind {
            KeyKind::Log => (0, line.bytes.as_slice()),
            KeyKind::Witness => {
                let (time, rest) = line
                    .bytes
                    .split_first_chunk::<TIME_BYTES>()
                    .ok_or_else(wrong)?;
                (u64::from_be_bytes(*time), rest)
            }
        };
        let signature = Signature::from_bytes(signature).ok_or_else(wrong)?;
        match key
            .key
            .verify_plain(&key.message(&self.text, at_s), &signature)
        {
            true => Ok(at_s),
            false => Err(wrong()),
        }
    }

    pub(super) fn sign<E>(
        &mut self,
        key: &VerifierKey,
        at_s: u64,
        sign: impl FnOnce(&[u8]) -> Result<Signature, E>,
    ) -> Result<(), E> {
        let signature = self.signature(key, at_s, sign)?;
        self.signatures.push(signature);
        Ok(())
    }

    pub(super) fn signature<E>(
        &self,
        key: &VerifierKey,
        at_s: u64,
        sign: impl FnOnce(&[u8]) -> Result<Signature, E>,
    ) -> Result<NoteSignature, E> {
        let signature = sign(&key.message(&self.text, at_s))?;
        let mut bytes = match key.kind {
            KeyKind::Log => Vec::new(),
            KeyKind::Witness => at_s.to_be_bytes().to_vec(),
        };
        bytes.extend(signature.to_bytes());
        Ok(NoteSignature {
            name: key.name.clone(),
            id: key.id(),
            bytes,
        })
    }

    pub(super) fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let same = |line: &NoteSignature| (&line.name, line.id) == (&signature.name, signature.id);
        self.signatures.retain(|line| !same(line));
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|line| writeln!(f, "{SIGNATURE_PREFIX}{line}"))
    }
}
