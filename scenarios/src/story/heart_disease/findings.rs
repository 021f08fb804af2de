//! Everything that the story found, and its JSON. Pure.

use consilium_coordinator::event::Admission;
use serde_json::{Map, Value, json};

use super::figures::{Method, Spread};
use super::hospitals::{HOSPITALS, PUBLISHED, PUBLISHED_MEAN, PUBLISHED_POOLED_TEST};
use super::recipe::{FIRST_SEED, FOLDS, Intercept};
use super::selection::Candidate;

/// What our own best is called.
pub(super) const CHOSEN: &str = "chosen";

/// What the story found. Scores are in the hospitals' order.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) seeds: u32,
    /// Training and test rows of each hospital.
    pub(super) rows: Vec<(u64, u64)>,
    /// Accuracy on FLamby's "Pooled Test", by method.
    pub(super) pooled_tests: Vec<(String, Spread)>,
    /// Training loss by round, the mean over the seeds, by method.
    pub(super) losses: Vec<(String, Vec<f64>)>,
    pub(super) majority: Method,
    pub(super) own: Method,
    pub(super) pooled: Method,
    /// FLamby's three strategies.
    pub(super) federated: Vec<Method>,
    pub(super) personal: Method,
    pub(super) personal_runs: Vec<String>,
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) refused: Option<Refused>,
    pub(super) policies: Vec<PolicyAtSite>,
    /// What `consilium audit verify` said of each journal.
    pub(super) journals: Vec<(String, Value)>,
    pub(super) took_ms: u64,
}

/// The run that Switzerland refused, and what its officer made of it.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) cause: String,
    pub(super) changed_policy: String,
}

/// What decided at one hospital.
#[derive(Debug, Clone)]
pub(super) struct PolicyAtSite {
    pub(super) site: &'static str,
    pub(super) version: u32,
    /// Parameters that a model may have for each training record.
    pub(super) limit: f64,
    pub(super) admission: Admission,
}

impl Findings {
    /// Every method, the simplest first.
    pub(super) fn methods(&self) -> impl Iterator<Item = &Method> {
        let before = [&self.majority, &self.own, &self.pooled];
        before
            .into_iter()
            .chain(&self.federated)
            .chain([&self.personal])
    }

    /// Test rows of each hospital.
    #[must_use]
    pub(super) fn test_rows(&self) -> Vec<u64> {
        self.rows.iter().map(|(_, test)| *test).collect()
    }

    /// Every figure.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        let test_rows = self.test_rows();
        let (mean, weighted, auc) = (
            self.personal.mean(),
            self.personal.weighted(&test_rows),
            self.personal.auc_mean(),
        );
        let pooled_test: Map<String, Value> = self
            .pooled_tests
            .iter()
            .map(|(name, spread)| (name.clone(), json!(spread.mean())))
            .collect();
        let pooled_detail: Map<String, Value> = self
            .pooled_tests
            .iter()
            .map(|(name, spread)| (name.clone(), spread.json()))
            .collect();
        let methods: Map<String, Value> = self
            .methods()
            .map(|method| {
                let figures = json!({
                    "mean": method.mean().json(),
                    "weighted": method.weighted(&test_rows).json(),
                    "auc_mean": method.auc_mean().json(),
                });
                (method.name.clone(), figures)
            })
            .collect();
        json!({
            "story": "heart-disease",
            "seeds": self.seeds,
            "first_seed": FIRST_SEED,
            "pooled_test": pooled_test,
            "pooled_test_detail": pooled_detail,
            "personal": {
                "mean": mean.mean(), "weighted": weighted.mean(), "auc_mean": auc.mean(),
                "mean_detail": mean.json(), "weighted_detail": weighted.json(), "auc_mean_detail": auc.json(),
                "runs": self.personal_runs,
            },
            "methods": methods,
            "per_hospital": self.per_hospital_json(),
            "chosen": self.chosen_json(),
            "published": {
                "source": "FLamby, NeurIPS 2022, result files of its repository, seeds 42 to 46",
                "pooled_test": by_published(&PUBLISHED_POOLED_TEST),
                "mean": by_published(&PUBLISHED_MEAN),
            },
            "training_loss_by_round": self.losses.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "refused": self.refused.as_ref().map(|refused| &refused.cause),
            "policies": self.policies.iter().map(policy_json).collect::<Vec<_>>(),
            "journals": self.journals.iter().cloned().collect::<Map<_, _>>(),
            "took_ms": self.took_ms,
        })
    }

    fn per_hospital_json(&self) -> Value {
        let of = |(at, hospital): (usize, &super::hospitals::Hospital)| {
            let (training, test) = self.rows.get(at).copied().unwrap_or_default();
            let accuracy: Map<String, Value> = self
                .methods()
                .map(|method| (method.name.clone(), method.accuracy(at).json()))
                .collect();
            let auc: Map<String, Value> = self
                .methods()
                .map(|method| (method.name.clone(), method.auc(at).json()))
                .collect();
            let figures = json!({
                "training_rows": training,
                "test_rows": test,
                "majority_vote": self.majority.accuracy(at).mean(),
                "accuracy": accuracy,
                "auc": auc,
                "published_accuracy": by_published(&hospital.published),
            });
            (hospital.site.to_owned(), figures)
        };
        HOSPITALS
            .iter()
            .enumerate()
            .map(of)
            .collect::<Map<_, _>>()
            .into()
    }

    fn chosen_json(&self) -> Value {
        let one = |candidate: &Candidate| {
            json!({
                "words": candidate.choice.words(),
                "strategy": candidate.choice.strategy,
                "learning_rate": candidate.choice.learning_rate,
                "local_intercept": candidate.choice.intercept == Intercept::Local,
                "validation_log_loss": candidate.log_loss,
                "validation_accuracy": candidate.accuracy,
            })
        };
        json!({
            "criterion": "lowest mean over hospitals of the log loss on held-out training rows",
            "folds": FOLDS,
            "chosen": self.candidates.first().map(one),
            "candidates": self.candidates.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

fn by_published(figures: &[f64; PUBLISHED.len()]) -> Value {
    PUBLISHED
        .iter()
        .zip(figures)
        .map(|(name, figure)| ((*name).to_owned(), json!(figure)))
        .collect::<Map<_, _>>()
        .into()
}

fn policy_json(policy: &PolicyAtSite) -> Value {
    json!({
        "site": policy.site,
        "version": policy.version,
        "maximum_parameters_per_record": policy.limit,
        "training_records": policy.admission.records,
        "dataset_version_sha256": policy.admission.dataset_version,
        "bundle_sha256": policy.admission.bundle,
    })
}
