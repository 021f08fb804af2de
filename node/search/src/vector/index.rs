//! What every vector index does.

use super::error::VectorError;
use super::limits::{BEAM_MAX, K_MAX};
use super::rowset::{RowId, RowSet};
use super::unit::UnitVector;

/// One question to an index.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub vector: &'a UnitVector,
    /// Hits wanted, 1 to [`K_MAX`].
    pub k: usize,
    /// The only rows that may be returned; `None` for all. Consent, purpose and the caller's filter meet here, before
    /// the search and not after it.
    pub allowed: Option<&'a RowSet>,
    pub effort: Effort,
}

/// How hard to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Candidates that a walk keeps (HNSW's ef). More find more and take longer; no less than `k` are kept.
    Breadth(usize),
    /// Every allowed row is looked at.
    Exact,
}

impl Default for Effort {
    /// Found 999 of 1,000 true neighbours or more among made vectors, see docs/decisions/0013-vector-index.md.
    fn default() -> Self {
        Self::Breadth(64)
    }
}

/// A row that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub row: RowId,
    /// The cosine, from the exact vectors.
    pub similarity: f32,
}

/// How near a row must be, for who wants all that are and not the best few.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    pub vector: &'a UnitVector,
    /// The only rows that count; `None` for all.
    pub allowed: Option<&'a RowSet>,
    /// The least similarity; what is exactly as similar is in. Minus one or less for every row.
    pub least: f32,
}

/// Finds the rows whose vectors point most nearly the query's way.
pub trait VectorIndex: Send + Sync {
    /// Coordinates of each vector.
    fn dimension(&self) -> usize;

    /// Rows that a search can find.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The best `k` hits, best first, equal ones by row; fewer only if fewer rows are allowed.
    ///
    /// # Errors
    /// A vector of another dimension; a `k` of zero or of more than [`K_MAX`].
    fn nearest(&self, question: &Question<'_>) -> Result<Vec<Hit>, VectorError>;

    /// Calls `visit` once with every allowed row that is near enough, in no order. Exact: each row is looked at, and no
    /// graph has a say in it. For counts and votes that are to be released with noise.
    ///
    /// # Errors
    /// A vector of another dimension, or a disk that cannot be read: what was visited before is then incomplete.
    fn scan(&self, reach: &Reach<'_>, visit: &mut dyn FnMut(Hit)) -> Result<(), VectorError>;

    /// The rows that [`VectorIndex::scan`] visits. Quicker, for what only counts them.
    ///
    /// # Errors
    /// The same.
    fn reaching(&self, reach: &Reach<'_>) -> Result<RowSet, VectorError>;
}

pub(super) fn check_dimension(vector: &UnitVector, expected: usize) -> Result<(), VectorError> {
    match vector.dimension() {
        found if found == expected => Ok(()),
        found => Err(VectorError::WrongDimension { expected, found }),
    }
}

/// What must hold of a question before it is looked into; gives the effort within its limit.
pub(super) fn check(question: &Question<'_>, dimension: usize) -> Result<Effort, VectorError> {
    check_dimension(question.vector, dimension)?;
    if question.k == 0 || question.k > K_MAX {
        return Err(VectorError::KOutOfRange { found: question.k });
    }
    Ok(match question.effort {
        Effort::Breadth(breadth) if breadth.max(question.k) <= BEAM_MAX => question.effort,
        Effort::Breadth(_) | Effort::Exact => Effort::Exact,
    })
}

/// Best first; of equals, the row that was added first.
pub(super) fn in_order(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    b.similarity
        .total_cmp(&a.similarity)
        .then(a.row.cmp(&b.row))
}
