//! The stories.
//!
//! | story | what it shows |
//! |---|---|
//! | [`heart_disease`] | four real hospitals train one model, under policy, beside the published figures |
//! | [`compliance_officer`] | one policy, one budget, one journal: written, signed, spent, tightened, verified |
//! | [`nine_silos`] | nine sites answer one question as one place would, and what privacy costs of it |
//! | [`patient_like_mine`] | a clinician searches three hospitals' notes, and what identifies anyone stays there |

pub mod compliance_officer;
pub mod heart_disease;
mod narrator;
pub mod nine_silos;
pub mod patient_like_mine;
pub mod play;
mod stage;
pub mod told;

use std::path::PathBuf;

use crate::house::HouseError;

/// Every story, as it is named on the command line.
pub const NAMES: [&str; 4] = [
    "heart-disease",
    "compliance-officer",
    "nine-silos",
    "patient-like-mine",
];

/// Why a story did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    #[error(transparent)]
    House(#[from] HouseError),
    #[error("cannot write to `{path}`: {source}; name another file with {option}", path = .path.display())]
    NotWritable {
        path: PathBuf,
        option: &'static str,
        source: std::io::Error,
    },
    #[error("`{path}`: {what}; {remedy}", path = .path.display())]
    NotUsable {
        path: PathBuf,
        what: String,
        remedy: &'static str,
    },
    #[error("{what}: {source}")]
    Disk {
        what: String,
        source: std::io::Error,
    },
    /// The product did something else than the story tells.
    #[error("{0}")]
    Unexpected(String),
}

impl StoryError {
    /// For what should have been otherwise.
    pub(crate) fn unexpected(what: impl std::fmt::Display) -> Self {
        Self::Unexpected(what.to_string())
    }
}
