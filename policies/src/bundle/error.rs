//! What is wrong with a policy, in words for the person who wrote it.

use std::fmt;

use consilium_protocol::ids::NameError;
use consilium_protocol::query::limits::COLUMN_BYTES_MAX;

use super::{ANY, PURPOSES, RuleIdError};
use crate::day::DayError;
use crate::duo::DuoError;
use crate::limits::{BUNDLE_BYTES_MAX, NAMES_MAX, PERMITS_MAX};

/// What is wrong with a policy, where, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleError {
    /// The file, as the reader called it.
    pub file: String,
    /// The line, from 1, where one can be named.
    pub line: Option<usize>,
    /// The field, where one can be named.
    pub field: Option<String>,
    /// What is wrong there.
    pub problem: Problem,
}

impl BundleError {
    /// Something is wrong with a file as a whole.
    pub(crate) fn of_file(file: &str, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            field: None,
            problem,
        }
    }
}

/// The text of any file of a bundle, within its limit. `file` is what errors call it.
pub(crate) fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, BundleError> {
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(BundleError::of_file(file, Problem::TooLong));
    }
    std::str::from_utf8(bytes).map_err(|_| BundleError::of_file(file, Problem::NotText))
}

/// What is wrong at one place of a policy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// No column is called so.
    #[error("a column's name has 1 to {COLUMN_BYTES_MAX} bytes")]
    ColumnName,
    /// Longer than anyone reads.
    #[error(
        "the file has more than {BUNDLE_BYTES_MAX} bytes; split the policy, or ask whether this is the right file"
    )]
    TooLong,
    /// Not UTF-8.
    #[error("this is not plain text; save the file as UTF-8 text")]
    NotText,
    /// Not TOML, or not of a policy's shape.
    #[error("{message}")]
    Syntax {
        /// What the reader of TOML says, in plain words.
        message: String,
    },
    /// Not a name.
    #[error("`{text}`: {cause}")]
    Name {
        /// What is written.
        text: String,
        /// Why it is none.
        cause: NameError,
    },
    /// Not an id.
    #[error("`{text}`: {cause}")]
    Id {
        /// What is written.
        text: String,
        /// Why it is none.
        cause: RuleIdError,
    },
    /// Two permits could not be told apart in the journal.
    #[error("a permit above has the id `{id}` too; give each permit its own")]
    IdTwice {
        /// The id.
        id: String,
    },
    /// An empty list would make the permit say nothing.
    #[error("the list is empty; name at least one, or remove the permit")]
    Empty,
    /// Too many names in one list.
    #[error("the list has more than {NAMES_MAX} names; split the permit")]
    TooManyNames,
    /// Too many permits.
    #[error("there are more than {PERMITS_MAX} permits; join those that differ in names only")]
    TooManyPermits,
    /// `"*"` beside names: one of the two was not meant.
    #[error("`{ANY}` stands for all and so must stand alone; remove it, or the names beside it")]
    AnyAmongNames,
    /// Purposes are never "any".
    #[error("a purpose must be named; list those that are meant, out of {}", PURPOSES.join(", "))]
    AnyPurpose,
    /// A line that this permit or data set needs.
    #[error("missing field `{field}`: {why}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What wants it, and what to write.
        why: String,
    },
    /// A line that says nothing here.
    #[error("`{field}` means nothing here: {why}")]
    Surplus {
        /// The field.
        field: &'static str,
        /// What it belongs to.
        why: &'static str,
    },
    /// Text of patients' records goes to projects that somebody looked at.
    #[error(
        "`search-l3` lets parts of patients' texts leave, and `projects = [\"{ANY}\"]` lets anyone have them; name the projects that were approved"
    )]
    SnippetsForAnyone,
    /// Something may leave by no action of the permit.
    #[error(
        "`{release}` leaves by `{action}`, which is not among the permit's actions; add it, or remove the word"
    )]
    ReleaseOfNoAction {
        /// What may leave.
        release: &'static str,
        /// By what.
        action: &'static str,
    },
    /// Not a budget.
    #[error("{cause}")]
    Budget {
        /// Why it is none.
        cause: String,
    },
    /// Not a consent code.
    #[error("{0}")]
    Duo(DuoError),
    /// Codes that allow no purpose.
    #[error("no code says for what the data may be used; add one of NRES, GRU, HMB, DS, POA, CC")]
    NoPermission,
    /// A number out of a closed list.
    #[error("{value} is not one of the steps; write one of {allowed}")]
    NotAStep {
        /// What is written.
        value: i64,
        /// What could be.
        allowed: String,
    },
    /// Two ways of approval for one data set.
    #[error(
        "this permit wants `{this}` and the permit `{other}` wants `{that}`, on the same data set; choose one, since a request may fall under both"
    )]
    MixedApprovals {
        /// This permit's.
        this: &'static str,
        /// The other permit.
        other: String,
        /// The other's.
        that: &'static str,
    },
    /// Not a purpose that a permit can name.
    #[error("`{text}` is not a purpose; it is one of {}", PURPOSES.join(", "))]
    NotAPurpose {
        /// What is written.
        text: String,
    },
    /// A word that means nothing here.
    #[error("`{text}` means nothing here; write one of {known}")]
    UnknownWord {
        /// What is written.
        text: String,
        /// What could be.
        known: &'static str,
    },
    /// Not a day.
    #[error("`{text}`: {DayError}")]
    NotADay {
        /// What is written.
        text: String,
    },
    /// A number that cannot be meant.
    #[error("{value} is out of range; write a number {allowed}")]
    OutOfRange {
        /// What is written.
        value: String,
        /// What could be: from this to that.
        allowed: String,
    },
}

impl BundleError {
    /// Where, without a word of what is written there: this much may be told to strangers.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.line, &self.field) {
            (Some(line), Some(field)) => format!("line {line}, `{field}`"),
            (Some(line), None) => format!("line {line}"),
            (None, Some(field)) => format!("`{field}`"),
            (None, None) => "the whole file".to_owned(),
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.file, self.place(), self.problem)
    }
}

impl std::error::Error for BundleError {}
