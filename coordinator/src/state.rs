//! The state of a run after each round, on disk.
//!
//! A state is what the strategy keeps between rounds: the model and, for most, a vector
//! or two of the model's length. Each round's state is one safetensors file,
//! `round-000007.safetensors`, that any tool for safetensors opens. Nothing of the
//! model's size is ever held in memory here: vectors are read, advanced and written
//! [`STEP_VALUES`] values at a time.
//!
//! # What may fail, and what is not failure
//! A state is written under a temporary name, synced, renamed, and its folder synced. A crash
//! or a full disk in between leaves the state before untouched and at most
//! a `.partial` file, which the next attempt overwrites. The same old state and
//! the same sum always make the same file, so doing a round's end again after a
//! crash is no harm.
//!
//! # Hashes
//! BLAKE3, which runs at several GB/s, where SHA-256 would take longer than the arithmetic.
//! A state has two. [`State::content`] is that of the file: the hash over its header and the
//! hashes of its vectors, so that the vectors can be written side by side. It is what
//! the journal remembers. [`State::wire_blake3`] is that of the bytes that a site receives: the
//! model and, for SCAFFOLD, the control variate after it; always the file's first vectors.

mod draft;
mod error;
mod plan;
mod stored;

use std::path::{Path, PathBuf};

use consilium_protocol::model::Home;
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, RunId};

use crate::round::WeightedSum;
use crate::round::strategy::advance;

pub use error::StateError;
pub use stored::State;

use draft::{Draft, export};
use plan::Plan;

/// Values that are worked on at a time: 256 KiB of each vector, which stays in a
/// processor's second cache together with the sum's share of it.
pub const STEP_VALUES: usize = 65_536;

/// A model file as it was written for download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportedModel {
    pub bytes: u64,
    /// SHA-256 of the file, as model cards and `sha256sum` have it.
    pub sha256: Digest,
}

/// The folder that holds the states of one run.
pub struct StateFolder {
    folder: PathBuf,
    plan: Plan,
    spec: RunSpec,
}

impl StateFolder {
    /// The states of this run in `folder`, which must exist. Touches no file.
    #[must_use]
    pub fn new(folder: PathBuf, run_id: RunId, spec: RunSpec) -> Self {
        Self {
            folder,
            plan: Plan::new(run_id, &spec),
            spec,
        }
    }

    /// Writes the state before round 1: first values from the run's seed, zeros in every
    /// other vector.
    ///
    /// # Errors
    /// The disk's.
    pub fn initial(&self) -> Result<State, StateError> {
        let mut draft = Draft::create(&self.plan, 0, &self.path(0))?;
        let seed = self.spec.document().seed;
        let mut first = self.spec.layout().initial_values(Home::Shared, seed);
        let mut values = Vec::with_capacity(STEP_VALUES);
        for range in self.plan.steps() {
            values.clear();
            values.extend(first.by_ref().take(range.len()));
            draft.append(0, &values)?;
            values.fill(0.0);
            for vector in 1..self.plan.vectors() {
                draft.append(vector, &values)?;
            }
        }
        draft.finish()
    }

    /// Writes the state that the strategy makes of `old` and a round's accepted updates.
    ///
    /// # Errors
    /// The disk's; a sum of another run; [`StateError::Diverged`] when a value is infinite or
    /// no number. `old` stays as it is.
    pub fn next(&self, old: &State, sum: &WeightedSum) -> Result<State, StateError> {
        let strategy = &self.spec.document().strategy;
        let on_the_wire = strategy.vectors_on_the_wire();
        let wanted = self.plan.values() * on_the_wire;
        if sum.len() != wanted {
            return Err(StateError::WrongSum {
                got: sum.len(),
                wanted,
            });
        }
        let round = old.round() + 1;
        let mut draft = Draft::create(&self.plan, round, &self.path(round))?;
        let mut vectors = vec![Vec::with_capacity(STEP_VALUES); self.plan.vectors()];
        let mut means = vec![Vec::with_capacity(STEP_VALUES); on_the_wire];
        for range in self.plan.steps() {
            for (vector, values) in vectors.iter_mut().enumerate() {
                old.read(vector, range.clone(), values)?;
            }
            for (vector, mean) in means.iter_mut().enumerate() {
                let first = vector * self.plan.values();
                mean.clear();
                mean.extend(sum.means(first + range.start..first + range.end));
            }
            advance(strategy, sum.participation(), &means, &mut vectors)?;
            for (vector, values) in vectors.iter().enumerate() {
                if !values
                    .iter()
                    .fold(true, |all, value| all & value.is_finite())
                {
                    return Err(StateError::Diverged {
                        round,
                        vector: self.plan.vector_name(vector),
                    });
                }
                draft.append(vector, values)?;
            }
        }
        draft.finish()
    }

    /// Opens the state after `round`, whose [`State::content`] the journal remembers, and proves
    /// that it is the same: run, round, length and every byte.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn reopen(&self, round: u32, content: Digest) -> Result<State, StateError> {
        let path = self.path(round);
        let state = State::open(&self.plan, round, &path)?;
        if state.content() != content {
            return Err(StateError::Changed { path });
        }
        Ok(state)
    }

    /// Removes a round's state; one that is not there is no error.
    ///
    /// # Errors
    /// The disk's.
    pub fn forget(&self, round: u32) -> Result<(), StateError> {
        let path = self.path(round);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StateError::of_disk("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Writes the state's model alone, tensors named as in the layout, as a plain safetensors
    /// file for download. Parameters that stay at each site are not in it.
    ///
    /// # Errors
    /// The disk's.
    pub fn export_model(&self, state: &State, path: &Path) -> Result<ExportedModel, StateError> {
        export(&self.plan, state, path)
    }

    /// Where a round's state lies.
    #[must_use]
    pub fn path(&self, round: u32) -> PathBuf {
        self.folder.join(format!("round-{round:06}.safetensors"))
    }
}

#[cfg(test)]
mod tests;
