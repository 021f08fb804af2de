//! What was spent and what is left, in words: for this site's officer whole, for researchers what policy lets them see.

use consilium_link::verify_budget_question;
use consilium_policies::bundle::Named;
use consilium_policies::{Bundle, Researcher};
use consilium_privacy::ledger::Ledger;
use consilium_privacy::{Account, Budget, Cost};
use consilium_protocol::message::{SignedQuery, SiteBudget};
use consilium_protocol::query::BudgetQuestion;
use consilium_protocol::{DatasetName, Digest, Millis, ProjectName, Refusal, RefusalCode};
use serde::Serialize;

use crate::gate::{BudgetAsk, NotReleased};
use crate::node::Node;

/// A patient is retired when an answer of this ε does not fit their budget any more: about the least that helps anyone.
const LEAST_USEFUL_EPSILON: f64 = 0.1;
/// δ of a figure where the policy says none.
const DELTA_UNLESS_WRITTEN: f64 = 1e-6;

/// One account in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// ε that was spent, at `delta`.
    pub spent_epsilon: f64,
    /// ε of the budget; none where the policy gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_epsilon: Option<f64>,
    /// ε that is left of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_epsilon: Option<f64>,
    /// δ of all three.
    pub delta: f64,
}

/// A data set's ledger in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetBudget {
    /// Which.
    pub dataset: DatasetName,
    /// By all projects together.
    pub all: Standing,
    /// By each project that spent or has a budget of its own.
    pub projects: Vec<(ProjectName, Standing)>,
    /// Reservations that had a cost.
    pub reservations: u64,
    /// Patients for whom nothing useful fits any more.
    pub retired_patients: u64,
}

/// What a researcher's project has left here, as far as the policy lets her know.
///
/// # Errors
/// It is no question of a researcher of this consortium, or no permit gives her a budget; or a fault.
pub fn tell(node: &Node, signed: &SignedQuery, now: Millis) -> Result<SiteBudget, NotReleased> {
    let credentials = node.credentials();
    let unproven = |reason: String| {
        NotReleased::Refused(Refusal::new(
            RefusalCode::BadSignature,
            reason,
            "ask with the credentials of a researcher of this consortium",
        ))
    };
    let identity = verify_budget_question(
        &signed.text,
        &signed.signature,
        &signed.certificate,
        credentials.anchor(),
        now,
    )
    .map_err(|error| unproven(error.to_string()))?;
    let question =
        BudgetQuestion::parse(&signed.text).map_err(|error| unproven(error.to_string()))?;
    if !question.sites.is_empty() && !question.sites.contains(&node.site) {
        return Err(NotReleased::Refused(Refusal::new(
            RefusalCode::NotNamed,
            format!("the question does not name site `{}`", node.site),
            "name it with --site",
        )));
    }
    let ask = BudgetAsk {
        question: Digest::of(&signed.text),
        project: question.project,
        researcher: Researcher {
            name: identity.name,
            role: identity.role,
        },
    };
    node.gate.tell_budget(&ask, &node.published_names(), now)
}

/// A data set's ledger under a policy; without one, what was spent.
#[must_use]
pub fn budget_of(dataset: &DatasetName, ledger: &Ledger, bundle: Option<&Bundle>) -> DatasetBudget {
    let terms = bundle.and_then(|bundle| bundle.datasets().get(dataset));
    let of_all = terms.and_then(|terms| terms.budget);
    let of_patients = terms.and_then(|terms| terms.budget_patient);
    let mut projects: Vec<ProjectName> = ledger
        .projects()
        .filter_map(|(project, _)| project.parse().ok())
        .collect();
    for rule in bundle.into_iter().flat_map(Bundle::rules) {
        if let (true, Named::These(named)) = (rule.dataset.covers(dataset), &rule.projects)
            && rule.budget.is_some()
        {
            projects.extend(named.iter().cloned());
        }
    }
    projects.sort();
    projects.dedup();
    let projects = projects.into_iter().map(|project| {
        let account = ledger.project(project.as_str());
        let budget = bundle.and_then(|bundle| project_budget(bundle, dataset, &project));
        let standing = standing(&account, budget);
        (project, standing)
    });
    let retired = of_patients.zip(Cost::pure(LEAST_USEFUL_EPSILON).ok());
    DatasetBudget {
        dataset: dataset.clone(),
        all: standing(ledger.dataset(), of_all),
        projects: projects.collect(),
        reservations: ledger.reservations(),
        retired_patients: retired.map_or(0, |(budget, cost)| {
            ledger.patients().retired(&cost, &budget)
        }),
    }
}

