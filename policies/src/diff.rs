//! What one bundle lets out that another does not.
//!
//! Who may get what is compared cell by cell: project, purpose, release and data set, over every name that either
//! bundle has and over all others together. The answers are those of [`explain`](mod@crate::explain). Numbers are
//! compared by name of permit and data set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use consilium_protocol::{DatasetName, MemberName, Millis, ProjectName, Purpose};

use crate::bundle::{Bundle, Dataset, Named, Release, Rule};
use crate::explain::{Answer, Explanation, Question, explain};
use crate::files::RULES_FILE;
use crate::rules::CedarRule;

/// Cells looked at; a bundle with more is beyond what anyone reads.
const CELLS_MAX: usize = 20_000;

/// Who has no name in either bundle.
const OTHER: &str = "any-other";

/// What differs, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is let out that was not before.
    pub opened: Vec<String>,
    /// What was let out before and is not now.
    pub closed: Vec<String>,
    /// What depended on an officer or a rule's quantities before and is certain now.
    pub firmer: Vec<String>,
    /// What was certain before and depends on an officer or a rule's quantities now.
    pub looser: Vec<String>,
    /// Numbers and terms that are others, and in which direction.
    pub numbers: Vec<String>,
}

impl Changes {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [
            &self.opened,
            &self.closed,
            &self.firmer,
            &self.looser,
            &self.numbers,
        ]
        .into_iter()
        .all(Vec::is_empty)
    }
}

/// Compares two bundles as of `now`.
#[must_use]
pub fn diff(old: &Bundle, new: &Bundle, now: Millis) -> Changes {
    let mut changes = Changes::default();
    let cells = cells(old, new);
    if cells.len() > CELLS_MAX {
        changes.numbers.push(format!(
            "there are more than {CELLS_MAX} combinations of project, purpose, release and data set; the rest is not compared"
        ));
    }
    for cell in cells.into_iter().take(CELLS_MAX) {
        cell.compare(old, new, now, &mut changes);
    }
    for rule in new.rules() {
        if let Some(before) = old.rules().iter().find(|other| other.id == rule.id) {
            of_permits(before, rule, &mut changes.numbers);
        }
    }
    for (name, dataset) in new.datasets() {
        if let Some(before) = old.datasets().get(name) {
            of_datasets(name, before, dataset, &mut changes.numbers);
        }
    }
    of_rules(old, new, &mut changes.numbers);
    changes
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    dataset: DatasetName,
    project: ProjectName,
    purpose: Purpose,
    release: Release,
}

/// Every combination that a permit of either bundle could be about.
fn cells(old: &Bundle, new: &Bundle) -> BTreeSet<Cell> {
    let rules = || old.rules().iter().chain(new.rules());
    let mut projects: BTreeSet<ProjectName> = BTreeSet::new();
    let mut datasets: BTreeSet<DatasetName> = old.datasets().keys().cloned().collect();
    datasets.extend(new.datasets().keys().cloned());
    for rule in rules() {
        projects.extend(names(&rule.projects));
        datasets.extend(names(&rule.dataset));
    }
    projects.extend(OTHER.parse::<ProjectName>());
    datasets.extend(OTHER.parse::<DatasetName>());
    let mut cells = BTreeSet::new();
    for rule in rules() {
        for dataset in datasets.iter().filter(|name| rule.dataset.covers(name)) {
            for project in projects.iter().filter(|name| rule.projects.covers(name)) {
                for purpose in &rule.purposes {
                    for release in &rule.release {
                        if cells.len() > CELLS_MAX {
                            return cells;
                        }
                        cells.insert(Cell {
                            dataset: dataset.clone(),
                            project: project.clone(),
                            purpose: purpose.clone(),
                            release: *release,
                        });
                    }
                }
            }
        }
    }
    cells
}

fn names<T: Ord + Clone>(named: &Named<T>) -> BTreeSet<T> {
    match named {
        Named::Any => BTreeSet::new(),
        Named::These(names) => names.clone(),
    }
}

impl Cell {
    fn compare(&self, old: &Bundle, new: &Bundle, now: Millis, changes: &mut Changes) {
        let question = Question {
            project: self.project.clone(),
            release: self.release,
            dataset: self.dataset.clone(),
            researcher: None,
            purpose: Some(self.purpose.clone()),
        };
        let (before, after) = (explain(old, &question, now), explain(new, &question, now));
        let mut names = named(&before);
        names.extend(named(&after));
        let mut moves: BTreeMap<(Answer, Answer), Vec<Option<&MemberName>>> = BTreeMap::new();
        // Last of all whoever has no name in either: `None`.
        for person in names.iter().map(Some).chain([None]) {
            let (was, is) = (of(&before, person), of(&after, person));
            if was != is {
                moves.entry((was, is)).or_default().push(person);
            }
        }
        for ((was, is), people) in moves {
            let who = in_words(&people, names.len());
            match (was, is) {
                (Answer::No, _) => changes.opened.push(self.told(&who, is)),
                (_, Answer::No) => changes.closed.push(self.told(&who, was)),
                (Answer::If, _) => changes.firmer.push(self.told(&who, Answer::Yes)),
                (Answer::Yes, _) => changes.looser.push(self.told(&who, Answer::If)),
            }
        }
    }

