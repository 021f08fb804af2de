//! The decision: may this happen, by which rules, and if not, why not.
//!
//! Total and without side effects: every ask gets a permit or a refusal, and the same ask, facts, bundle and time
//! always get the same one.
//!
//! About `now`: callers pass the later of their clock and the latest time in their journal, so that a clock set
//! back does not revive a permit that has ended. A clock set forward ends permits early, and they stay ended until the
//! true time has caught up: the price of never reviving one.
//!
//! A refusal goes to strangers. It tells the bound that was missed and never the number that missed it: an exact
//! small count is itself a disclosure, and so is what is left of a budget.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use consilium_protocol::{Digest, Millis, Refusal, RefusalCode, Role, RunId};

use crate::ask::{Action, Activity, Ask, Facts};
use crate::bundle::{Bundle, Named, Release, Rule, RuleId};
use crate::day::Day;
use crate::rules::Asked;
use crate::terms::Terms;

mod terms;

pub(crate) use terms::terms as terms_of;
use terms::{heard, terms, within_terms};

/// What was decided.
#[derive(Debug)]
#[must_use = "an ask that was not permitted must not be carried out"]
pub enum Verdict {
    /// It may happen.
    Permit(Permit),
    /// It may not.
    Refuse(Refusal),
}

/// Proof that [`decide`] permitted one ask. Nothing else makes one; it cannot be copied or written down.
#[derive(Debug, PartialEq)]
#[must_use = "a permit is for one pass"]
pub struct Permit {
    rules: Vec<RuleId>,
    bundle: Digest,
    releases: BTreeSet<Release>,
    run: Option<RunId>,
    action: Action,
    terms: Terms,
}

/// Decides about one ask.
///
/// In order: somebody may ask, a permit covers it, the data set's terms hold, no rule forbids it.
pub fn decide(bundle: &Bundle, ask: &Ask, facts: &Facts, now: Millis) -> Verdict {
    match decided(bundle, ask, facts, now) {
        Ok(permit) => Verdict::Permit(permit),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

fn decided(bundle: &Bundle, ask: &Ask, facts: &Facts, now: Millis) -> Result<Permit, Refusal> {
    if ask.researcher.role != Role::Researcher {
        return Err(Refusal::new(
            RefusalCode::WrongRole,
            format!(
                "`{}` is a member in the role {}, and runs and questions are asked by researchers",
                ask.researcher.name, ask.researcher.role
            ),
            "sign with a researcher's key",
        ));
    }
    if facts.dataset_records.is_none() {
        return Err(Refusal::new(
            RefusalCode::UnknownDataset,
            format!("this site has no data set `{}`", ask.dataset),
            "check the name, or leave this site out of the participants",
        ));
    }
    let Some(release) = ask.action.needs(facts) else {
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            "there is no search of that level",
            "ask for a level from 0 to 4",
        ));
    };
    let lacks: Vec<(&Rule, Option<Lack>)> = bundle
        .rules()
        .iter()
        .map(|rule| (rule, lack(rule, ask, release, facts, now)))
        .collect();
    let covering: Vec<&Rule> = lacks
        .iter()
        .filter(|(_, lack)| lack.is_none())
        .map(|(rule, _)| *rule)
        .collect();
    if covering.is_empty() {
        return Err(nearest_refusal(&lacks, ask, facts.parameters));
    }
    let dataset = bundle.datasets().get(&ask.dataset);
    let ids = || covering.iter().map(|rule| rule.id.to_string()).collect();
    within_terms(dataset, release, ask, facts, now).map_err(|refusal| refusal.by_rules(ids()))?;
    let terms = terms(dataset, &covering);
    let agreed: BTreeSet<&'static str> = covering
        .iter()
        .flat_map(|rule| rule.agreed.iter().map(|code| code.as_str()))
        .collect();
    let asked = Asked {
        ask,
        dataset: &ask.dataset,
        release,
        facts,
        now,
        terms: &terms,
        agreed: &agreed.into_iter().collect::<Vec<_>>(),
        named_researcher: covering.iter().any(|rule| rule.researchers != Named::Any),
        named_project: covering.iter().any(|rule| rule.projects != Named::Any),
    };
    heard(bundle.cedar(), bundle.cedar().say(&asked))?;
    Ok(Permit {
        rules: covering.iter().map(|rule| rule.id.clone()).collect(),
        bundle: bundle.digest(),
        releases: covering
            .iter()
            .flat_map(|rule| rule.release.iter().copied())
            .collect(),
        run: ask.run.clone(),
        action: ask.action,
        terms,
    })
}

impl Permit {
    /// The rules that cover the ask, in the order of the bundle.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        &self.rules
    }

    /// The digest of the bundle they stand in.
    #[must_use]
    pub fn bundle(&self) -> Digest {
        self.bundle
    }

    /// Whether this may leave.
    #[must_use]
    pub fn releases(&self, release: Release) -> bool {
        self.releases.contains(&release)
    }

    /// The run that was asked for; a question has none.
    #[must_use]
    pub fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    /// Under which terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What was asked for.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }
}

/// What keeps a rule from covering an ask. Later ones are nearer to a permit, and so are, among equals, greater
/// ones: the order decides which reason is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Dataset,
    Project,
    Activity,
    Researcher,
    Purpose,
    Release(Release),
    Ended(Day),
    Rounds { at_most: u32 },
    Records { at_least: Reverse<u64> },
    Parameters { per_record_at_most: Number },
    NoBudget,
    Budget { epsilon: Number, delta: Number },
}

/// A number that is never NaN.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

