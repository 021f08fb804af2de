//! The numbers under which something may leave: floors, budgets, rounding, repeats, approval.

use std::collections::BTreeSet;

use consilium_privacy::Budget;
use consilium_protocol::MemberName;
use serde::{Deserialize, Serialize};

/// The floors that a bundle can name, in patients. A closed list, so that the journal can say which of them a cohort
/// reached without saying how large it is. 5, 10, 11 and 20 are those in use at health authorities.
pub const FLOORS: [u32; 12] = [1, 3, 5, 10, 11, 15, 20, 30, 50, 100, 200, 1000];

/// The steps to which counts can be rounded.
pub const ROUNDINGS: [u32; 5] = [1, 5, 10, 20, 100];

/// Under which terms a permit lets something leave. Where several rules permit an ask, the strictest of each term.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Fewest patients behind any number that leaves, one of [`FLOORS`].
    pub floor_patients: u32,
    /// Exact counts are rounded to multiples of this; 1 leaves them.
    pub rounding: u32,
    /// What one project may spend on the data set.
    pub budget_project: Option<Budget>,
    /// What all projects together may spend on it.
    pub budget_dataset: Option<Budget>,
    /// What may be spent on each patient, whoever asks.
    pub budget_patient: Option<Budget>,
    /// What becomes of the same question asked again.
    pub repeats: Repeats,
    /// Whether a person looks first.
    pub approval: Approval,
    /// What is taken out of text before it leaves.
    pub redaction: Redaction,
}

/// What becomes of the same question asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeats {
    /// It gets the answer that was kept, at no cost.
    Same,
    /// It is refused.
    Refused,
}

/// Whether a person looks before something leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nobody does: the permit is enough.
    None,
    /// One of these officers approves the run or the question before any work.
    Before {
        /// Who may.
        officers: BTreeSet<MemberName>,
    },
    /// One of these officers releases each result after the work.
    Outbox {
        /// Who may.
        officers: BTreeSet<MemberName>,
    },
}

/// What is taken out of text before it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redaction {
    /// Nothing: for collections that are public anyway.
    None,
    /// The 18 classes of the Safe Harbor method (45 CFR 164.514(b)(2)).
    SafeHarbor,
}

/// The greatest of [`FLOORS`] that so many patients reach; 0 below the least.
#[must_use]
pub fn step_reached(patients: u64) -> u64 {
    let reached = FLOORS
        .iter()
        .map(|floor| u64::from(*floor))
        .filter(|floor| *floor <= patients);
    reached.max().unwrap_or(0)
}

impl Approval {
    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Before { .. } => "before",
            Self::Outbox { .. } => "outbox",
        }
    }
}

impl Repeats {
    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Refused => "refused",
        }
    }
}

impl Redaction {
    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SafeHarbor => "safe-harbor",
        }
    }
}
