//! Why nothing was released: somebody decided so, or something broke. Never one for the other.

use std::error::Error;

use consilium_journal::JournalError;
use consilium_privacy::ledger::PATIENTS_MAX;
use consilium_protocol::message::Fault;
use consilium_protocol::{Digest, Refusal};

use super::NotKept;
use super::vault::ANSWER_BYTES_MAX;

/// Nothing was released.
#[derive(Debug)]
#[must_use = "the one who asked is waiting for the answer"]
pub enum NotReleased {
    /// Somebody decided so. This is the answer to send.
    Refused(Refusal),
    /// Something broke. [`GateFault::told_outside`] is the answer to send.
    Failed(GateFault),
}

/// What broke.
#[derive(Debug, thiserror::Error)]
pub enum GateFault {
    /// Without the journal nothing leaves.
    #[error("the gate could not record `{doing}`, and releases nothing: {cause}")]
    Journal {
        /// Which entry, or what was attempted.
        doing: &'static str,
        /// What the journal says.
        cause: JournalError,
    },
    /// Without the vault nothing that has a cost leaves.
    #[error("the gate could not record `{doing}` in its vault, and releases nothing: {cause}")]
    Vault {
        /// Which entry, or what was attempted.
        doing: &'static str,
        /// What the vault's journal says.
        cause: JournalError,
    },
    /// The system did not do what it was asked.
    #[error("the gate could not {doing}: {cause}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The vault's chain is whole, and what is in it is none of ours.
    #[error(
        "entry {seq} of the vault, `{kind}`, cannot be read; a newer version wrote it, or its folder is another's"
    )]
    VaultUnreadable {
        /// Which entry.
        seq: u64,
        /// What it says it is.
        kind: String,
    },
    /// The vault was lost, or put back as it was before.
    #[error(
        "the vault lacks {count} entries that the journal names (the first in journal entry {first}; data sets: {datasets:?}): what was spent on each patient is not known, and so nothing leaves; put back the newest copy of the folder `vault`, or, if it is lost for good, have your officers close these data sets and begin a new node folder without them"
    )]
    VaultLost {
        /// How many.
        count: u64,
        /// The journal's entry that names the first.
        first: u64,
        /// Whose patients they are.
        datasets: Vec<String>,
    },
    /// More patients than a ledger has room for.
    #[error("the data set `{dataset}` has more than {PATIENTS_MAX} patients; declare it in parts")]
    TooManyPatients {
        /// Which data set.
        dataset: String,
    },
    /// An answer that the vault does not take.
    #[error(
        "an answer of {bytes} bytes is over the {ANSWER_BYTES_MAX} that can be kept, so it cannot leave at a cost"
    )]
    AnswerTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A kept answer is not what it was.
    #[error("the answer kept in entry {entry} of the vault does not read back: {cause}")]
    NotKept {
        /// The hash of its entry.
        entry: Digest,
        /// Why.
        cause: NotKept,
    },
    /// A caller's mistake: what has a cost must say whom it touches.
    #[error("an ask with a cost came without its patients; this is a fault of the node's software")]
    CostWithoutPatients,
    /// The work could not be done.
    #[error("the work of a pass failed: {cause}")]
    Work {
        /// What the work says. It is written so that no value of a record is in it.
        cause: Box<dyn Error + Send + Sync>,
    },
}

/// Why work has no result.
#[derive(Debug)]
pub enum WorkError {
    /// The ask cannot be carried out as it is: its columns are not in the data set, its model does not fit. The one
    /// who asked is told.
    Refused(Refusal),
    /// Something broke; the site's operator is told.
    Failed(Box<dyn Error + Send + Sync>),
}

impl WorkError {
    /// Something broke.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

impl From<Refusal> for WorkError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<GateFault> for NotReleased {
    fn from(fault: GateFault) -> Self {
        Self::Failed(fault)
    }
}

impl GateFault {
    /// What others may hear of it. The cause stays here: it comes from work on records.
    #[must_use]
    pub fn told_outside(&self) -> Fault {
        let what = match self {
            Self::Journal { .. } => {
                "the site cannot record what leaves it, and so lets nothing leave"
            }
            Self::Vault { .. }
            | Self::System { .. }
            | Self::VaultUnreadable { .. }
            | Self::VaultLost { .. }
            | Self::NotKept { .. } => {
                "the site cannot account for what it spends, and so lets nothing leave"
            }
            Self::TooManyPatients { .. }
            | Self::AnswerTooLarge { .. }
            | Self::CostWithoutPatients => {
                "the site cannot account for an ask of this size or kind"
            }
            Self::Work { .. } => "the work failed at the site",
        };
        Fault {
            what: what.to_owned(),
            remedy: "the site's operator finds the cause in the node's log".to_owned(),
        }
    }

    pub(super) fn journal(doing: &'static str) -> impl FnOnce(JournalError) -> Self {
        move |cause| Self::Journal { doing, cause }
    }
}
