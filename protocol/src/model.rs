//! The declarative model catalogue: architecture as data, never as code.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::limits::{CHUNK_BYTES_MAX, LAYERS_MAX, PARAMETERS_MAX};

/// A model that every node can build from its name and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ModelSpec {
    /// One linear layer to one logit.
    Logistic {
        /// Parameters that stay at each site.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        local: Vec<Group>,
    },
    /// Linear layers with ReLU between them, to one logit.
    Mlp {
        /// Width of each hidden layer.
        hidden: Vec<u32>,
        /// Parameters that stay at each site.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        local: Vec<Group>,
    },
}

/// A group of parameters that a run may keep at each site (partial
/// personalisation: FedPer, Arivazhagan et al. 2019).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The last layer's bias: the site's base rate.
    Intercept,
    /// The whole last layer.
    Head,
}

/// Where a tensor's values live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Aggregated over the sites.
    Shared,
    /// Never leaves the site.
    Local,
}

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// `layer0.weight`, `layer0.bias`, …
    pub name: String,
    /// `[out, in]` for a weight, `[out]` for a bias; row-major.
    pub shape: Vec<usize>,
    /// Shared or local.
    pub home: Home,
    /// Inputs of the layer, which set the scale of its first values.
    pub fan_in: usize,
}

impl TensorSpec {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// No tensor of a valid layout is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tensors of one model in their order: how a flat vector of parameters is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
}

/// A model that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("a model needs at least one input; name a feature in `[data]`")]
    NoInputs,
    #[error("hidden layer {layer} has no units")]
    EmptyLayer { layer: usize },
    #[error("the model has {layers} layers; at most {LAYERS_MAX} are allowed")]
    TooManyLayers { layers: usize },
    #[error("the model has {parameters} parameters; at most {PARAMETERS_MAX} are allowed")]
    TooManyParameters { parameters: u128 },
    #[error("every parameter of the model is local, so there is nothing to train together")]
    NothingShared,
    #[error("a flat vector of {got} values does not fit a model of {wanted}")]
    WrongLength { got: usize, wanted: usize },
}

impl ModelSpec {
    /// The model's tensors for this many inputs.
    ///
    /// # Errors
    /// A model without inputs, units or shared parameters, or over the limits.
    pub fn layout(&self, inputs: usize) -> Result<Layout, ModelError> {
        let (hidden, local): (&[u32], &[Group]) = match self {
            Self::Logistic { local } => (&[], local),
            Self::Mlp { hidden, local } => (hidden, local),
        };
        if inputs == 0 {
            return Err(ModelError::NoInputs);
        }
        let layers = hidden.len() + 1;
        if layers > LAYERS_MAX {
            return Err(ModelError::TooManyLayers { layers });
        }
        if let Some(layer) = hidden.iter().position(|&units| units == 0) {
            return Err(ModelError::EmptyLayer { layer });
        }
        let widths: Vec<usize> = std::iter::once(inputs)
            .chain(hidden.iter().map(|&units| units as usize))
            .chain(std::iter::once(1))
            .collect();
        let pairs = || widths.iter().zip(widths.iter().skip(1));
        let parameters: u128 = pairs()
            .map(|(&fan_in, &out)| (fan_in as u128 + 1) * out as u128)
            .sum();
        if parameters > u128::from(PARAMETERS_MAX) {
            return Err(ModelError::TooManyParameters { parameters });
        }
        let mut tensors = Vec::with_capacity(2 * layers);
        for (layer, (&fan_in, &out)) in pairs().enumerate() {
            let last = layer + 1 == layers;
            let home = |group_is_local: bool| match last && group_is_local {
                true => Home::Local,
                false => Home::Shared,
            };
            tensors.push(TensorSpec {
                name: format!("layer{layer}.weight"),
                shape: vec![out, fan_in],
                home: home(local.contains(&Group::Head)),
                fan_in,
            });
            tensors.push(TensorSpec {
                name: format!("layer{layer}.bias"),
                shape: vec![out],
                home: home(!local.is_empty()),
                fan_in,
            });
        }
        let layout = Layout { tensors };
        if layout.shared_len() == 0 {
            return Err(ModelError::NothingShared);
        }
        Ok(layout)
    }
}

