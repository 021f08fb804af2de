//! What leaves in training: an admission, an update, an evaluation.

use bytes::Bytes;
use consilium_policies::entry::{Receipt, TensorReceipt};
use consilium_policies::{Action, Permit, Release};
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{Admitted, Evaluated, Metrics, Response, TensorsAhead, Update};
use consilium_protocol::model::{append_le_bytes, chunks_of, from_le_bytes};
use consilium_protocol::{Digest, Refusal, RefusalCode, wire};

use super::Egress;
use super::egress::{NotKept, keep_response, kept_response, sealed::Sealed};

const VALUE_BYTES: usize = size_of::<f32>();
/// Encoded and hashed at a time: it stays in a core's cache.
const HASHED_VALUES: usize = 64 * 1024;

/// The site takes part in a run.
pub struct Admission {
    /// Records that it will train on.
    pub records: u64,
    /// Version of its data set.
    pub dataset_version: Digest,
}

/// What one round of training made. No `Debug`: it is computed from records, and has not complied yet.
pub struct TrainedUpdate {
    /// The change of each shared parameter; for SCAFFOLD the change of the control variate in a second vector.
    pub vectors: Vec<Vec<f32>>,
    /// Records trained on: the update's weight.
    pub records: u64,
    /// Mean loss of the steps; none where no step was asked for.
    pub training_loss: Option<f64>,
    /// Of the state as it was received, on rows held out of training, if there are any.
    pub held_out: Option<Metrics>,
}

/// What one private round made: its noise was added to every step, so it is the noisy steps' alone. No loss or metric
/// belongs to it.
pub struct PrivateUpdate {
    /// The change of each parameter.
    pub change: Vec<f32>,
    /// Records trained on: the update's weight, told at admission as well.
    pub records: u64,
}

/// How the final model does on the rows held out here.
pub struct Evaluation {
    /// On the rows held out.
    pub held_out: Metrics,
}

/// An update that complied: its message, and the tensors that follow it.
pub struct OutgoingUpdate {
    message: Update,
    vectors: Vec<Vec<f32>>,
}

impl Sealed for Admission {}

impl Egress for Admission {
    type Wire = Admitted;

    fn comply(self, permit: &Permit) -> Result<Admitted, Refusal> {
        match permit.action() {
            Action::Admit { .. } => Ok(Admitted {
                records: self.records,
                dataset_version: self.dataset_version,
                bundle: permit.bundle(),
            }),
            other => Err(not_what_was_permitted("an admission", other)),
        }
    }

    fn receipt(admitted: &Admitted) -> Result<Receipt, FrameError> {
        Ok(Receipt {
            what: "admission".to_owned(),
            frame: frame_digest(Response::Admitted(admitted.clone()))?,
            tensors: None,
            records: admitted.records,
            metrics_withheld: false,
        })
    }

    fn keep(admitted: &Admitted) -> Result<Vec<u8>, FrameError> {
        keep_response(Response::Admitted(admitted.clone()))
    }

    fn kept(bytes: &[u8]) -> Result<Admitted, NotKept> {
        match kept_response(bytes)? {
            Response::Admitted(admitted) => Ok(admitted),
            _ => Err(NotKept::OtherKind),
        }
    }
}

impl Sealed for TrainedUpdate {}

impl Egress for TrainedUpdate {
    type Wire = OutgoingUpdate;

    fn comply(self, permit: &Permit) -> Result<OutgoingUpdate, Refusal> {
        let metrics_released = permit.releases(Release::Metrics);
        outgoing(self, Release::Update, metrics_released, permit)
    }

    fn receipt(update: &OutgoingUpdate) -> Result<Receipt, FrameError> {
        let message = &update.message;
        Ok(Receipt {
            what: "update".to_owned(),
            frame: frame_digest(Response::Update(message.clone()))?,
            tensors: Some(TensorReceipt {
                blake3: blake3::Hash::from(message.tensors.blake3).to_string(),
                bytes: message.tensors.bytes,
            }),
            records: message.records,
            metrics_withheld: message.metrics_withheld,
        })
    }

