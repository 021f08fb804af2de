//! The record of truth: append-only, hash-chained, checksummed segment files.
//!
//! A node's passes and a coordinator's runs are written here, durably, before they take effect; everything else
//! either process keeps on disk can be rebuilt from it. The journal is synchronous, reads no clock, and knows
//! nothing of what its entries mean: they are bytes of a kind, in an order.
//!
//! | file | subject |
//! |---|---|
//! | `journal` | opening, appending, group commit |
//! | `entries` | reading in order |
//! | `verify` | the auditor's walk over a folder nobody vouches for |
//! | `merkle` | the journal as a tree: what one entry's place, or the whole's past, is proved with |
//! | `snapshot` | the tree at one moment |
//! | `entry_proof` | one entry, for somebody who has not the journal |
//! | [`checkpoint`] | what a site says of its journal, signed, for others to remember |
//! | `frame` | the format on disk |
//! | `scan` | walking the chain; every check is here, once |
//! | `torn` | what a crash leaves, told apart from what an editor leaves |
//! | [`storage`] | the verbs on bytes beneath: disk, memory that can lose power, breaking |
//!
//! What a chain cannot show by itself: that the end was cut off, or the whole rewritten from some entry on. That
//! needs a [`Head`] kept elsewhere; give it to [`verify()`].

pub mod checkpoint;
mod damage;
mod entries;
mod entry_proof;
mod error;
mod frame;
mod head;
mod journal;
mod limits;
mod merkle;
mod scan;
mod snapshot;
pub mod storage;
mod torn;
mod verify;

pub use consilium_protocol::Digest;
pub use damage::{Damage, Fault};
pub use entries::{Entries, Entry, read, read_on};
pub use entry_proof::{ENTRY_PROOF_BYTES_MAX, EntryProof, EntryProofError};
pub use error::JournalError;
pub use head::Head;
pub use journal::{Appended, Journal, Opened};
pub use limits::{BATCH_BYTES_CEILING, ENTRY_BYTES_CEILING, KIND_BYTES_MAX, Limits};
pub use merkle::{ConsistencyProof, InclusionProof, PATH_HASHES_MAX, ProofError, TreeHead};
pub use snapshot::Snapshot;
pub use verify::{Verified, VerifyError, verify, verify_heads, verify_heads_on, verify_on};
