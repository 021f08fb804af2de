//! Local training: from a model and a site's rows to the model after some steps.
//!
//! | file | what |
//! |---|---|
//! | `job` | what a trainer is asked and what it answers |
//! | `batches` | which rows each step sees |
//! | `metrics` | loss, accuracy and AUC from logits |
//! | `linear` | plain logistic regression: no dependency, the oracle |
//! | `burn` | every model of the catalogue, on CPU or GPU |
//! | `device` | which of the two, chosen once |
//! | `private` | steps with noise: each patient's gradient clipped, batches drawn by chance |
//! | `network` | the gradient of one row, for those |

mod batches;
mod burn;
mod device;
mod job;
mod linear;
mod metrics;
mod network;
mod private;

pub use self::burn::BurnTrainer;
pub(crate) use device::device_for_encoders;
pub use device::{DeviceChoice, DeviceError};
pub use job::{Control, Optimizer, Progress, TrainError, TrainJob, Trained};
pub use linear::LinearTrainer;
pub use private::Privacy;

use consilium_protocol::message::Metrics;
use consilium_protocol::model::Layout;
use serde::{Deserialize, Serialize};

use crate::data::Batchable;

/// Trains a model of the catalogue on rows that never leave the site.
///
/// The same job on the same rows gives the same parameters, bit for bit, on a CPU; a private job never does.
pub trait Trainer: Send {
    /// Takes the job's steps. `progress` is called after each of them and may stop the job.
    ///
    /// # Errors
    /// If the job does not fit the model or the rows, the parameters stop being
    /// finite, `progress` says stop, or the device fails.
    fn train(
        &mut self,
        job: TrainJob,
        data: &Batchable,
        progress: &mut Progress<'_>,
    ) -> Result<Trained, TrainError>;

    /// The model's logit for each row.
    ///
    /// # Errors
    /// If the parameters do not fit the model or the rows, or the device fails.
    fn logits(
        &mut self,
        layout: &Layout,
        parameters: &[f32],
        data: &Batchable,
    ) -> Result<Vec<f32>, TrainError>;

    /// Where it computes, for people.
    fn device(&self) -> &str;

    /// How good the model is on these rows.
    ///
    /// # Errors
    /// As [`Trainer::logits`], or if there are no rows, or the parameters are so
    /// large that a logit is not finite.
    fn evaluate(
        &mut self,
        layout: &Layout,
        parameters: &[f32],
        data: &Batchable,
    ) -> Result<Metrics, TrainError> {
        if data.rows() == 0 {
            return Err(TrainError::NoRecords);
        }
        let logits = self.logits(layout, parameters, data)?;
        job::check_finite("logits", &logits)?;
        Ok(metrics::of(&logits, data.y()))
    }
}

/// Which trainer a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainerChoice {
    /// Every model of the catalogue.
    #[default]
    Burn,
    /// Logistic models only, on the CPU.
    Linear,
}

/// The trainer that the node's configuration asks for; called once, at the start.
///
/// # Errors
/// If a GPU is asked for and none can be used.
pub fn trainer(
    choice: TrainerChoice,
    device: DeviceChoice,
) -> Result<Box<dyn Trainer>, DeviceError> {
    Ok(match choice {
        TrainerChoice::Burn => Box::new(BurnTrainer::new(device)?),
        TrainerChoice::Linear => Box::new(LinearTrainer),
    })
}

#[cfg(test)]
mod tests;
