//! Where everything lies in a state's file, known before a byte is read or written.

use std::collections::BTreeMap;
use std::ops::Range;

use consilium_protocol::model::{Home, TensorSpec};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, RunId};
use serde::Serialize;

use super::STEP_VALUES;
use crate::round::strategy::vectors_after_the_model;

/// safetensors: the data begins at a multiple of 8.
const ALIGNMENT: usize = 8;

const BYTES_OF_A_VALUE: u64 = size_of::<f32>() as u64;

/// The layout of the files of one run.
pub(super) struct Plan {
    run_id: RunId,
    run_digest: Digest,
    strategy: &'static str,
    /// The shared tensors in layout order.
    tensors: Vec<TensorSpec>,
    /// `model`, then the strategy's.
    vectors: Vec<&'static str>,
    on_the_wire: usize,
    values: usize,
}

/// A safetensors header. Maps are sorted, so the same plan always writes the same bytes
/// and a file is compared with its plan instead of being parsed.
#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

impl Plan {
    pub(super) fn new(run_id: RunId, spec: &RunSpec) -> Self {
        let strategy = &spec.document().strategy;
        let shared = |tensor: &&TensorSpec| tensor.home == Home::Shared;
        let tensors = spec.layout().tensors().iter().filter(shared).cloned();
        let after = vectors_after_the_model(strategy).iter().copied();
        Self {
            run_id,
            run_digest: spec.digest(),
            strategy: strategy.name(),
            tensors: tensors.collect(),
            vectors: std::iter::once("model").chain(after).collect(),
            on_the_wire: strategy.vectors_on_the_wire(),
            values: spec.layout().shared_len(),
        }
    }

    pub(super) fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// Values of one vector.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    pub(super) fn vectors(&self) -> usize {
        self.vectors.len()
    }

    pub(super) fn vector_name(&self, vector: usize) -> &'static str {
        self.vectors.get(vector).copied().unwrap_or("state")
    }

    /// Vectors that sites receive; they are the file's first.
    pub(super) fn on_the_wire(&self) -> usize {
        self.on_the_wire
    }

    pub(super) fn vector_bytes(&self) -> u64 {
        self.values as u64 * BYTES_OF_A_VALUE
    }

    /// The ranges of values that are worked on one after the other.
    pub(super) fn steps(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let values = self.values;
        (0..values)
            .step_by(STEP_VALUES)
            .map(move |start| start..values.min(start + STEP_VALUES))
    }

    /// The first bytes of a round's state, up to its data.
    pub(super) fn state_header(&self, round: u32) -> Vec<u8> {
        let names = self.vectors.iter().map(|vector| format!("{vector}."));
        let of_the_run = ("consilium.run", self.run_id.to_string());
        self.header(round, names.collect(), Some(of_the_run))
    }

    /// The first bytes of a model for download, up to its data. Without the run's id, which
    /// its card has: the same run file gives the same file, whoever runs it and when.
    pub(super) fn model_header(&self, round: u32) -> Vec<u8> {
        self.header(round, vec![String::new()], None)
    }

    fn header(
        &self,
        round: u32,
        prefixes: Vec<String>,
        of_the_run: Option<(&'static str, String)>,
    ) -> Vec<u8> {
        let mut tensors = BTreeMap::new();
        let mut start = 0;
        for prefix in prefixes {
            for tensor in &self.tensors {
                let end = start + tensor.len() as u64 * BYTES_OF_A_VALUE;
                let entry = Entry {
                    dtype: "F32",
                    shape: &tensor.shape,
                    data_offsets: [start, end],
                };
                tensors.insert(format!("{prefix}{}", tensor.name), entry);
                start = end;
            }
        }
        let mut metadata = BTreeMap::from([
            ("consilium.run-sha256", self.run_digest.to_string()),
            ("consilium.strategy", self.strategy.to_owned()),
            ("consilium.round", round.to_string()),
        ]);
        metadata.extend(of_the_run);
        let header = Header { metadata, tensors };
        // Strings, numbers and maps with string keys only: this cannot fail.
        let mut json = serde_json::to_vec(&header).unwrap_or_default();
        json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut json);
        bytes
    }
}
