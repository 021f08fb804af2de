//! Could a researcher of project P ever get X from data set D? Yes, no, or under which conditions; and by which rules.
//!
//! Nothing is tried out. Permits are a finite list, and each that covers the question is a way; the rules beside them
//! are evaluated where all that they look at is known, and told as a condition where they look at quantities. So a
//! *no* holds for every ask that could be made, today and while the bundle stands.

use std::collections::BTreeSet;
use std::fmt;

use consilium_protocol::{DatasetName, Digest, MemberName, Millis, ProjectName, Purpose, Role};

use crate::ask::{Action, Activity, Ask, Facts, Researcher, StatisticKind};
use crate::bundle::{Bundle, Named, Release, Rule, RuleId};
use crate::decide::terms_of;
use crate::rules::{Asked, Opinion, Says};
use crate::terms::{Approval, Terms};

/// A name that no certificate has: whoever is meant by `"*"`.
const SOMEBODY: &str = "somebody";

/// What an officer wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of which project.
    pub project: ProjectName,
    /// What would leave.
    pub release: Release,
    /// Out of which data set.
    pub dataset: DatasetName,
    /// Asked by whom; anybody of the project if it is left open.
    pub researcher: Option<MemberName>,
    /// For which purpose; any if it is left open.
    pub purpose: Option<Purpose>,
}

/// The answer, with its grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// In a word.
    pub answer: Answer,
    /// The ways in which it could leave.
    pub ways: Vec<Way>,
    /// Why there are no others.
    pub reasons: Vec<String>,
}

/// In a word, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It never leaves.
    No,
    /// It leaves when a person agrees, or a rule's quantities allow it.
    If,
    /// It leaves within the permit's own numbers.
    Yes,
}

/// One way in which something could leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The permit that covers it, and the rules on which it depends.
    pub rules: Vec<RuleId>,
    /// Who may ask.
    pub researchers: Named<MemberName>,
    /// For which purpose.
    pub purpose: Purpose,
    /// What must hold.
    pub conditions: Vec<String>,
    /// Whether nothing but the permit's own numbers must hold.
    pub certain: bool,
}

/// Answers an officer's question about a bundle as of `now`.
#[must_use]
pub fn explain(bundle: &Bundle, question: &Question, now: Millis) -> Explanation {
    let mut ways = Vec::new();
    let mut reasons = Vec::new();
    for rule in bundle.rules() {
        match why_not(rule, question, now) {
            Some(NotCovered::Elsewhere) => {}
            Some(NotCovered::Because(why)) => reasons.push(format!("permit `{}`: {why}", rule.id)),
            None => {
                for purpose in purposes(rule, question) {
                    for people in people(bundle, rule, question, purpose, now) {
                        let case = Case {
                            bundle,
                            rule,
                            question,
                            purpose,
                            people: &people,
                            now,
                        };
                        for action in actions(question.release) {
                            case.look(action).sort_into(&mut ways, &mut reasons);
                        }
                    }
                }
            }
        }
    }
    if ways.is_empty() && reasons.is_empty() {
        reasons.push(format!(
            "no permit covers the project `{}` on the data set `{}`",
            question.project, question.dataset
        ));
    }
    reasons.dedup();
    let ways = joined(ways);
    let answer = match (ways.iter().any(|way| way.certain), ways.is_empty()) {
        (true, _) => Answer::Yes,
        (false, false) => Answer::If,
        (false, true) => Answer::No,
    };
    Explanation {
        answer,
        ways,
        reasons,
    }
}

enum NotCovered {
    /// The permit is about something else altogether.
    Elsewhere,
    Because(String),
}

fn why_not(rule: &Rule, question: &Question, now: Millis) -> Option<NotCovered> {
    let because = |why: String| Some(NotCovered::Because(why));
    if !rule.dataset.covers(&question.dataset) || !rule.projects.covers(&question.project) {
        return Some(NotCovered::Elsewhere);
    }
    if let Some(who) = &question.researcher
        && !rule.researchers.covers(who)
    {
        return because(format!("it does not name the researcher `{who}`"));
    }
    if let Some(purpose) = &question.purpose
        && !rule.purposes.contains(purpose)
    {
        return because(format!("it does not cover the purpose {purpose}"));
    }
    if !rule.release.contains(&question.release) {
        return because(format!(
            "it does not release `{}`",
            question.release.as_str()
        ));
    }
    rule.until
        .is_over(now)
        .then(|| NotCovered::Because(format!("it ended with {}", rule.until)))
}

