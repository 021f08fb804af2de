//! Training with noise: DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1).
//!
//! What holds of one patient's part in a step: each patient is drawn by herself with the same probability (Poisson
//! sampling; a shuffled batch would cost more than the accountant says); her rows' mean gradient is clipped and
//! rounded to whole steps, so that her part of the sum has a bounded norm in exact arithmetic; the noise is drawn for
//! that norm on the same whole numbers. All that follows is computed from the noisy sum alone. It is divided by the
//! *expected* number of patients, never by the drawn one.
//!
//! The draws use a secret that is made for the job: whoever could foretell who is in a batch would gain from it what
//! the sampling is thought to hide. So a job is not repeated bit for bit; the gate keeps its answer instead.

use std::collections::BTreeMap;
use std::fmt;

use consilium_privacy::clip::{ClipError, FixedPoint};
use consilium_privacy::mechanism::gaussian_vector;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::job::{Progress, TrainError, TrainJob, Trained, check_finite};
use super::linear::shared_places;
use super::network::Network;
use crate::data::Batchable;

/// How a job is made private. What it costs each patient follows from the rate, the noise and the steps; see
/// [`consilium_privacy::Cost::subsampled_gaussian`].
#[derive(Clone, PartialEq)]
pub struct Privacy {
    /// The L2 norm to which each patient's gradient is clipped.
    pub clip: f64,
    /// The noise's standard deviation over the norm of what one patient adds.
    pub sigma: f64,
    /// The probability with which each patient is in a step.
    pub rate: f64,
    /// Patients that a step would have if every one at the site were among `patients`: the divisor of the noisy sum.
    /// Public, as `rate` is.
    pub expected_patients: f64,
    /// The patients of the data set whose records may be used.
    pub patients: Vec<u32>,
    /// Drawn for this job alone, from the system's randomness.
    pub secret: [u8; 32],
}

impl fmt::Debug for Privacy {
    /// Neither the secret nor who is in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privacy")
            .field("clip", &self.clip)
            .field("sigma", &self.sigma)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl Privacy {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let wrong = |what| Err(TrainError::WrongNumber { what });
        if !positive(self.clip) {
            return wrong("clip");
        }
        if !positive(self.sigma) {
            return wrong("noise multiplier");
        }
        if !(positive(self.rate) && self.rate <= 1.0 && positive(self.expected_patients)) {
            return wrong("sampling rate");
        }
        Ok(())
    }
}

/// Takes a private job's steps, in plain arithmetic on the CPU. The loss is not told: it has no noise.
pub(super) fn train(
    job: &TrainJob,
    privacy: &Privacy,
    data: &Batchable,
    progress: &mut Progress<'_>,
) -> Result<Trained, TrainError> {
    steps(job, privacy, data, progress, &Build::SOUND)
}

/// Rounds a gradient to whole steps within its bound, by uniform numbers from outside.
type Bound = fn(&FixedPoint, &[f64], &mut dyn FnMut() -> f64) -> Result<Vec<i64>, ClipError>;

/// The two acts on which the promise rests, so that tests can put others in their place and see the audit find them.
struct Build {
    /// Bounds one patient's gradient.
    bound: Bound,
    /// Of the noise that is due.
    noise: f64,
}

impl Build {
    const SOUND: Self = Self {
        bound: |fixed, gradient, uniform| fixed.round(gradient, uniform),
        noise: 1.0,
    };
}

fn steps(
    job: &TrainJob,
    privacy: &Privacy,
    data: &Batchable,
    progress: &mut Progress<'_>,
    build: &Build,
) -> Result<Trained, TrainError> {
    if job.control.is_some() || !shared_places(&job.layout).iter().all(|shared| *shared) {
        return Err(TrainError::NotPrivate);
    }
    let fixed = FixedPoint::new(privacy.clip, job.layout.len()).map_err(device_failed)?;
    let rows_by_patient = rows_by_patient(data, &privacy.patients);
    let mut rng = ChaCha20Rng::from_seed(privacy.secret);
    // 53 bits: as many as a number from 0 to 1 has.
    let mut uniform = move || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut parameters = job.parameters.clone();
    let mut moments = vec![(0.0, 0.0); parameters.len()];
    for step in 1..=job.steps {
        let network = Network::of(&job.layout, &parameters);
        let mut sum = vec![0_i64; parameters.len()];
        for rows in &rows_by_patient {
            if uniform() >= privacy.rate {
                continue;
            }
            let mut gradient = vec![0.0; parameters.len()];
            for &row in rows {
                let (x, label) = data.row(row);
                network.add_gradient(x, label, 1.0 / rows.len() as f64, &mut gradient);
            }
            let bounded = (build.bound)(&fixed, &gradient, &mut uniform).map_err(device_failed)?;
            for (sum, part) in sum.iter_mut().zip(bounded) {
                *sum = sum.saturating_add(part);
            }
        }
        let sigma = privacy.sigma * build.noise;
        let (noisy, _) =
            gaussian_vector(&sum, fixed.sensitivity(), sigma).map_err(device_failed)?;
        let places = parameters.iter_mut().zip(&job.parameters);
        for (((parameter, centre), noisy), moments) in places.zip(&noisy).zip(&mut moments) {
            let now = f64::from(*parameter);
            let gradient = fixed.value(*noisy) / privacy.expected_patients
                + job.prox_mu * (now - f64::from(*centre));
            *parameter = (now - job.optimizer.change(gradient, moments, step)) as f32;
        }
        if check_finite("model", &parameters).is_err() {
            return Err(TrainError::Diverged { step });
        }
        if progress(step, None).is_break() {
            return Err(TrainError::Stopped { step });
        }
    }
    Ok(Trained {
        parameters,
        loss: None,
        steps: job.steps,
        records: data.rows() as u64,
    })
}

/// The places of each patient's rows, for those who may be used.
fn rows_by_patient(data: &Batchable, may_be_used: &[u32]) -> Vec<Vec<usize>> {
    let mut rows: BTreeMap<u32, Vec<usize>> = may_be_used
        .iter()
        .map(|patient| (*patient, Vec::new()))
        .collect();
    for (row, patient) in data.patients().iter().enumerate() {
        if let Some(rows) = rows.get_mut(patient) {
            rows.push(row);
        }
    }
    rows.into_values().collect()
}

/// What the checks before make impossible, or the system's randomness failed.
fn device_failed(error: impl std::error::Error) -> TrainError {
    TrainError::Device(error.to_string())
}

#[cfg(test)]
mod tests;
