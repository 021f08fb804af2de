//! A site's vector index.
//!
//! | file | what it is |
//! |---|---|
//! | `index.rs` | the trait, a question, a hit |
//! | `flat.rs` | the plain index, oracle of the other |
//! | `segmented.rs` | the index on disk: opening, changes, searches |
//! | `segment.rs`, `rows.rs` | an immutable set of rows; its vectors, and the exact scan over them |
//! | `codes.rs`, `exact.rs` | the vectors in short, in memory; exact, in memory or sealed on the disk |
//! | `sketch.rs`, `rotation.rs` | the vectors in one bit a coordinate; the rotation before |
//! | `build.rs`, `lift.rs` | the graph: laid by instant-distance, taken out of it |
//! | `links.rs`, `graph.rs` | given more links; kept |
//! | `walk.rs`, `plan.rs` | the walk over it; when to walk and when to scan |
//! | `maintenance.rs`, `compaction.rs` | rewriting segments; which of them, and why |
//! | `manifest.rs`, `published.rs` | which segments count; how such a file is replaced whole |
//! | `format.rs`, `sealing.rs`, `disk.rs` | a segment's file, encryption, the disk |
//! | `kernel.rs`, `fast.rs` | dot products; the copy of them for this processor |
//! | `pages.rs`, `top.rs` | large memory; the best few |
//!
//! Vectors give texts away: none leaves this module but as a similarity, and no error or `Debug` shows one.

mod build;
mod codes;
mod compaction;
mod disk;
mod error;
mod exact;
mod fast;
mod flat;
mod format;
mod graph;
mod index;
mod kernel;
mod lift;
mod limits;
mod links;
pub mod made;
mod maintenance;
mod manifest;
mod pages;
mod plan;
mod published;
mod rotation;
mod rows;
mod rowset;
mod sealing;
mod segment;
mod segmented;
mod sketch;
mod top;
mod unit;
mod walk;

pub use build::BuildSettings;
pub use compaction::CompactionSettings;
pub use disk::{Disk, Fill, Folder, Pieces};
pub use error::VectorError;
pub use exact::Memory;
pub use flat::FlatIndex;
pub(crate) use format::Reader;
pub use index::{Effort, Hit, Question, Reach, VectorIndex};
pub use limits::{CHANGE_ROWS_MAX, DIMENSION_MAX, K_MAX, ROW_ID_END};
pub use maintenance::Maintained;
pub(crate) use published::{Mark, PublishedFile, failed};
pub use rowset::{RowId, RowSet};
pub use sealing::NodeKey;
pub(crate) use sealing::{Piece, SEALED_EXTRA_BYTES, SegmentKey, TAG_BYTES, random};
pub use segmented::{Change, Changed, IndexFigures, IndexSettings, SegmentedIndex};
pub use unit::UnitVector;