fn purposes<'a>(rule: &'a Rule, question: &'a Question) -> impl Iterator<Item = &'a Purpose> {
    let asked = |purpose: &&Purpose| {
        question
            .purpose
            .as_ref()
            .is_none_or(|asked| asked == *purpose)
    };
    rule.purposes.iter().filter(asked)
}

/// The actions by which something leaves.
fn actions(release: Release) -> Vec<Action> {
    let statistics = |noisy| {
        [
            StatisticKind::Count,
            StatisticKind::Histogram,
            StatisticKind::Mean,
            StatisticKind::Quantile,
            StatisticKind::Top,
        ]
        .map(|statistic| Action::Statistic { statistic, noisy })
        .to_vec()
    };
    match release {
        Release::Update | Release::NoisyUpdate => vec![Action::Train {
            round: 1,
            rounds: 1,
        }],
        // They leave with each update, and at the end.
        Release::Metrics => vec![Action::Evaluate],
        Release::ExactStatistics => statistics(false),
        Release::NoisyStatistics => statistics(true),
        Release::DistinctSketch => vec![Action::Statistic {
            statistic: StatisticKind::Distinct,
            noisy: true,
        }],
        Release::SearchL0 => vec![Action::Search { level: 0 }],
        Release::SearchL1 => vec![Action::Search { level: 1 }],
        Release::SearchL2 => vec![Action::Search { level: 2 }],
        Release::SearchL3 => vec![Action::Search { level: 3 }],
        Release::SearchL4 => vec![Action::Search { level: 4 }],
    }
}

/// A way for one action, or why there is none.
enum Looked {
    Way(Way, Action),
    Closed(String),
}

impl Looked {
    fn sort_into(self, ways: &mut Vec<(Way, Action)>, reasons: &mut Vec<String>) {
        match self {
            Self::Way(way, action) => ways.push((way, action)),
            Self::Closed(why) => reasons.push(why),
        }
    }
}

/// People who fall under the same permits, and so under the same terms.
struct People<'a> {
    names: BTreeSet<MemberName>,
    covered_by: Vec<&'a Rule>,
}

/// Those who may ask under a permit, by the permits that cover them.
fn people<'a>(
    bundle: &'a Bundle,
    rule: &Rule,
    question: &Question,
    purpose: &Purpose,
    now: Millis,
) -> Vec<People<'a>> {
    let mut names: BTreeSet<MemberName> = match (&question.researcher, &rule.researchers) {
        (Some(who), _) => BTreeSet::from([who.clone()]),
        (None, Named::These(names)) => names.clone(),
        (None, Named::Any) => {
            let named = |rule: &'a Rule| match &rule.researchers {
                Named::Any => None,
                Named::These(names) => Some(names),
            };
            let all = bundle.rules().iter().filter_map(named).flatten();
            all.cloned().collect()
        }
    };
    if question.researcher.is_none() && rule.researchers == Named::Any {
        names.extend(SOMEBODY.parse::<MemberName>());
    }
    let mut groups: Vec<People<'a>> = Vec::new();
    for name in names {
        let covers = |rule: &&Rule| {
            why_not(rule, question, now).is_none()
                && rule.purposes.contains(purpose)
                && rule.researchers.covers(&name)
        };
        let covered_by: Vec<&Rule> = bundle.rules().iter().filter(covers).collect();
        let same = |group: &&mut People<'_>| {
            let ids = |rules: &[&Rule]| rules.iter().map(|rule| rule.line).collect::<Vec<_>>();
            ids(&group.covered_by) == ids(&covered_by)
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.names.insert(name);
            }
            None => groups.push(People {
                names: BTreeSet::from([name]),
                covered_by,
            }),
        }
    }
    groups
}

