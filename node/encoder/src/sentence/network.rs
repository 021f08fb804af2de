//! BERT's encoder on burn: Devlin et al. 2019 (arXiv 1810.04805), as transformers computes it at inference, where
//! there is no dropout.

use burn::tensor::activation;
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::batches::Batch;
use super::folder::{Pooling, Shape};
use super::kernels;
use super::weights::Weights;
use crate::error::{EncodeError, OpenError};

/// All tensors of a BERT, on one device.
pub(super) struct Network {
    /// `[vocabulary, hidden]`.
    words: Tensor<2>,
    /// `[positions, hidden]`; the vector of token type 0, which every token of a single text has, is added in.
    positions: Tensor<2>,
    norm: Norm,
    layers: Vec<Layer>,
    shape: Shape,
    device: Device,
    /// Whether the CPU computes, and our loops serve better.
    on_cpu: bool,
}

struct Layer {
    /// Query, key and value side by side: `[hidden, 3 hidden]`.
    attention_in: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    wide: Linear,
    narrow: Linear,
    norm: Norm,
}

struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

struct Norm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
}

impl Network {
    pub(super) fn new(
        weights: &Weights<'_>,
        shape: &Shape,
        device: &Device,
    ) -> Result<Self, OpenError> {
        let loader = Loader {
            weights,
            shape,
            device,
        };
        let hidden = shape.hidden;
        let words = "embeddings.word_embeddings.weight";
        let words = weights.take(words, &[shape.vocabulary, hidden])?;
        let layers: Result<Vec<_>, _> = (0..shape.layers).map(|at| loader.layer(at)).collect();
        Ok(Self {
            words: loader.tensor(words, [shape.vocabulary, hidden]),
            positions: loader.tensor(loader.positions()?, [shape.positions, hidden]),
            norm: loader.norm("embeddings.LayerNorm")?,
            layers: layers?,
            shape: shape.clone(),
            device: device.clone(),
            on_cpu: *device == Device::flex(),
        })
    }

    /// One vector for each text of the batch, not yet of unit length. Ids are below the vocabulary, and a text has no
    /// more tokens than there are positions.
    pub(super) fn run(&self, batch: &Batch, pooling: Pooling) -> Result<Vec<f32>, EncodeError> {
        let (texts, length, hidden) = (batch.lengths.len(), batch.length, self.shape.hidden);
        let ids = TensorData::new(batch.ids.clone(), [texts * length]);
        let ids = Tensor::<1, Int>::from_data(ids, &self.device);
        let words = self.words.clone().select(0, ids);
        let positions = self.positions.clone().slice([0..length, 0..hidden]);
        let embedded = words.reshape([texts, length, hidden]) + positions.unsqueeze();
        let mut state = self.norm.apply(embedded.reshape([texts * length, hidden]));
        let mask = self.mask(batch);
        for layer in &self.layers {
            let mixed = self.attend(layer, state.clone(), mask.clone(), batch)?;
            state = layer.attention_norm.apply(mixed + state);
            let wide = self.gelu(layer.wide.apply(state.clone()))?;
            state = layer.norm.apply(layer.narrow.apply(wide) + state);
        }
        let state = state.reshape([texts, length, hidden]);
        let pool = TensorData::new(pool_weights(batch, pooling), [texts, 1, length]);
        let pooled = Tensor::<3>::from_data(pool, &self.device).matmul(state);
        numbers(pooled)
    }

    fn gelu(&self, x: Tensor<2>) -> Result<Tensor<2>, EncodeError> {
        if !self.on_cpu {
            return Ok(activation::gelu(x));
        }
        let shape = x.dims();
        let mut x = numbers(x)?;
        kernels::gelu(&mut x);
        Ok(Tensor::from_data(TensorData::new(x, shape), &self.device))
    }

