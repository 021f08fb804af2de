//! What federated training is compared with: the majority vote, each hospital's own model, and
//! pooled training. None of them needs a consortium; the last no consortium may do.

use std::path::Path;

use consilium_node::data::{Batchable, Encoded, Prepared};
use consilium_node::train::{LinearTrainer, Optimizer, TrainJob, Trainer};
use consilium_protocol::model::{Home, Layout};
use safetensors::SafeTensors;

use super::figures::Score;
use super::hospitals::HOSPITALS;
use super::recipe::template;
use crate::house::Consortium;
use crate::story::StoryError;

/// FLamby's pooled and local baselines (`fed_heart_disease/common.py`).
const EPOCHS: usize = 50;
const LEARNING_RATE: f64 = 0.001;
const BATCH_SIZE: u32 = 4;

/// All four hospitals' rows in one hand.
pub(super) struct Ward {
    layout: Layout,
    /// Each hospital's rows, standardised by its own training rows.
    hospitals: Vec<Prepared>,
    /// Everybody's rows, standardised by everybody's training rows: the test rows are FLamby's "Pooled Test".
    pooled: Prepared,
}

impl Ward {
    /// Reads every hospital's folder.
    ///
    /// # Errors
    /// Files that are not what they should be.
    pub(super) fn of(consortium: &Consortium) -> Result<Self, StoryError> {
        let document = template()?;
        let encoded = HOSPITALS
            .iter()
            .map(|hospital| hospital.encoded(&consortium.folder(hospital.site), &document.data))
            .collect::<Result<Vec<Encoded>, _>>()
            .map_err(StoryError::unexpected)?;
        let hospitals: Vec<Prepared> = encoded
            .iter()
            .map(Encoded::standardise)
            .collect::<Result<_, _>>()
            .map_err(StoryError::unexpected)?;
        let pooled = Encoded::pool(encoded)
            .and_then(|all| all.standardise())
            .map_err(StoryError::unexpected)?;
        let layout = document
            .model
            .layout(document.inputs())
            .map_err(StoryError::unexpected)?;
        Ok(Self {
            layout,
            hospitals,
            pooled,
        })
    }

    /// Training and test rows of each hospital.
    #[must_use]
    pub(super) fn rows(&self) -> Vec<(u64, u64)> {
        let rows =
            |prepared: &Prepared| (prepared.train.rows() as u64, prepared.test.rows() as u64);
        self.hospitals.iter().map(rows).collect()
    }

    /// What always saying the training rows' more frequent label gets right.
    #[must_use]
    pub(super) fn majority(&self) -> Vec<Score> {
        let vote = |prepared: &Prepared| {
            let positive = share_positive(&prepared.train) > 0.5;
            let share = share_positive(&prepared.test);
            Score {
                accuracy: if positive { share } else { 1.0 - share },
                auc: Some(0.5),
            }
        };
        self.hospitals.iter().map(vote).collect()
    }

    /// Each hospital's own model on its own test rows.
    ///
    /// # Errors
    /// If training fails.
    pub(super) fn own_models(&self, seed: u64) -> Result<Vec<Score>, StoryError> {
        let own = |prepared: &Prepared| {
            let model = self.train(&prepared.train, seed)?;
            self.score(&model, &prepared.test)
        };
        self.hospitals.iter().map(own).collect()
    }

    /// A model trained on everybody's rows: its accuracy on "Pooled Test", and on each hospital's
    /// test rows in that hospital's own standardisation.
    ///
    /// # Errors
    /// If training fails.
    pub(super) fn pooled_model(&self, seed: u64) -> Result<(f64, Vec<Score>), StoryError> {
        let model = self.train(&self.pooled.train, seed)?;
        let scores = self
            .hospitals
            .iter()
            .map(|prepared| self.score(&model, &prepared.test));
        Ok((
            self.score(&model, &self.pooled.test)?.accuracy,
            scores.collect::<Result<_, _>>()?,
        ))
    }

    /// The accuracy on "Pooled Test" of a model that was downloaded, none of whose parameters stayed at a site.
    ///
    /// # Errors
    /// If the file is not that model.
    pub(super) fn pooled_test(&self, file: &Path) -> Result<f64, StoryError> {
        let bytes = std::fs::read(file).map_err(|source| StoryError::Disk {
            what: format!("cannot read `{}`", file.display()),
            source,
        })?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(StoryError::unexpected)?;
        let mut model = Vec::with_capacity(self.layout.len());
        for spec in self.layout.tensors() {
            let tensor = tensors.tensor(&spec.name).map_err(StoryError::unexpected)?;
            model.extend(consilium_protocol::model::from_le_bytes(tensor.data()));
        }
        Ok(self.score(&model, &self.pooled.test)?.accuracy)
    }

    fn train(&self, rows: &Batchable, seed: u64) -> Result<Vec<f32>, StoryError> {
        let job = TrainJob {
            layout: self.layout.clone(),
            parameters: self.layout.initial_values(Home::Shared, seed).collect(),
            optimizer: Optimizer::adam(LEARNING_RATE),
            steps: (EPOCHS * rows.rows().div_ceil(BATCH_SIZE as usize)) as u64,
            batch_size: BATCH_SIZE,
            seed,
            first_step: 0,
            prox_mu: 0.0,
            control: None,
            privacy: None,
        };
        let mut go_on = |_, _| std::ops::ControlFlow::Continue(());
        let trained = LinearTrainer
            .train(job, rows, &mut go_on)
            .map_err(StoryError::unexpected)?;
        Ok(trained.parameters)
    }

    fn score(&self, model: &[f32], rows: &Batchable) -> Result<Score, StoryError> {
        let metrics = LinearTrainer
            .evaluate(&self.layout, model, rows)
            .map_err(StoryError::unexpected)?;
        Ok(Score {
            accuracy: metrics.accuracy,
            auc: metrics.auc,
        })
    }
}

fn share_positive(rows: &Batchable) -> f64 {
    let positive = rows.y().iter().filter(|label| **label > 0.5).count();
    positive as f64 / rows.rows().max(1) as f64
}
