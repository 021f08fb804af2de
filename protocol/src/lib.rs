//! What is said between the parties of a consortium: ids, limits, messages,
//! frames, refusals, the run file, what the programs print, the query, the model catalogue, and the shape of a core.
//!
//! Pure: nothing here reads a clock, a socket, a file or the system's randomness.
//! How messages travel is the crate `consilium-link`.

pub mod digest;
pub mod envelope;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod message;
pub mod model;
pub mod query;
pub mod refusal;
pub mod run;
pub mod search;
pub mod signature;
pub mod strategy;
pub mod token;

/// The Protocol Buffers types as generated. Hostile until parsed by [`message`].
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/consilium.v1.rs"));
}

pub use digest::Digest;
pub use ids::{DatasetName, MemberName, ProjectName, Purpose, Role, RunId, SiteName};
pub use machine::{Machine, Millis};
pub use refusal::{Refusal, RefusalCode};
