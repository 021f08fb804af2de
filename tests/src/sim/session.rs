//! A node's session, mirrored: what it does with a request, one ask of a run at a time.

use std::sync::Arc;

use consilium_node::round::{Plan, RoundIn, RoundOut};
use consilium_protocol::message::{Request, Response, SignedRun, TensorsAhead, Train};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Machine, Refusal, RefusalCode, RunId, frame, wire};

use super::journals;
use super::mutation::ShellFault;
use super::network::Way;
use super::property::{Property, Step, broken, must};
use super::site::{ReleasedUpdate, Task, Turn, Waiting};
use super::world::{Happening, Message, World};

/// Asks that may wait behind the one that is worked on; a connection carries no more streams.
const WAITING_MAX: usize = 64;

impl World {
    /// Something arrives on a stream that the coordinator opened.
    pub(super) fn site_hears(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        message: Message,
    ) -> Step {
        if !self.is_heard(Way::ToSite, index, epoch) || self.site(index)?.process.is_none() {
            return Ok(());
        }
        match message {
            Message::Frame(bytes) => self.request(index, epoch, stream, &bytes),
            Message::State(bytes) => self.state_arrives(index, stream, bytes),
            Message::Broken | Message::Ended => self.stream_ended(index, stream),
            Message::Chunk(_) => Ok(()),
        }
    }

    fn request(&mut self, index: usize, epoch: u64, stream: u64, bytes: &[u8]) -> Step {
        self.site(index)?.requests += 1;
        let request = frame::decode::<wire::Request>(bytes)
            .ok()
            .and_then(|wire| Request::try_from(wire).ok());
        let task = match request {
            Some(Request::Review { run_id, run }) => {
                return self.review_here(index, epoch, stream, run_id, &run);
            }
            Some(Request::Train(train)) => Task::Train(train),
            Some(Request::Evaluate(ahead)) => Task::Evaluate(ahead),
            Some(Request::EndRun { run_id, .. }) => Task::End(run_id),
            _ => {
                let refusal = Refusal::new(RefusalCode::BadRequest, "not understood", "");
                self.reply(index, epoch, stream, Response::Refusal(refusal));
                return Ok(());
            }
        };
        let site = self.site(index)?;
        let Some(process) = &mut site.process else {
            return Ok(());
        };
        process.waiting.push_back(Waiting {
            stream,
            epoch,
            task,
        });
        let waiting = process.waiting.len();
        must(waiting <= WAITING_MAX, Property::Bounded, || {
            format!("{waiting} asks wait at site {index}")
        })?;
        match process.turn.is_none() {
            true => self.next_turn(index),
            false => Ok(()),
        }
    }

    /// The run's lock is free: whoever waits first has it.
    pub(super) fn next_turn(&mut self, index: usize) -> Step {
        loop {
            let Some(process) = &mut self.site(index)?.process else {
                return Ok(());
            };
            process.turn = None;
            let Some(next) = process.waiting.pop_front() else {
                return Ok(());
            };
            self.begin_turn(index, next)?;
            let process = self.site(index)?.process.as_ref();
            if process.is_none_or(|process| process.turn.is_some()) {
                return Ok(());
            }
        }
    }

    fn begin_turn(&mut self, index: usize, next: Waiting) -> Step {
        let Waiting {
            stream,
            epoch,
            task,
        } = next;
        let now = self.site_now(index)?;
        if let Task::Train(train) = &task
            && let Some(lie) = self.site(index)?.plan.liar
            && self.lies(index, epoch, stream, lie, train)?
        {
            return Ok(());
        }
        let input = match &task {
            Task::Train(train) => RoundIn::Train(train.clone()),
            Task::Evaluate(ahead) => RoundIn::Evaluate {
                run_id: ahead.run_id.clone(),
                bytes: ahead.bytes,
            },
            Task::End(run_id) => RoundIn::Ended {
                run_id: run_id.clone(),
            },
        };
        let Some(process) = &mut self.site(index)?.process else {
            return Ok(());
        };
        match (process.participant.step(now, input).pop(), &task) {
            (Some(RoundOut::Refuse(refusal)), _) => {
                self.reply(index, epoch, stream, Response::Refusal(refusal));
                Ok(())
            }
            (Some(RoundOut::Send(update)), Task::Train(train)) => {
                self.send_update(index, epoch, stream, &update, train.from_chunk)
            }
            (Some(RoundOut::Train(plan) | RoundOut::Evaluate(plan)), _) => {
                if let Task::Train(train) = &task {
                    self.stands_on_what_is_durable(index, &train.state)?;
                    if train.from_chunk > 0 {
                        self.reply(index, epoch, stream, Response::Done);
                    }
                }
                self.take_turn(index, stream, epoch, task, plan)
            }
            (out, Task::End(run_id)) => {
                if matches!(out, Some(RoundOut::Forget { .. })) {
                    self.site(index)?.store.remove(run_id);
                }
                self.reply(index, epoch, stream, Response::Done);
                Ok(())
            }
            _ => Err(broken(
                Property::NoFaultOfItsOwn,
                "a round's ask led to nothing",
            )),
        }
    }

