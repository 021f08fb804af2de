//! Why nothing was released: somebody decided so, or something broke. Never one for the other.

use std::error::Error;

use consilium_journal::JournalError;
use consilium_protocol::Refusal;
use consilium_protocol::message::Fault;

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
