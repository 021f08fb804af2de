//! A site's policy, as compliance officers write it: permits and terms in `policy.toml`, rules in `rules.cedar`,
//! what is expected of both in `cases.toml`; parsed once.
//!
//! Two principles keep it honest. What no permit covers is refused, so a bundle without permits permits nothing. And
//! nothing is allowed by leaving a line out: what a permit lets do, with what and until when is always written, what
//! costs something needs budgets, and an omitted term is the careful one.
//!
//! Permits add up: an ask needs one that covers it whole, and two that cover it release what either releases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use consilium_privacy::Budget;
use consilium_protocol::limits::{NAME_BYTES_MAX, RECORDS_MAX, ROUNDS_MAX};
use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose};
use serde::{Deserialize, Serialize};

use crate::ask::Activity;
use crate::cases::Cases;
use crate::day::{Day, DayError};
use crate::duo::DuoCode;
use crate::files::{BundleFiles, CASES_FILE, POLICY_FILE, RULES_FILE, SIGNATURES_FILE};
use crate::limits::{NAMES_MAX, PARAMETERS_PER_RECORD_MAX, PERMITS_MAX};
use crate::rules::Rules;
use crate::signed::Signatures;
use crate::terms::{Approval, Redaction, Repeats};

mod dataset;
mod error;
mod parse;
mod source;

pub(crate) use error::text_of;
pub use error::{BundleError, Problem};

/// What stands in a list instead of names to mean everyone or everything.
pub const ANY: &str = "*";

/// The purposes a permit can name: the Data Use Ontology's permissions (DUO:0000042, 6, 7, 11) and clinical care
/// use (DUO:0000043). They are compared to the letter: `GRU` does not include `HMB`, name both.
pub const PURPOSES: [&str; 5] = ["GRU", "HMB", "DS", "POA", "CC"];

/// A site's policy: parsed, every number within its limit, every rule validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    name: String,
    version: u32,
    rules: Vec<Rule>,
    datasets: BTreeMap<DatasetName, Dataset>,
    cedar: Rules,
    cases: Cases,
    signatures: Signatures,
    manifest: String,
    digest: Digest,
}

/// One `[[permit]]` as written. What it gives out when it covers an ask is a [`crate::Permit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Named by every journal entry and refusal that this rule decides.
    pub id: RuleId,
    /// Whose runs and questions, by the name in the certificate.
    pub researchers: Named<MemberName>,
    /// For which projects.
    pub projects: Named<ProjectName>,
    /// For which purposes; "any" cannot be written.
    pub purposes: BTreeSet<Purpose>,
    /// What may be done.
    pub actions: BTreeSet<Activity>,
    /// With which data set.
    pub dataset: Named<DatasetName>,
    /// The last day, UTC.
    pub until: Day,
    /// Bounds of training; there where `train` is among the actions.
    pub training: Option<TrainingBounds>,
    /// What may leave. The number of training records and the data set's version leave with every admission.
    pub release: BTreeSet<Release>,
    /// What a project may spend on the data set under this permit; there where something that costs may leave.
    pub budget: Option<Budget>,
    /// Whether an officer looks first.
    pub approval: Approval,
    /// Consent codes whose conditions the project has agreed to, on paper that the officer holds.
    pub agreed: BTreeSet<DuoCode>,
    /// Where it stands in the file, from 1.
    pub line: usize,
}

/// How far a permit lets train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingBounds {
    /// Fewest training records.
    pub minimum_records: u64,
    /// Most model parameters for each training record; DataSHIELD's `nfilter.glm` is 0.33.
    pub maximum_parameters_per_record: f64,
    /// Most rounds of a run.
    pub maximum_rounds: u32,
}

/// One `[dataset.NAME]` as written: terms that hold for every permit.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Consent codes.
    pub duo: BTreeSet<DuoCode>,
    /// Fewest patients behind any number that leaves, one of [`crate::terms::FLOORS`].
    pub floor_patients: u32,
    /// Exact counts are rounded to multiples of this, one of [`crate::terms::ROUNDINGS`].
    pub rounding: u32,
    /// What becomes of the same question asked again.
    pub repeats: Repeats,
    /// What is taken out of text.
    pub redaction: Redaction,
    /// The columns by which questions and searches may filter; all of them where none is named.
    pub filter_columns: Option<BTreeSet<String>>,
    /// Most conditions that the filter of a search of records may join.
    pub filter_conditions: u16,
    /// What all projects together may spend.
    pub budget: Option<Budget>,
    /// What may be spent on each patient.
    pub budget_patient: Option<Budget>,
    /// The last day on which anything may be done with it, UTC.
    pub until: Option<Day>,
    /// Where it stands in the file, from 1.
    pub line: usize,
}

/// The name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleId(String);

/// Some by name, or all because `"*"` says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<T: Ord> {
    /// `"*"`.
    Any,
    /// These and no other.
    These(BTreeSet<T>),
}

/// What may leave a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// The trained change of the model, exact.
    Update,
    /// The training loss; loss, accuracy and AUC on rows held out of training.
    Metrics,
    /// The trained change of the model with noise, at a cost.
    NoisyUpdate,
    /// Answers to statistical questions, exact above the floor, with complementary suppression.
    ExactStatistics,
    /// Answers to statistical questions with noise, at a cost.
    NoisyStatistics,
    /// A masked sketch from which distinct patients over several sites are counted.
    DistinctSketch,
    /// Of a search: a noisy count.
    #[serde(rename = "search-l0")]
    SearchL0,
    /// Of a search: a noisy vote over a public vocabulary.
    #[serde(rename = "search-l1")]
    SearchL1,
    /// Of a search: opaque handles and coarse scores.
    #[serde(rename = "search-l2")]
    SearchL2,
    /// Of a search: redacted snippets.
    #[serde(rename = "search-l3")]
    SearchL3,
    /// Of a search: the text, for public collections.
    #[serde(rename = "search-l4")]
    SearchL4,
}