/// One permit, purpose and group of people.
struct Case<'a> {
    bundle: &'a Bundle,
    rule: &'a Rule,
    question: &'a Question,
    purpose: &'a Purpose,
    people: &'a People<'a>,
    now: Millis,
}

impl Case<'_> {
    /// One action against the terms and the rules.
    fn look(&self, action: Action) -> Looked {
        let Self {
            bundle,
            question,
            now,
            ..
        } = *self;
        let dataset = bundle.datasets().get(&question.dataset);
        if let Some(until) = dataset.and_then(|dataset| dataset.until)
            && until.is_over(now)
        {
            return Looked::Closed(format!("the use of the data set ended with {until}"));
        }
        let wants_terms =
            question.release.activity() != Activity::Train || question.release.costs();
        if dataset.is_none() && wants_terms {
            return Looked::Closed(format!(
                "the policy has no terms for `{}`",
                question.dataset
            ));
        }
        let covered_by = &self.people.covered_by;
        let terms = terms_of(dataset, covered_by);
        let Some(ask) = self.ask(action) else {
            return Looked::Closed("nobody may ask".to_owned());
        };
        let facts = Facts {
            noisy_update: question.release == Release::NoisyUpdate,
            ..Facts::default()
        };
        let agreed: BTreeSet<&str> = covered_by
            .iter()
            .flat_map(|rule| rule.agreed.iter().map(|code| code.as_str()))
            .collect();
        let asked = Asked {
            ask: &ask,
            dataset: &question.dataset,
            release: question.release,
            facts: &facts,
            now,
            terms: &terms,
            agreed: &agreed.into_iter().collect::<Vec<_>>(),
            named_researcher: covered_by.iter().any(|rule| rule.researchers != Named::Any),
            named_project: covered_by.iter().any(|rule| rule.projects != Named::Any),
        };
        let anybody = self.people.names.len() > 1 || ask.researcher.name.as_str() == SOMEBODY;
        match bundle.cedar().opinions(&asked, anybody) {
            Some(opinions) => self.judge(action, &terms, &opinions),
            None => Looked::Closed("the rules cannot be evaluated".to_owned()),
        }
    }

    fn judge(&self, action: Action, terms: &Terms, opinions: &[Opinion]) -> Looked {
        let Self { rule, purpose, .. } = self;
        let cedar = self.bundle.cedar();
        let saying = |forbids, says| {
            opinions
                .iter()
                .filter(move |rule| rule.forbids == forbids && rule.says == says)
        };
        if let Some(closing) = saying(true, Says::Always).next() {
            let why = cedar.told(&closing.id);
            let why = why.map_or(String::new(), |why| format!(": {why}"));
            return Looked::Closed(format!(
                "permit `{}` for the purpose {purpose}: the rule `{}` forbids it{why}",
                rule.id, closing.id
            ));
        }
        let mut rules = vec![rule.id.clone()];
        let mut conditions = conditions(self.bundle, rule, self.question, terms);
        let mut certain = terms.approval == Approval::None;
        if cedar.has_permits() && saying(false, Says::Always).next().is_none() {
            let maybe: Vec<RuleId> = saying(false, Says::Depends)
                .map(|rule| rule.id.clone())
                .collect();
            if maybe.is_empty() {
                return Looked::Closed(format!(
                    "permit `{}`: no rule of rules.cedar permits it",
                    rule.id
                ));
            }
            certain = false;
            let words: Vec<String> = maybe.iter().map(|id| format!("`{id}`")).collect();
            let words = words.join(", ");
            conditions.push(format!("one of these rules permits it: {words}"));
            rules.extend(maybe);
        }
        for forbid in saying(true, Says::Depends) {
            certain = false;
            let text = cedar.text(&forbid.id).unwrap_or_default();
            conditions.push(format!(
                "the rule `{}` does not forbid it: {text}",
                forbid.id
            ));
            rules.push(forbid.id.clone());
        }
        let somebody = |name: &MemberName| name.as_str() == SOMEBODY;
        let researchers = match self.people.names.iter().any(somebody) {
            true => Named::Any,
            false => Named::These(self.people.names.clone()),
        };
        let way = Way {
            rules,
            researchers,
            purpose: (*purpose).clone(),
            conditions,
            certain,
        };
        Looked::Way(way, action)
    }

    /// An ask that stands for all by these people.
    fn ask(&self, action: Action) -> Option<Ask> {
        let somebody = SOMEBODY.parse().ok();
        let name = somebody.filter(|name| self.people.names.contains(name));
        Some(Ask {
            project: self.question.project.clone(),
            researcher: Researcher {
                name: name.or_else(|| self.people.names.first().cloned())?,
                role: Role::Researcher,
            },
            purpose: self.purpose.clone(),
            dataset: self.question.dataset.clone(),
            run: None,
            run_digest: Digest::of(&[]),
            action,
        })
    }
}

