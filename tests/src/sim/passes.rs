//! A site's passes through its gate: admission, training, evaluation. Everywhere in them power may be lost.

use std::sync::Arc;

use consilium_node::gate::{
    Admission, Egress, Evaluation, Gate, GateFault, NotReleased, Released, TrainedUpdate, WorkError,
};
use consilium_node::node::ask_of;
use consilium_node::round::{LocalValues, Plan, RoundIn, RoundOut};
use consilium_policies::{Action, Ask, Facts};
use consilium_protocol::message::{Response, Train};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Machine, Millis, RunId};

use super::disk::{Disk, Mount};
use super::journals;
use super::mutation::ShellFault;
use super::property::{Property, Step, must};
use super::site::{NodeProcess, ReleasedUpdate, Task, Turn};
use super::work::{metrics_on, train};
use super::world::{Happening, World, researcher};

/// Changes to the disk in one pass, and one more.
const CHANGES_OF_A_PASS: u64 = 6;

/// What came of a pass.
enum Passed<T> {
    Released(Released<T>),
    /// Send this.
    Answer(Box<Response>),
    /// Power was lost in it.
    Dead,
}

/// All that one pass needs.
struct Pass<'a> {
    gate: &'a Gate,
    mount: &'a Mount,
    disk: &'a Disk,
    ask: Ask,
    facts: Facts,
    now: Millis,
    dies_in_work: bool,
}

impl Pass<'_> {
    /// Through the real gate; before the work begins its reservation must be durable.
    fn through<T: Egress>(
        self,
        work: impl FnOnce() -> Step<T>,
    ) -> Step<Result<Released<T::Wire>, NotReleased>> {
        let mut seen = Ok(());
        let released = self.gate.pass(&self.ask, &self.facts, self.now, |_permit| {
            seen = journals::is_reserved(self.disk.durable(), &self.ask);
            if self.dies_in_work {
                self.mount.kill();
                return Err(WorkError::failed("power is lost"));
            }
            work().map_err(|violation| {
                seen = Err(violation.clone());
                WorkError::failed(violation)
            })
        });
        seen.map(|()| released)
    }
}

impl World {
    fn pass<T: Egress>(
        &mut self,
        index: usize,
        ask: Ask,
        parameters: u64,
        work: impl FnOnce() -> Step<T>,
    ) -> Step<Passed<T::Wire>> {
        let now = self.site_now(index)?;
        let dies_in_work = self.dies_here();
        let dies_at = self.dies_here().then(|| self.dice.below(CHANGES_OF_A_PASS));
        let site = self.site(index)?;
        let Some(process) = &site.process else {
            return Ok(Passed::Dead);
        };
        if let Some(changes) = dies_at {
            process.mount.lose_power_after(changes);
        }
        let pass = Pass {
            gate: &process.gate,
            mount: &process.mount,
            disk: &site.disk,
            facts: Facts {
                dataset_records: Some(site.data.rows() as u64),
                parameters,
                ..Facts::default()
            },
            ask,
            now,
            dies_in_work,
        };
        let outcome = pass.through(work)?;
        self.passed(index, outcome)
    }

    fn passed<T>(
        &mut self,
        index: usize,
        outcome: Result<Released<T>, NotReleased>,
    ) -> Step<Passed<T>> {
        let troubles = self.report.disk_troubles;
        let site = self.site(index)?;
        let life = site.lives;
        let Some(NodeProcess { mount, journal, .. }) = &site.process else {
            return Ok(Passed::Dead);
        };
        if mount.is_dead() {
            self.site_crashes(index)?;
            return Ok(Passed::Dead);
        }
        site.acknowledged = Some(journal.head());
        match outcome {
            Ok(released) => Ok(Passed::Released(released)),
            Err(NotReleased::Refused(refusal)) => {
                Ok(Passed::Answer(Box::new(Response::Refusal(refusal))))
            }
            Err(NotReleased::Failed(fault)) => {
                let journal_stopped = matches!(fault, GateFault::Journal { .. });
                must(
                    journal_stopped && troubles > 0,
                    Property::NoFaultOfItsOwn,
                    || format!("a pass failed at site {index}: {fault}"),
                )?;
                let wait_ms = self.dice.between(500, 20_000);
                self.after(wait_ms, Happening::SiteStops { site: index, life });
                Ok(Passed::Answer(Box::new(Response::Fault(
                    fault.told_outside(),
                ))))
            }
        }
    }

    /// As the second half of `session::review`; `None` where the process died.
    pub(super) fn admit(
        &mut self,
        index: usize,
        run_id: &RunId,
        spec: &RunSpec,
    ) -> Step<Option<Response>> {
        let rounds = spec.document().rounds;
        let ask = ask_of(run_id, spec, &researcher()?, Action::Admit { rounds });
        let records = self.site(index)?.data.rows() as u64;
        let admission = Admission {
            records,
            dataset_version: Self::dataset_version(),
        };
        let parameters = spec.layout().len() as u64;
        let admitted = match self.pass(index, ask, parameters, || Ok(admission))? {
            Passed::Released(released) => released.into_inner(),
            Passed::Answer(answer) => return Ok(Some(*answer)),
            Passed::Dead => return Ok(None),
        };
        if self.dies_here() {
            self.site_crashes(index)?;
            return Ok(None);
        }
        if !self.save_run(index, run_id, spec)? {
            return Ok(Some(Self::failed()));
        }
        let input = RoundIn::Admitted {
            run_id: run_id.clone(),
            spec: Box::new(spec.clone()),
            researcher: researcher()?,
            local: Default::default(),
        };
        let now = self.site_now(index)?;
        if let Some(process) = &mut self.site(index)?.process {
            drop(process.participant.step(now, input));
        }
        if self.dies_here() {
            self.site_crashes(index)?;
            return Ok(None);
        }
        Ok(Some(Response::Admitted(admitted)))
    }

