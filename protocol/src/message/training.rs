//! A training round, between coordinator and node.

use serde::{Deserialize, Serialize};

use super::{MessageError, parse};
use crate::digest::Digest;
use crate::ids::RunId;
use crate::limits::{PARAMETERS_MAX, RECORDS_MAX};
use crate::wire;

/// Two vectors of the largest model: SCAFFOLD's.
const TENSOR_BYTES_MAX: u64 = PARAMETERS_MAX * 4 * 2;

/// The site takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Records that it will train on.
    pub records: u64,
    pub dataset_version: Digest,
    pub bundle: Digest,
}

/// Tensors of a run that follow this message in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorsAhead {
    pub run_id: RunId,
    /// Rounds are counted from 1; the state before round 1 is that of round 1's ask.
    pub round: u32,
    pub bytes: u64,
    pub blake3: [u8; 32],
}

/// Train one round from the state that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Train {
    pub state: TensorsAhead,
    /// Chunks of the update that the coordinator already holds.
    pub from_chunk: u64,
}

/// How a model does on some records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub records: u64,
    /// Mean binary cross-entropy, in nats.
    pub loss: f64,
    /// Share that is right at a threshold of 0.5.
    pub accuracy: f64,
    /// Area under the ROC curve; absent where one class only is present.
    pub auc: Option<f64>,
}

/// What a site gives to one round; its tensors follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub tensors: TensorsAhead,
    /// Records that it trained on: its weight.
    pub records: u64,
    pub training_loss: Option<f64>,
    /// Of the state as it was received, on rows held out of training.
    pub held_out: Option<Metrics>,
    /// The site's policy keeps loss and metrics at home.
    pub metrics_withheld: bool,
    pub bundle: Digest,
}

/// How the final state does at one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    pub held_out: Metrics,
    pub bundle: Digest,
}

impl From<Admitted> for wire::Admitted {
    fn from(admitted: Admitted) -> Self {
        Self {
            records: admitted.records,
            dataset_version: admitted.dataset_version.0.to_vec().into(),
            bundle_sha256: admitted.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::Admitted> for Admitted {
    type Error = MessageError;

    fn try_from(wire: wire::Admitted) -> Result<Self, MessageError> {
        parse::at_most("records", wire.records, RECORDS_MAX)?;
        // A site of no weight that alone answers in time would leave a mean over nothing.
        if wire.records == 0 {
            return Err(MessageError::Invalid {
                field: "records",
                problem: "a site that takes part trains on at least one".into(),
            });
        }
        Ok(Self {
            records: wire.records,
            dataset_version: parse::digest("dataset_version", &wire.dataset_version)?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

impl TensorsAhead {
    fn parse(
        run_id: &str,
        round: u32,
        bytes: u64,
        blake3: &bytes::Bytes,
    ) -> Result<Self, MessageError> {
        parse::at_most("bytes", bytes, TENSOR_BYTES_MAX)?;
        Ok(Self {
            run_id: parse::id("run_id", run_id)?,
            round,
            bytes,
            blake3: parse::hash("blake3", blake3)?,
        })
    }
}

impl From<TensorsAhead> for wire::Evaluate {
    fn from(ahead: TensorsAhead) -> Self {
        Self {
            run_id: ahead.run_id.to_string(),
            round: ahead.round,
            state_bytes: ahead.bytes,
            state_blake3: ahead.blake3.to_vec().into(),
        }
    }
}

impl TryFrom<wire::Evaluate> for TensorsAhead {
    type Error = MessageError;

    fn try_from(wire: wire::Evaluate) -> Result<Self, MessageError> {
        Self::parse(
            &wire.run_id,
            wire.round,
            wire.state_bytes,
            &wire.state_blake3,
        )
    }
}

impl From<Train> for wire::Train {
    fn from(train: Train) -> Self {
        Self {
            run_id: train.state.run_id.to_string(),
            round: train.state.round,
            state_bytes: train.state.bytes,
            state_blake3: train.state.blake3.to_vec().into(),
            from_chunk: train.from_chunk,
        }
    }
}

impl TryFrom<wire::Train> for Train {
    type Error = MessageError;

    fn try_from(wire: wire::Train) -> Result<Self, MessageError> {
        Ok(Self {
            state: TensorsAhead::parse(
                &wire.run_id,
                wire.round,
                wire.state_bytes,
                &wire.state_blake3,
            )?,
            from_chunk: wire.from_chunk,
        })
    }
}

impl From<Metrics> for wire::Metrics {
    fn from(metrics: Metrics) -> Self {
        Self {
            records: metrics.records,
            loss: metrics.loss,
            accuracy: metrics.accuracy,
            auc: metrics.auc,
        }
    }
}

impl TryFrom<wire::Metrics> for Metrics {
    type Error = MessageError;

    fn try_from(wire: wire::Metrics) -> Result<Self, MessageError> {
        parse::at_most("records", wire.records, RECORDS_MAX)?;
        Ok(Self {
            records: wire.records,
            loss: parse::finite("loss", wire.loss)?,
            accuracy: parse::fraction("accuracy", wire.accuracy)?,
            auc: wire
                .auc
                .map(|auc| parse::fraction("auc", auc))
                .transpose()?,
        })
    }
}

impl From<Update> for wire::Update {
    fn from(update: Update) -> Self {
        Self {
            run_id: update.tensors.run_id.to_string(),
            round: update.tensors.round,
            records: update.records,
            update_bytes: update.tensors.bytes,
            update_blake3: update.tensors.blake3.to_vec().into(),
            training_loss: update.training_loss,
            held_out: update.held_out.map(Into::into),
            bundle_sha256: update.bundle.0.to_vec().into(),
            metrics_withheld: update.metrics_withheld,
        }
    }
}

impl TryFrom<wire::Update> for Update {
    type Error = MessageError;

    fn try_from(wire: wire::Update) -> Result<Self, MessageError> {
        parse::at_most("records", wire.records, RECORDS_MAX)?;
        Ok(Self {
            tensors: TensorsAhead::parse(
                &wire.run_id,
                wire.round,
                wire.update_bytes,
                &wire.update_blake3,
            )?,
            records: wire.records,
            training_loss: wire
                .training_loss
                .map(|loss| parse::finite("training_loss", loss))
                .transpose()?,
            held_out: wire.held_out.map(TryInto::try_into).transpose()?,
            metrics_withheld: wire.metrics_withheld,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}

impl From<Evaluated> for wire::Evaluated {
    fn from(evaluated: Evaluated) -> Self {
        Self {
            held_out: Some(evaluated.held_out.into()),
            bundle_sha256: evaluated.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::Evaluated> for Evaluated {
    type Error = MessageError;

    fn try_from(wire: wire::Evaluated) -> Result<Self, MessageError> {
        Ok(Self {
            held_out: parse::present("held_out", wire.held_out)?.try_into()?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}
