//! What an officer should know before she signs: sentences, by file and line.
//!
//! An error means that a node would not take the bundle up, or that it does not do what its own cases expect. A warning
//! is a term that is legal and risky, a note one that is worth a look.

use std::fmt;

use consilium_protocol::Millis;

use crate::bundle::{Bundle, Dataset, Named, Release, Rule};
use crate::day::Day;
use crate::explain::{Answer, Question, explain};
use crate::files::{BundleFiles, CASES_FILE, POLICY_FILE, RULES_FILE};
use crate::terms::Approval;

/// Below it single patients show.
const FLOOR_USUAL: u32 = 5;
/// Budgets above it say little about any one patient's protection.
const EPSILON_USUAL: f64 = 10.0;
/// One in so many is the chance that the guarantee fails; it should be well below one in the number of patients.
const DELTA_USUAL: f64 = 1e-5;
/// DataSHIELD's limit is 0.33; a model with a parameter for each record can learn records by heart.
const PARAMETERS_PER_RECORD_USUAL: f64 = 1.0;
/// With fewer training records an update shows single patients.
const RECORDS_USUAL: u64 = 20;
/// A permit that ends so soon is told.
const ENDS_SOON_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// A permit that ends later than that was perhaps not meant to end.
const ENDS_LATE_MS: u64 = 5 * 366 * 24 * 60 * 60 * 1000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look.
    Note,
    /// Legal and risky.
    Warning,
    /// The bundle cannot be used, or does not do what is expected of it.
    Error,
}

/// One thing that an officer should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file, as the reader called it.
    pub file: String,
    /// The line, from 1, where one can be named.
    pub line: Option<usize>,
    /// What it is.
    pub sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        match self.line {
            Some(line) => write!(f, "{word}: {}, line {line}: {}", self.file, self.sentence),
            None => write!(f, "{word}: {}: {}", self.file, self.sentence),
        }
    }
}