    /// The time of a training or evaluation is over: the pass, and what follows.
    pub(super) fn site_worked(&mut self, index: usize, life: u64, stream: u64) -> Step {
        let site = self.site(index)?;
        if !site.is_up(life) {
            return Ok(());
        }
        let turn = site
            .process
            .as_mut()
            .and_then(|process| process.turn.take());
        let Some(turn) = turn.filter(|turn| turn.stream == stream) else {
            return Ok(());
        };
        self.work(index, turn)?;
        self.next_turn(index)
    }

    fn work(&mut self, index: usize, turn: Turn) -> Step {
        let Turn {
            stream,
            epoch,
            task,
            plan,
            received,
        } = turn;
        let received = received.unwrap_or_default();
        match task {
            Task::Train(asked) => self.train_here(index, epoch, stream, asked, &plan, &received),
            Task::Evaluate(ahead) => {
                let ask = ask_of(
                    &ahead.run_id,
                    &plan.spec,
                    &plan.researcher,
                    Action::Evaluate,
                );
                let held_out = metrics_on(self.site(index)?.data.rows() as u64);
                let parameters = plan.spec.layout().len() as u64;
                let work = || Ok(Evaluation { held_out });
                match self.pass(index, ask, parameters, work)? {
                    Passed::Released(released) => {
                        let answer = Response::Evaluated(released.into_inner());
                        self.reply(index, epoch, stream, answer);
                    }
                    Passed::Answer(answer) => self.reply(index, epoch, stream, *answer),
                    Passed::Dead => {}
                }
                Ok(())
            }
            Task::End(_) => Ok(()),
        }
    }

    /// As the second half of `session::train_round`.
    fn train_here(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        asked: Train,
        plan: &Plan,
        received: &[f32],
    ) -> Step {
        let document = plan.spec.document();
        let action = Action::Train {
            round: asked.state.round,
            rounds: document.rounds,
        };
        let ask = ask_of(&asked.state.run_id, &plan.spec, &plan.researcher, action);
        let data = self.site(index)?.data.clone();
        let mut local = LocalValues::default();
        let work = || {
            let trained = train(plan, &data, received)?;
            local = trained.local;
            Ok(TrainedUpdate {
                vectors: trained.vectors,
                records: data.rows() as u64,
                training_loss: Some(trained.loss),
                held_out: Some(metrics_on(data.rows() as u64)),
            })
        };
        let parameters = plan.spec.layout().len() as u64;
        let update = match self.pass(index, ask, parameters, work)? {
            Passed::Released(released) => Arc::new(released),
            Passed::Answer(answer) => {
                self.reply(index, epoch, stream, *answer);
                return Ok(());
            }
            Passed::Dead => return Ok(()),
        };
        self.note_misled(index, &asked)?;
        if self.dies_here() {
            return self.site_crashes(index);
        }
        self.hand_out(index, epoch, stream, asked, local, update)
    }

    /// The machine hears of the release; local values are written down; then the update is sent.
    fn hand_out(
        &mut self,
        index: usize,
        epoch: u64,
        stream: u64,
        asked: Train,
        local: LocalValues,
        update: Arc<ReleasedUpdate>,
    ) -> Step {
        let (run_id, from_chunk) = (asked.state.run_id.clone(), asked.from_chunk);
        let round = asked.state.round;
        let now = self.site_now(index)?;
        let released = RoundIn::Released {
            train: asked,
            local,
            update,
        };
        let Some(process) = &mut self.site(index)?.process else {
            return Ok(());
        };
        let mut to_send = None;
        let mut to_persist = Vec::new();
        for out in process.participant.step(now, released) {
            match out {
                RoundOut::Send(update) => to_send = Some(update),
                other => to_persist.push(other),
            }
        }
        let hasty = self.has_shell_fault(ShellFault::SendBeforePersist);
        if let Some(update) = to_send.as_ref().filter(|_| hasty) {
            self.send_update(index, epoch, stream, update, from_chunk)?;
        }
        for out in to_persist {
            if !self.persist(index, out)? {
                self.forget_what_is_not_persisted(index, run_id, round)?;
                self.reply(index, epoch, stream, Self::failed());
                return Ok(());
            }
        }
        if self.dies_here() {
            return self.site_crashes(index);
        }
        match to_send.filter(|_| !hasty) {
            Some(update) => self.send_update(index, epoch, stream, &update, from_chunk),
            None => {
                self.reply(index, epoch, stream, Self::failed());
                Ok(())
            }
        }
    }

    fn forget_what_is_not_persisted(&mut self, index: usize, run_id: RunId, round: u32) -> Step {
        if self.has_shell_fault(ShellFault::KeepUnpersisted) {
            return Ok(());
        }
        let now = self.site_now(index)?;
        if let Some(process) = &mut self.site(index)?.process {
            let lost = RoundIn::NotPersisted { run_id, round };
            drop(process.participant.step(now, lost));
        }
        Ok(())
    }

    /// A site that trained on another state than the run's has local values of another run.
    fn note_misled(&mut self, index: usize, asked: &Train) -> Step {
        if asked.state.run_id != self.run_id {
            return Ok(());
        }
        let wire = self.oracle.wire_of(asked.state.round.saturating_sub(1));
        let is_the_runs = wire.is_some_and(|bytes| blake3::hash(&bytes) == asked.state.blake3);
        if !is_the_runs {
            let name = self.site(index)?.plan.name.clone();
            self.oracle.give_up_on(&name);
        }
        Ok(())
    }
}
