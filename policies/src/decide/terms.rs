//! What holds for every permit: the data set's terms, and the rules beside the permits.

use std::collections::BTreeSet;

use consilium_protocol::{MemberName, Millis, Refusal, RefusalCode};

use super::OFFICER;
use crate::ask::{Activity, Ask, Facts};
use crate::bundle::{Dataset, Release, Rule, RuleId};
use crate::rules::{Rules, Said};
use crate::terms::{Approval, Redaction, Repeats, Terms, step_reached};

/// The floor of a data set that has no terms: the most careful of those in use.
const FLOOR_WITHOUT_TERMS: u32 = 20;
/// Its rounding.
const ROUNDING_WITHOUT_TERMS: u32 = 10;

/// Whether the data set's terms hold for an ask that a permit covers.
pub(super) fn within_terms(
    dataset: Option<&Dataset>,
    release: Release,
    ask: &Ask,
    facts: &Facts,
    now: Millis,
) -> Result<(), Refusal> {
    let Some(terms) = dataset else {
        // A permit for "*" covers data sets of which nobody has written a line.
        let plain_training = release.activity() == Activity::Train && facts.cost.is_none();
        return match plain_training {
            true => Ok(()),
            false => Err(Refusal::new(
                RefusalCode::NotPermitted,
                format!(
                    "this site's policy has no terms for the data set `{}`",
                    ask.dataset
                ),
                "ask the site's compliance officer to add them",
            )),
        };
    };
    if let Some(until) = terms.until.filter(|until| until.is_over(now)) {
        return Err(Refusal::new(
            RefusalCode::Expired,
            format!(
                "the use of the data set `{}` ended with {until}",
                ask.dataset
            ),
            OFFICER,
        ));
    }
    within_filters(terms, release, facts)?;
    enough_patients(terms, release, ask, facts)?;
    if facts.cost.is_none() {
        return Ok(());
    }
    match (&terms.budget, &terms.budget_patient) {
        (_, Some(_)) if facts.cost.is_of_its_patients_alone() => Ok(()),
        (Some(budget), Some(_)) if facts.spent.dataset.fits(budget, &facts.cost) => Ok(()),
        (Some(budget), Some(_)) => Err(Refusal::new(
            RefusalCode::BudgetExhausted,
            format!(
                "all projects together may spend ε = {} at δ = {} on the data set `{}`, and this would go beyond it",
                budget.epsilon(),
                budget.delta(),
                ask.dataset
            ),
            "ask for something that costs less, or ask the site's compliance officer for a greater budget",
        )),
        _ => Err(Refusal::new(
            RefusalCode::BudgetExhausted,
            format!("the data set `{}` has no budget", ask.dataset),
            OFFICER,
        )),
    }
}

/// Whether the filter keeps to what the data set's terms allow. What is public may be filtered at will.
fn within_filters(terms: &Dataset, release: Release, facts: &Facts) -> Result<(), Refusal> {
    if release == Release::SearchL4 {
        return Ok(());
    }
    let most = terms.filter_conditions;
    if release.activity() == Activity::Search && facts.filter.conditions > most {
        return Err(Refusal::new(
            RefusalCode::NotPermitted,
            format!("a search's filter may join {most} conditions at most at this site"),
            "leave conditions out; `in (…)` is one",
        ));
    }
    let Some(allowed) = &terms.filter_columns else {
        return Ok(());
    };
    match facts.filter.columns.is_subset(allowed) {
        true => Ok(()),
        false => Err(Refusal::new(
            RefusalCode::NotPermitted,
            format!(
                "this site lets filters be about {} only",
                listed(allowed.iter())
            ),
            "leave the other columns out, or ask the site's compliance officer for them",
        )),
    }
}

fn listed<'a>(columns: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = columns.map(|column| format!("`{column}`")).collect();
    quoted.join(", ")
}

