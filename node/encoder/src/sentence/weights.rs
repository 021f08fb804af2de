//! Tensors out of a safetensors file: named, of the shape that the configuration says, as 32-bit floats.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use crate::error::OpenError;

/// The tensors of one file. Names may carry the prefix `bert.`, as training heads leave it.
pub(super) struct Weights<'a> {
    file: PathBuf,
    tensors: SafeTensors<'a>,
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    /// Reads the header; no tensor is copied yet.
    pub(super) fn of(bytes: &'a [u8], file: &Path) -> Result<Self, OpenError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| OpenError::Malformed {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        let bare = tensors
            .names()
            .iter()
            .any(|name| name.starts_with("embeddings."));
        Ok(Self {
            file: file.to_owned(),
            tensors,
            prefix: if bare { "" } else { "bert." },
        })
    }

    /// A tensor of this shape, row by row.
    pub(super) fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, OpenError> {
        let name = format!("{}{name}", self.prefix);
        let wrong = |reason: String| OpenError::Tensor {
            file: self.file.clone(),
            tensor: name.clone(),
            reason,
        };
        let tensor = self
            .tensors
            .tensor(&name)
            .map_err(|_| wrong("is missing".to_owned()))?;
        if tensor.shape() != shape {
            return Err(wrong(format!(
                "has the shape {:?}; config.json asks for {shape:?}",
                tensor.shape()
            )));
        }
        let numbers = floats(tensor.dtype(), tensor.data()).ok_or_else(|| {
            wrong(format!(
                "is of type {:?}; known are F32, F16 and BF16",
                tensor.dtype()
            ))
        })?;
        if numbers.len() != shape.iter().product::<usize>() {
            return Err(wrong("is cut short".to_owned()));
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(wrong("holds a number that is not finite".to_owned()));
        }
        Ok(numbers)
    }

    /// The weight of a linear layer, which files hold as `[out, in]`, as `[in, out]`.
    pub(super) fn take_linear(
        &self,
        name: &str,
        [rows_in, rows_out]: [usize; 2],
    ) -> Result<Vec<f32>, OpenError> {
        let held = self.take(name, &[rows_out, rows_in])?;
        let mut turned = Vec::with_capacity(held.len());
        for column in 0..rows_in {
            turned.extend(held.iter().skip(column).step_by(rows_in));
        }
        Ok(turned)
    }
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            words.iter().map(|word| f32::from_le_bytes(*word)).collect()
        }
        Dtype::BF16 => {
            let (words, _) = bytes.as_chunks::<2>();
            let wide = |word: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
            words.iter().map(wide).collect()
        }
        Dtype::F16 => {
            let (words, _) = bytes.as_chunks::<2>();
            words
                .iter()
                .map(|word| from_half(u16::from_le_bytes(*word)))
                .collect()
        }
        _ => return None,
    })
}

/// IEEE 754 binary16, exactly.
fn from_half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_become_the_same_numbers() {
        let halves = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
        ];
        for (bits, number) in halves {
            assert_eq!(from_half(bits), number);
        }
        assert!(from_half(0x7c00).is_infinite() && from_half(0x7e00).is_nan());
        assert_eq!(
            floats(Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0]),
            Some(vec![1.0, -2.0])
        );
    }
}
