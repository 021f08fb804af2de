//! The choice of an encoder, and what every encoder can do.

use std::fmt;
use std::path::PathBuf;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::builtin::Builtin;
use crate::error::{EncodeError, OpenError};
use crate::sentence::SentenceEncoder;

/// What a collection's configuration may say: `encoder = "builtin"` or `encoder = { folder = "models/minilm" }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderChoice {
    /// The encoder in this binary.
    #[default]
    Builtin,
    /// A folder as sentence-transformers writes it.
    Folder(PathBuf),
}

/// Names an encoder and all that decides its vectors: weights, vocabulary, settings and the rules of this code. Two
/// encoders with the same id give the same vectors, to rounding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EncoderId {
    /// For people; a folder's last part, or the built-in's name.
    pub name: String,
    /// BLAKE3, as 64 hexadecimal digits.
    pub digest: String,
    pub dimension: usize,
}

impl EncoderId {
    /// Whether vectors of the two may stand in one index. Names don't matter: a folder may be moved.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.digest == other.digest && self.dimension == other.dimension
    }
}

impl fmt::Display for EncoderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.digest.get(..12).unwrap_or(&self.digest);
        write!(f, "{} ({short}, {} dimensions)", self.name, self.dimension)
    }
}

/// Turns texts into unit vectors. Many threads may share one.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a node holds a handful, each in an `Arc`"
)]
pub enum Encoder {
    Builtin(Builtin),
    Sentence(SentenceEncoder),
}

impl Encoder {
    /// The encoder of this choice. `device` matters to a sentence encoder only.
    ///
    /// # Errors
    /// If a folder lacks a file, or a file is not what the others say it is; the message names file and field.
    pub fn open(choice: &EncoderChoice, device: &Device) -> Result<Self, OpenError> {
        Ok(match choice {
            EncoderChoice::Builtin => Self::Builtin(Builtin::open()?),
            EncoderChoice::Folder(folder) => Self::Sentence(SentenceEncoder::open(folder, device)?),
        })
    }

    /// Who made the vectors.
    #[must_use]
    pub fn id(&self) -> &EncoderId {
        match self {
            Self::Builtin(encoder) => encoder.id(),
            Self::Sentence(encoder) => encoder.id(),
        }
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.id().dimension
    }

    /// About how many words of a text count; a good passage is no longer. A sentence encoder splits rare words, so
    /// it reads somewhat fewer words than tokens.
    #[must_use]
    pub fn passage_words_max(&self) -> usize {
        match self {
            Self::Builtin(_) => 256,
            Self::Sentence(encoder) => encoder.tokens_max() * 3 / 4,
        }
    }

    /// One unit vector for each text, in order. Give many texts at once: they are sorted by length and computed in
    /// batches, on every core. An empty text has a vector too, near to none in particular.
    ///
    /// # Errors
    /// Only if a sentence encoder's weights or tokenizer turn out unusable, or its device fails.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EncodeError> {
        match self {
            Self::Builtin(encoder) => Ok(texts.iter().map(|text| encoder.encode(text)).collect()),
            Self::Sentence(encoder) => encoder.encode(texts),
        }
    }
}

/// The text up to `bytes_max`, cut between characters.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text)
}

/// Scales to unit length. `None` if that cannot be done.
pub(crate) fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum::<f64>()
        .sqrt();
    if !length.is_finite() || length < 1e-12 {
        return None;
    }
    for x in &mut vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Some(vector)
}
