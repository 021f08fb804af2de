//! The `[privacy]` section: training that costs each patient a bounded part of a budget.

use serde::{Deserialize, Serialize};

use super::{RunDocument, RunError, invalid};
use crate::model::Layout;
use crate::strategy::Strategy;

/// At each site the whole run is (ε, δ)-differentially private for each patient of it: as good as the same with any one
/// patient added or removed. The noise follows from these three numbers, the batch, the steps and the site's
/// patients; none of it can be set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PrivacySpec {
    /// The L2 norm to which each patient's gradient is clipped.
    pub clip: f64,
    /// ε of the whole run.
    pub epsilon: f64,
    /// δ of the whole run; well below one in the number of patients.
    pub delta: f64,
}

/// A run with `[privacy]` keeps and tells nothing that has no noise; ranges belong to such runs alone.
pub(super) fn check(document: &RunDocument, layout: &Layout) -> Result<(), RunError> {
    let features = &document.data.features;
    let Some(privacy) = &document.privacy else {
        return match features.iter().any(|feature| feature.between.is_some()) {
            true => Err(invalid(
                "data.features.between",
                "belongs to runs with a section `privacy`",
            )),
            false => Ok(()),
        };
    };
    if !(1e-3..=1e3).contains(&privacy.clip) {
        return Err(invalid("privacy.clip", "must lie between 0.001 and 1000"));
    }
    if !(privacy.epsilon >= 1e-3 && privacy.epsilon <= 1e3) {
        return Err(invalid(
            "privacy.epsilon",
            "must lie between 0.001 and 1000",
        ));
    }
    if !(privacy.delta > 0.0 && privacy.delta <= 0.1) {
        return Err(invalid(
            "privacy.delta",
            "must be above 0 and at most 0.1; choose it well below one in the number of patients",
        ));
    }
    if document.training.local_steps == 0 {
        return Err(invalid(
            "training.local-steps",
            "must be at least 1 in a run with `privacy`",
        ));
    }
    if layout.local_len() > 0 {
        return Err(invalid(
            "model.local",
            "must be left out in a run with `privacy`: parameters that stay at a site are trained without noise",
        ));
    }
    if matches!(document.strategy, Strategy::Scaffold { .. }) {
        return Err(invalid(
            "strategy",
            "SCAFFOLD's control variates have no noise; choose another for a run with `privacy`",
        ));
    }
    if document.validation.is_some() {
        return Err(invalid(
            "validation",
            "must be left out in a run with `privacy`: which patients a fold holds out depends on the others",
        ));
    }
    for feature in features {
        let range = feature.between.map(|[from, to]| to - from);
        let problem = match (feature.one_hot.is_empty(), range) {
            (true, None) => "a numeric column needs its public range in a run with `privacy`",
            (true, Some(width)) if !(width > 0.0 && width.is_finite()) => {
                "needs two finite numbers in rising order"
            }
            (false, Some(_)) => "belongs to numeric columns; a one-hot column has levels",
            _ => continue,
        };
        return Err(invalid("data.features.between", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::run::RunSpec;

    const PRIVATE: &str = r#"
name = "heart-disease"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
participants = ["cleveland"]
rounds = 15

[model]
kind = "logistic"

[strategy]
name = "FedAvg"

[training]
learning-rate = 0.5
local-steps = 10
batch-size = 32

[privacy]
clip = 1.0
epsilon = 3.0
delta = 1e-5

[data]
features = [{ column = "age", between = [20, 90] }, { column = "cp", one-hot = [1, 2, 3, 4] }]
label = { column = "num", greater-than = 0 }
"#;

    #[test]
    fn a_private_run_says_what_it_may_cost() {
        let run = RunSpec::parse(PRIVATE.as_bytes()).unwrap();
        let privacy = run.document().privacy.unwrap();
        assert_eq!(
            (privacy.clip, privacy.epsilon, privacy.delta),
            (1.0, 3.0, 1e-5)
        );
        let written = toml::to_string(run.document()).unwrap();
        let again = RunSpec::parse(written.as_bytes()).unwrap();
        assert_eq!(again.document(), run.document());
    }

    #[test]
    fn what_would_leave_without_noise_is_refused_by_field() {
        for (from, to, says) in [
            ("clip = 1.0", "clip = 0", "`privacy.clip`"),
            ("clip = 1.0", "clip = nan", "`privacy.clip`"),
            ("epsilon = 3.0", "epsilon = inf", "`privacy.epsilon`"),
            ("delta = 1e-5", "delta = 0.5", "`privacy.delta`"),
            ("delta = 1e-5", "delta = 1e-5\nsigma = 2", "sigma"),
            (
                r#""logistic""#,
                "\"logistic\"\nlocal = [\"intercept\"]",
                "`model.local`",
            ),
            (r#""FedAvg""#, r#""SCAFFOLD""#, "`strategy`"),
            (
                "local-steps = 10",
                "local-steps = 0",
                "`training.local-steps`",
            ),
            (
                "[privacy]",
                "[validation]\nfolds = 5\nfold = 0\n\n[privacy]",
                "`validation`",
            ),
            (", between = [20, 90]", "", "public range"),
            ("[20, 90]", "[90, 20]", "rising order"),
            ("one-hot =", "between = [0, 5], one-hot =", "has levels"),
            (
                "[privacy]\nclip = 1.0\nepsilon = 3.0\ndelta = 1e-5\n",
                "",
                "`data.features.between`",
            ),
        ] {
            assert!(PRIVATE.contains(from), "{from}");
            let text = PRIVATE.replacen(from, to, 1);
            let error = RunSpec::parse(text.as_bytes()).expect_err(to).to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
    }
}
