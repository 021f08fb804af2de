//! What something would cost, and whether a site is large enough for it to be of use: before anything is asked.

use crate::accountant::sigma_for_rounds;
use crate::{Account, Budget, Cost, CostError};

/// A noisy count is of use while its error, which 19 of 20 answers stay within, is at most this share of the cohort.
pub const USEFUL_SHARE: f64 = 0.05;
/// An update is of use while its noise is at most so many times as long as what one step of training may change.
pub const USEFUL_NOISE: f64 = 1.0;
/// Answers that are counted until a budget ends; more are as good as many.
pub const ANSWERS_MAX: u32 = 10_000;
/// One answer in so many has a larger error.
const OUTSIDE: f64 = 0.05;

/// A noisy count before it is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct CountQuote {
    /// What it costs each patient.
    pub cost: Cost,
    /// 19 of 20 answers are at most so far from the truth.
    pub error: u64,
    /// That, as a share of the cohort.
    pub share: f64,
    /// Patients from which on it is of use.
    pub patients_needed: u64,
    /// So many such answers fit the budget, one after the other, up to [`ANSWERS_MAX`].
    pub answers: u32,
}

/// Training with noise before it is begun.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingQuote {
    /// Standard deviation of the noise as a multiple of the clip: it follows from the budget.
    pub sigma: f64,
    /// Length of the noise on the mean of a batch against the longest that a clipped mean can be.
    pub noise: f64,
    /// Patients from which on it is of use, with the same share of them in a batch.
    pub patients_needed: u64,
}

/// A count of one bounded contribution of each of `patients`, by the discrete Laplace distribution at `epsilon`.
///
/// # Errors
/// An ε that is no cost.
pub fn count(epsilon: f64, patients: u64, budget: &Budget) -> Result<CountQuote, CostError> {
    let cost = Cost::pure(epsilon)?;
    // P(|X| > k) = 2 p^(k+1) / (1 + p) with p = e^-ε (Ghosh, Roughgarden and Sundararajan 2012, definition 2.4).
    let p = (-epsilon).exp();
    let steps = (OUTSIDE * (1.0 + p) / 2.0).ln() / -epsilon;
    let error = (steps.ceil() - 1.0).max(0.0) as u64;
    let mut account = Account::default();
    let mut answers = 0;
    while answers < ANSWERS_MAX && account.fits(budget, &cost) {
        account.add(&cost);
        answers += 1;
    }
    Ok(CountQuote {
        cost,
        error,
        share: error as f64 / patients.max(1) as f64,
        patients_needed: (error as f64 / USEFUL_SHARE).ceil() as u64,
        answers,
    })
}

/// `rounds` rounds of `steps` steps over batches of about `batch` of `patients`, of a model of `parameters`, within
/// `budget`.
///
/// Each step adds noise of σ times the clip to every coordinate of a sum of clipped gradients; its length over d
/// coordinates is σ√d clips, and the sum over a batch of b is at most b clips long.
///
/// # Errors
/// No noise keeps the budget, or the figures are none of a training.
pub fn training(
    budget: &Budget,
    patients: u64,
    batch: u64,
    steps: u64,
    rounds: u32,
    parameters: u64,
) -> Result<TrainingQuote, CostError> {
    let (patients, batch) = (patients.max(1), batch.max(1));
    let rate = (batch as f64 / patients as f64).min(1.0);
    let sigma = sigma_for_rounds(budget, rate, steps, rounds)?;
    let length = sigma * (parameters.max(1) as f64).sqrt();
    Ok(TrainingQuote {
        sigma,
        noise: length / batch.min(patients) as f64,
        patients_needed: (length / USEFUL_NOISE / rate).ceil() as u64,
    })
}

impl CountQuote {
    /// Whether the site is large enough.
    #[must_use]
    pub fn is_useful(&self) -> bool {
        self.share <= USEFUL_SHARE
    }
}

impl TrainingQuote {
    /// Whether the site is large enough.
    #[must_use]
    pub fn is_useful(&self) -> bool {
        self.noise <= USEFUL_NOISE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_patients_at_an_epsilon_of_one_are_too_few() {
        let budget = Budget::new(3.0, 1e-6).unwrap();
        let small = count(1.0, 30, &budget).unwrap();
        assert_eq!(
            (small.error, small.patients_needed, small.answers),
            (3, 60, 3)
        );
        assert!((small.share - 0.1).abs() < 1e-12 && !small.is_useful());
        assert!(count(1.0, 60, &budget).unwrap().is_useful());
        assert!(count(2.0, 30, &budget).unwrap().is_useful());
        assert!(count(0.0, 30, &budget).is_err());
    }

    /// The error is the least that is kept 19 times of 20, by summing the distribution itself.
    #[test]
    fn the_error_is_that_of_the_distribution() {
        let budget = Budget::new(3.0, 1e-6).unwrap();
        for epsilon in [0.05, 0.1, 0.5, 1.0, 3.0] {
            let p = f64::exp(-epsilon);
            let within = |error: u64| -> f64 {
                let at = |k: u64| (1.0 - p) / (1.0 + p) * p.powf(k as f64);
                at(0) + 2.0 * (1..=error).map(at).sum::<f64>()
            };
            let quoted = count(epsilon, 100, &budget).unwrap().error;
            assert!(within(quoted) >= 0.95, "{epsilon}");
            assert!(quoted == 0 || within(quoted - 1) < 0.95, "{epsilon}");
        }
    }

    #[test]
    fn training_at_a_small_site_is_all_noise_and_at_a_large_one_is_not() {
        let budget = Budget::new(1.0, 1e-6).unwrap();
        let small = training(&budget, 30, 10, 10, 15, 14).unwrap();
        assert!(!small.is_useful(), "{small:?}");
        assert!(small.patients_needed > 30);
        let large = training(&budget, 100_000, 1_000, 10, 15, 14).unwrap();
        assert!(large.is_useful(), "{large:?}");
        assert!(large.sigma < small.sigma);
    }
}
