//! An ask as rules see it.

use cedar_policy::{Context, Entities, Request, RestrictedExpression};
use consilium_protocol::{DatasetName, Millis};

use super::{Kind, entities, uid};
use crate::ask::{Action, Ask, Facts, StatisticKind};
use crate::bundle::Release;
use crate::day::Day;
use crate::terms::{Terms, step_reached};

/// Millionths of ε, in which rules count budgets.
const MICRO: f64 = 1e6;

/// All that rules see of one ask.
pub(crate) struct Asked<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) dataset: &'a DatasetName,
    pub(crate) release: Release,
    pub(crate) facts: &'a Facts,
    pub(crate) now: Millis,
    pub(crate) terms: &'a Terms,
    /// The codes that the permits call agreed.
    pub(crate) agreed: &'a [&'static str],
    pub(crate) named_researcher: bool,
    pub(crate) named_project: bool,
}

impl Asked<'_> {
    /// The request; and the data set, where it has no terms of its own.
    pub(super) fn request(&self, has_terms: bool) -> Option<(Request, Option<Entities>)> {
        let name = self.dataset.as_str();
        let request = Request::new(
            uid(Kind::Researcher, self.ask.researcher.name.as_str())?,
            uid(Kind::Action, action_word(self.ask.action))?,
            uid(Kind::DataSet, name)?,
            self.context()?,
            None,
        )
        .ok()?;
        let elsewhere = match has_terms {
            true => None,
            false => Some(entities(self.dataset, [], self.terms.floor_patients)?),
        };
        Some((request, elsewhere))
    }

    fn context(&self) -> Option<Context> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let whole = RestrictedExpression::new_long;
        let (ask, facts, terms) = (self.ask, self.facts, self.terms);
        let records = facts.dataset_records.unwrap_or(0);
        let per_thousand = facts
            .parameters
            .saturating_mul(1000)
            .div_ceil(records.max(1));
        let mut pairs = vec![
            ("project", text(ask.project.as_str())),
            ("purpose", text(ask.purpose.as_str())),
            ("release", text(self.release.as_str())),
            ("date", whole(Day::of(self.now).as_number())),
            ("rounds", whole(i64::from(ask.action.rounds()))),
            ("records", whole(long(records))),
            ("parameters", whole(long(facts.parameters))),
            ("parametersPerThousandRecords", whole(long(per_thousand))),
            ("cost", whole(self.cost())),
            ("approval", text(terms.approval.as_str())),
            (
                "agreed",
                RestrictedExpression::new_set(self.agreed.iter().map(|code| text(code))),
            ),
            (
                "namedResearcher",
                RestrictedExpression::new_bool(self.named_researcher),
            ),
            (
                "namedProject",
                RestrictedExpression::new_bool(self.named_project),
            ),
        ];
        if let Some(patients) = facts.dataset_patients {
            pairs.push(("patients", whole(long(patients))));
        }
        if let Some(cohort) = facts.cohort_patients {
            pairs.push(("cohort", whole(long(step_reached(cohort)))));
        }
        if !facts.cost.is_none() {
            let left = |account: &consilium_privacy::Account, budget| {
                whole(micro_below(account.left(budget)))
            };
            if let Some(budget) = &terms.budget_project {
                pairs.push(("projectLeft", left(&facts.spent.project, budget)));
            }
            if let Some(budget) = &terms.budget_dataset {
                pairs.push(("datasetLeft", left(&facts.spent.dataset, budget)));
            }
        }
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Context::from_pairs(pairs).ok()
    }

    /// What the ask alone would cost, in millionths of ε at the δ of its budget.
    fn cost(&self) -> i64 {
        if self.facts.cost.is_none() {
            return 0;
        }
        let budget = self.terms.budget_project.or(self.terms.budget_dataset);
        let Some(budget) = budget else {
            return i64::MAX;
        };
        let mut alone = consilium_privacy::Account::default();
        alone.add(&self.facts.cost);
        micro_above(alone.epsilon(budget.delta()))
    }
}

/// The name of an action in the schema.
pub(crate) fn action_word(action: Action) -> &'static str {
    match action {
        Action::Admit { .. } => "admit",
        Action::Train { .. } => "train",
        Action::Evaluate => "evaluate",
        Action::Statistic { statistic, .. } => StatisticKind::as_str(statistic),
        Action::Search { .. } => "search",
    }
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

// `as` saturates, which is the right side for what is beyond every budget. Costs are kept rounded up by trillionths;
// a thousandth of a millionth is taken off again, so that what was priced as 0.2 reads 200000.
fn micro_above(epsilon: f64) -> i64 {
    (epsilon * MICRO - 1e-3).ceil() as i64
}

fn micro_below(epsilon: f64) -> i64 {
    (epsilon * MICRO).floor() as i64
}