/// The first condition of `rule` that the ask does not meet, from who to how much.
fn lack(rule: &Rule, ask: &Ask, release: Release, facts: &Facts, now: Millis) -> Option<Lack> {
    if !rule.dataset.covers(&ask.dataset) {
        return Some(Lack::Dataset);
    }
    if !rule.projects.covers(&ask.project) {
        return Some(Lack::Project);
    }
    if !rule.actions.contains(&ask.action.activity()) {
        return Some(Lack::Activity);
    }
    if !rule.researchers.covers(&ask.researcher.name) {
        return Some(Lack::Researcher);
    }
    if !rule.purposes.contains(&ask.purpose) {
        return Some(Lack::Purpose);
    }
    if !rule.release.contains(&release) {
        return Some(Lack::Release(release));
    }
    if rule.until.is_over(now) {
        return Some(Lack::Ended(rule.until));
    }
    if let Some(lack) = lack_in_training(rule, ask, facts) {
        return Some(lack);
    }
    if facts.cost.is_none() || facts.cost.is_of_its_patients_alone() {
        return None;
    }
    match &rule.budget {
        None => Some(Lack::NoBudget),
        Some(budget) if facts.spent.project.fits(budget, &facts.cost) => None,
        Some(budget) => Some(Lack::Budget {
            epsilon: Number(budget.epsilon()),
            delta: Number(budget.delta()),
        }),
    }
}

fn lack_in_training(rule: &Rule, ask: &Ask, facts: &Facts) -> Option<Lack> {
    let bounds = rule.training.as_ref()?;
    if ask.action.activity() != Activity::Train {
        return None;
    }
    if ask.action.rounds() > bounds.maximum_rounds {
        return Some(Lack::Rounds {
            at_most: bounds.maximum_rounds,
        });
    }
    let records = facts.dataset_records.unwrap_or(0);
    if records < bounds.minimum_records {
        return Some(Lack::Records {
            at_least: Reverse(bounds.minimum_records),
        });
    }
    // The quotient, not the product: 29 over 100 is the very number that 0.29 is read as.
    let per_record_at_most = bounds.maximum_parameters_per_record;
    if facts.parameters as f64 / records as f64 > per_record_at_most {
        return Some(Lack::Parameters {
            per_record_at_most: Number(per_record_at_most),
        });
    }
    None
}

/// The refusal by the rules that came nearest to covering the ask.
fn nearest_refusal(lacks: &[(&Rule, Option<Lack>)], ask: &Ask, parameters: u64) -> Refusal {
    let Some(nearest) = lacks.iter().filter_map(|(_, lack)| *lack).max() else {
        return Refusal::new(
            RefusalCode::NotPermitted,
            "this site's policy permits nothing yet",
            OFFICER,
        );
    };
    let refusal = explain(nearest, ask, parameters);
    // A rule that is about another project or data set did not decide; the default did.
    if nearest <= Lack::Project {
        return refusal;
    }
    let rules = lacks.iter().filter(|(_, lack)| *lack == Some(nearest));
    refusal.by_rules(rules.map(|(rule, _)| rule.id.to_string()).collect())
}

const OFFICER: &str = "ask the site's compliance officer for a permit";

fn explain(lack: Lack, ask: &Ask, parameters: u64) -> Refusal {
    let dataset = &ask.dataset;
    let not_permitted = |reason| Refusal::new(RefusalCode::NotPermitted, reason, OFFICER);
    match lack {
        Lack::Dataset => not_permitted(format!("no permit covers the data set `{dataset}`")),
        Lack::Project => not_permitted(format!(
            "no permit covers the project `{}` on the data set `{dataset}`",
            ask.project
        )),
        Lack::Researcher => not_permitted(format!(
            "no permit of the project `{}` names the researcher `{}`",
            ask.project, ask.researcher.name
        )),
        Lack::Purpose => not_permitted(format!("no permit covers the purpose {}", ask.purpose)),
        Lack::Activity => not_permitted(format!(
            "no permit covers the action `{}`",
            ask.action.activity().as_str()
        )),
        Lack::Release(release) => {
            not_permitted(format!("the permit lets no {} leave", release.as_str()))
        }
        Lack::Ended(until) => Refusal::new(
            RefusalCode::Expired,
            format!("the permit ended with {until}"),
            "ask the site's compliance officer to renew it",
        ),
        Lack::Rounds { at_most } => Refusal::new(
            RefusalCode::NotPermitted,
            format!(
                "the run has {} rounds, and the permit allows {at_most}",
                ask.action.rounds()
            ),
            "ask for fewer rounds",
        ),
        Lack::Records {
            at_least: Reverse(at_least),
        } => Refusal::new(
            RefusalCode::TooFewRecords,
            format!(
                "the data set `{dataset}` has fewer training records here than the {at_least} that the permit wants"
            ),
            "leave this site out of the run's participants, or ask its compliance officer",
        ),
        Lack::Parameters {
            per_record_at_most: Number(at_most),
        } => Refusal::new(
            RefusalCode::TooManyParameters,
            format!(
                "a model of {parameters} parameters has more than {at_most} for each training record here, which is what the permit allows"
            ),
            "train a smaller model: fewer columns, levels or hidden units",
        ),
        Lack::NoBudget => Refusal::new(
            RefusalCode::BudgetExhausted,
            format!("the permit gives the project `{}` no budget", ask.project),
            OFFICER,
        ),
        Lack::Budget {
            epsilon: Number(epsilon),
            delta: Number(delta),
        } => Refusal::new(
            RefusalCode::BudgetExhausted,
            format!(
                "the project `{}` may spend ε = {epsilon} at δ = {delta} on the data set `{dataset}`, and this would go beyond it",
                ask.project
            ),
            "ask for something that costs less, or ask the site's compliance officer for a greater budget",
        ),
    }
}

#[cfg(test)]
mod tests;
