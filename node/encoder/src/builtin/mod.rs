//! The encoder that is always there: a vector for each piece of a vocabulary, and a text's vector is their weighted
//! sum. `train/README.md` says what the weights were made from and how good they are.

mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use self::table::Table;
use self::words::for_each_word;
use crate::encoder::{EncoderId, beginning, unit};
use crate::error::OpenError;
use crate::limits;

/// The committed weights.
const WEIGHTS: &[u8] = include_bytes!("weights.safetensors");

/// Changes when this code gives other vectors for the same weights.
const RULES: &[u8] = b"consilium built-in encoder 1";

/// Static vectors of words.
#[derive(Debug)]
pub struct Builtin {
    id: EncoderId,
    table: Table,
}

impl Builtin {
    /// Unpacks the weights.
    ///
    /// # Errors
    /// Only if the binary was built with broken weights.
    pub fn open() -> Result<Self, OpenError> {
        Self::of(WEIGHTS)
    }

    fn of(weights: &[u8]) -> Result<Self, OpenError> {
        let table = Table::of(weights)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(RULES).update(weights);
        Ok(Self {
            id: EncoderId {
                name: "builtin".to_owned(),
                digest: hasher.finalize().to_hex().to_string(),
                dimension: table.dimension(),
            },
            table,
        })
    }

    #[must_use]
    pub fn id(&self) -> &EncoderId {
        &self.id
    }

    /// The text's unit vector. A text without a word has the vector of a word that is like no other.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<f32> {
        let counts = self.counts(beginning(text, limits::BUILTIN_TEXT_BYTES_MAX));
        let mut sum = vec![0.0; self.table.dimension()];
        for (piece, count) in &counts.pieces {
            self.table.add(*piece, weight(*count), &mut sum);
        }
        for (word, count) in &counts.unknown {
            self.table.add_unknown(word, weight(*count), &mut sum);
        }
        if counts.pieces.is_empty() {
            self.table.add(Table::OTHER, 1.0, &mut sum);
        }
        // Rows cancel each other in a made-up text at most; then any fixed direction serves.
        unit(sum).unwrap_or_else(|| self.table.first_axis())
    }

    fn counts(&self, text: &str) -> Counts {
        let mut counts = Counts::default();
        let mut split = Vec::new();
        let mut left = limits::BUILTIN_PIECES_MAX;
        let _ = for_each_word(text, |word| {
            split.clear();
            let whole = self.table.vocabulary.whole(word);
            split.extend(whole);
            if whole.is_none() && !self.table.vocabulary.split(word, &mut split) {
                split.push(Table::OTHER);
            }
            for piece in split.iter().take(left) {
                *counts.pieces.entry(*piece).or_default() += 1;
            }
            left = left.saturating_sub(split.len());
            if whole.is_none() && left > 0 {
                *counts.unknown.entry(word.to_owned()).or_default() += 1;
                left -= 1;
            }
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        counts
    }
}

/// How often each piece and each unknown word comes. Ordered: a sum of floats depends on its order.
#[derive(Default)]
struct Counts {
    pieces: BTreeMap<u32, u32>,
    unknown: BTreeMap<String, u32>,
}

/// A word that comes four times counts twice: what a text repeats is its subject, and not four subjects.
fn weight(count: u32) -> f32 {
    (count as f32).sqrt()
}
