//! A node that lies: it speaks the protocol and says what is not so. It passes no gate, for it is no node of ours.

use consilium_protocol::Digest;
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{Response, TensorsAhead, Train, Update};
use consilium_protocol::model::to_le_bytes;

use super::network::{Side, Way};
use super::plan::Lie;
use super::property::Step;
use super::world::{Happening, Message, World, parsed};

impl World {
    /// Answers an ask with a lie; false where this one is answered honestly.
    pub(super) fn lies(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        lie: Lie,
        asked: &Train,
    ) -> Step<bool> {
        // It waits for no state: it needs none. Now and then it is honest, to stay in the run.
        if self.dice.permille(300) {
            return Ok(false);
        }
        self.report.lies += 1;
        let records = self.site(index)?.data.rows() as u64;
        let mut bytes = self.made_up(lie);
        let mut update = Update {
            tensors: TensorsAhead {
                run_id: self.run_id.clone(),
                round: asked.state.round,
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).into(),
            },
            records,
            training_loss: Some(0.1),
            held_out: None,
            metrics_withheld: false,
            bundle: Digest::of(b"no bundle"),
        };
        match lie {
            Lie::WrongShape => update.tensors.bytes += 4,
            Lie::StaleRound => update.tensors.round = asked.state.round.saturating_sub(1),
            Lie::ForeignRun => update.tensors.run_id = parsed("r-foreign")?,
            Lie::WrongHash => update.tensors.blake3 = [7; 32],
            Lie::MoreRecords => update.records = records * 1000,
            Lie::ShortChunk => bytes.truncate(bytes.len().saturating_sub(4)),
            _ => {}
        }
        self.reply(index, epoch, stream, Response::Update(update.clone()));
        if lie == Lie::HeaderTwice {
            self.reply(index, epoch, stream, Response::Update(update));
        }
        let from = usize::try_from(asked.from_chunk).unwrap_or(0);
        let stops = matches!(lie, Lie::OtherDigestOnResume | Lie::QuitsHalfway) && from == 0;
        for (number, chunk) in bytes.chunks(CHUNK_BYTES_MAX).enumerate().skip(from) {
            if stops && number > 0 {
                return self.leaves_halfway(index, epoch, stream, lie);
            }
            let chunk = Message::Chunk(chunk.to_vec().into());
            self.send(Way::ToCoordinator, index, epoch, stream, chunk);
        }
        Ok(true)
    }

    /// Quits for good, or cuts its own connection, to come back with something else.
    fn leaves_halfway(&mut self, index: usize, epoch: u64, stream: u64, lie: Lie) -> Step<bool> {
        if lie == Lie::QuitsHalfway {
            self.send(Way::ToCoordinator, index, epoch, stream, Message::Broken);
            return Ok(true);
        }
        let wait_ms = 10_000;
        for side in [Side::Site, Side::Coordinator] {
            self.after(
                wait_ms,
                Happening::LinkLost {
                    site: index,
                    epoch,
                    side,
                },
            );
        }
        Ok(true)
    }

    fn made_up(&mut self, lie: Lie) -> Vec<u8> {
        let values = self.spec.bytes_on_the_wire() / 4;
        let mut dice = self.dice.split();
        let scale = match lie {
            Lie::HugeNorm => 1e6,
            Lie::LargeNorm => 3_000.0,
            _ => 1.0,
        };
        let mut values: Vec<f32> = (0..values).map(|_| scale * (dice.unit() - 0.5)).collect();
        let at = dice.index(values.len());
        if let Some(value) = values.get_mut(at)
            && lie == Lie::NotANumber
        {
            *value = if dice.permille(500) {
                f32::NAN
            } else {
                f32::INFINITY
            };
        }
        to_le_bytes(&values)
    }
}