    /// The message's frame, its length before it, and the values after it.
    fn keep(update: &OutgoingUpdate) -> Result<Vec<u8>, FrameError> {
        let frame = keep_response(Response::Update(update.message.clone()))?;
        // A frame is far below 4 GiB.
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::from(length.to_le_bytes());
        bytes.extend_from_slice(&frame);
        for vector in &update.vectors {
            append_le_bytes(vector, &mut bytes);
        }
        Ok(bytes)
    }

    fn kept(bytes: &[u8]) -> Result<OutgoingUpdate, NotKept> {
        let (length, rest) = bytes.split_first_chunk().ok_or(NotKept::OtherKind)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (frame, values) = rest.split_at_checked(length).ok_or(NotKept::OtherKind)?;
        match kept_response(frame)? {
            Response::Update(message) if message.tensors.bytes == values.len() as u64 => {
                Ok(OutgoingUpdate {
                    message,
                    vectors: vec![from_le_bytes(values)],
                })
            }
            _ => Err(NotKept::OtherKind),
        }
    }
}

/// An update of one kind or the other.
fn outgoing(
    update: TrainedUpdate,
    release: Release,
    metrics_released: bool,
    permit: &Permit,
) -> Result<OutgoingUpdate, Refusal> {
    let (Action::Train { round, .. }, Some(run_id)) = (permit.action(), permit.run()) else {
        return Err(not_what_was_permitted("an update", permit.action()));
    };
    if !permit.releases(release) {
        return Err(not_what_was_permitted("an update", permit.action()));
    }
    let blake3 = hash_if_finite(&update.vectors)?;
    let values: usize = update.vectors.iter().map(Vec::len).sum();
    let held_out = update.held_out.filter(|_| metrics_released);
    let training_loss = update.training_loss.filter(|_| metrics_released);
    if training_loss.is_some_and(|loss| !loss.is_finite())
        || held_out.is_some_and(|metrics| !is_finite(&metrics))
    {
        return Err(not_a_number("a loss or metric"));
    }
    let message = Update {
        tensors: TensorsAhead {
            run_id: run_id.clone(),
            round,
            bytes: values as u64 * VALUE_BYTES as u64,
            blake3,
        },
        records: update.records,
        training_loss,
        held_out,
        metrics_withheld: !metrics_released,
        bundle: permit.bundle(),
    };
    Ok(OutgoingUpdate {
        message,
        vectors: update.vectors,
    })
}

impl Sealed for PrivateUpdate {}

impl Egress for PrivateUpdate {
    type Wire = OutgoingUpdate;

    fn comply(self, permit: &Permit) -> Result<OutgoingUpdate, Refusal> {
        let update = TrainedUpdate {
            vectors: vec![self.change],
            records: self.records,
            training_loss: None,
            held_out: None,
        };
        outgoing(update, Release::NoisyUpdate, false, permit)
    }

    fn receipt(update: &OutgoingUpdate) -> Result<Receipt, FrameError> {
        let receipt = TrainedUpdate::receipt(update)?;
        Ok(Receipt {
            what: "noisy update".to_owned(),
            ..receipt
        })
    }

    fn keep(update: &OutgoingUpdate) -> Result<Vec<u8>, FrameError> {
        TrainedUpdate::keep(update)
    }

    fn kept(bytes: &[u8]) -> Result<OutgoingUpdate, NotKept> {
        TrainedUpdate::kept(bytes)
    }
}

impl Sealed for Evaluation {}

impl Egress for Evaluation {
    type Wire = Evaluated;

    fn comply(self, permit: &Permit) -> Result<Evaluated, Refusal> {
        if permit.action() != Action::Evaluate || !permit.releases(Release::Metrics) {
            return Err(not_what_was_permitted("an evaluation", permit.action()));
        }
        if !is_finite(&self.held_out) {
            return Err(not_a_number("a metric"));
        }
        Ok(Evaluated {
            held_out: self.held_out,
            bundle: permit.bundle(),
        })
    }