/// Whether enough patients stand behind what would leave, and behind what it leaves out.
///
/// What has noise is not refused for its cohort: the refusal would tell what the noise hides.
fn enough_patients(
    terms: &Dataset,
    release: Release,
    ask: &Ask,
    facts: &Facts,
) -> Result<(), Refusal> {
    let floor = u64::from(terms.floor_patients);
    let few = |of: &str| {
        Refusal::new(
            RefusalCode::TooFewPatients,
            format!(
                "fewer than {floor} patients stand behind {of}, and the site answers from {floor} on"
            ),
            "ask about more patients, or leave this site out of the participants",
        )
    };
    if release == Release::SearchL4 {
        return Ok(());
    }
    if facts
        .dataset_patients
        .is_some_and(|patients| patients < floor)
    {
        return Err(few("the whole data set"));
    }
    let looks_at_the_cohort = matches!(
        release,
        Release::ExactStatistics | Release::SearchL2 | Release::SearchL3
    );
    if !looks_at_the_cohort {
        return Ok(());
    }
    let Some(cohort) = facts.cohort_patients else {
        return Err(Refusal::new(
            RefusalCode::TooFewPatients,
            format!(
                "how many patients stand behind the answer is not known for `{}`",
                ask.dataset
            ),
            "the site's operator must declare the column that tells patients apart",
        ));
    };
    if step_reached(cohort) < floor {
        return Err(few("the answer"));
    }
    match facts.complement().map(step_reached) {
        Some(left_out) if left_out > 0 && left_out < floor => {
            Err(few("the answer or those it leaves out"))
        }
        _ => Ok(()),
    }
}

/// The terms of an ask that these rules cover: the data set's, and the strictest approval among the rules. A greater
/// budget does not undo a smaller one's permit, so of budgets the greatest counts.
pub(crate) fn terms(dataset: Option<&Dataset>, covering: &[&Rule]) -> Terms {
    let budgets = covering.iter().filter_map(|rule| rule.budget);
    let greatest = budgets.max_by(|one, other| one.epsilon().total_cmp(&other.epsilon()));
    Terms {
        floor_patients: dataset.map_or(FLOOR_WITHOUT_TERMS, |dataset| dataset.floor_patients),
        rounding: dataset.map_or(ROUNDING_WITHOUT_TERMS, |dataset| dataset.rounding),
        budget_project: greatest,
        budget_dataset: dataset.and_then(|dataset| dataset.budget),
        budget_patient: dataset.and_then(|dataset| dataset.budget_patient),
        repeats: dataset.map_or(Repeats::Same, |dataset| dataset.repeats),
        approval: approval(covering),
        redaction: dataset.map_or(Redaction::SafeHarbor, |dataset| dataset.redaction),
    }
}

/// One that any of the rules wants. A bundle has one kind of approval for each data set.
fn approval(covering: &[&Rule]) -> Approval {
    let (mut before, mut outbox): (BTreeSet<MemberName>, BTreeSet<MemberName>) = Default::default();
    for rule in covering {
        match &rule.approval {
            Approval::None => {}
            Approval::Before { officers } => before.extend(officers.iter().cloned()),
            Approval::Outbox { officers } => outbox.extend(officers.iter().cloned()),
        }
    }
    match (before.is_empty(), outbox.is_empty()) {
        (true, true) => Approval::None,
        (false, _) => Approval::Before { officers: before },
        (true, false) => Approval::Outbox { officers: outbox },
    }
}

/// What the rules say, as a decision.
pub(super) fn heard(rules: &Rules, said: Said) -> Result<(), Refusal> {
    let named = |ids: &[RuleId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    match said {
        Said::Permitted => Ok(()),
        Said::Forbidden(ids) => {
            let why = ids.iter().find_map(|id| rules.told(id));
            let why = why.unwrap_or_else(|| "a rule of this site forbids it".to_owned());
            Err(Refusal::new(RefusalCode::Forbidden, why, OFFICER).by_rules(named(&ids)))
        }
        Said::NotPermitted => Err(Refusal::new(
            RefusalCode::NotPermitted,
            "no rule of this site's rules.cedar permits it",
            OFFICER,
        )),
        Said::Broken(ids) => Err(Refusal::new(
            RefusalCode::BrokenRule,
            "a rule of this site's policy cannot be evaluated over this request, so nothing may leave",
            "the site's compliance officer must mend the rule",
        )
        .by_rules(named(&ids))),
    }
}

#[cfg(test)]
mod tests;