impl Bundle {
    /// Reads a bundle as it came from a disk. `place` is what its errors call the folder; empty for none.
    ///
    /// # Errors
    /// What is wrong, in which file, where, and what to do about it: for the officer's eyes, see
    /// [`BundleError::place`].
    pub fn read(place: &str, files: &BundleFiles) -> Result<Self, BundleError> {
        let called = |file: &str| match place {
            "" => file.to_owned(),
            place => format!("{}/{file}", place.trim_end_matches('/')),
        };
        let mut bundle = parse::policy(&called(POLICY_FILE), &files.policy)?;
        bundle.cedar = Rules::read(&called(RULES_FILE), &files.rules, &bundle.datasets)?;
        let twice = |id: &RuleId| bundle.rules.iter().any(|rule| rule.id == *id);
        if let Some(rule) = bundle.cedar.written().iter().find(|rule| twice(&rule.id)) {
            return Err(BundleError {
                file: called(RULES_FILE),
                line: Some(rule.line),
                field: None,
                problem: Problem::IdTwice {
                    id: rule.id.to_string(),
                },
            });
        }
        if !files.cases.is_empty() {
            bundle.cases = Cases::parse(&called(CASES_FILE), &files.cases)?;
        }
        bundle.signatures = Signatures::parse(&called(SIGNATURES_FILE), &files.signatures)?;
        bundle.manifest = files.manifest();
        bundle.digest = files.digest();
        Ok(bundle)
    }

    /// Reads a `policy.toml` that stands alone. `file` is what its errors call it.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, BundleError> {
        let files = BundleFiles {
            policy: text.to_vec(),
            ..BundleFiles::default()
        };
        let mut bundle = parse::policy(file, text)?;
        bundle.cedar = Rules::read(RULES_FILE, &[], &bundle.datasets)?;
        bundle.manifest = files.manifest();
        bundle.digest = files.digest();
        Ok(bundle)
    }

    /// The bundle's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bundle's version, as its officers count.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The permits in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The data sets that have terms.
    #[must_use]
    pub fn datasets(&self) -> &BTreeMap<DatasetName, Dataset> {
        &self.datasets
    }

    /// The rules beside the permits.
    #[must_use]
    pub fn cedar(&self) -> &Rules {
        &self.cedar
    }

    /// What is expected of the bundle.
    #[must_use]
    pub fn cases(&self) -> &Cases {
        &self.cases
    }

    /// Who says that they signed it. [`Bundle::verify`] tells whether they did.
    #[must_use]
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// The text that officers sign: see [`BundleFiles::manifest`].
    #[must_use]
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// SHA-256 of the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl<T: Ord> Named<T> {
    /// Whether `name` is meant.
    #[must_use]
    pub fn covers(&self, name: &T) -> bool {
        match self {
            Self::Any => true,
            Self::These(names) => names.contains(name),
        }
    }
}

impl RuleId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text does not name a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-`, `_` and `.`")]
pub struct RuleIdError;

impl FromStr for RuleId {
    type Err = RuleIdError;

    fn from_str(text: &str) -> Result<Self, RuleIdError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RuleIdError)
        }
    }
}

impl TryFrom<String> for RuleId {
    type Error = RuleIdError;

    fn try_from(text: String) -> Result<Self, RuleIdError> {
        text.parse()
    }
}

impl From<RuleId> for String {
    fn from(id: RuleId) -> Self {
        id.0
    }
}

impl Release {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Update,
        Self::Metrics,
        Self::NoisyUpdate,
        Self::ExactStatistics,
        Self::NoisyStatistics,
        Self::DistinctSketch,
        Self::SearchL0,
        Self::SearchL1,
        Self::SearchL2,
        Self::SearchL3,
        Self::SearchL4,
    ];

    /// What a search of this level lets out.
    #[must_use]
    pub fn search(level: u8) -> Option<Self> {
        Some(match level {
            0 => Self::SearchL0,
            1 => Self::SearchL1,
            2 => Self::SearchL2,
            3 => Self::SearchL3,
            4 => Self::SearchL4,
            _ => return None,
        })
    }

    /// The action that it belongs to.
    #[must_use]
    pub fn activity(self) -> Activity {
        match self {
            Self::Update | Self::Metrics | Self::NoisyUpdate => Activity::Train,
            Self::ExactStatistics | Self::NoisyStatistics | Self::DistinctSketch => {
                Activity::Statistics
            }
            Self::SearchL0 | Self::SearchL1 | Self::SearchL2 | Self::SearchL3 | Self::SearchL4 => {
                Activity::Search
            }
        }
    }

    /// Whether it has noise, and so a cost.
    #[must_use]
    pub fn costs(self) -> bool {
        matches!(
            self,
            Self::NoisyUpdate
                | Self::NoisyStatistics
                | Self::DistinctSketch
                | Self::SearchL0
                | Self::SearchL1
        )
    }

    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Metrics => "metrics",
            Self::NoisyUpdate => "noisy-update",
            Self::ExactStatistics => "exact-statistics",
            Self::NoisyStatistics => "noisy-statistics",
            Self::DistinctSketch => "distinct-sketch",
            Self::SearchL0 => "search-l0",
            Self::SearchL1 => "search-l1",
            Self::SearchL2 => "search-l2",
            Self::SearchL3 => "search-l3",
            Self::SearchL4 => "search-l4",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