    fn told(&self, who: &str, answer: Answer) -> String {
        let conditions = match answer {
            Answer::If => ", if an officer or a rule's quantities allow it",
            Answer::Yes | Answer::No => "",
        };
        let project = match self.project.as_str() {
            OTHER => "any project that is not named".to_owned(),
            name => format!("the project `{name}`"),
        };
        let dataset = match self.dataset.as_str() {
            OTHER => "any data set that is not named".to_owned(),
            name => format!("`{name}`"),
        };
        format!(
            "{who} of {project}, for the purpose {}, can get `{}` from {dataset}{conditions}",
            self.purpose,
            self.release.as_str()
        )
    }
}

/// Whom the ways of an explanation name.
fn named(explained: &Explanation) -> BTreeSet<MemberName> {
    let ways = explained.ways.iter();
    ways.flat_map(|way| names(&way.researchers)).collect()
}

/// Whether this researcher can get it; of `None`, one whom nobody names.
fn of(explained: &Explanation, person: Option<&MemberName>) -> Answer {
    let covers = |researchers: &Named<MemberName>| match (researchers, person) {
        (Named::Any, _) => true,
        (Named::These(_), None) => false,
        (Named::These(names), Some(person)) => names.contains(person),
    };
    let ways = explained.ways.iter();
    let ways = ways.filter(|way| covers(&way.researchers));
    ways.map(|way| match way.certain {
        true => Answer::Yes,
        false => Answer::If,
    })
    .max()
    .unwrap_or(Answer::No)
}

/// Some of so many who have a name, and perhaps all others.
fn in_words(people: &[Option<&MemberName>], named: usize) -> String {
    let names: Vec<&str> = people.iter().flatten().map(|name| name.as_str()).collect();
    match (people.contains(&None), names.len()) {
        (true, all) if all == named => "any researcher".to_owned(),
        (true, 0) => "any other researcher".to_owned(),
        (true, _) => format!(
            "{}, and any researcher without a name here",
            names.join(", ")
        ),
        (false, _) => names.join(", "),
    }
}

/// One number or term, told if it differs.
fn number<T: PartialEq + fmt::Display>(
    changes: &mut Vec<String>,
    what: String,
    before: T,
    after: T,
    lets_out_more: bool,
) {
    if before != after {
        let direction = if lets_out_more { "more" } else { "less" };
        changes.push(format!(
            "{what}: {before} becomes {after}, which lets out {direction}"
        ));
    }
}

fn of_permits(before: &Rule, after: &Rule, changes: &mut Vec<String>) {
    let what = |field: &str| format!("permit `{}`, {field}", after.id);
    let until = (before.until, after.until);
    number(changes, what("until"), until.0, until.1, until.1 > until.0);
    if let (Some(old), Some(new)) = (&before.training, &after.training) {
        let records = (old.minimum_records, new.minimum_records);
        number(
            changes,
            what("minimum-records"),
            records.0,
            records.1,
            records.1 < records.0,
        );
        let share = (
            old.maximum_parameters_per_record,
            new.maximum_parameters_per_record,
        );
        let field = what("maximum-parameters-per-record");
        number(changes, field, share.0, share.1, share.1 > share.0);
        let rounds = (old.maximum_rounds, new.maximum_rounds);
        number(
            changes,
            what("maximum-rounds"),
            rounds.0,
            rounds.1,
            rounds.1 > rounds.0,
        );
    }
    budget(changes, &what("budget"), before.budget, after.budget);
    let approval = (before.approval.as_str(), after.approval.as_str());
    number(
        changes,
        what("approval"),
        approval.0,
        approval.1,
        approval.1 == "none",
    );
    let codes = |rule: &Rule| {
        let codes: Vec<&str> = rule.agreed.iter().map(|code| code.as_str()).collect();
        format!("[{}]", codes.join(", "))
    };
    let more = after.agreed.difference(&before.agreed).next().is_some();
    number(changes, what("agreed"), codes(before), codes(after), more);
}

fn budget(
    changes: &mut Vec<String>,
    what: &str,
    before: Option<consilium_privacy::Budget>,
    after: Option<consilium_privacy::Budget>,
) {
    let told = |budget: Option<consilium_privacy::Budget>| match budget {
        None => "none".to_owned(),
        Some(budget) => format!("ε = {} at δ = {}", budget.epsilon(), budget.delta()),
    };
    let size = |budget: Option<consilium_privacy::Budget>| {
        budget.map_or((0.0, 0.0), |budget| (budget.epsilon(), budget.delta()))
    };
    let more = size(after) > size(before);
    number(changes, what.to_owned(), told(before), told(after), more);
}

