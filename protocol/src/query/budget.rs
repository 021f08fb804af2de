//! What a researcher asks about money rather than patients: what a project has left of its budgets.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::limits::QUERY_BYTES_MAX;
use super::{QueryError, canonical};
use crate::ids::{ProjectName, SiteName};
use crate::limits::PARTICIPANTS_MAX;

/// The question, as it is written and signed: canonical JSON like a query's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BudgetQuestion {
    pub project: ProjectName,
    /// Who is asked; nobody named means every site of the consortium.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sites: BTreeSet<SiteName>,
}

impl BudgetQuestion {
    /// The canonical text.
    ///
    /// # Errors
    /// It names too many sites.
    pub fn text(&self) -> Result<String, QueryError> {
        if self.sites.len() > PARTICIPANTS_MAX {
            return Err(QueryError::TooManySites);
        }
        canonical::text(self)
    }

    /// Reads a question as it came from the network.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, QueryError> {
        let json = canonical::json(text, QUERY_BYTES_MAX)?;
        let question: Self = canonical::read(json)?;
        match question.text()? == json {
            true => Ok(question),
            false => Err(QueryError::NotCanonical),
        }
    }
}
