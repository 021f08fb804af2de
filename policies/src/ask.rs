//! Who wants what, with which data, and what the site knows about it.

use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose, Role, RunId};
use serde::{Deserialize, Serialize};

/// One request that would make something leave the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ask {
    /// The project that the run file names.
    pub project: ProjectName,
    /// Who signed the run file.
    pub researcher: Researcher,
    /// The purpose that the run file names.
    pub purpose: Purpose,
    /// The data set that the run file names.
    pub dataset: DatasetName,
    /// The run, as the coordinator calls it.
    pub run: RunId,
    /// SHA-256 of the run file.
    pub run_digest: Digest,
    /// What is to be done now.
    pub action: Action,
}

/// A person, as a certificate names them; never as a message body does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Researcher {
    /// The certificate's name.
    pub name: MemberName,
    /// The certificate's role.
    pub role: Role,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Say whether this site takes part, with how many records of which version.
    Admit {
        /// Rounds of the run.
        rounds: u32,
    },
    /// Train one round and send the update.
    Train {
        /// Which.
        round: u32,
        /// Of how many.
        rounds: u32,
    },
    /// Send how the final model does on the rows held out here.
    Evaluate,
}

/// What a permit allows, in an officer's word. Search and statistics come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// All steps of training: admission, rounds, evaluation.
    Train,
}

/// What the site knows about an ask, and no ask may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// Records that training would use; `None` where the site has no such data set.
    pub dataset_records: Option<u64>,
    /// Parameters of the model that would be trained.
    pub parameters: u64,
}

impl Action {
    /// The word by which a permit allows it.
    #[must_use]
    pub fn activity(self) -> Activity {
        match self {
            Self::Admit { .. } | Self::Train { .. } | Self::Evaluate => Activity::Train,
        }
    }

    /// Rounds that this ask amounts to. A round beyond the last counts, whatever `rounds` says.
    #[must_use]
    pub fn rounds(self) -> u32 {
        match self {
            Self::Admit { rounds } => rounds,
            Self::Train { round, rounds } => rounds.max(round),
            Self::Evaluate => 0,
        }
    }
}

impl Activity {
    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
        }
    }
}
