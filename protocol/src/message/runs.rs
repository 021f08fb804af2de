//! Runs as researchers see them.

use serde::{Deserialize, Serialize};

use super::{MessageError, parse};
use crate::digest::Digest;
use crate::ids::{MemberName, ProjectName, RunId};
use crate::limits::{
    DER_BYTES_MAX, EVENT_BYTES_MAX, EVENTS_LISTED_MAX, MODEL_CARD_BYTES_MAX, NAME_BYTES_MAX,
    RUN_TEXT_BYTES_MAX,
};
use crate::wire;

/// A run file as its author wrote it, with proof of who that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRun {
    /// UTF-8 TOML, byte for byte.
    pub text: Vec<u8>,
    /// The researcher's certificate, DER.
    pub certificate: Vec<u8>,
    pub signature: Vec<u8>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// For its participants to connect and to admit it.
    Waiting,
    Running,
    Finished,
    Failed,
    Stopped,
}

impl RunState {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Stopped,
    ];

    /// The state as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Stopped)
    }
}

/// One line of the list of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run_id: RunId,
    pub name: String,
    pub project: ProjectName,
    pub researcher: MemberName,
    pub state: RunState,
    /// Rounds completed.
    pub round: u32,
    pub rounds: u32,
    pub submitted_at_ms: u64,
    /// Zero while the run goes on.
    pub ended_at_ms: u64,
    /// Why it ended, where it did not finish.
    pub cause: String,
}

/// A run with its text and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDetail {
    pub summary: RunSummary,
    pub text: Vec<u8>,
    pub text_sha256: Digest,
    pub events: Vec<RunEvent>,
}

/// One line of a run's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvent {
    pub number: u64,
    pub at_ms: u64,
    /// A JSON object with a `kind`.
    pub json: String,
}

/// A finished model: its card, and the file that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    pub model_card_json: String,
    pub bytes: u64,
    pub sha256: Digest,
}

impl From<SignedRun> for wire::SignedRun {
    fn from(run: SignedRun) -> Self {
        Self {
            text: run.text.into(),
            certificate: run.certificate.into(),
            signature: run.signature.into(),
        }
    }
}

impl TryFrom<wire::SignedRun> for SignedRun {
    type Error = MessageError;

    fn try_from(wire: wire::SignedRun) -> Result<Self, MessageError> {
        Ok(Self {
            text: parse::bytes("text", &wire.text, RUN_TEXT_BYTES_MAX)?,
            certificate: parse::der("certificate", &wire.certificate)?,
            signature: parse::bytes("signature", &wire.signature, DER_BYTES_MAX)?,
        })
    }
}

impl From<RunSummary> for wire::RunSummary {
    fn from(run: RunSummary) -> Self {
        Self {
            run_id: run.run_id.to_string(),
            name: run.name,
            project: run.project.to_string(),
            researcher: run.researcher.to_string(),
            state: run.state.as_str().into(),
            round: run.round,
            rounds: run.rounds,
            submitted_at_ms: run.submitted_at_ms,
            ended_at_ms: run.ended_at_ms,
            cause: run.cause,
        }
    }
}

impl TryFrom<wire::RunSummary> for RunSummary {
    type Error = MessageError;

    fn try_from(wire: wire::RunSummary) -> Result<Self, MessageError> {
        let state = RunState::ALL
            .into_iter()
            .find(|state| state.as_str() == wire.state)
            .ok_or(MessageError::Invalid {
                field: "state",
                problem: "is none that this build knows".into(),
            })?;
        Ok(Self {
            run_id: parse::id("run_id", &wire.run_id)?,
            name: parse::text("name", wire.name, NAME_BYTES_MAX)?,
            project: parse::id("project", &wire.project)?,
            researcher: parse::id("researcher", &wire.researcher)?,
            state,
            round: wire.round,
            rounds: wire.rounds,
            submitted_at_ms: wire.submitted_at_ms,
            ended_at_ms: wire.ended_at_ms,
            cause: parse::sentence("cause", wire.cause)?,
        })
    }
}

impl From<RunDetail> for wire::RunDetail {
    fn from(detail: RunDetail) -> Self {
        Self {
            summary: Some(detail.summary.into()),
            text: detail.text.into(),
            text_sha256: detail.text_sha256.0.to_vec().into(),
            events: detail.events.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::RunDetail> for RunDetail {
    type Error = MessageError;

    fn try_from(wire: wire::RunDetail) -> Result<Self, MessageError> {
        Ok(Self {
            summary: parse::present("summary", wire.summary)?.try_into()?,
            text: parse::bytes("text", &wire.text, RUN_TEXT_BYTES_MAX)?,
            text_sha256: parse::digest("text_sha256", &wire.text_sha256)?,
            events: parse::list("events", wire.events, EVENTS_LISTED_MAX)?,
        })
    }
}

impl From<RunEvent> for wire::RunEvent {
    fn from(event: RunEvent) -> Self {
        Self {
            number: event.number,
            at_ms: event.at_ms,
            json: event.json,
        }
    }
}

impl TryFrom<wire::RunEvent> for RunEvent {
    type Error = MessageError;

    fn try_from(wire: wire::RunEvent) -> Result<Self, MessageError> {
        Ok(Self {
            number: wire.number,
            at_ms: wire.at_ms,
            json: parse::text("json", wire.json, EVENT_BYTES_MAX)?,
        })
    }
}

impl From<Artefact> for wire::Artefact {
    fn from(artefact: Artefact) -> Self {
        Self {
            model_card_json: artefact.model_card_json,
            bytes: artefact.bytes,
            sha256: artefact.sha256.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::Artefact> for Artefact {
    type Error = MessageError;

    fn try_from(wire: wire::Artefact) -> Result<Self, MessageError> {
        Ok(Self {
            model_card_json: parse::text(
                "model_card_json",
                wire.model_card_json,
                MODEL_CARD_BYTES_MAX,
            )?,
            bytes: wire.bytes,
            sha256: parse::digest("sha256", &wire.sha256)?,
        })
    }
}
