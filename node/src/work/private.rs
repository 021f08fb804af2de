//! A round with noise: what it costs each patient, and which patients it touches.
//!
//! How many patients a site trains on is taken for public: it tells the number of its records when it admits a run. The
//! sampling rate and the noise follow from it and from the run file. A patient whose budget is spent is left out
//! silently: neither the rate nor the divisor changes with her.

use std::collections::BTreeSet;

use consilium_link::wall_clock;
use consilium_policies::{Action, Permit};
use consilium_privacy::accountant::sigma_for_rounds;
use consilium_privacy::ledger::Cohort;
use consilium_privacy::{Budget, BudgetError, Cost, CostError};
use consilium_protocol::message::TensorsAhead;
use consilium_protocol::run::{PrivacySpec, RunDocument};
use consilium_protocol::{Digest, Refusal, RefusalCode};

use super::{facts_of, job_of, not_finished, too_short, work_error};
use crate::data::Batchable;
use crate::gate::{NotReleased, PrivateUpdate, Touches, WorkError};
use crate::node::{Node, ReleasedUpdate, ask_of};
use crate::round::{LocalValues, Plan};
use crate::train::Privacy;

/// What makes a run private at this site.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// The probability with which each patient is in a step.
    pub rate: f64,
    /// Patients in a step, on average.
    pub expected_patients: f64,
    /// The noise's standard deviation over what one patient adds at most.
    pub sigma: f64,
    /// Of one round.
    pub cost: Cost,
}

/// A run that no noise makes private at this site.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoNoise {
    #[error("there is no patient to train on")]
    NoPatients,
    #[error(transparent)]
    Cost(#[from] CostError),
    #[error(transparent)]
    Budget(#[from] BudgetError),
}

impl Noise {
    /// The least noise with which all rounds of the run fit its ε and δ, where `patients` are trained on.
    ///
    /// # Errors
    /// No noise is enough, or there are no patients.
    pub fn of(
        document: &RunDocument,
        privacy: &PrivacySpec,
        patients: u64,
    ) -> Result<Self, NoNoise> {
        if patients == 0 {
            return Err(NoNoise::NoPatients);
        }
        let target = Budget::new(privacy.epsilon, privacy.delta)?;
        let rate = (f64::from(document.training.batch_size) / patients as f64).min(1.0);
        let steps = u64::from(document.training.local_steps);
        let sigma = sigma_for_rounds(&target, rate, steps, document.rounds)?;
        Ok(Self {
            rate,
            expected_patients: rate * patients as f64,
            sigma,
            cost: Cost::subsampled_gaussian(rate, sigma, steps)?,
        })
    }
}

/// The patients of these rows, by their numbers in the data set.
pub(super) fn patients_in(rows: &Batchable) -> BTreeSet<u32> {
    rows.patients().iter().copied().collect()
}

/// Whether all rounds together fit what the project, and all projects, have left here.
///
/// Nothing is set aside: each round is charged when it comes. What patients have left is not looked at, for it is
/// private; whose budget is spent is left out silently.
///
/// # Errors
/// The refusal: better before the first round than half way.
pub(super) fn fits_what_is_left(
    node: &Node,
    document: &RunDocument,
    permit: &Permit,
    noise: &Noise,
) -> Result<(), WorkError> {
    let ledger = node.gate.ledger(&document.dataset);
    let accounts = [
        (
            ledger.project(document.project.as_str()),
            permit.terms().budget_project,
        ),
        (*ledger.dataset(), permit.terms().budget_dataset),
    ];
    for (mut account, budget) in accounts {
        let Some(budget) = budget else { continue };
        for _ in 0..document.rounds {
            if !account.fits(&budget, &noise.cost) {
                return Err(WorkError::Refused(Refusal::new(
                    RefusalCode::BudgetExhausted,
                    format!(
                        "all rounds of the run would go beyond what is left of ε = {} at δ = {} on the data set `{}`",
                        budget.epsilon(),
                        budget.delta(),
                        document.dataset
                    ),
                    "ask for a smaller ε, or ask the site's compliance officer for a greater budget",
                )));
            }
            account.add(&noise.cost);
        }
    }
    Ok(())
}

/// A private round's update from the state as received. Nothing stays here.
///
/// # Errors
/// The policy's refusal, or a fault.
pub(super) fn train(
    node: &Node,
    state: &TensorsAhead,
    plan: &Plan,
    privacy: &PrivacySpec,
    received: Vec<f32>,
) -> Result<(ReleasedUpdate, LocalValues), NotReleased> {
    let document = plan.spec.document();
    let action = Action::Train {
        round: state.round,
        rounds: document.rounds,
    };
    let ask = ask_of(&state.run_id, &plan.spec, &plan.researcher, action);
    let (mut facts, prepared) = facts_of(node, &state.run_id, &plan.spec);
    let now = wall_clock();
    let mut touches = Touches {
        dataset_version: Digest([0; 32]),
        state: Some(Digest(state.blake3)),
        patients: Cohort::default(),
    };
    let mut numbers = Default::default();
    let priced = match (&prepared, node.dataset(&document.dataset)) {
        (Ok(prepared), Some(Ok(dataset))) => {
            let patients = patients_in(&prepared.data.train);
            numbers = node.patient_numbers.of(&node.gate, &dataset, now)?;
            let in_ledger = patients
                .iter()
                .filter_map(|patient| numbers.get(*patient as usize).copied());
            touches.dataset_version = dataset.version();
            // Every number is one that the ledger gave, and so within its limit.
            touches.patients = Cohort::of(in_ledger).unwrap_or_default();
            Noise::of(document, privacy, patients.len() as u64).map_err(not_private)
        }
        // The closure says what is wrong with the records.
        _ => Err(WorkError::failed("no records to train on")),
    };
    if let Ok(noise) = &priced {
        facts.cost = noise.cost.clone();
    }
    let released = node
        .gate
        .pass_touching(&ask, &facts, &touches, now, |_permit, left| {
            let prepared = prepared?;
            let noise = priced?;
            let may_be_used = |patient: &u32| {
                let number = numbers.get(*patient as usize);
                number.is_some_and(|number| left.contains(*number))
            };
            if received.len() != plan.spec.layout().len() {
                return Err(too_short());
            }
            let patients = patients_in(&prepared.data.train);
            let patients = patients.into_iter().filter(may_be_used).collect();
            let privacy = privacy_of(privacy, &noise, patients)?;
            let job = job_of(plan, received.clone(), None, Some(privacy));
            let trained = node
                .trainer()
                .train(job, &prepared.data.train, &mut not_finished)
                .map_err(work_error)?;
            let mut change = trained.parameters;
            for (after, before) in change.iter_mut().zip(&received) {
                *after -= before;
            }
            Ok(PrivateUpdate {
                change,
                records: trained.records,
            })
        })?;
    Ok((released, LocalValues::default()))
}

/// What makes a round's job for these patients private, with a secret of its own.
fn privacy_of(
    privacy: &PrivacySpec,
    noise: &Noise,
    patients: Vec<u32>,
) -> Result<Privacy, WorkError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| WorkError::failed(error.to_string()))?;
    Ok(Privacy {
        clip: privacy.clip,
        sigma: noise.sigma,
        rate: noise.rate,
        expected_patients: noise.expected_patients,
        patients,
        secret,
    })
}

