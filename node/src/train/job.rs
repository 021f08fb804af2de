//! What a trainer is asked, and what it answers.

use std::ops::ControlFlow;

use consilium_protocol::model::{Home, Layout};

use super::private::Privacy;
use crate::data::Batchable;

/// Training losses that are read back during one job: on a GPU each waits for
/// everything before it.
const LOSS_READS_MAX: u64 = 20;

/// Called after each step with the steps done and, now and then, the mean
/// training loss since the last time it was given. `Break` stops the job.
pub type Progress<'a> = dyn FnMut(u64, Option<f64>) -> ControlFlow<()> + 'a;

/// One site's part of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainJob {
    pub layout: Layout,
    /// The whole model, shared and local values in the layout's order. Also the
    /// centre of the proximal term.
    pub parameters: Vec<f32>,
    pub optimizer: Optimizer,
    /// Optimiser steps. None: the model comes back as it is.
    pub steps: u64,
    /// Rows a step.
    pub batch_size: u32,
    /// Decides the order of rows together with the step's number.
    pub seed: u64,
    /// Steps that were taken before this job: the order of rows goes on from there.
    pub first_step: u64,
    /// μ of FedProx: μ (w − w₀) is added to the gradient of shared parameters
    /// (Li et al. 2020, "Federated optimization in heterogeneous networks", eq. 2).
    pub prox_mu: f64,
    /// Control variates of SCAFFOLD.
    pub control: Option<Control>,
    /// Makes the job private: batches are drawn by chance, and `batch_size` and `seed` say nothing.
    pub privacy: Option<Privacy>,
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    Sgd {
        learning_rate: f64,
    },
    /// Kingma and Ba 2015, algorithm 1. Its moments begin at zero in each job.
    Adam {
        learning_rate: f64,
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
    },
}

impl Optimizer {
    /// Adam with the paper's own settings.
    #[must_use]
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam {
            learning_rate,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// Control variates for the shared parameters, in the layout's order: each step
/// uses g − cᵢ + c (Karimireddy et al. 2020, "SCAFFOLD", algorithm 1, line 10).
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// c, the consortium's.
    pub global: Vec<f32>,
    /// cᵢ, this site's.
    pub site: Vec<f32>,
}

/// What a job gave.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Trained {
    pub parameters: Vec<f32>,
    /// Mean over the steps of each batch's mean loss before its step; none without steps.
    pub loss: Option<f64>,
    pub steps: u64,
    /// Rows that were trained on.
    pub records: u64,
}

/// Why a job could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    #[error("there is no record to train or to evaluate on")]
    NoRecords,
    #[error("the model has {wanted} {what} and got {got}")]
    WrongLength {
        what: &'static str,
        got: usize,
        wanted: usize,
    },
    #[error("the job's {what} is not a positive finite number")]
    WrongNumber { what: &'static str },
    #[error("not every value of the {what} is a finite number")]
    NotFinite { what: &'static str },
    #[error(
        "after step {step} the model is no longer made of finite numbers; use a smaller learning rate"
    )]
    Diverged { step: u64 },
    #[error("stopped after step {step}, as asked")]
    Stopped { step: u64 },
    #[error("the linear trainer has no hidden layers; set `trainer = \"burn\"` for this model")]
    NotLinear,
    #[error(
        "parameters that stay at a site and control variates have no noise; leave them out of a private run"
    )]
    NotPrivate,
    #[error("the device failed: {0}")]
    Device(String),
}

impl TrainJob {
    /// Checks all that does not depend on the trainer.
    pub(super) fn check(&self, data: &Batchable) -> Result<(), TrainError> {
        check_fit(&self.layout, &self.parameters, data)?;
        if data.rows() == 0 {
            return Err(TrainError::NoRecords);
        }
        if self.batch_size == 0 {
            return Err(TrainError::WrongNumber { what: "batch size" });
        }
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let good_optimizer = match self.optimizer {
            Optimizer::Sgd { learning_rate } => positive(learning_rate),
            Optimizer::Adam {
                learning_rate,
                beta_1,
                beta_2,
                epsilon,
            } => {
                let fraction = |beta: f64| (0.0..1.0).contains(&beta);
                positive(learning_rate) && fraction(beta_1) && fraction(beta_2) && positive(epsilon)
            }
        };
        if !good_optimizer {
            return Err(TrainError::WrongNumber {
                what: "learning rate",
            });
        }
        if self.prox_mu != 0.0 && !positive(self.prox_mu) {
            return Err(TrainError::WrongNumber {
                what: "proximal term",
            });
        }
        if let Some(privacy) = &self.privacy {
            privacy.check()?;
        }
        let Some(control) = &self.control else {
            return Ok(());
        };
        for variate in [&control.global, &control.site] {
            if variate.len() != self.layout.shared_len() {
                return Err(TrainError::WrongLength {
                    what: "shared parameters for its control variates",
                    got: variate.len(),
                    wanted: self.layout.shared_len(),
                });
            }
            check_finite("control variates", variate)?;
        }
        Ok(())
    }

    /// Whether the loss is to be read after this step, counted from 1.
    pub(super) fn reads_loss_after(&self, step: u64) -> bool {
        step == self.steps || step.is_multiple_of(self.steps.div_ceil(LOSS_READS_MAX).max(1))
    }

    /// c − cᵢ for each value of the whole model, zero for local ones.
    pub(super) fn control_shift(&self) -> Option<Vec<f32>> {
        let control = self.control.as_ref()?;
        let mut shared = control
            .global
            .iter()
            .zip(&control.site)
            .map(|(all, own)| all - own);
        let mut shift = Vec::with_capacity(self.layout.len());
        for tensor in self.layout.tensors() {
            match tensor.home {
                Home::Shared => shift.extend(shared.by_ref().take(tensor.len())),
                Home::Local => shift.resize(shift.len() + tensor.len(), 0.0),
            }
        }
        Some(shift)
    }
}

/// Parameters fit the layout, and the rows its first layer.
pub(super) fn check_fit(
    layout: &Layout,
    parameters: &[f32],
    data: &Batchable,
) -> Result<(), TrainError> {
    if parameters.len() != layout.len() {
        return Err(TrainError::WrongLength {
            what: "parameters",
            got: parameters.len(),
            wanted: layout.len(),
        });
    }
    let inputs = layout.tensors().first().map_or(0, |tensor| tensor.fan_in);
    if inputs != data.columns() {
        return Err(TrainError::WrongLength {
            what: "inputs",
            got: data.columns(),
            wanted: inputs,
        });
    }
    check_finite("model", parameters)
}

pub(super) fn check_finite(what: &'static str, values: &[f32]) -> Result<(), TrainError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(TrainError::NotFinite { what }),
    }
}

/// The parameters as they leave a trainer.
pub(super) fn finished(
    parameters: Vec<f32>,
    loss: Option<f64>,
    steps: u64,
    data: &Batchable,
) -> Result<Trained, TrainError> {
    if check_finite("model", &parameters).is_err() {
        return Err(TrainError::Diverged { step: steps });
    }
    Ok(Trained {
        parameters,
        loss,
        steps,
        records: data.rows() as u64,
    })
}
