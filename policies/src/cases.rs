//! An officer's tests: requests by name, with the decision each should get.
//!
//! `cases.toml` lies beside `policy.toml`. A case says who asks what on which day, and what is expected: `permit`,
//! or the code of a refusal, and optionally the rules that should decide, what should be released, and which approval
//! should be wanted. Budgets are told as if pure ε had been spent.

use std::collections::BTreeSet;
use std::fmt;

use consilium_privacy::{Account, Cost};
use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose, Role};
use serde::Deserialize;

use crate::ask::{Action, Ask, Facts, FilterFacts, Researcher, Spent, StatisticKind};
use crate::bundle::{Bundle, BundleError, Problem, Release, RuleId, text_of};
use crate::day::Day;
use crate::decide::{Verdict, decide};
use crate::limits::CASES_MAX;

/// The cases of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cases {
    cases: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq)]
struct Case {
    written: CaseDocument,
    ask: Ask,
    facts: Facts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    case: Vec<CaseDocument>,
}

/// One request and what should become of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CaseDocument {
    name: String,
    researcher: MemberName,
    #[serde(default = "researcher")]
    role: Role,
    project: ProjectName,
    purpose: Purpose,
    dataset: DatasetName,
    action: CaseAction,
    #[serde(default = "one")]
    rounds: u32,
    /// With noise: an update, or the answer to a question.
    #[serde(default)]
    noisy: bool,
    /// Of a search.
    #[serde(default)]
    level: u8,
    /// The day on which it is asked.
    on: Day,
    /// Left out: the site has no such data set.
    records: Option<u64>,
    #[serde(default)]
    parameters: u64,
    /// Patients of the data set.
    patients: Option<u64>,
    /// Patients that the question's filter leaves.
    cohort: Option<u64>,
    /// Columns that its filter is about.
    #[serde(default)]
    filter_columns: BTreeSet<String>,
    /// Conditions that its filter joins; left out, one for each of the columns.
    filter_conditions: Option<u16>,
    /// What it would cost.
    cost_epsilon: Option<f64>,
    /// What the project spent before.
    project_spent_epsilon: Option<f64>,
    /// What all projects spent before.
    dataset_spent_epsilon: Option<f64>,
    /// `permit`, or a refusal's code.
    expect: String,
    rules: Option<Vec<RuleId>>,
    release: Option<BTreeSet<Release>>,
    /// `none`, `before` or `outbox`.
    approval: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CaseAction {
    Admit,
    Train,
    Evaluate,
    Count,
    Histogram,
    Mean,
    Quantile,
    Top,
    Distinct,
    Search,
}

/// A case that did not go as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surprise {
    /// The case's name.
    pub case: String,
    /// What it said.
    pub expected: String,
    /// What was decided.
    pub decided: String,
}