/// What the permit and the terms want, in words.
fn conditions(bundle: &Bundle, rule: &Rule, question: &Question, terms: &Terms) -> Vec<String> {
    let mut conditions = vec![format!("until {}", rule.until)];
    if let (Some(bounds), Activity::Train) = (&rule.training, question.release.activity()) {
        conditions.push(format!(
            "with {} training records here or more, {} parameters for each of them at most, in {} rounds at most",
            bounds.minimum_records, bounds.maximum_parameters_per_record, bounds.maximum_rounds
        ));
    }
    if question.release.activity() != Activity::Train
        || bundle.datasets().contains_key(&question.dataset)
    {
        conditions.push(format!(
            "with {} patients behind it or more",
            terms.floor_patients
        ));
    }
    if question.release.costs() {
        let told = |budget: Option<consilium_privacy::Budget>| {
            budget.map_or("nothing".to_owned(), |budget| {
                format!("ε = {} at δ = {}", budget.epsilon(), budget.delta())
            })
        };
        conditions.push(format!(
            "as long as the project has spent no more than {}, all projects together {}, and each patient {}",
            told(rule.budget),
            told(terms.budget_dataset),
            told(terms.budget_patient)
        ));
    }
    let names = |officers: &BTreeSet<MemberName>| {
        let names: Vec<&str> = officers.iter().map(MemberName::as_str).collect();
        names.join(" or ")
    };
    match &terms.approval {
        Approval::None => {}
        Approval::Before { officers } => {
            conditions.push(format!("after {} has approved it", names(officers)));
        }
        Approval::Outbox { officers } => {
            conditions.push(format!("after {} has released the result", names(officers)));
        }
    }
    conditions
}

/// Ways that differ in the action alone, told once.
fn joined(ways: Vec<(Way, Action)>) -> Vec<Way> {
    let mut joined: Vec<(Way, Vec<&'static str>)> = Vec::new();
    for (way, action) in ways {
        let word = match action {
            Action::Statistic { statistic, .. } => Some(statistic.as_str()),
            _ => None,
        };
        match joined.iter_mut().find(|(other, _)| *other == way) {
            Some((_, words)) => words.extend(word),
            None => joined.push((way, word.into_iter().collect())),
        }
    }
    let told = |(mut way, words): (Way, Vec<&'static str>)| {
        if !words.is_empty() && words.len() < 5 {
            way.conditions.insert(0, format!("as {}", words.join(", ")));
        }
        way
    };
    joined.into_iter().map(told).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.answer {
            Answer::Yes => "yes",
            Answer::If => "only if somebody or something allows it",
            Answer::No => "no",
        };
        writeln!(f, "{word}")?;
        for way in &self.ways {
            let rules: Vec<&str> = way.rules.iter().map(RuleId::as_str).collect();
            let who = match &way.researchers {
                Named::Any => "any researcher".to_owned(),
                Named::These(names) => {
                    let names: Vec<&str> = names.iter().map(MemberName::as_str).collect();
                    names.join(", ")
                }
            };
            writeln!(
                f,
                "- by {}: {who}, for the purpose {}",
                rules.join(", "),
                way.purpose
            )?;
            for condition in &way.conditions {
                writeln!(f, "    {condition}")?;
            }
        }
        for reason in &self.reasons {
            writeln!(f, "- not by {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
