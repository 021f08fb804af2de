//! Finding passages by their words: BM25, with scores that mean the same at every site.

use crate::vector::RowId;

/// A passage that has words of the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub row: RowId,
    /// Above 0. The same passage and question have the same score at every site, to the bit.
    pub score: f64,
}