/// The greatest budget that a permit gives the project on the data set: as `decide` counts.
#[must_use]
pub fn project_budget(
    bundle: &Bundle,
    dataset: &DatasetName,
    project: &ProjectName,
) -> Option<Budget> {
    let rules = bundle.rules().iter();
    let covering =
        rules.filter(|rule| rule.dataset.covers(dataset) && rule.projects.covers(project));
    covering
        .filter_map(|rule| rule.budget)
        .max_by(|one, other| one.epsilon().total_cmp(&other.epsilon()))
}

/// An account under a budget.
#[must_use]
pub fn standing(account: &Account, budget: Option<Budget>) -> Standing {
    let delta = budget.map_or(DELTA_UNLESS_WRITTEN, |budget| budget.delta());
    let spent_epsilon = match account.is_empty() {
        true => 0.0,
        false => account.epsilon(delta),
    };
    Standing {
        spent_epsilon,
        budget_epsilon: budget.map(|budget| budget.epsilon()),
        left_epsilon: budget.map(|budget| match account.is_empty() {
            true => budget.epsilon(),
            false => account.left(&budget),
        }),
        delta,
    }
}

impl DatasetBudget {
    /// For the officer, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{}, all projects: {}",
            self.dataset,
            self.all.sentence()
        )];
        for (project, standing) in &self.projects {
            lines.push(format!(
                "{}, {project}: {}",
                self.dataset,
                standing.sentence()
            ));
        }
        lines.push(format!(
            "{}: {} reservations with a cost; {} patients have nothing useful left and are left out of answers",
            self.dataset, self.reservations, self.retired_patients
        ));
        lines
    }
}

impl Standing {
    fn sentence(&self) -> String {
        let delta = self.delta;
        match (self.budget_epsilon, self.left_epsilon) {
            (Some(budget), Some(left)) => format!(
                "ε {:.3} of {budget} spent at δ {delta:e}, {left:.3} left",
                self.spent_epsilon
            ),
            _ => format!(
                "ε {:.3} spent at δ {delta:e}; the policy gives no budget",
                self.spent_epsilon
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_privacy::ledger::Cohort;

    const POLICY: &str = r#"
name = "cleveland"
version = 3

[[permit]]
id = "counts"
researchers = ["*"]
projects = ["cardiology", "oncology"]
purposes = ["HMB"]
actions = ["statistics"]
dataset = "heart-disease"
until = "2027-12-31"
release = ["noisy-statistics"]
budget = { epsilon = 2.0, delta = 1e-6 }

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 5
budget = { epsilon = 3.0, delta = 1e-6 }
budget-patient = { epsilon = 1.0, delta = 1e-6 }
"#;

    #[test]
    fn an_officer_reads_what_is_spent_and_left() {
        let bundle = Bundle::parse("policy.toml", POLICY.as_bytes()).unwrap();
        let dataset: DatasetName = "heart-disease".parse().unwrap();
        let mut ledger = Ledger::default();
        let cost = Cost::pure(0.5).unwrap();
        for (project, patients) in [("cardiology", 3), ("cardiology", 2), ("genetics", 9)] {
            ledger.charge(&Cohort::first(patients).unwrap(), &cost);
            ledger.reserve(project, &cost);
        }
        let budget = budget_of(&dataset, &ledger, Some(&bundle));
        assert_eq!(budget.retired_patients, 3);
        assert_eq!(
            budget.lines(),
            [
                "heart-disease, all projects: ε 1.500 of 3 spent at δ 1e-6, 1.500 left",
                "heart-disease, cardiology: ε 1.000 of 2 spent at δ 1e-6, 1.000 left",
                "heart-disease, genetics: ε 0.500 spent at δ 1e-6; the policy gives no budget",
                "heart-disease, oncology: ε 0.000 of 2 spent at δ 1e-6, 2.000 left",
                "heart-disease: 3 reservations with a cost; 3 patients have nothing useful left and are left out of answers",
            ]
        );
    }
}
