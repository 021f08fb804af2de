//! A site's policy, as a compliance officer writes it: `policy.toml`, parsed once.
//!
//! Two principles keep the file honest. What no permit covers is refused, so a bundle without permits permits
//! nothing. And a permit has no defaults: every field is written, so nothing is allowed by leaving a line out.
//!
//! Permits add up: an ask needs one that covers it whole, and two that cover it release what either releases.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use consilium_protocol::limits::{NAME_BYTES_MAX, RECORDS_MAX, ROUNDS_MAX};
use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose};
use serde::{Deserialize, Serialize};

use crate::ask::Activity;
use crate::day::{Day, DayError};
use crate::limits::{BUNDLE_BYTES_MAX, NAMES_MAX, PARAMETERS_PER_RECORD_MAX, PERMITS_MAX};

mod error;
mod parse;

pub use error::{BundleError, Problem};

/// What stands in a list instead of names to mean everyone or everything.
pub const ANY: &str = "*";

/// The purposes a permit can name: the Data Use Ontology's permissions (DUO:0000042, 6, 7, 11) and clinical care
/// use (DUO:0000043). They are compared to the letter: `GRU` does not include `HMB`, name both.
pub const PURPOSES: [&str; 5] = ["GRU", "HMB", "DS", "POA", "CC"];

/// A site's policy: parsed, every number within its limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    name: String,
    version: u32,
    rules: Vec<Rule>,
    digest: Digest,
}

/// One `[[permit]]` as written. What it gives out when it covers an ask is a [`crate::Permit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Named by every journal entry and refusal that this rule decides.
    pub id: RuleId,
    /// Whose runs, by the name in the certificate.
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
    /// Fewest training records.
    pub minimum_records: u64,
    /// Most model parameters for each training record; DataSHIELD's `nfilter.glm` is 0.33.
    pub maximum_parameters_per_record: f64,
    /// Most rounds of a run.
    pub maximum_rounds: u32,
    /// What may leave. The number of training records and the data set's version leave with every admission.
    pub release: BTreeSet<Release>,
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
    /// The trained change of the model.
    Update,
    /// The training loss; loss, accuracy and AUC on rows held out of training.
    Metrics,
}

impl Bundle {
    /// Reads a policy as it came from a disk. `file` is what its errors call it.
    ///
    /// # Errors
    /// What is wrong, where, and what to do about it: for the officer's eyes, see [`BundleError::place`].
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, BundleError> {
        parse::bundle(file, text)
    }

    /// The bundle's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bundle's version, as its officer counts.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The rules in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// SHA-256 of the file's text.
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
    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Metrics => "metrics",
        }
    }
}

#[cfg(test)]
mod tests;
