//! Finding passages by their words: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, §3.4),
//! with scores that mean the same at every site.
//!
//! What BM25 takes from its collection, how rare a word is and how long texts are, comes here from one published table
//! (`background.rs`). So a passage's score depends on the passage and the question alone, the best of several sites
//! merged are the best of all, and no score tells how often a word stands in a site's texts.
//!
//! | file | what it is |
//! |---|---|
//! | `index.rs` | the index, held by tantivy in memory: nothing plain comes to lie on a disk |
//! | `words.rs` | from a text to its words |
//! | `background.rs` | how much each word weighs |
//! | `limits.rs` | what a question may ask for |

mod background;
mod index;
mod limits;
mod words;

pub use index::LexicalIndex;
pub use limits::{QUESTION_BYTES_MAX, QUESTION_WORDS_MAX};

use crate::vector::{K_MAX, RowId};

/// A passage that has words of the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub row: RowId,
    /// Above 0. The same passage and question have the same score at every site with the same [`version`], to the bit.
    pub score: f64,
}

/// Names what decides a score: only answers of one version may be merged by score.
#[must_use]
pub fn version() -> &'static str {
    "words-1"
}

/// The words of a text as the index counts them: small, stemmed, without those that carry no meaning. In order, with
/// repetitions. The table of weights is made of these.
#[must_use]
pub fn words_of(text: &str) -> Vec<String> {
    words::words(text)
}

/// Why the index could not do what it was asked. Never names a word of a text or of a question.
#[derive(Debug, thiserror::Error)]
pub enum LexicalError {
    #[error("{found} hits were asked for; ask for 1 to {K_MAX}")]
    KOutOfRange { found: usize },
    #[error("row {row} lies beyond what an index can hold; the collection must be split")]
    RowOutOfRange { row: u32 },
    #[error("the index of words failed: {0}; build it anew from the passages")]
    Engine(#[from] tantivy::TantivyError),
    #[error("an earlier change of the index of words broke off; build it anew from the passages")]
    BrokeOff,
}