impl fmt::Display for Surprise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`: expected {}, decided {}",
            self.case, self.expected, self.decided
        )
    }
}

impl Cases {
    /// Reads `cases.toml`. `file` is what its errors call it.
    ///
    /// # Errors
    /// What is wrong with it, by line.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, BundleError> {
        let syntax = |message: String| BundleError::of_file(file, Problem::Syntax { message });
        let text = text_of(file, text)?;
        let document: Document = toml::from_str(text).map_err(|error| BundleError {
            line: error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or(text);
                before.matches('\n').count() + 1
            }),
            ..syntax(error.message().trim_end().replace('\n', ", "))
        })?;
        if document.case.len() > CASES_MAX {
            return Err(syntax(format!(
                "there are more than {CASES_MAX} cases; split the file"
            )));
        }
        let with_ask = |written: CaseDocument| {
            let facts = written
                .facts()
                .map_err(|cause| syntax(format!("the case `{}`: {cause}", written.name)))?;
            Ok(Case {
                ask: written.ask(),
                facts,
                written,
            })
        };
        let cases = document.case.into_iter().map(with_ask);
        Ok(Self {
            cases: cases.collect::<Result<_, BundleError>>()?,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cases.len()
    }

    /// The cases on which `bundle` decides otherwise than expected.
    #[must_use]
    pub fn surprises(&self, bundle: &Bundle) -> Vec<Surprise> {
        self.outcomes(bundle)
            .filter_map(|(_, surprise)| surprise)
            .collect()
    }

    /// Every case by name, in the order of the file, with what went otherwise than it says.
    pub fn outcomes(&self, bundle: &Bundle) -> impl Iterator<Item = (&str, Option<Surprise>)> {
        self.cases
            .iter()
            .map(|case| (case.written.name.as_str(), case.surprise(bundle)))
    }
}

/// A decision, as far as a case can expect it.
#[derive(PartialEq)]
struct Outcome {
    code: String,
    rules: Vec<String>,
    release: BTreeSet<Release>,
    approval: Option<String>,
}

impl Case {
    fn outcome(&self, bundle: &Bundle) -> Outcome {
        match decide(bundle, &self.ask, &self.facts, self.written.on.begins_at()) {
            Verdict::Permit(permit) => Outcome {
                code: "permit".to_owned(),
                rules: permit.rules().iter().map(ToString::to_string).collect(),
                release: Release::ALL
                    .into_iter()
                    .filter(|release| permit.releases(*release))
                    .collect(),
                approval: Some(permit.terms().approval.as_str().to_owned()),
            },
            Verdict::Refuse(refusal) => Outcome {
                code: refusal.code.to_string(),
                rules: refusal.rules,
                release: BTreeSet::new(),
                approval: None,
            },
        }
    }

    fn surprise(&self, bundle: &Bundle) -> Option<Surprise> {
        let written = &self.written;
        let decided = self.outcome(bundle);
        // What a case does not say is as it is decided.
        let expected = Outcome {
            code: written.expect.clone(),
            rules: match &written.rules {
                Some(rules) => rules.iter().map(ToString::to_string).collect(),
                None => decided.rules.clone(),
            },
            release: written.release.as_ref().unwrap_or(&decided.release).clone(),
            approval: written
                .approval
                .clone()
                .or_else(|| decided.approval.clone()),
        };
        (expected != decided).then(|| Surprise {
            case: written.name.clone(),
            expected: expected.told(),
            decided: decided.told(),
        })
    }
}

impl CaseDocument {
    fn ask(&self) -> Ask {
        let rounds = self.rounds;
        let statistic = |statistic| Action::Statistic {
            statistic,
            noisy: self.noisy,
        };
        Ask {
            project: self.project.clone(),
            researcher: Researcher {
                name: self.researcher.clone(),
                role: self.role,
            },
            purpose: self.purpose.clone(),
            dataset: self.dataset.clone(),
            // No decision depends on it.
            run: None,
            run_digest: Digest::of(&[]),
            action: match self.action {
                CaseAction::Admit => Action::Admit { rounds },
                CaseAction::Train => Action::Train { round: 1, rounds },
                CaseAction::Evaluate => Action::Evaluate,
                CaseAction::Count => statistic(StatisticKind::Count),
                CaseAction::Histogram => statistic(StatisticKind::Histogram),
                CaseAction::Mean => statistic(StatisticKind::Mean),
                CaseAction::Quantile => statistic(StatisticKind::Quantile),
                CaseAction::Top => statistic(StatisticKind::Top),
                CaseAction::Distinct => statistic(StatisticKind::Distinct),
                CaseAction::Search => Action::Search { level: self.level },
            },
        }
    }

    fn facts(&self) -> Result<Facts, consilium_privacy::CostError> {
        let cost = |epsilon: Option<f64>| epsilon.map_or(Ok(Cost::None), Cost::pure);
        let spent = |epsilon| {
            let mut account = Account::default();
            account.add(&cost(epsilon)?);
            Ok(account)
        };
        Ok(Facts {
            dataset_records: self.records,
            parameters: self.parameters,
            noisy_update: self.noisy
                && matches!(self.action, CaseAction::Admit | CaseAction::Train),
            dataset_patients: self.patients,
            cohort_patients: self.cohort,
            complement_patients: None,
            filter: FilterFacts {
                columns: self.filter_columns.clone(),
                conditions: self
                    .filter_conditions
                    .unwrap_or(u16::try_from(self.filter_columns.len()).unwrap_or(u16::MAX)),
            },
            cost: cost(self.cost_epsilon)?,
            spent: Spent {
                project: spent(self.project_spent_epsilon)?,
                dataset: spent(self.dataset_spent_epsilon)?,
            },
        })
    }
}

impl Outcome {
    /// In one phrase: `permit by rule cardiology-training, releases update`.
    fn told(&self) -> String {
        let mut told = self.code.clone();
        if !self.rules.is_empty() {
            told += &format!(" by rule {}", self.rules.join(", "));
        }
        if !self.release.is_empty() {
            let words: Vec<&str> = self
                .release
                .iter()
                .map(|release| release.as_str())
                .collect();
            told += &format!(", releases {}", words.join(", "));
        }
        match self.approval.as_deref() {
            None | Some("none") => told,
            Some(approval) => told + &format!(", after approval `{approval}`"),
        }
    }
}

fn researcher() -> Role {
    Role::Researcher
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::BundleFiles;

    const HOSPITAL: [&str; 3] = [
        include_str!("../bundles/hospital/policy.toml"),
        include_str!("../bundles/hospital/rules.cedar"),
        include_str!("../bundles/hospital/cases.toml"),
    ];
    const HOSPITAL_EXAMPLE: &str = include_str!("../bundles/hospital/example-cases.toml");
    const CONSORTIUM: [&str; 3] = [
        include_str!("../bundles/consortium/policy.toml"),
        include_str!("../bundles/consortium/rules.cedar"),
        include_str!("../bundles/consortium/cases.toml"),
    ];

    fn files([policy, rules, cases]: [&str; 3]) -> BundleFiles {
        BundleFiles {
            policy: policy.into(),
            rules: rules.into(),
            cases: cases.into(),
            ..BundleFiles::default()
        }
    }

    fn check(texts: [&str; 3]) {
        let bundle = Bundle::read("", &files(texts)).unwrap();
        assert!(bundle.cases().count() > 0);
        let surprises = bundle.cases().surprises(&bundle);
        assert!(surprises.is_empty(), "{surprises:#?}");
    }

    /// The policy with its example brought into effect: settings that are commented out have no blank after `#`.
    fn with_example(policy: &str) -> String {
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with([' ', '\n']) => setting.to_owned(),
            _ => line.to_owned(),
        };
        policy.split_inclusive('\n').map(uncommented).collect()
    }

    #[test]
    fn the_bundles_that_ship_decide_as_their_cases_say() {
        check(HOSPITAL);
        check(CONSORTIUM);
    }

    #[test]
    fn the_example_in_the_hospitals_bundle_works_once_it_is_brought_into_effect() {
        let [policy, rules, _] = HOSPITAL;
        assert_ne!(with_example(policy), policy);
        check([&with_example(policy), rules, HOSPITAL_EXAMPLE]);
    }

    #[test]
    fn the_bundles_that_ship_have_nothing_to_warn_of() {
        let june_2026 = consilium_protocol::Millis(1_780_272_000_000);
        let [policy, rules, _] = HOSPITAL;
        let example = with_example(policy);
        for texts in [HOSPITAL, [&example, rules, HOSPITAL_EXAMPLE], CONSORTIUM] {
            let found = crate::check("", &files(texts), june_2026);
            let warnings: Vec<String> = found
                .iter()
                .filter(|finding| finding.severity > crate::Severity::Note)
                .map(ToString::to_string)
                .collect();
            assert_eq!(warnings, [""; 0]);
        }
    }

    #[test]
    fn a_case_that_goes_otherwise_is_told_with_both_decisions() {
        let bundle = Bundle::parse("policy.toml", CONSORTIUM[0].as_bytes()).unwrap();
        let wrong = r#"
            [[case]]
            name = "a stranger may train"
            researcher = "mallory"
            project = "cardiology"
            purpose = "HMB"
            dataset = "heart-disease"
            action = "train"
            on = "2026-06-01"
            records = 199
            parameters = 14
            expect = "unknown-dataset"
        "#;
        let cases = Cases::parse("cases.toml", wrong.as_bytes()).unwrap();
        let [surprise] = &cases.surprises(&bundle)[..] else {
            panic!("one surprise expected")
        };
        assert_eq!(
            surprise.to_string(),
            "`a stranger may train`: expected unknown-dataset by rule heart-disease-training, releases update, \
             metrics, decided permit by rule heart-disease-training, releases update, metrics"
        );
    }

    #[test]
    fn cases_that_cannot_be_read_are_an_error() {
        for text in ["case = 1", "", "[[case]]\nname = 1", "\u{0}"] {
            assert!(
                Cases::parse("cases.toml", text.as_bytes()).is_err(),
                "{text:?}"
            );
        }
        assert!(Cases::parse("cases.toml", &[0xff]).is_err());
    }
}
