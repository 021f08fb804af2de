//! A search: one text that is compared with every passage of a collection, in one canonical document that every site
//! sees, hashes and decides about.
//!
//! | file | subject |
//! |---|---|
//! | `search` | the document, and its limits |
//! | [`merge`] | what several sites found, in one order |
//!
//! How much of a hit is told is part of the question ([`Wanted`]), and each level needs its own word in a site's
//! policy. As with a query there is no nonce: the same search is the same text, and what had a cost is answered once.

pub mod merge;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{DatasetName, ProjectName, Purpose, SiteName};
use crate::limits::PARTICIPANTS_MAX;
use crate::query::limits::{CELLS_MAX, COLUMN_BYTES_MAX, TEXT_BYTES_MAX};
use crate::query::{Accuracy, Canonical, Document, Filter, QueryError};

/// What is searched for. A passage has some 2 KB, and nothing is compared with more than one.
pub const SEARCH_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Words of it: the longest encoders read 512 pieces.
pub const SEARCH_WORDS_MAX: usize = 512;

/// The canonical document: its text and a filter, or as many candidates as there may be.
pub const SEARCH_BYTES_MAX: usize = 64 * 1024;

/// Hits that one search may want. Nobody reads more, and each is a disclosure.
pub const HITS_MAX: usize = 100;

/// How deep each site looks in each of its two orders for one that joins them. No hit that is ranked later in both
/// could come among the first [`HITS_MAX`].
pub const RANK_DEPTH: usize = 100;

/// A search, parsed and checked, in its one canonical form.
pub type Search = Canonical<SearchDocument>;

/// A search as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SearchDocument {
    pub project: ProjectName,
    pub purpose: Purpose,
    /// Collections share the names of data sets: a policy's terms are written for either.
    pub collection: DatasetName,
    /// Who is asked; nobody named means every site that holds the collection.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sites: BTreeSet<SiteName>,
    /// What is searched for.
    pub text: String,
    /// Which documents; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    pub wanted: Wanted,
}

/// How much is told, from the least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Wanted {
    /// Level 0: how many patients have a passage at least so near, with noise.
    Count {
        /// A cosine in hundredths.
        nearness: u8,
        accuracy: Accuracy,
    },
    /// Level 1: of those patients' nearest passages, how many bear each of these words in a column, with noise. A
    /// patient has one vote. The words are the asker's, so which of them there are tells nothing.
    Votes {
        nearness: u8,
        column: String,
        candidates: Vec<String>,
        accuracy: Accuracy,
    },
    /// Level 2: that there are such passages, each by a name that means nothing outside, and about how near.
    Handles { hits: u16, ranking: Ranking },
    /// Level 3: and a short redacted part of each.
    Snippets { hits: u16, ranking: Ranking },
    /// Level 4: whole passages with their exact scores, of public collections.
    Passages { hits: u16, ranking: Ranking },
}

/// What makes a passage come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranking {
    /// The cosine of its vector with the text's.
    Vectors,
    /// The words that it has in common with the text (BM25).
    Words,
    /// Both, joined by reciprocal rank.
    #[default]
    Both,
}

impl Document for SearchDocument {
    const BYTES_MAX: usize = SEARCH_BYTES_MAX;

    fn canonical(mut self) -> Self {
        self.text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.filter = self.filter.map(Filter::canonical);
        if let Wanted::Votes { candidates, .. } = &mut self.wanted {
            candidates.sort();
            candidates.dedup();
        }
        self
    }

    fn check(&self) -> Result<(), QueryError> {
        if self.sites.len() > PARTICIPANTS_MAX {
            return Err(QueryError::TooManySites);
        }
        let words = self.text.split_whitespace().count();
        if words == 0 {
            return Err(invalid("text", "say what to search for"));
        }
        if self.text.len() > SEARCH_TEXT_BYTES_MAX || words > SEARCH_WORDS_MAX {
            let limit = format!(
                "may have at most {SEARCH_WORDS_MAX} words and {SEARCH_TEXT_BYTES_MAX} bytes"
            );
            return Err(invalid("text", limit));
        }
        if self
            .text
            .contains(|c: char| c.is_control() && !c.is_whitespace())
        {
            return Err(invalid("text", "has control characters"));
        }
        if let Some(filter) = &self.filter {
            filter.check()?;
        }
        self.wanted.check()
    }
}

impl Wanted {
    /// The level, from 0 to 4.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Count { .. } => 0,
            Self::Votes { .. } => 1,
            Self::Handles { .. } => 2,
            Self::Snippets { .. } => 3,
            Self::Passages { .. } => 4,
        }
    }

    /// The name of the level, as logs and journals have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count { .. } => "search-l0",
            Self::Votes { .. } => "search-l1",
            Self::Handles { .. } => "search-l2",
            Self::Snippets { .. } => "search-l3",
            Self::Passages { .. } => "search-l4",
        }
    }

    /// Hits wanted, and in which order; `None` where hits are counted.
    #[must_use]
    pub fn hits(&self) -> Option<(usize, Ranking)> {
        match *self {
            Self::Count { .. } | Self::Votes { .. } => None,
            Self::Handles { hits, ranking }
            | Self::Snippets { hits, ranking }
            | Self::Passages { hits, ranking } => Some((usize::from(hits), ranking)),
        }
    }

    fn check(&self) -> Result<(), QueryError> {
        if let Some((hits, _)) = self.hits() {
            return match (1..=HITS_MAX).contains(&hits) {
                true => Ok(()),
                false => Err(invalid("hits", format!("from 1 to {HITS_MAX}"))),
            };
        }
        let (Self::Count { nearness, accuracy }
        | Self::Votes {
            nearness, accuracy, ..
        }) = self
        else {
            return Ok(());
        };
        if *nearness > 100 {
            return Err(invalid("nearness", "a cosine in hundredths is at most 100"));
        }
        accuracy.check()?;
        if !accuracy.is_noisy() {
            return Err(invalid(
                "accuracy",
                "hits are counted with noise only; give an epsilon or a rho",
            ));
        }
        let Self::Votes {
            column, candidates, ..
        } = self
        else {
            return Ok(());
        };
        if column.is_empty() || column.len() > COLUMN_BYTES_MAX {
            return Err(invalid("column", "name a column"));
        }
        if candidates.is_empty() || candidates.len() > CELLS_MAX {
            return Err(invalid(
                "candidates",
                format!("name 1 to {CELLS_MAX} of them"),
            ));
        }
        let is_word = |word: &String| !word.is_empty() && word.len() <= TEXT_BYTES_MAX;
        match candidates.iter().all(is_word) {
            true => Ok(()),
            false => Err(invalid(
                "candidates",
                format!("each has 1 to {TEXT_BYTES_MAX} bytes"),
            )),
        }
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> QueryError {
    QueryError::Invalid {
        field,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests;