    /// Self-attention with its output layer: `[texts · length, hidden]` in and out.
    fn attend(
        &self,
        layer: &Layer,
        state: Tensor<2>,
        mask: Option<Tensor<4, Bool>>,
        batch: &Batch,
    ) -> Result<Tensor<2>, EncodeError> {
        let Shape { hidden, heads, .. } = self.shape;
        let (texts, length) = (batch.lengths.len(), batch.length);
        let rows = texts * length;
        let joined = layer.attention_in.apply(state);
        let part = |at: usize| {
            let part = joined
                .clone()
                .slice([0..rows, at * hidden..(at + 1) * hidden]);
            part.reshape([texts, length, heads, hidden / heads])
                .swap_dims(1, 2)
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let mixed = if self.on_cpu {
            let mut scores = numbers(query.matmul(key.swap_dims(2, 3)))?;
            let scale = 1.0 / ((hidden / heads) as f32).sqrt();
            kernels::softmax(&mut scores, &batch.lengths, heads, length, scale);
            let scores = TensorData::new(scores, [texts, heads, length, length]);
            Tensor::<4>::from_data(scores, &self.device).matmul(value)
        } else {
            let options = AttentionModuleOptions::default();
            attention(query, key, value, mask, None, options)
        };
        let mixed = mixed.swap_dims(1, 2).reshape([rows, hidden]);
        Ok(layer.attention_out.apply(mixed))
    }

    /// True where a key is padding; `None` where nobody asks or there is none, as in batches of one length.
    fn mask(&self, batch: &Batch) -> Option<Tensor<4, Bool>> {
        let (texts, length) = (batch.lengths.len(), batch.length);
        if self.on_cpu || batch.lengths.iter().all(|own| *own == length) {
            return None;
        }
        let of_text = |own: &usize| {
            let own = *own;
            (0..length).map(move |at| at >= own)
        };
        let padded: Vec<bool> = batch.lengths.iter().flat_map(of_text).collect();
        let padded = TensorData::new(padded, [texts, 1, 1, length]);
        let padded = Tensor::<4, Bool>::from_data(padded, &self.device);
        Some(padded.expand([texts, self.shape.heads, length, length]))
    }
}

/// A tensor's numbers, row by row.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EncodeError> {
    let fault = |reason: String| EncodeError::Device { reason };
    let data = tensor.try_into_data();
    let data = data.map_err(|error| fault(error.to_string()))?;
    data.try_into_vec::<f32>()
        .map_err(|error| fault(format!("{error:?}")))
}

/// What each token weighs in its text's vector.
fn pool_weights(batch: &Batch, pooling: Pooling) -> Vec<f32> {
    let length = batch.length;
    let of_text = |own: &usize| {
        let own = *own;
        (0..length).map(move |at| match pooling {
            Pooling::First => f32::from(u8::from(at == 0)),
            Pooling::Mean if at < own => 1.0 / own as f32,
            Pooling::Mean => 0.0,
        })
    };
    batch.lengths.iter().flat_map(of_text).collect()
}

impl Linear {
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

impl Norm {
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), self.eps)
    }
}

struct Loader<'a> {
    weights: &'a Weights<'a>,
    shape: &'a Shape,
    device: &'a Device,
}

impl Loader<'_> {
    fn layer(&self, at: usize) -> Result<Layer, OpenError> {
        let Shape {
            hidden,
            intermediate,
            ..
        } = *self.shape;
        let of = |name: &str| format!("encoder.layer.{at}.{name}");
        Ok(Layer {
            attention_in: self.attention_in(&of("attention.self"))?,
            attention_out: self.linear(&of("attention.output.dense"), [hidden, hidden])?,
            attention_norm: self.norm(&of("attention.output.LayerNorm"))?,
            wide: self.linear(&of("intermediate.dense"), [hidden, intermediate])?,
            narrow: self.linear(&of("output.dense"), [intermediate, hidden])?,
            norm: self.norm(&of("output.LayerNorm"))?,
        })
    }

    fn attention_in(&self, name: &str) -> Result<Linear, OpenError> {
        let hidden = self.shape.hidden;
        let mut parts = Vec::new();
        for part in ["query", "key", "value"] {
            parts.push(self.linear(&format!("{name}.{part}"), [hidden, hidden])?);
        }
        let (weights, biases) = parts
            .into_iter()
            .map(|part| (part.weight, part.bias))
            .unzip();
        Ok(Linear {
            weight: Tensor::cat(weights, 1),
            bias: Tensor::cat(biases, 0),
        })
    }

    fn linear(&self, name: &str, [rows_in, rows_out]: [usize; 2]) -> Result<Linear, OpenError> {
        let weight = self
            .weights
            .take_linear(&format!("{name}.weight"), [rows_in, rows_out])?;
        Ok(Linear {
            weight: self.tensor(weight, [rows_in, rows_out]),
            bias: self.vector(&format!("{name}.bias"), rows_out)?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, OpenError> {
        Ok(Norm {
            gamma: self.vector(&format!("{name}.weight"), self.shape.hidden)?,
            beta: self.vector(&format!("{name}.bias"), self.shape.hidden)?,
            eps: self.shape.layer_norm_eps,
        })
    }

    fn vector(&self, name: &str, length: usize) -> Result<Tensor<1>, OpenError> {
        let numbers = self.weights.take(name, &[length])?;
        Ok(Tensor::from_data(
            TensorData::new(numbers, [length]),
            self.device,
        ))
    }

    fn positions(&self) -> Result<Vec<f32>, OpenError> {
        let Shape {
            hidden,
            positions,
            token_types,
            ..
        } = *self.shape;
        let name = "embeddings.position_embeddings.weight";
        let mut sums = self.weights.take(name, &[positions, hidden])?;
        let name = "embeddings.token_type_embeddings.weight";
        let types = self.weights.take(name, &[token_types, hidden])?;
        for row in sums.chunks_mut(hidden) {
            for (sum, of_type) in row.iter_mut().zip(&types) {
                *sum += of_type;
            }
        }
        Ok(sums)
    }

    fn tensor(&self, numbers: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers, shape), self.device)
    }
}
