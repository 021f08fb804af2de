//! An officer's tests: requests by name, with the decision each should get.
//!
//! `cases.toml` lies beside `policy.toml`. A case says who asks what on which day, and what is expected: `permit`,
//! or the code of a refusal, and optionally the rules that should decide and what should be released.

use std::collections::BTreeSet;
use std::fmt;

use consilium_protocol::ids::NameError;
use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose, Role, RunId};
use serde::Deserialize;

use crate::ask::{Action, Ask, Facts, Researcher};
use crate::bundle::{Bundle, Release, RuleId};
use crate::day::Day;
use crate::decide::{Verdict, decide};
use crate::limits::{BUNDLE_BYTES_MAX, CASES_MAX};

/// The cases of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Cases {
    cases: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq)]
struct Case {
    written: CaseDocument,
    ask: Ask,
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
    /// The day on which it is asked.
    on: Day,
    /// Left out: the site has no such data set.
    records: Option<u64>,
    parameters: u64,
    /// `permit`, or a refusal's code.
    expect: String,
    rules: Option<Vec<RuleId>>,
    release: Option<BTreeSet<Release>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CaseAction {
    Admit,
    Train,
    Evaluate,
}

/// Why cases cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CasesError {
    /// Longer than anyone reads.
    #[error("{file} has more than {BUNDLE_BYTES_MAX} bytes or {CASES_MAX} cases; split it")]
    TooLong {
        /// The file, as the reader called it.
        file: String,
    },
    /// Not UTF-8, not TOML, or not of a case's shape.
    #[error("{file} cannot be read: {message}")]
    Syntax {
        /// The file, as the reader called it.
        file: String,
        /// What is wrong, and where.
        message: String,
    },
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
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, CasesError> {
        let file = || file.to_owned();
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(CasesError::TooLong { file: file() });
        }
        let syntax = |message: String| CasesError::Syntax {
            file: file(),
            message,
        };
        let text =
            std::str::from_utf8(text).map_err(|_| syntax("it is not plain text".to_owned()))?;
        let document: Document = toml::from_str(text)
            .map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
        if document.case.len() > CASES_MAX {
            return Err(CasesError::TooLong { file: file() });
        }
        // Decisions do not depend on the run's id.
        let run: RunId = "case"
            .parse()
            .map_err(|error: NameError| syntax(error.to_string()))?;
        let with_ask = |written: CaseDocument| Case {
            ask: written.ask(run.clone()),
            written,
        };
        Ok(Self {
            cases: document.case.into_iter().map(with_ask).collect(),
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
        self.cases
            .iter()
            .filter_map(|case| case.surprise(bundle))
            .collect()
    }
}

impl Case {
    fn surprise(&self, bundle: &Bundle) -> Option<Surprise> {
        let written = &self.written;
        let facts = Facts {
            dataset_records: written.records,
            parameters: written.parameters,
        };
        let verdict = decide(bundle, &self.ask, &facts, written.on.begins_at());
        let (outcome, rules, release) = match verdict {
            Verdict::Permit(permit) => {
                let all = [Release::Update, Release::Metrics];
                let release = all
                    .into_iter()
                    .filter(|release| permit.releases(*release))
                    .collect();
                let rules = permit.rules().iter().map(ToString::to_string).collect();
                ("permit".to_owned(), rules, release)
            }
            Verdict::Refuse(refusal) => (refusal.code.to_string(), refusal.rules, BTreeSet::new()),
        };
        let expected_rules = written
            .rules
            .as_ref()
            .map(|rules| rules.iter().map(ToString::to_string).collect());
        let as_expected = outcome == written.expect
            && expected_rules
                .as_ref()
                .is_none_or(|expected| *expected == rules)
            && written
                .release
                .as_ref()
                .is_none_or(|expected| *expected == release);
        let expected_rules = expected_rules.unwrap_or_else(|| rules.clone());
        let expected_release = written.release.as_ref().unwrap_or(&release);
        (!as_expected).then(|| Surprise {
            case: written.name.clone(),
            expected: told(&written.expect, &expected_rules, expected_release),
            decided: told(&outcome, &rules, &release),
        })
    }
}

impl CaseDocument {
    fn ask(&self, run: RunId) -> Ask {
        let rounds = self.rounds;
        Ask {
            project: self.project.clone(),
            researcher: Researcher {
                name: self.researcher.clone(),
                role: self.role,
            },
            purpose: self.purpose.clone(),
            dataset: self.dataset.clone(),
            run,
            run_digest: Digest::of(&[]),
            action: match self.action {
                CaseAction::Admit => Action::Admit { rounds },
                CaseAction::Train => Action::Train { round: 1, rounds },
                CaseAction::Evaluate => Action::Evaluate,
            },
        }
    }
}

/// A decision in one phrase: `permit by rule cardiology-training, releases update`.
fn told(outcome: &str, rules: &[String], release: &BTreeSet<Release>) -> String {
    let mut told = outcome.to_owned();
    if !rules.is_empty() {
        told += &format!(" by rule {}", rules.join(", "));
    }
    if !release.is_empty() {
        let words: Vec<&str> = release.iter().map(|release| release.as_str()).collect();
        told += &format!(", releases {}", words.join(", "));
    }
    told
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

    const HOSPITAL: (&str, &str) = (
        include_str!("../bundles/hospital/policy.toml"),
        include_str!("../bundles/hospital/cases.toml"),
    );
    const HOSPITAL_EXAMPLE: &str = include_str!("../bundles/hospital/example-cases.toml");
    const CONSORTIUM: (&str, &str) = (
        include_str!("../bundles/consortium/policy.toml"),
        include_str!("../bundles/consortium/cases.toml"),
    );

    fn check(policy: &str, cases: &str) {
        let bundle = Bundle::parse("policy.toml", policy.as_bytes()).unwrap();
        let cases = Cases::parse("cases.toml", cases.as_bytes()).unwrap();
        assert!(cases.count() > 0);
        let surprises = cases.surprises(&bundle);
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
        check(HOSPITAL.0, HOSPITAL.1);
        check(CONSORTIUM.0, CONSORTIUM.1);
    }

    #[test]
    fn the_example_in_the_hospitals_bundle_works_once_it_is_brought_into_effect() {
        assert_ne!(with_example(HOSPITAL.0), HOSPITAL.0);
        check(&with_example(HOSPITAL.0), HOSPITAL_EXAMPLE);
    }

    #[test]
    fn a_case_that_goes_otherwise_is_told_with_both_decisions() {
        let bundle = Bundle::parse("policy.toml", CONSORTIUM.0.as_bytes()).unwrap();
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