    fn take_turn(
        &mut self,
        index: usize,
        stream: u64,
        epoch: u64,
        task: Task,
        plan: Box<Plan>,
    ) -> Step {
        let Some(process) = &mut self.site(index)?.process else {
            return Ok(());
        };
        if process.ended.remove(&stream) {
            return Ok(());
        }
        process.turn = Some(Turn {
            stream,
            epoch,
            task,
            plan,
            received: None,
        });
        match process.states.remove(&stream) {
            Some(bytes) => self.state_arrives(index, stream, bytes),
            None => Ok(()),
        }
    }

    /// The state is taken in: length, hash and numbers, as `session::receive_state` looks at them.
    fn state_arrives(&mut self, index: usize, stream: u64, bytes: Arc<Vec<u8>>) -> Step {
        let trusts = self.has_shell_fault(ShellFault::TrustState);
        let site = self.site(index)?;
        let (life, training_ms) = (site.lives, site.plan.training_ms);
        let Some(process) = &mut site.process else {
            return Ok(());
        };
        let turn = process.turn.as_mut().filter(|turn| turn.stream == stream);
        let Some(turn) = turn else {
            process.states.insert(stream, bytes);
            while process.states.len() > WAITING_MAX {
                process.states.pop_first();
            }
            return Ok(());
        };
        let (Task::Train(Train { state, .. }) | Task::Evaluate(state)) = &turn.task else {
            return Ok(());
        };
        let values = consilium_protocol::model::from_le_bytes(&bytes);
        let is_announced =
            bytes.len() as u64 == state.bytes && (trusts || blake3::hash(&bytes) == state.blake3);
        if is_announced && values.iter().all(|value| value.is_finite()) {
            turn.received = Some(values);
            self.after(
                training_ms,
                Happening::Worked {
                    site: index,
                    life,
                    stream,
                },
            );
            return Ok(());
        }
        let epoch = turn.epoch;
        let refusal = Refusal::new(
            RefusalCode::BadRequest,
            "the state is not the one that was announced",
            "ask again",
        );
        self.reply(index, epoch, stream, Response::Refusal(refusal));
        self.next_turn(index)
    }

    /// A stream ended before its state had come: nothing is trained for it.
    fn stream_ended(&mut self, index: usize, stream: u64) -> Step {
        let Some(process) = &mut self.site(index)?.process else {
            return Ok(());
        };
        process.states.remove(&stream);
        let waits = process
            .waiting
            .iter()
            .any(|waiting| waiting.stream == stream);
        if waits {
            process.ended.insert(stream);
        }
        let turn = process.turn.as_ref();
        match turn.is_some_and(|turn| turn.stream == stream && turn.received.is_none()) {
            true => self.next_turn(index),
            false => Ok(()),
        }
    }

    /// As `session::review`; one word stands for a good signature.
    fn review_here(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        run_id: RunId,
        run: &SignedRun,
    ) -> Step {
        let answer = match RunSpec::parse(&run.text) {
            Ok(spec) if run.signature == b"good" => self.admit(index, &run_id, &spec)?,
            _ => Some(Response::Refusal(Refusal::new(
                RefusalCode::BadSignature,
                "the run is signed by no researcher",
                "sign it",
            ))),
        };
        if let Some(answer) = answer {
            self.reply(index, epoch, stream, answer);
        }
        Ok(())
    }

    /// Sends a released update from a chunk on; what it rests on must be durable by now.
    pub(super) fn send_update(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        update: &Arc<ReleasedUpdate>,
        from_chunk: u64,
    ) -> Step {
        let message = update.wire().message().clone();
        let site = self.site(index)?;
        journals::is_recorded(site.disk.durable(), message.tensors.blake3)?;
        self.local_is_durable(index, &message.tensors)?;
        self.reply(index, epoch, stream, Response::Update(message));
        for chunk in from_chunk..update.wire().chunks() {
            let Some(bytes) = update.wire().chunk(chunk) else {
                break;
            };
            self.send(
                Way::ToCoordinator,
                index,
                epoch,
                stream,
                Message::Chunk(bytes),
            );
        }
        Ok(())
    }

    fn local_is_durable(&mut self, index: usize, tensors: &TensorsAhead) -> Step {
        if tensors.run_id != self.run_id || self.oracle.keeps_nothing_local() {
            return Ok(());
        }
        let stored = self.site(index)?.store.get(&tensors.run_id);
        let round = tensors.round;
        // Of an older round, asked again, newer values may have taken the place.
        let durable = stored.is_some_and(|run| run.local.keys().any(|&kept| kept >= round));
        must(durable, Property::LocalIsDurable, || {
            format!("site {index} sends round {round}, and its local values are on no disk")
        })
    }

    /// What a round is trained from, a restart would find again.
    fn stands_on_what_is_durable(&mut self, index: usize, state: &TensorsAhead) -> Step {
        let before = state.round.saturating_sub(1);
        if state.run_id != self.run_id || before == 0 || self.oracle.keeps_nothing_local() {
            return Ok(());
        }
        let stored = self.site(index)?.store.get(&state.run_id);
        let durable = stored.is_some_and(|run| run.local.contains_key(&before));
        must(durable, Property::LocalIsDurable, || {
            format!("site {index} trains on local values of round {before} that are on no disk")
        })
    }

    pub(super) fn reply(&mut self, index: usize, epoch: u64, stream: u64, response: Response) {
        if let Ok(bytes) = frame::encode(&wire::Response::from(response)) {
            self.send(
                Way::ToCoordinator,
                index,
                epoch,
                stream,
                Message::Frame(bytes),
            );
        }
    }
}
