//! What can be wrong with what an officer brings.

use std::path::PathBuf;

use consilium_link::IdentityError;
use consilium_policies::{BundleError, SignatureProblem};
use consilium_protocol::{DatasetName, Digest};

/// Why a policy is not written, judged, signed or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error(
        "there is no policy at `{path}`; name a bundle's folder, or make one: consilium policy new"
    )]
    NoBundle { path: PathBuf },
    #[error("{0}")]
    Bundle(Box<BundleError>),
    #[error(
        "the policy decides otherwise than its cases expect: {first} ({count} in all); see: consilium policy test"
    )]
    Surprises { first: String, count: usize },
    #[error("`{folder}` is not empty and is not overwritten; name a folder that does not exist")]
    NotEmpty { folder: PathBuf },
    #[error(
        "the answers ended at the question `{question}`, so nothing was written; answer all, or copy one with --from"
    )]
    AnswersEnded { question: String },
    #[error(
        "an answer has more than {limit} bytes, so nothing was written; begin again with a shorter one"
    )]
    AnswerTooLong { limit: u64 },
    #[error("{0}")]
    Key(IdentityError),
    #[error("{0}; let officers whom the node pins sign it: consilium policy sign")]
    NotSigned(SignatureProblem),
    #[error(
        "the policy has version {version}, and version {after} is in force; raise `version`, and sign again"
    )]
    NotNewer { version: u32, after: u32 },
    #[error("exactly this policy is in force there already, with these signatures")]
    InForce { digest: Digest },
    #[error(
        "`{path}` waits for the node already; start the node, which takes it up, or remove that folder"
    )]
    Waiting { path: PathBuf },
    #[error("`{path}`: {message}")]
    NodeFile { path: PathBuf, message: String },
    #[error("the policy says nothing of the data set `{dataset}`; it knows {known}")]
    UnknownDataset { dataset: DatasetName, known: String },
}

impl From<BundleError> for PolicyError {
    fn from(error: BundleError) -> Self {
        Self::Bundle(Box::new(error))
    }
}

impl PolicyError {
    /// The code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoBundle { .. } => "no-bundle",
            Self::Bundle(_) => "bad-bundle",
            Self::Surprises { .. } => "policy-surprises",
            Self::NotEmpty { .. } => "exists",
            Self::AnswersEnded { .. } => "answers-ended",
            Self::AnswerTooLong { .. } => "answer-too-long",
            Self::Key(_) => "bad-key",
            Self::NotSigned(_) => "not-signed",
            Self::NotNewer { .. } => "not-newer",
            Self::InForce { .. } => "in-force",
            Self::Waiting { .. } => "waiting",
            Self::NodeFile { .. } => "bad-node-file",
            Self::UnknownDataset { .. } => "unknown-dataset",
        }
    }
}