    fn receipt(evaluated: &Evaluated) -> Result<Receipt, FrameError> {
        Ok(Receipt {
            what: "evaluation".to_owned(),
            frame: frame_digest(Response::Evaluated(evaluated.clone()))?,
            tensors: None,
            records: evaluated.held_out.records,
            metrics_withheld: false,
        })
    }

    fn keep(evaluated: &Evaluated) -> Result<Vec<u8>, FrameError> {
        keep_response(Response::Evaluated(evaluated.clone()))
    }

    fn kept(bytes: &[u8]) -> Result<Evaluated, NotKept> {
        match kept_response(bytes)? {
            Response::Evaluated(evaluated) => Ok(evaluated),
            _ => Err(NotKept::OtherKind),
        }
    }
}

impl OutgoingUpdate {
    /// The message that goes before the tensors. The journal holds the digest of its frame: send it as it is.
    #[must_use]
    pub fn message(&self) -> &Update {
        &self.message
    }

    /// How many chunks the tensors have.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        chunks_of(self.message.tensors.bytes)
    }

    /// One chunk of the tensors, counted from 0: the vectors one after the other, `f32` little-endian, cut at
    /// [`CHUNK_BYTES_MAX`]. `None` past the last.
    ///
    /// Encoded when asked for, so that a large update lies in memory once.
    #[must_use]
    pub fn chunk(&self, index: u64) -> Option<Bytes> {
        const CHUNK_VALUES: usize = CHUNK_BYTES_MAX / VALUE_BYTES;
        let mut skipped = usize::try_from(index).ok()?.checked_mul(CHUNK_VALUES)?;
        let mut wanted = CHUNK_VALUES;
        let mut bytes = Vec::new();
        for vector in &self.vectors {
            let rest = vector.get(skipped.min(vector.len())..).unwrap_or_default();
            skipped -= skipped.min(vector.len());
            let part = rest.get(..wanted.min(rest.len())).unwrap_or_default();
            wanted -= part.len();
            append_le_bytes(part, &mut bytes);
        }
        (!bytes.is_empty()).then(|| bytes.into())
    }
}

fn not_what_was_permitted(what: &str, action: Action) -> Refusal {
    let asked = match action {
        Action::Admit { .. } => "to be admitted",
        Action::Train { .. } => "to train",
        Action::Evaluate => "to evaluate",
        Action::Statistic { .. } => "to answer a question",
        Action::Search { .. } => "to search",
    };
    Refusal::new(
        RefusalCode::NotPermitted,
        format!("{what} does not leave under a permit {asked}"),
        "this is a fault of the node's software; tell its operator",
    )
}

fn not_a_number(what: &str) -> Refusal {
    Refusal::new(
        RefusalCode::BadUpdate,
        format!("training went astray: {what} is not a finite number"),
        "use a lower learning rate, or look at the columns of the data set at this site",
    )
}

fn is_finite(metrics: &Metrics) -> bool {
    [Some(metrics.loss), Some(metrics.accuracy), metrics.auc]
        .into_iter()
        .flatten()
        .all(f64::is_finite)
}

/// BLAKE3 over all values as they will be sent, in one walk that also looks for what is no number.
fn hash_if_finite(vectors: &[Vec<f32>]) -> Result<[u8; 32], Refusal> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::with_capacity(HASHED_VALUES * VALUE_BYTES);
    for values in vectors
        .iter()
        .flat_map(|vector| vector.chunks(HASHED_VALUES))
    {
        // Without an early exit the loop is a few vector instructions.
        if !values
            .iter()
            .fold(true, |all, value| all & value.is_finite())
        {
            return Err(not_a_number("a parameter"));
        }
        bytes.clear();
        append_le_bytes(values, &mut bytes);
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().into())
}

fn frame_digest(response: Response) -> Result<Digest, FrameError> {
    Ok(Digest::of(&frame::encode(&wire::Response::from(response))?))
}
