//! What a round hears and what it says.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use consilium_protocol::message::{Fault, Metrics, Update};
use consilium_protocol::{Digest, Refusal, SiteName};
use serde::{Deserialize, Serialize};

/// The number of one ask. Every ask of a round has its own, and what comes back on its
/// stream carries it, so that what an abandoned stream still holds is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskNumber(pub u64);

/// What can happen to a round.
#[derive(Debug, Clone)]
pub enum RoundIn {
    /// The site is connected, or connected anew: what it was asked before is void.
    Connected(SiteName),
    /// The site's connection is gone.
    Lost(SiteName),
    /// The site's gate says no.
    Refused {
        site: SiteName,
        ask: AskNumber,
        refusal: Refusal,
    },
    /// The site reports a fault, or its stream broke while the connection stays.
    Failed {
        site: SiteName,
        ask: AskNumber,
        fault: Fault,
    },
    /// The head of an update.
    Header {
        site: SiteName,
        ask: AskNumber,
        update: Update,
    },
    /// The next chunk of an update, as its own hash proved it.
    Chunk {
        site: SiteName,
        ask: AskNumber,
        index: u64,
        bytes: Bytes,
    },
    /// The time asked for by `wake_at` has come.
    Tick,
    /// A person stopped the run.
    Stop,
}

/// What a round wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum RoundOut {
    /// Ask the site for its update from this chunk on. An earlier ask to it is void.
    Ask {
        site: SiteName,
        ask: AskNumber,
        from_chunk: u64,
    },
    /// End the site's stream with this refusal: the site is out of this round.
    Drop { site: SiteName, refusal: Refusal },
    /// End this one stream with this refusal; what the site gave before stays.
    Decline { site: SiteName, refusal: Refusal },
    /// Worth telling people.
    Note(RoundNote),
    /// The round is complete: end all its streams and take the sum.
    Close(Closed),
    /// The round cannot be completed: end all its streams.
    Fail(RoundFailure),
}

/// What a round tells people while it lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RoundNote {
    /// A site's update is in: `accepted` of `participants` so far.
    Accepted {
        site: SiteName,
        accepted: usize,
        participants: usize,
    },
    /// A site will be missing from this round.
    Missing { site: SiteName, cause: MissingCause },
    /// A site's upload was interrupted and goes on.
    Resumed { site: SiteName, from_chunk: u64 },
    /// Part of a site's update was in the sum and the rest will not come: the others are
    /// asked again, without it.
    Restarted { restarts: u32 },
}

/// A completed round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    pub accepted: BTreeMap<SiteName, Contribution>,
    pub missing: BTreeMap<SiteName, MissingCause>,
    pub duration_ms: u64,
    /// How often the collection began anew.
    pub restarts: u32,
}

/// What one site gave to a round, without the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    pub records: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_loss: Option<f64>,
    /// Of the state as the site received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Metrics>,
    /// The site's policy keeps loss and metrics at home.
    #[serde(default)]
    pub metrics_withheld: bool,
    /// The policy bundle that let the update out.
    pub bundle: Digest,
}

impl From<&Update> for Contribution {
    fn from(update: &Update) -> Self {
        Self {
            records: update.records,
            training_loss: update.training_loss,
            held_out: update.held_out,
            metrics_withheld: update.metrics_withheld,
            bundle: update.bundle,
        }
    }
}

/// Why a site is not part of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum MissingCause {
    /// It was not connected when the deadline passed.
    NotConnected,
    /// It was asked and had not answered in full when the deadline passed.
    Late,
    /// It was lost in the middle of its upload and did not come back in time.
    Interrupted,
    /// Its policy said no.
    Refused { refusal: Refusal },
    /// Its update was not what the round asked for.
    BadUpdate { refusal: Refusal },
    /// It failed too often.
    Failed { what: String, remedy: String },
    /// Its connection came and went too often.
    Unsteady,
}

impl fmt::Display for MissingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::Late => f.write_str("late"),
            Self::Interrupted => f.write_str("lost in the middle of its upload"),
            Self::Refused { refusal } => write!(f, "refused: {refusal}"),
            Self::BadUpdate { refusal } => refusal.fmt(f),
            Self::Failed { what, remedy } if remedy.is_empty() => write!(f, "failed: {what}"),
            Self::Failed { what, remedy } => write!(f, "failed: {what}; {remedy}"),
            Self::Unsteady => f.write_str("its connection came and went too often"),
        }
    }
}

/// Why a round could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoundFailure {
    #[error(
        "round {round} needs {quorum} of {participants} sites and can have {reachable}; missing: {}",
        listed(missing)
    )]
    BelowQuorum {
        round: u32,
        quorum: usize,
        participants: usize,
        /// Sites whose updates came or could still have come.
        reachable: usize,
        missing: BTreeMap<SiteName, MissingCause>,
    },
    #[error("round {round} was stopped")]
    Stopped { round: u32 },
}

fn listed(missing: &BTreeMap<SiteName, MissingCause>) -> String {
    let each: Vec<String> = missing
        .iter()
        .map(|(site, cause)| format!("`{site}` ({cause})"))
        .collect();
    each.join(", ")
}