impl Layout {
    /// The tensors in order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Values in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.iter().map(TensorSpec::len).sum()
    }

    /// No valid layout is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values that are aggregated.
    #[must_use]
    pub fn shared_len(&self) -> usize {
        self.len_of(Home::Shared)
    }

    /// Values that stay at a site.
    #[must_use]
    pub fn local_len(&self) -> usize {
        self.len_of(Home::Local)
    }

    fn len_of(&self, home: Home) -> usize {
        self.tensors
            .iter()
            .filter(|tensor| tensor.home == home)
            .map(TensorSpec::len)
            .sum()
    }

    /// The whole model from its shared and its local part.
    ///
    /// # Errors
    /// [`ModelError::WrongLength`] when either part does not fit.
    pub fn join(&self, shared: &[f32], local: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut whole = Vec::with_capacity(self.len());
        let (mut shared_rest, mut local_rest) = (shared, local);
        for tensor in &self.tensors {
            let (rest, given, wanted) = match tensor.home {
                Home::Shared => (&mut shared_rest, shared.len(), self.shared_len()),
                Home::Local => (&mut local_rest, local.len(), self.local_len()),
            };
            let Some((values, tail)) = rest.split_at_checked(tensor.len()) else {
                return Err(ModelError::WrongLength { got: given, wanted });
            };
            whole.extend_from_slice(values);
            *rest = tail;
        }
        match (shared_rest, local_rest) {
            ([], []) => Ok(whole),
            _ => Err(ModelError::WrongLength {
                got: shared.len() + local.len(),
                wanted: self.len(),
            }),
        }
    }

    /// The shared and the local part of a whole model; the inverse of [`Self::join`].
    ///
    /// # Errors
    /// [`ModelError::WrongLength`] when `whole` does not fit.
    pub fn split(&self, whole: &[f32]) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        if whole.len() != self.len() {
            return Err(ModelError::WrongLength {
                got: whole.len(),
                wanted: self.len(),
            });
        }
        let mut shared = Vec::with_capacity(self.shared_len());
        let mut local = Vec::with_capacity(self.local_len());
        let mut rest = whole;
        for tensor in &self.tensors {
            let Some((values, tail)) = rest.split_at_checked(tensor.len()) else {
                break;
            };
            match tensor.home {
                Home::Shared => shared.extend_from_slice(values),
                Home::Local => local.extend_from_slice(values),
            }
            rest = tail;
        }
        Ok((shared, local))
    }

    /// The first values of the tensors that live in `home`, in order, a pure
    /// function of the seed: uniform in ±1/√fan-in for weights and biases, as
    /// `torch.nn.Linear` draws them.
    #[must_use]
    pub fn initial_values(&self, home: Home, seed: u64) -> InitialValues<'_> {
        InitialValues {
            tensors: self.tensors.iter(),
            home,
            rng: ChaCha8Rng::seed_from_u64(seed),
            bound: 0.0,
            left: 0,
        }
    }
}

/// An iterator over first values, so that no second copy of a large model is needed.
pub struct InitialValues<'a> {
    tensors: std::slice::Iter<'a, TensorSpec>,
    home: Home,
    rng: ChaCha8Rng,
    bound: f32,
    left: usize,
}

impl Iterator for InitialValues<'_> {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        while self.left == 0 {
            let tensor = self.tensors.next()?;
            self.bound = 1.0 / (tensor.fan_in as f32).sqrt();
            if tensor.home == self.home {
                self.left = tensor.len();
            } else {
                // Local values are drawn too, so that making a tensor local
                // leaves the others' first values as they were.
                for _ in 0..tensor.len() {
                    self.rng.next_u32();
                }
            }
        }
        self.left -= 1;
        // 24 random bits: every f32 in [0, 1) of that grid is equally likely.
        let unit = (self.rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        Some((2.0 * unit - 1.0) * self.bound)
    }
}

/// How many chunks carry this many bytes of tensors.
#[must_use]
pub fn chunks_of(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES_MAX as u64)
}

/// How long chunk `index` of `bytes` bytes is; zero beyond the end.
#[must_use]
pub fn chunk_len(bytes: u64, index: u64) -> usize {
    let start = index.saturating_mul(CHUNK_BYTES_MAX as u64);
    let left = bytes.saturating_sub(start);
    usize::try_from(left)
        .unwrap_or(usize::MAX)
        .min(CHUNK_BYTES_MAX)
}

/// Parameters as the wire and the disk carry them: IEEE 754 binary32, little-endian.
#[must_use]
pub fn to_le_bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_le_bytes(values, &mut bytes);
    bytes
}

