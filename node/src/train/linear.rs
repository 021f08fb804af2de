//! Plain logistic regression: the oracle for every other trainer, and a node
//! without burn still passes its tests with it, slower and for one model.

use consilium_protocol::model::{Home, Layout};

use super::Trainer;
use super::batches::{Batch, Batches};
use super::job::{Optimizer, Progress, TrainError, TrainJob, Trained, check_fit, finished};
use super::metrics::{loss, sigmoid};
use super::private;
use crate::data::Batchable;

/// Logistic models on the CPU. Gradients are summed in `f64`; parameters are
/// `f32` between steps, so that a job can be cut in two anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearTrainer;

impl Trainer for LinearTrainer {
    fn train(
        &mut self,
        job: TrainJob,
        data: &Batchable,
        progress: &mut Progress<'_>,
    ) -> Result<Trained, TrainError> {
        job.check(data)?;
        check_linear(&job.layout)?;
        if let Some(privacy) = &job.privacy {
            return private::train(&job, privacy, data, progress);
        }
        let shift = job.control_shift();
        let is_shared = shared_places(&job.layout);
        let mut parameters = job.parameters.clone();
        let mut moments = vec![(0.0, 0.0); parameters.len()];
        let mut batches = Batches::new(data, job.batch_size, job.seed, job.first_step);
        let (mut loss_sum, mut loss_since, mut steps_since) = (0.0, 0.0, 0_u32);
        for step in 1..=job.steps {
            let (mut gradient, batch_loss) = gradient(&parameters, &batches.next());
            let places = gradient
                .iter_mut()
                .zip(&parameters)
                .zip(&job.parameters)
                .zip(&is_shared);
            for (((gradient, now), centre), _) in places.filter(|(_, shared)| **shared) {
                *gradient += job.prox_mu * (f64::from(*now) - f64::from(*centre));
            }
            for (gradient, shift) in gradient.iter_mut().zip(shift.iter().flatten()) {
                *gradient += f64::from(*shift);
            }
            for ((parameter, gradient), moments) in
                parameters.iter_mut().zip(&gradient).zip(&mut moments)
            {
                let change = job.optimizer.change(*gradient, moments, step);
                *parameter = (f64::from(*parameter) - change) as f32;
            }
            loss_sum += batch_loss;
            loss_since += batch_loss;
            steps_since += 1;
            let mut recent = None;
            if job.reads_loss_after(step) {
                recent = Some(loss_since / f64::from(steps_since));
                (loss_since, steps_since) = (0.0, 0);
                if !batch_loss.is_finite() {
                    return Err(TrainError::Diverged { step });
                }
            }
            if progress(step, recent).is_break() {
                return Err(TrainError::Stopped { step });
            }
        }
        let mean = (job.steps > 0).then(|| loss_sum / job.steps as f64);
        finished(parameters, mean, job.steps, data)
    }

    fn logits(
        &mut self,
        layout: &Layout,
        parameters: &[f32],
        data: &Batchable,
    ) -> Result<Vec<f32>, TrainError> {
        check_fit(layout, parameters, data)?;
        check_linear(layout)?;
        let rows = data.x().chunks_exact(data.columns());
        Ok(rows.map(|row| logit(parameters, row) as f32).collect())
    }

    fn device(&self) -> &str {
        "CPU, linear"
    }
}

impl Optimizer {
    /// What to subtract from one parameter. `step` counts from 1 within the job.
    pub(super) fn change(&self, gradient: f64, moments: &mut (f64, f64), step: u64) -> f64 {
        match *self {
            Self::Sgd { learning_rate } => learning_rate * gradient,
            Self::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                let (first, second) = moments;
                *first = beta_1 * *first + (1.0 - beta_1) * gradient;
                *second = beta_2 * *second + (1.0 - beta_2) * gradient * gradient;
                let (first_bias, second_bias) = (unbias(beta_1, step), unbias(beta_2, step));
                learning_rate * (*first / first_bias) / ((*second / second_bias).sqrt() + epsilon)
            }
        }
    }
}

/// 1 − βᵗ, which Adam divides its moments by.
pub(super) fn unbias(beta: f64, step: u64) -> f64 {
    1.0 - beta.powf(step as f64)
}

/// The gradient of the batch's mean loss at these parameters, and that loss.
fn gradient(parameters: &[f32], batch: &Batch) -> (Vec<f64>, f64) {
    let columns = parameters.len() - 1;
    let rows = batch.y.len() as f64;
    let mut gradient = vec![0.0; parameters.len()];
    let mut loss_sum = 0.0;
    for (row, label) in batch.x.chunks_exact(columns.max(1)).zip(&batch.y) {
        let (logit, label) = (logit(parameters, row), f64::from(*label));
        loss_sum += loss(logit, label);
        let residual = (sigmoid(logit) - label) / rows;
        let inputs = row.iter().copied().chain(std::iter::once(1.0));
        for (gradient, input) in gradient.iter_mut().zip(inputs) {
            *gradient += residual * f64::from(input);
        }
    }
    (gradient, loss_sum / rows)
}

/// Weights, then the intercept.
fn logit(parameters: &[f32], row: &[f32]) -> f64 {
    let inputs = row.iter().copied().chain(std::iter::once(1.0));
    parameters
        .iter()
        .zip(inputs)
        .map(|(weight, input)| f64::from(*weight) * f64::from(input))
        .sum()
}

fn check_linear(layout: &Layout) -> Result<(), TrainError> {
    match layout.tensors().len() {
        2 => Ok(()),
        _ => Err(TrainError::NotLinear),
    }
}

/// Which values of the whole model are shared.
pub(super) fn shared_places(layout: &Layout) -> Vec<bool> {
    let tensors = layout.tensors().iter();
    tensors
        .flat_map(|tensor| std::iter::repeat_n(tensor.home == Home::Shared, tensor.len()))
        .collect()
}
