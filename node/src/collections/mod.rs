//! Text collections of this site: declared in node.toml, ingested by a command, opened for searches.
//!
//! | file | what it is |
//! |---|---|
//! | `declaration.rs` | a collection in node.toml |
//! | `encoder.rs` | the encoder that it names, on the trainer's device |
//! | `shelf.rs` | the collections of a running node, opened anew when they have changed; their upkeep |
//! | `ingest.rs`, `command.rs` | `consilium-node ingest`: from the source to the collection; what it tells |
//!
//! A collection lies in `collections/NAME/` of the node's folder; the key that seals all of them in
//! `identity/collections.key`, so that a copy of the former without the latter shows nothing.

pub mod command;
mod declaration;
mod encoder;
mod ingest;
mod shelf;

pub use declaration::{Declaration, ROWS_ERASED_WITHIN_DAYS_MAX};
pub use ingest::{IngestOptions, Ingested, ingest};
pub use shelf::{CollectionFault, Collections, OpenCollection};
