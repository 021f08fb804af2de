//! The weights' file: `vectors` I8 `[pieces, dimension]`, `scales` F32 `[pieces]`, `pieces`, their texts, one a line,
//! and `unknown` F32 `[1]`, how much the own direction of an unknown word weighs. Piece 0 stands for what no other
//! covers.

use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

use super::words::Vocabulary;
use crate::error::OpenError;
use crate::limits;

/// A row of 8-bit numbers with a scale for each piece.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) vocabulary: Vocabulary,
    vectors: Vec<i8>,
    scales: Vec<f32>,
    unknown: f32,
    dimension: usize,
}

impl Table {
    /// The piece for a word that no pieces cover.
    pub(super) const OTHER: u32 = 0;

    pub(super) fn of(file: &[u8]) -> Result<Self, OpenError> {
        let name = || PathBuf::from("weights.safetensors");
        let tensors = SafeTensors::deserialize(file).map_err(|error| OpenError::Malformed {
            file: name(),
            reason: error.to_string(),
        })?;
        let wrong = |tensor: &str, reason: &str| OpenError::Tensor {
            file: name(),
            tensor: tensor.to_owned(),
            reason: reason.to_owned(),
        };
        let take = |tensor: &str, dtype: Dtype| {
            let view = tensors.tensor(tensor);
            let view = view.map_err(|_| wrong(tensor, "is missing"))?;
            let right = view.dtype() == dtype;
            right
                .then_some(view)
                .ok_or_else(|| wrong(tensor, "is of another type"))
        };
        let vectors = take("vectors", Dtype::I8)?;
        let &[pieces, dimension] = vectors.shape() else {
            return Err(wrong("vectors", "is no matrix"));
        };
        let sizes = (1..=limits::VOCABULARY_MAX).contains(&pieces)
            && (1..=limits::HIDDEN_SIZE_MAX).contains(&dimension);
        if !sizes {
            return Err(wrong("vectors", "is empty or too large"));
        }
        let scales = floats(take("scales", Dtype::F32)?.data());
        if scales.len() != pieces || scales.iter().any(|scale| !scale.is_finite()) {
            return Err(wrong(
                "scales",
                "does not have one finite number for each row",
            ));
        }
        let unknown = match floats(take("unknown", Dtype::F32)?.data()).as_slice() {
            [unknown] if unknown.is_finite() => *unknown,
            _ => return Err(wrong("unknown", "is not one finite number")),
        };
        let texts = take("pieces", Dtype::U8)?;
        let texts = str::from_utf8(texts.data()).map_err(|_| wrong("pieces", "is not UTF-8"))?;
        if texts.split('\n').count() != pieces {
            return Err(wrong("pieces", "does not have one line for each row"));
        }
        Ok(Self {
            vocabulary: Vocabulary::of(texts.split('\n')),
            vectors: vectors
                .data()
                .iter()
                .map(|byte| byte.cast_signed())
                .collect(),
            scales,
            unknown,
            dimension,
        })
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds a piece's vector times `weight`.
    pub(super) fn add(&self, piece: u32, weight: f32, sum: &mut [f32]) {
        let row = piece as usize;
        let scale = self.scales.get(row).copied().unwrap_or_default() * weight;
        let vector = self.vectors.get(row * self.dimension..).unwrap_or_default();
        for (sum, number) in sum.iter_mut().zip(vector) {
            *sum += f32::from(*number) * scale;
        }
    }

    /// Adds a direction that only the word's letters decide, times `weight`: texts that share a name are near, though
    /// nobody has seen the name before. Signs of equal size, from splitmix64 (Steele, Lea, Flood 2014) seeded by the
    /// word's FNV-1a hash; two directions are nearly at right angles.
    pub(super) fn add_unknown(&self, word: &str, weight: f32, sum: &mut [f32]) {
        let size = self.unknown * weight / (self.dimension as f32).sqrt();
        let step = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let mut state = word.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        for part in sum.chunks_mut(64) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            for sum in part {
                *sum += if bits & 1 == 1 { size } else { -size };
                bits >>= 1;
            }
        }
    }

    pub(super) fn first_axis(&self) -> Vec<f32> {
        let mut axis = vec![0.0; self.dimension];
        if let Some(first) = axis.first_mut() {
            *first = 1.0;
        }
        axis
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}
