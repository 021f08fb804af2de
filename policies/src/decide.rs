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
//! small count is itself a disclosure.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use consilium_protocol::{Digest, Millis, Refusal, RefusalCode, Role, RunId};

use crate::ask::{Action, Ask, Facts};
use crate::bundle::{Bundle, Release, Rule, RuleId};
use crate::day::Day;

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
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit is for one pass"]
pub struct Permit {
    rules: Vec<RuleId>,
    bundle: Digest,
    releases: BTreeSet<Release>,
    run: RunId,
    action: Action,
}

/// Decides about one ask.
pub fn decide(bundle: &Bundle, ask: &Ask, facts: &Facts, now: Millis) -> Verdict {
    if ask.researcher.role != Role::Researcher {
        return Verdict::Refuse(Refusal::new(
            RefusalCode::WrongRole,
            format!(
                "`{}` is a member in the role {}, and runs are asked by researchers",
                ask.researcher.name, ask.researcher.role
            ),
            "sign the run with a researcher's key",
        ));
    }
    let Some(records) = facts.dataset_records else {
        return Verdict::Refuse(Refusal::new(
            RefusalCode::UnknownDataset,
            format!("this site has no data set `{}`", ask.dataset),
            "check the name, or leave this site out of the run's participants",
        ));
    };
    let lacks: Vec<(&Rule, Option<Lack>)> = bundle
        .rules()
        .iter()
        .map(|rule| (rule, lack(rule, ask, records, facts.parameters, now)))
        .collect();
    let covering = || {
        lacks
            .iter()
            .filter(|(_, lack)| lack.is_none())
            .map(|(rule, _)| *rule)
    };
    if covering().next().is_some() {
        return Verdict::Permit(Permit {
            rules: covering().map(|rule| rule.id.clone()).collect(),
            bundle: bundle.digest(),
            releases: covering()
                .flat_map(|rule| rule.release.iter().copied())
                .collect(),
            run: ask.run.clone(),
            action: ask.action,
        });
    }
    Verdict::Refuse(nearest_refusal(&lacks, ask, facts.parameters))
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

    /// The run that was asked for.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
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
    Researcher,
    Purpose,
    Activity,
    Release(Release),
    Ended(Day),
    Rounds { at_most: u32 },
    Records { at_least: Reverse<u64> },
    Parameters { per_record_at_most: Number },
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
fn lack(rule: &Rule, ask: &Ask, records: u64, parameters: u64, now: Millis) -> Option<Lack> {
    if !rule.dataset.covers(&ask.dataset) {
        return Some(Lack::Dataset);
    }
    if !rule.projects.covers(&ask.project) {
        return Some(Lack::Project);
    }
    if !rule.researchers.covers(&ask.researcher.name) {
        return Some(Lack::Researcher);
    }
    if !rule.purposes.contains(&ask.purpose) {
        return Some(Lack::Purpose);
    }
    if !rule.actions.contains(&ask.action.activity()) {
        return Some(Lack::Activity);
    }
    let needed = match ask.action {
        Action::Admit { .. } | Action::Train { .. } => Release::Update,
        Action::Evaluate => Release::Metrics,
    };
    if !rule.release.contains(&needed) {
        return Some(Lack::Release(needed));
    }
    if rule.until.is_over(now) {
        return Some(Lack::Ended(rule.until));
    }
    if ask.action.rounds() > rule.maximum_rounds {
        return Some(Lack::Rounds {
            at_most: rule.maximum_rounds,
        });
    }
    if records < rule.minimum_records {
        return Some(Lack::Records {
            at_least: Reverse(rule.minimum_records),
        });
    }
    // The quotient, not the product: 29 over 100 is the very number that 0.29 is read as.
    let per_record_at_most = rule.maximum_parameters_per_record;
    if parameters as f64 / records as f64 > per_record_at_most {
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
        Lack::Release(Release::Update) => {
            not_permitted("the permit lets no update leave".to_owned())
        }
        Lack::Release(Release::Metrics) => {
            not_permitted("the permit lets no metrics leave".to_owned())
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
    }
}

#[cfg(test)]
mod tests;
