//! What can go wrong with a collection, for whoever called it. No variant holds a text, an id or a value of a record.

use std::io;
use std::path::PathBuf;

use crate::vector::VectorError;

use super::limits::DOCUMENTS_MAX;

/// A fault, or a source or mapping that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    #[error(transparent)]
    Vector(#[from] VectorError),
    #[error("the words of the collection cannot be indexed: {0}")]
    Words(String),
    #[error("there is no collection in `{}` yet; run `consilium-node ingest`", folder.display())]
    NotIngested { folder: PathBuf },
    #[error(
        "the collection was made with encoder `{found}`, and `{wanted}` is declared; an index never mixes two: \
         ingest with --rebuild, or declare the former encoder"
    )]
    OtherEncoder { wanted: String, found: String },
    #[error(
        "the vectors are older than the texts: part of the collection's folder was restored from a backup; restore all \
         of it, or ingest with --rebuild"
    )]
    VectorsBehind,
    #[error(
        "another ingest or an upkeep works in `{}`; wait until it has ended", folder.display()
    )]
    Locked { folder: PathBuf },
    #[error("cannot lock `{}`: {source}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("`{}` cannot be read: {source}", path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error("`{}`, line {line}: {what}", path.display())]
    SourceShape {
        path: PathBuf,
        line: u64,
        what: String,
    },
    #[error(
        "{bad} of {read} records cannot be used, more than the mapping's share of {share}; the first: {first}; nothing \
         was erased, and what was added stays"
    )]
    TooManyBadRecords {
        bad: u64,
        read: u64,
        share: f64,
        first: String,
    },
    #[error("a collection has at most {DOCUMENTS_MAX} documents; split the source")]
    TooManyDocuments,
    #[error(
        "{found} files or erased documents are more than a collection may have; run its upkeep"
    )]
    TooMuchToClean { found: usize },
    #[error("the encoder gave {found} vectors for {wanted} texts")]
    Encoded { wanted: usize, found: usize },
    #[error("the texts cannot be encoded: {0}")]
    Encoder(Box<dyn std::error::Error + Send + Sync>),
    #[error("the collection was changed while it was read; ask again")]
    Changed,
}

impl CollectionError {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Vector(_) => "collection-damaged",
            Self::Words(_) => "words-failed",
            Self::NotIngested { .. } => "not-ingested",
            Self::OtherEncoder { .. } => "other-encoder",
            Self::VectorsBehind => "vectors-behind",
            Self::Locked { .. } => "locked",
            Self::Lock { .. } => "not-locked",
            Self::Source { .. } => "source-not-read",
            Self::SourceShape { .. } => "bad-source",
            Self::TooManyBadRecords { .. } => "too-many-bad-records",
            Self::TooManyDocuments => "too-many-documents",
            Self::TooMuchToClean { .. } => "upkeep-needed",
            Self::Encoded { .. } | Self::Encoder(_) => "encoder-failed",
            Self::Changed => "changed",
        }
    }
}

/// Why a query does not fit a collection. Names columns and the query's own words, never a value of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("the collection has no column `{column}`")]
    UnknownColumn { column: String },
    #[error("column `{column}` holds {holds}, and {wanted} is asked of it")]
    WrongType {
        column: String,
        holds: &'static str,
        wanted: &'static str,
    },
    #[error("`{value}` is no value of column `{column}`")]
    NotAValue { column: String, value: String },
}