/// What no noise makes private is an answer to the researcher.
pub(super) fn not_private(error: NoNoise) -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::InvalidRun,
        error.to_string(),
        "ask for a greater ε, fewer steps or rounds, or leave this site out of the participants",
    ))
}

#[cfg(test)]
mod tests {
    use consilium_privacy::Account;

    use super::*;

    fn document(batch: u32) -> (RunDocument, PrivacySpec) {
        let text = format!(
            r#"
name = "private"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
participants = ["cleveland"]
rounds = 12
model = {{ kind = "logistic" }}
strategy = {{ name = "FedAvg" }}
training = {{ learning-rate = 0.5, local-steps = 20, batch-size = {batch} }}
privacy = {{ clip = 1.0, epsilon = 3.0, delta = 1e-5 }}
[data]
features = [{{ column = "age", between = [20, 90] }}]
label = {{ column = "num", greater-than = 0 }}
"#
        );
        let spec = consilium_protocol::run::RunSpec::parse(text.as_bytes()).unwrap();
        (spec.document().clone(), spec.document().privacy.unwrap())
    }

    #[test]
    fn all_rounds_cost_what_the_run_file_says_and_hardly_less() {
        for (batch, patients) in [(32, 199), (8, 46), (64, 10_000)] {
            let (document, privacy) = document(batch);
            let noise = Noise::of(&document, &privacy, patients).unwrap();
            assert!((noise.expected_patients - f64::from(batch)).abs() < 1e-9);
            let declared = Cost::subsampled_gaussian(noise.rate, noise.sigma, 20).unwrap();
            assert_eq!(noise.cost, declared);
            let budget = Budget::new(privacy.epsilon, privacy.delta).unwrap();
            let mut spent = Account::default();
            for _ in 0..document.rounds {
                assert!(spent.fits(&budget, &noise.cost));
                spent.add(&noise.cost);
            }
            let reached = spent.epsilon(privacy.delta);
            assert!((2.99..=3.0).contains(&reached), "{reached}");
        }
    }

    #[test]
    fn a_small_site_takes_every_patient_every_time_and_pays_in_noise() {
        let (document, privacy) = document(64);
        let small = Noise::of(&document, &privacy, 30).unwrap();
        assert_eq!((small.rate, small.expected_patients), (1.0, 30.0));
        let large = Noise::of(&document, &privacy, 3_000).unwrap();
        assert!(
            small.sigma > 10.0 * large.sigma,
            "{} {}",
            small.sigma,
            large.sigma
        );
        assert!(Noise::of(&document, &privacy, 0).is_err());
    }
}