/// Looks a bundle over as of `now`, the gravest findings first. `place` is what they call the folder; empty for none.
/// What cannot be read is a finding too.
#[must_use]
pub fn check(place: &str, files: &BundleFiles, now: Millis) -> Vec<Finding> {
    let called = |file: &str| match place {
        "" => file.to_owned(),
        place => format!("{}/{file}", place.trim_end_matches('/')),
    };
    let bundle = match Bundle::read(place, files) {
        Ok(bundle) => bundle,
        Err(error) => {
            let field = error.field.as_ref();
            let field = field.map_or(String::new(), |field| format!("`{field}`: "));
            return vec![Finding {
                severity: Severity::Error,
                sentence: format!("{field}{}", error.problem),
                file: error.file,
                line: error.line,
            }];
        }
    };
    let mut findings = Findings {
        policy: called(POLICY_FILE),
        found: Vec::new(),
    };
    for (name, dataset) in bundle.datasets() {
        findings.of_dataset(name.as_str(), dataset);
    }
    for rule in bundle.rules() {
        findings.of_permit(&bundle, rule, now);
    }
    if bundle.rules().is_empty() {
        findings.add(
            Severity::Note,
            None,
            "there is no permit, so nothing may leave".to_owned(),
        );
    }
    let mut found = findings.found;
    let mut add = |severity, file, line, sentence| {
        found.push(Finding {
            severity,
            file,
            line,
            sentence,
        });
    };
    for rule in bundle.cedar().written() {
        if rule.forbids && rule.reason.is_none() {
            let sentence = format!(
                "the rule `{}` has no reason; with `@reason(\"…\")` before it, whoever it refuses is told why",
                rule.id
            );
            add(
                Severity::Note,
                called(RULES_FILE),
                Some(rule.line),
                sentence,
            );
        }
    }
    if bundle.cases().count() == 0 {
        let sentence =
            "there are no cases; write down a few requests with the decision that each should get";
        add(
            Severity::Warning,
            called(CASES_FILE),
            None,
            sentence.to_owned(),
        );
    }
    for surprise in bundle.cases().surprises(&bundle) {
        let sentence = format!("the case {surprise}");
        add(Severity::Error, called(CASES_FILE), None, sentence);
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

struct Findings {
    policy: String,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, severity: Severity, line: Option<usize>, sentence: String) {
        self.found.push(Finding {
            severity,
            file: self.policy.clone(),
            line,
            sentence,
        });
    }

    fn warn(&mut self, line: usize, sentence: String) {
        self.add(Severity::Warning, Some(line), sentence);
    }

    fn of_dataset(&mut self, name: &str, dataset: &Dataset) {
        if dataset.floor_patients < FLOOR_USUAL {
            self.warn(
                dataset.line,
                format!(
                    "the floor of `{name}` is {} patients; below {FLOOR_USUAL} single patients show, and 11 or 20 are usual",
                    dataset.floor_patients
                ),
            );
        }
        for (whose, budget) in [
            ("all projects together", dataset.budget),
            ("each patient", dataset.budget_patient),
        ] {
            let Some(budget) = budget else { continue };
            self.of_budget(
                dataset.line,
                &format!("the budget of `{name}` for {whose}"),
                budget,
            );
        }
    }

    fn of_budget(&mut self, line: usize, whose: &str, budget: consilium_privacy::Budget) {
        if budget.epsilon() > EPSILON_USUAL {
            self.warn(
                line,
                format!(
                    "{whose} is ε = {}; above {EPSILON_USUAL} the noise protects little",
                    budget.epsilon()
                ),
            );
        }
        if budget.delta() > DELTA_USUAL {
            self.warn(
                line,
                format!(
                    "{whose} has δ = {}; it should be well below one in the number of patients, {DELTA_USUAL} or less",
                    budget.delta()
                ),
            );
        }
    }

    fn of_permit(&mut self, bundle: &Bundle, rule: &Rule, now: Millis) {
        let id = &rule.id;
        self.of_time(rule, now);
        if rule.projects == Named::Any {
            self.warn(
                rule.line,
                format!("the permit `{id}` is for any project; name those that are meant"),
            );
        }
        if rule.dataset == Named::Any {
            self.warn(
                rule.line,
                format!("the permit `{id}` is for any data set, also for those that come later"),
            );
        }
        if let Some(bounds) = &rule.training {
            if bounds.maximum_parameters_per_record > PARAMETERS_PER_RECORD_USUAL {
                self.warn(
                    rule.line,
                    format!(
                        "the permit `{id}` lets a model have {} parameters for each record; with more than {PARAMETERS_PER_RECORD_USUAL} it can learn patients by heart",
                        bounds.maximum_parameters_per_record
                    ),
                );
            }
            if bounds.minimum_records < RECORDS_USUAL && rule.release.contains(&Release::Update) {
                self.warn(
                    rule.line,
                    format!(
                        "the permit `{id}` lets exact updates leave from {} records; below {RECORDS_USUAL} they show single patients",
                        bounds.minimum_records
                    ),
                );
            }
        }
        if let Some(budget) = rule.budget {
            self.of_budget(
                rule.line,
                &format!("the budget of the permit `{id}`"),
                budget,
            );
        }
        for dataset in datasets_of(bundle, rule) {
            if rule.release.contains(&Release::ExactStatistics) && dataset.rounding == 1 {
                self.warn(
                    rule.line,
                    format!(
                        "the permit `{id}` lets exact statistics leave without rounding; small cells are suppressed within one table, and two questions can still be subtracted"
                    ),
                );
            }
            if let (Some(permit), Some(all)) = (rule.budget, dataset.budget)
                && permit.epsilon() > all.epsilon()
            {
                let sentence = format!(
                    "the permit `{id}` gives a project ε = {}, and all projects together have {}",
                    permit.epsilon(),
                    all.epsilon()
                );
                self.add(Severity::Note, Some(rule.line), sentence);
            }
        }
        if rule.release.contains(&Release::SearchL4) {
            self.warn(
                rule.line,
                format!(
                    "the permit `{id}` lets text leave as it is; that is for public collections"
                ),
            );
        }
        self.of_reach(bundle, rule, now);
    }

    fn of_time(&mut self, rule: &Rule, now: Millis) {
        let (id, until) = (&rule.id, rule.until);
        if until.is_over(now) {
            self.warn(
                rule.line,
                format!("the permit `{id}` ended with {until}; renew it, or remove it"),
            );
        } else if until.is_over(now.plus_ms(ENDS_SOON_MS)) {
            let sentence = format!("the permit `{id}` ends with {until}, within 30 days");
            self.add(Severity::Note, Some(rule.line), sentence);
        } else if until > Day::of(now.plus_ms(ENDS_LATE_MS)) {
            self.warn(
                rule.line,
                format!("the permit `{id}` ends with {until}, in more than five years"),
            );
        }
    }

    /// Words of a permit that nothing can ever come of.
    fn of_reach(&mut self, bundle: &Bundle, rule: &Rule, now: Millis) {
        if rule.until.is_over(now) {
            return;
        }
        // One permit alone: what others allow beside it says nothing about this one.
        let Some((project, datasets)) = example(bundle, rule) else {
            return;
        };
        for release in &rule.release {
            let question = |dataset| Question {
                project: project.clone(),
                release: *release,
                dataset,
                researcher: None,
                purpose: None,
            };
            let ways = |dataset| explain(bundle, &question(dataset), now);
            let explained: Vec<_> = datasets.iter().cloned().map(ways).collect();
            let by_this = |way: &crate::explain::Way| way.rules.first() == Some(&rule.id);
            if explained.iter().any(|one| one.ways.iter().any(by_this)) {
                continue;
            }
            let own = format!("`{}`", rule.id);
            let why = explained
                .iter()
                .flat_map(|one| &one.reasons)
                .find(|reason| reason.contains(&own));
            let why = why.map_or(String::new(), |why| format!(": {why}"));
            let word = release.as_str();
            self.warn(
                rule.line,
                format!("`{word}` of the permit {own} can never be used{why}"),
            );
        }
        let needs_person =
            |question: &Question| explain(bundle, question, now).answer == Answer::If;
        if let (Approval::None, Some(release)) = (&rule.approval, rule.release.first()) {
            let depends = datasets.iter().any(|dataset| {
                needs_person(&Question {
                    project: project.clone(),
                    release: *release,
                    dataset: dataset.clone(),
                    researcher: None,
                    purpose: None,
                })
            });
            if depends && bundle.cedar().written().is_empty() {
                let sentence = format!(
                    "what the permit `{}` allows waits for an officer because of another permit",
                    rule.id
                );
                self.add(Severity::Note, Some(rule.line), sentence);
            }
        }
    }
}

/// A project of the permit and its data sets, to ask by.
fn example(
    bundle: &Bundle,
    rule: &Rule,
) -> Option<(
    consilium_protocol::ProjectName,
    Vec<consilium_protocol::DatasetName>,
)> {
    let project = match &rule.projects {
        Named::These(names) => names.first().cloned(),
        Named::Any => "any-project".parse().ok(),
    }?;
    let datasets = match &rule.dataset {
        Named::These(names) => names.iter().cloned().collect(),
        Named::Any => bundle.datasets().keys().cloned().collect(),
    };
    Some((project, datasets))
}

fn datasets_of<'a>(bundle: &'a Bundle, rule: &'a Rule) -> impl Iterator<Item = &'a Dataset> {
    bundle
        .datasets()
        .iter()
        .filter(|(name, _)| rule.dataset.covers(name))
        .map(|(_, dataset)| dataset)
}

#[cfg(test)]
mod tests;
