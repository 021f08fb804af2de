//! One site's texts: redacted passages, sealed at rest, with their vectors, words and filter columns.
//!
//! | file | what it is |
//! |---|---|
//! | `mapping.rs`, `source/` | what a site declares of its texts; records of JSON Lines, CSV and notes |
//! | `document.rs` | a record as the mapping reads it, and what is kept of it |
//! | `ingest.rs`, `repeats.rs`, `report.rs` | from a source to a collection: redact, split, encode, publish |
//! | `store.rs`, `upkeep.rs` | the one writer: publishing; joining files, and erasing for good |
//! | `block.rs`, `manifest.rs`, `prefixed.rs` | the files: sealed documents, which of them count, vectors beside them |
//! | `reader.rs`, `opening.rs` | the collection as searches see it, and how it is opened |
//! | `columns.rs`, `filter.rs` | filters over its columns |
//!
//! The catalogue of documents is the truth. It is published whole by one rename, as the vectors are by theirs: vectors
//! first, then the documents that they belong to. A row that the catalogue does not know is never found.

mod block;
mod columns;
mod document;
mod error;
mod filter;
mod ingest;
pub mod limits;
mod manifest;
mod mapping;
mod opening;
mod prefixed;
mod reader;
mod repeats;
mod report;
mod source;
mod store;
mod upkeep;

pub use document::Reason;
pub use error::{CollectionError, Misfit};
pub use ingest::Ingest;
pub use mapping::{
    ColumnMapping, Duplicates, Kind, Mapping, MappingError, Redaction, SourceFormat,
};
pub use reader::{Collection, Figures, PassageText};
pub use report::{Gone, IngestReport, IngestSettings, Progress, Skipped};
pub use source::{Inspected, inspect};
pub use store::Beginning;
pub use upkeep::{Upkept, maintain};

/// Turns texts into vectors. Many threads may share one.
pub trait Encode: Send + Sync {
    /// Names the encoder and, by a digest, all that decides its vectors.
    fn id(&self) -> String;

    /// Numbers in a vector.
    fn dimension(&self) -> usize;

    /// Words of a text that count; a passage has no more.
    fn passage_words_max(&self) -> usize;

    /// One vector for each text, in order.
    ///
    /// # Errors
    /// The encoder's.
    fn encode(
        &self,
        texts: &[&str],
    ) -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error + Send + Sync>>;
}