/// As [`to_le_bytes`], at the end of a buffer that is used again and again.
pub fn append_le_bytes(values: &[f32], bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + size_of_val(values), 0);
    let (to, _) = bytes.get_mut(start..).unwrap_or_default().as_chunks_mut();
    for (to, value) in to.iter_mut().zip(values) {
        *to = value.to_le_bytes();
    }
}

/// The inverse of [`to_le_bytes`]; bytes beyond a multiple of four are left out.
#[must_use]
pub fn from_le_bytes(bytes: &[u8]) -> Vec<f32> {
    let mut values = Vec::new();
    append_from_le_bytes(bytes, &mut values);
    values
}

/// As [`from_le_bytes`], at the end of a vector.
pub fn append_from_le_bytes(bytes: &[u8], values: &mut Vec<f32>) {
    let (fours, _) = bytes.as_chunks();
    values.extend(fours.iter().map(|four| f32::from_le_bytes(*four)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logistic(local: Vec<Group>) -> ModelSpec {
        ModelSpec::Logistic { local }
    }

    #[test]
    fn a_logistic_model_on_thirteen_inputs_has_fourteen_parameters() {
        let layout = logistic(vec![]).layout(13).unwrap();
        assert_eq!((layout.len(), layout.shared_len()), (14, 14));
        let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["layer0.weight", "layer0.bias"]);
    }

    #[test]
    fn a_local_group_stays_apart_and_joins_again() {
        let spec = ModelSpec::Mlp {
            hidden: vec![3],
            local: vec![Group::Head],
        };
        let layout = spec.layout(2).unwrap();
        assert_eq!((layout.shared_len(), layout.local_len()), (9, 4));
        let whole: Vec<f32> = (0..13_u8).map(f32::from).collect();
        let (shared, local) = layout.split(&whole).unwrap();
        assert_eq!(local, [9.0, 10.0, 11.0, 12.0]);
        assert_eq!(layout.join(&shared, &local), Ok(whole));
        assert!(layout.join(&shared, &[]).is_err());
        assert!(
            layout
                .join(&[&shared[..], &[1.0]].concat(), &local)
                .is_err()
        );
    }

    #[test]
    fn first_values_depend_on_the_seed_alone() {
        let all = logistic(vec![]).layout(4).unwrap();
        let personal = logistic(vec![Group::Intercept]).layout(4).unwrap();
        let drawn: Vec<f32> = all.initial_values(Home::Shared, 7).collect();
        assert_eq!(drawn.len(), 5);
        assert!(drawn.iter().all(|v| v.abs() <= 0.5));
        let shared: Vec<f32> = personal.initial_values(Home::Shared, 7).collect();
        let local: Vec<f32> = personal.initial_values(Home::Local, 7).collect();
        assert_eq!(personal.join(&shared, &local), Ok(drawn.clone()));
        assert_ne!(
            drawn,
            all.initial_values(Home::Shared, 8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_model_that_cannot_be_is_refused_before_anything_is_allocated() {
        assert_eq!(logistic(vec![]).layout(0), Err(ModelError::NoInputs));
        let mlp = |hidden: Vec<u32>| {
            ModelSpec::Mlp {
                hidden,
                local: vec![],
            }
            .layout(2)
        };
        assert!(matches!(
            mlp(vec![4, 0]),
            Err(ModelError::EmptyLayer { layer: 1 })
        ));
        assert!(matches!(
            mlp(vec![1; 32]),
            Err(ModelError::TooManyLayers { .. })
        ));
        assert!(matches!(
            mlp(vec![u32::MAX, u32::MAX]),
            Err(ModelError::TooManyParameters { .. })
        ));
        assert_eq!(
            logistic(vec![Group::Head]).layout(3),
            Err(ModelError::NothingShared)
        );
    }

    #[test]
    fn chunks_cover_the_bytes_exactly() {
        let mib = CHUNK_BYTES_MAX as u64;
        for bytes in [0, 1, mib - 1, mib, mib + 1, 3 * mib] {
            let total: u64 = (0..chunks_of(bytes))
                .map(|i| chunk_len(bytes, i) as u64)
                .sum();
            assert_eq!(total, bytes);
        }
        assert_eq!(chunk_len(5, 1), 0);
        assert_eq!(from_le_bytes(&to_le_bytes(&[1.5, -2.0])), [1.5, -2.0]);
    }
}