fn filters(
    changes: &mut Vec<String>,
    what: &impl Fn(&str) -> String,
    before: &Dataset,
    after: &Dataset,
) {
    let columns = |dataset: &Dataset| match &dataset.filter_columns {
        None => "any column".to_owned(),
        Some(columns) => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            format!("[{}]", columns.join(", "))
        }
    };
    let more = match (&before.filter_columns, &after.filter_columns) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => !after.is_subset(before),
    };
    let (was, is) = (columns(before), columns(after));
    number(changes, what("filter-columns"), was, is, more);
    let conditions = (before.filter_conditions, after.filter_conditions);
    number(
        changes,
        what("filter-conditions"),
        conditions.0,
        conditions.1,
        conditions.1 > conditions.0,
    );
}

fn of_datasets(name: &DatasetName, before: &Dataset, after: &Dataset, changes: &mut Vec<String>) {
    let what = |field: &str| format!("data set `{name}`, {field}");
    let floor = (before.floor_patients, after.floor_patients);
    number(
        changes,
        what("floor-patients"),
        floor.0,
        floor.1,
        floor.1 < floor.0,
    );
    let rounding = (before.rounding, after.rounding);
    number(
        changes,
        what("rounding"),
        rounding.0,
        rounding.1,
        rounding.1 < rounding.0,
    );
    budget(changes, &what("budget"), before.budget, after.budget);
    budget(
        changes,
        &what("budget-patient"),
        before.budget_patient,
        after.budget_patient,
    );
    let repeats = (before.repeats, after.repeats);
    let words = (repeats.0.as_str(), repeats.1.as_str());
    number(
        changes,
        what("repeats"),
        words.0,
        words.1,
        repeats.1 < repeats.0,
    );
    let redaction = (before.redaction, after.redaction);
    let words = (redaction.0.as_str(), redaction.1.as_str());
    number(
        changes,
        what("redaction"),
        words.0,
        words.1,
        redaction.1 < redaction.0,
    );
    filters(changes, &what, before, after);
    let until = |dataset: &Dataset| {
        dataset
            .until
            .map_or("no end".to_owned(), |day| day.to_string())
    };
    // No end is the latest.
    let later = match (before.until, after.until) {
        (Some(before), Some(after)) => after > before,
        (Some(_), None) => true,
        (None, _) => false,
    };
    number(changes, what("until"), until(before), until(after), later);
    let codes = |dataset: &Dataset| {
        let codes: Vec<&str> = dataset.duo.iter().map(|code| code.as_str()).collect();
        format!("[{}]", codes.join(", "))
    };
    if before.duo != after.duo {
        changes.push(format!(
            "{}: {} becomes {}",
            what("duo"),
            codes(before),
            codes(after)
        ));
    }
}

/// What became of the rules, for someone who reads no Cedar: which, what it does, why, and where it stands.
fn of_rules(old: &Bundle, new: &Bundle, changes: &mut Vec<String>) {
    let (old, new) = (old.cedar(), new.cedar());
    for rule in new.written() {
        match (old.text(&rule.id), new.text(&rule.id)) {
            (None, _) => changes.push(format!("rule `{}` is new: {}", rule.id, gist(rule))),
            (Some(before), Some(after)) if before != after => {
                changes.push(format!("rule `{}` is another now: {}", rule.id, gist(rule)));
            }
            (Some(_), _) => {}
        }
    }
    for rule in old.written() {
        if !new.written().iter().any(|other| other.id == rule.id) {
            let did = match rule.forbids {
                true => "forbade",
                false => "permitted",
            };
            changes.push(format!(
                "rule `{}`, which {did}, is gone{}",
                rule.id,
                reason(rule)
            ));
        }
    }
    match (old.has_permits(), new.has_permits()) {
        (false, true) => changes.push(
            "rules.cedar has permits of its own now: a request needs one of them too, which lets out less".to_owned(),
        ),
        (true, false) => changes.push(
            "rules.cedar has no permits of its own any more: the permits of policy.toml are enough, which lets out more"
                .to_owned(),
        ),
        _ => {}
    }
}

fn gist(rule: &CedarRule) -> String {
    let does = match (rule.forbids, rule.has_conditions) {
        (true, true) => "it forbids under conditions",
        (true, false) => "it forbids",
        (false, true) => "it permits under conditions",
        (false, false) => "it permits",
    };
    format!("{does}{} ({RULES_FILE}, line {})", reason(rule), rule.line)
}

fn reason(rule: &CedarRule) -> String {
    let reason = rule.reason.as_ref();
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "the two bundles let out the same");
        }
        for (title, sentences) in [
            ("let out that was not before", &self.opened),
            ("not let out any more", &self.closed),
            (
                "certain now, where before an officer or a rule's quantities had to allow it",
                &self.firmer,
            ),
            (
                "let out now only if an officer or a rule's quantities allow it, and certain before",
                &self.looser,
            ),
            ("numbers and rules", &self.numbers),
        ] {
            if sentences.is_empty() {
                continue;
            }
            writeln!(f, "{title}:")?;
            for sentence in sentences {
                writeln!(f, "- {sentence}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
