//! One site's seat in a round: how far its update has come.

use consilium_protocol::Refusal;
use consilium_protocol::RefusalCode::{BadUpdate, WrongRound};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::Update;
use consilium_protocol::model::{chunk_len, chunks_of};

use super::events::{AskNumber, Contribution, MissingCause};
use super::sum::{Accumulator, Unsummable, VALUE_ABS_MAX};
use super::terms::RoundTerms;
use crate::planted::{Planted, is_planted};

const VALUES_OF_A_CHUNK: u64 = (CHUNK_BYTES_MAX / size_of::<f32>()) as u64;

const ASK_THE_OPERATOR: &str = "the site's operator should update or restart its node";

/// One site's seat.
pub(super) struct Seat {
    /// Records that the site was admitted with.
    pub(super) records: u64,
    /// Its share of the weight of all participants.
    pub(super) fraction: f64,
    pub(super) connected: bool,
    /// Asks so far, and faults among their answers.
    pub(super) asks: u32,
    pub(super) faults: u32,
    pub(super) standing: Standing,
}

/// How far a site's update has come.
pub(super) enum Standing {
    /// Not asked, or what it was asked is void; nothing of it is in the sum.
    Away,
    /// Asked; its header is due. `begun` is what the sum holds of it already.
    Asked {
        ask: AskNumber,
        begun: Option<Upload>,
    },
    /// Its header is in; its next chunk is due.
    Sending { ask: AskNumber, upload: Upload },
    /// Lost in the middle: a part of it is in the sum.
    Interrupted { upload: Upload },
    /// All of it is in the sum.
    Accepted {
        ask: AskNumber,
        contribution: Contribution,
    },
    /// Out of this round for good; nothing of it may be in the sum at the end.
    Out(MissingCause),
}

impl Standing {
    /// Why the site is missing if the deadline passes now.
    pub(super) fn cause_when_late(&self) -> MissingCause {
        match self {
            Self::Away => MissingCause::NotConnected,
            Self::Interrupted { .. } => MissingCause::Interrupted,
            _ => MissingCause::Late,
        }
    }
}

/// An update on its way.
pub(super) struct Upload {
    pub(super) update: Update,
    /// Chunks that are in the sum.
    pub(super) folded: u64,
    /// Over the chunks that are in the sum.
    hasher: Box<blake3::Hasher>,
}

impl Seat {
    pub(super) fn new(records: u64, fraction: f64) -> Self {
        Self {
            records,
            fraction,
            connected: false,
            asks: 0,
            faults: 0,
            standing: Standing::Away,
        }
    }

