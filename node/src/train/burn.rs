//! Every model of the catalogue, on burn. The only file besides `device` that
//! names it.
//!
//! Tensors are held outside burn's modules, in the layout's order, so that one
//! flat vector of parameters goes in and comes out. The optimisers are written
//! out here for the same reason, and the linear trainer checks them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use consilium_protocol::model::{Home, Layout};

use super::Trainer;
use super::batches::{Batch, Batches};
use super::device::{Chosen, DeviceChoice, DeviceError, choose, panic_text};
use super::job::{Optimizer, Progress, TrainError, TrainJob, Trained, check_fit, finished};
use super::linear::unbias;
use super::private;
use crate::data::Batchable;

/// Rows whose logits are computed at once.
const ROWS_AT_ONCE_MAX: usize = 4096;

/// Trains on the device it was made for.
#[derive(Debug, Clone)]
pub struct BurnTrainer {
    on: Chosen,
}

impl BurnTrainer {
    /// A trainer on the device of this choice.
    ///
    /// # Errors
    /// If a GPU is asked for and none can be used.
    pub fn new(choice: DeviceChoice) -> Result<Self, DeviceError> {
        Ok(Self {
            on: choose(choice)?,
        })
    }
}

impl Trainer for BurnTrainer {
    fn train(
        &mut self,
        mut job: TrainJob,
        data: &Batchable,
        progress: &mut Progress<'_>,
    ) -> Result<Trained, TrainError> {
        job.check(data)?;
        if job.steps == 0 {
            // A large model passes through without a copy.
            return finished(std::mem::take(&mut job.parameters), None, 0, data);
        }
        if let Some(privacy) = &job.privacy {
            // Not on the device: what a patient adds must not depend, by a bit, on who else is in the batch.
            return private::train(&job, privacy, data, progress);
        }
        contain(|| Training::new(job, &self.on.device)?.run(data, progress))
    }

    fn logits(
        &mut self,
        layout: &Layout,
        parameters: &[f32],
        data: &Batchable,
    ) -> Result<Vec<f32>, TrainError> {
        check_fit(layout, parameters, data)?;
        contain(|| {
            let model = tensors(layout, parameters, &self.on.device)?;
            let mut logits = Vec::with_capacity(data.rows());
            for x in data.x().chunks(ROWS_AT_ONCE_MAX * data.columns()) {
                let x = matrix(x.to_vec(), data.columns(), &self.on.device);
                logits.extend(read(forward(&model, x))?);
            }
            Ok(logits)
        })
    }

    fn device(&self) -> &str {
        &self.on.name
    }
}

/// One job in progress.
struct Training<'a> {
    job: TrainJob,
    device: &'a Device,
    /// Weight `[out, in]` and bias `[1, out]` of each layer in turn.
    model: Vec<Tensor<2>>,
    /// The model as it came, where a proximal term holds it.
    centre: Option<Vec<Tensor<2>>>,
    /// c − cᵢ of SCAFFOLD.
    control_shift: Option<Vec<Tensor<2>>>,
    /// Adam's first and second moment of each tensor.
    moments: Vec<Option<(Tensor<2>, Tensor<2>)>>,
}

impl<'a> Training<'a> {
    fn new(mut job: TrainJob, device: &'a Device) -> Result<Self, TrainError> {
        // From here on the parameters live in the tensors alone.
        let parameters = std::mem::take(&mut job.parameters);
        let model = tensors(&job.layout, &parameters, device)?;
        let control_shift = job.control_shift();
        let control_shift = control_shift.map(|shift| tensors(&job.layout, &shift, device));
        Ok(Self {
            device,
            centre: (job.prox_mu > 0.0).then(|| model.clone()),
            control_shift: control_shift.transpose()?,
            moments: vec![None; model.len()],
            model,
            job,
        })
    }

    fn run(mut self, data: &Batchable, progress: &mut Progress<'_>) -> Result<Trained, TrainError> {
        let job = &self.job;
        let steps = job.steps;
        let mut batches = Batches::new(data, job.batch_size, job.seed, job.first_step);
        let mut loss_sum = 0.0;
        let mut unread: Option<(Tensor<1>, u32)> = None;
        for step in 1..=steps {
            let loss = self.step(batches.next(), step);
            unread = Some(match unread {
                None => (loss, 1),
                Some((sum, count)) => (sum + loss, count + 1),
            });
            let mut recent = None;
            if self.job.reads_loss_after(step)
                && let Some((sum, count)) = unread.take()
            {
                let sum: f32 = sum.try_into_scalar().map_err(device_failed)?;
                if !sum.is_finite() {
                    return Err(TrainError::Diverged { step });
                }
                loss_sum += f64::from(sum);
                recent = Some(f64::from(sum) / f64::from(count));
            }
            if progress(step, recent).is_break() {
                return Err(TrainError::Stopped { step });
            }
        }
        let mut parameters = Vec::with_capacity(self.job.layout.len());
        for tensor in self.model {
            parameters.extend(read(tensor)?);
        }
        finished(parameters, Some(loss_sum / steps as f64), steps, data)
    }

