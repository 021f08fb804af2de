//! A query: what a researcher asks of many patients at once, in one canonical text that every site sees, hashes and
//! decides about.
//!
//! | file | subject |
//! |---|---|
//! | [`filter`] | conditions on a record, as a value |
//! | [`parse`] | the same from what a person types |
//! | [`statistic`] | what is counted, and the cells of its answer |
//! | [`budget`] | the other question: what a project has left |
//! | [`canonical`] | one text for one question |
//! | [`limits`] | how much of everything |
//!
//! There is no nonce: the same question is the same text, and a site answers it once.

pub mod budget;
pub mod canonical;
pub mod filter;
pub mod limits;
pub mod parse;
pub mod statistic;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use budget::BudgetQuestion;
pub use canonical::{Canonical, Document};
pub use filter::{Comparison, Filter, Literal, Membership, Operator};
pub use parse::FilterError;
pub use statistic::{Bins, Cells, Statistic};

use crate::ids::{DatasetName, ProjectName, Purpose, SiteName};
use crate::limits::PARTICIPANTS_MAX;
use limits::{
    EPSILON_MAX, EPSILON_MIN, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, IN_VALUES_MAX, QUERY_BYTES_MAX,
    RHO_MAX, RHO_MIN, SKETCH_SITES_MAX, SKETCH_SITES_MIN, TEXT_BYTES_MAX,
};

/// A query, parsed and checked, in its one canonical form.
pub type Query = Canonical<QueryDocument>;

/// A query as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QueryDocument {
    pub project: ProjectName,
    pub purpose: Purpose,
    pub dataset: DatasetName,
    /// Who is asked; nobody named means every site of the consortium.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sites: BTreeSet<SiteName>,
    pub statistic: Statistic,
    /// Which records; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    pub accuracy: Accuracy,
}

/// How exact an answer the researcher would have; the site's policy decides whether it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Accuracy {
    /// Without noise: rounded, and small cells suppressed.
    Exact,
    /// With discrete Laplace noise that costs each patient this ε.
    Epsilon(f64),
    /// With discrete Gaussian noise that costs each patient this ρ of zCDP.
    Rho(f64),
}

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("a query may be at most {QUERY_BYTES_MAX} bytes long, this one has {bytes}")]
    TooLong { bytes: usize },
    #[error("the query is not UTF-8 text")]
    NotText,
    #[error("the query cannot be read: {message}")]
    Syntax { message: String },
    #[error("the query is not in its canonical form; let `consilium stats` write it")]
    NotCanonical,
    #[error("conditions may stand inside each other {FILTER_DEPTH_MAX} deep")]
    TooDeep,
    #[error("a filter may have at most {FILTER_TERMS_MAX} conditions and joints")]
    TooManyTerms,
    #[error("`in` takes at most {IN_VALUES_MAX} values")]
    TooManyValues,
    #[error("a text constant may have at most {TEXT_BYTES_MAX} bytes")]
    TextTooLong,
    #[error("a query may name at most {PARTICIPANTS_MAX} sites")]
    TooManySites,
    #[error("`{field}`: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
}

impl Document for QueryDocument {
    const BYTES_MAX: usize = QUERY_BYTES_MAX;

    fn canonical(mut self) -> Self {
        self.filter = self.filter.map(Filter::canonical);
        self.statistic = self.statistic.canonical();
        self
    }

    fn check(&self) -> Result<(), QueryError> {
        if self.sites.len() > PARTICIPANTS_MAX {
            return Err(QueryError::TooManySites);
        }
        self.statistic.check()?;
        self.accuracy.check()?;
        if matches!(self.statistic, Statistic::Distinct { .. }) {
            self.check_distinct()?;
        }
        match &self.filter {
            Some(filter) => filter.check(),
            None => Ok(()),
        }
    }
}

impl QueryDocument {
    /// Every site's masks are made with every other one's, so who takes part is part of the question; and what hides a
    /// patient's cell are coins, which have an ε.
    fn check_distinct(&self) -> Result<(), QueryError> {
        if !(SKETCH_SITES_MIN..=SKETCH_SITES_MAX).contains(&self.sites.len()) {
            return Err(QueryError::invalid(
                "sites",
                format!(
                    "distinct patients are counted over {SKETCH_SITES_MIN} to {SKETCH_SITES_MAX} sites; name them"
                ),
            ));
        }
        match self.accuracy {
            Accuracy::Epsilon(_) => Ok(()),
            _ => Err(QueryError::invalid(
                "accuracy",
                "distinct patients are counted with an epsilon",
            )),
        }
    }
}

impl Accuracy {
    /// Whether noise is asked for.
    #[must_use]
    pub fn is_noisy(self) -> bool {
        !matches!(self, Self::Exact)
    }

    pub(crate) fn check(self) -> Result<(), QueryError> {
        let (name, value, minimum, maximum) = match self {
            Self::Exact => return Ok(()),
            Self::Epsilon(epsilon) => ("epsilon", epsilon, EPSILON_MIN, EPSILON_MAX),
            Self::Rho(rho) => ("rho", rho, RHO_MIN, RHO_MAX),
        };
        if (minimum..=maximum).contains(&value) {
            return Ok(());
        }
        Err(QueryError::invalid(
            "accuracy",
            format!("{name} must lie between {minimum} and {maximum}"),
        ))
    }
}

impl QueryError {
    fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests;