    /// Whether the site may still answer.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.standing, Standing::Accepted { .. } | Standing::Out(_))
    }

    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.standing, Standing::Accepted { .. })
    }

    /// Whether what comes on the stream of `ask` is still of interest.
    pub(super) fn listens_to(&self, ask: AskNumber) -> bool {
        match &self.standing {
            Standing::Asked { ask: current, .. }
            | Standing::Sending { ask: current, .. }
            | Standing::Accepted { ask: current, .. } => {
                *current == ask || is_planted(Planted::HearVoidAsks)
            }
            Standing::Away | Standing::Interrupted { .. } | Standing::Out(_) => false,
        }
    }

    /// What of an unfinished update is in the sum.
    pub(super) fn take_begun(&mut self) -> Option<Upload> {
        let upload = match std::mem::replace(&mut self.standing, Standing::Away) {
            Standing::Asked { begun, .. } => begun,
            Standing::Sending { upload, .. } | Standing::Interrupted { upload } => Some(upload),
            Standing::Away => None,
            ended @ (Standing::Accepted { .. } | Standing::Out(_)) => {
                self.standing = ended;
                None
            }
        };
        upload.filter(|upload| upload.folded > 0)
    }

    /// Takes the head of an update and says which chunk is due; the refusal says why it is
    /// not the update that was asked for.
    pub(super) fn take_header(
        &mut self,
        update: Update,
        terms: &RoundTerms,
    ) -> Result<u64, Refusal> {
        let Standing::Asked { ask, begun } = &mut self.standing else {
            return Err(bad("the head of the update came twice"));
        };
        let tensors = &update.tensors;
        let stale = tensors.round != terms.round && !is_planted(Planted::AcceptStaleRound);
        if tensors.run_id != terms.run_id || stale {
            return Err(Refusal::new(
                WrongRound,
                format!(
                    "round {} of run `{}` was asked for, and an update of round {} of run `{}` came",
                    terms.round, terms.run_id, tensors.round, tensors.run_id
                ),
                ASK_THE_OPERATOR,
            ));
        }
        if update.records != self.records && !is_planted(Planted::BelieveRecords) {
            return Err(bad(format!(
                "the update weighs {} records, and the site was admitted with {}",
                update.records, self.records
            )));
        }
        if tensors.bytes != terms.update_bytes {
            return Err(bad(format!(
                "the update is {} bytes long; this run's are {}",
                tensors.bytes, terms.update_bytes
            )));
        }
        if begun
            .as_ref()
            .is_some_and(|begun| begun.update.tensors.blake3 != tensors.blake3)
            && !is_planted(Planted::IgnoreDigestOnResume)
        {
            return Err(bad(
                "the site came back with another update than the one it had begun to send",
            ));
        }
        let upload = begun.take().unwrap_or_else(|| Upload {
            update,
            folded: 0,
            hasher: Box::default(),
        });
        let due = upload.folded;
        self.standing = Standing::Sending { ask: *ask, upload };
        Ok(due)
    }

    /// Folds a chunk into the sum, whole or not at all; true when the update is complete.
    pub(super) fn take_chunk(
        &mut self,
        index: u64,
        chunk: &[u8],
        sum: &mut Accumulator,
    ) -> Result<bool, Refusal> {
        let Standing::Sending { ask, upload } = &mut self.standing else {
            return Err(bad("a chunk came before the head of its update"));
        };
        let bytes = upload.update.tensors.bytes;
        let due = upload.folded;
        if index != due {
            return Err(bad(format!("chunk {index} came where chunk {due} was due")));
        }
        let wanted = chunk_len(bytes, index);
        if chunk.len() != wanted {
            return Err(bad(format!(
                "chunk {index} is {} bytes long, not {wanted}",
                chunk.len()
            )));
        }
        upload.hasher.update(chunk);
        let complete = index + 1 == chunks_of(bytes);
        let unchecked =
            is_planted(Planted::IgnoreUpdateHash) || is_planted(Planted::IgnoreDigestOnResume);
        if complete && !unchecked && upload.hasher.finalize() != upload.update.tensors.blake3 {
            return Err(bad("the update is not the one whose hash its head gave"));
        }
        let first = index.saturating_mul(VALUES_OF_A_CHUNK);
        let folded = usize::try_from(first)
            .map_err(|_| Unsummable::Length)
            .and_then(|value| sum.fold(value, chunk, self.fraction));
        match folded {
            Ok(()) if is_planted(Planted::FoldTwice) => {
                upload.folded += 1;
                let value = usize::try_from(first).unwrap_or(usize::MAX);
                sum.fold(value, chunk, self.fraction).ok();
            }
            Ok(()) => upload.folded += 1,
            Err(Unsummable::Value { index: at }) => {
                return Err(bad(format!(
                    "value {} is infinite, not a number or beyond ±{VALUE_ABS_MAX}; \
                     the site's training may have diverged",
                    first.saturating_add(at as u64)
                )));
            }
            Err(Unsummable::Length) => return Err(bad("the update is longer than the model")),
        }
        if complete {
            self.standing = Standing::Accepted {
                ask: *ask,
                contribution: Contribution::from(&upload.update),
            };
        }
        Ok(complete)
    }
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(BadUpdate, reason, ASK_THE_OPERATOR)
}