    /// One step of the optimiser; gives the batch's mean loss before it.
    fn step(&mut self, batch: Batch, step: u64) -> Tensor<1> {
        let rows = batch.y.len();
        let columns = batch.x.len() / rows.max(1);
        let x = matrix(batch.x, columns, self.device);
        let labels = matrix(batch.y, 1, self.device);
        let leaves: Vec<Tensor<2>> = self
            .model
            .iter()
            .map(|tensor| tensor.clone().autodiff().require_grad())
            .collect();
        let logits = forward(&leaves, x);
        let constant = logits.clone().without_autodiff();
        // The derivative of the loss by a logit is σ(z) − y; going back from it is
        // exact everywhere, where the stable form of the loss has a kink at z = 0.
        let residual = (sigmoid(constant.clone()) - labels.clone()) / rows as f64;
        let mut gradients = (logits * residual).sum().backward();
        for (at, leaf) in leaves.iter().enumerate() {
            if let Some(gradient) = leaf.grad_remove(&mut gradients) {
                self.update(at, gradient, step);
            }
        }
        let softened = (-constant.clone().abs()).exp().log1p();
        (relu(constant.clone()) - constant * labels + softened).mean()
    }

    /// Moves the model's tensor number `at` against its gradient.
    fn update(&mut self, at: usize, mut gradient: Tensor<2>, step: u64) {
        let Some(tensor) = self.model.get_mut(at) else {
            return;
        };
        let is_shared = self
            .job
            .layout
            .tensors()
            .get(at)
            .is_some_and(|spec| spec.home == Home::Shared);
        let centre = self.centre.as_ref().and_then(|centre| centre.get(at));
        if let Some(centre) = centre.filter(|_| is_shared) {
            gradient = gradient + (tensor.clone() - centre.clone()) * self.job.prox_mu;
        }
        if let Some(shift) = self.control_shift.as_ref().and_then(|shift| shift.get(at)) {
            gradient = gradient + shift.clone();
        }
        let change = match self.job.optimizer {
            Optimizer::Sgd { learning_rate } => gradient * learning_rate,
            Optimizer::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                let Some(moments) = self.moments.get_mut(at) else {
                    return;
                };
                let new_first = gradient.clone() * (1.0 - beta_1);
                let new_second = gradient.clone() * gradient * (1.0 - beta_2);
                let (first, second) = match moments.take() {
                    None => (new_first, new_second),
                    Some((first, second)) => {
                        (first * beta_1 + new_first, second * beta_2 + new_second)
                    }
                };
                *moments = Some((first.clone(), second.clone()));
                let scale = (second / unbias(beta_2, step)).sqrt() + epsilon;
                first / unbias(beta_1, step) * learning_rate / scale
            }
        };
        *tensor = tensor.clone() - change;
    }
}

/// Logits `[rows, 1]` of rows `[rows, inputs]`: linear layers with ReLU between.
fn forward(model: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
    let layers = model.len() / 2;
    let mut values = x;
    for (layer, pair) in model.chunks_exact(2).enumerate() {
        let [weight, bias] = pair else { continue };
        values = values.matmul(weight.clone().transpose()) + bias.clone();
        if layer + 1 < layers {
            values = relu(values);
        }
    }
    values
}

/// A flat vector as the layout's tensors; a bias becomes one row.
fn tensors(layout: &Layout, flat: &[f32], device: &Device) -> Result<Vec<Tensor<2>>, TrainError> {
    let mut rest = flat;
    let cut = layout.tensors().iter().map(|spec| {
        let Some((values, tail)) = rest.split_at_checked(spec.len()) else {
            return Err(TrainError::WrongLength {
                what: "parameters",
                got: flat.len(),
                wanted: layout.len(),
            });
        };
        rest = tail;
        let columns = spec.shape.last().copied().unwrap_or(1);
        Ok(matrix(values.to_vec(), columns, device))
    });
    cut.collect()
}

fn matrix(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn read(tensor: Tensor<2>) -> Result<Vec<f32>, TrainError> {
    tensor.try_into_vec_as::<f32>().map_err(device_failed)
}

fn device_failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Device(error.to_string())
}

/// burn reports a device's failures by panicking; here they become errors, so
/// that a broken driver costs a round and not the node.
fn contain<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|fault| Err(TrainError::Device(panic_text(&*fault))))
}
