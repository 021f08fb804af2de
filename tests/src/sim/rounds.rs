//! The coordinator's shell of a round, mirrored: `run/rounds.rs`.
//!
//! The order of writes is the shell's: the next state is on disk before the journal names it, and the old one is
//! removed after.

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_coordinator::event::Event;
use consilium_coordinator::round::{
    Accumulator, AskNumber, Closed, MissingCause, Round, RoundIn, RoundNote, RoundOut, RoundTerms,
};
use consilium_coordinator::run::record::RunRecord;
use consilium_coordinator::state::State;
use consilium_protocol::message::{Request, TensorsAhead, Train, Update};
use consilium_protocol::{Machine, Millis, SiteName};

use super::coordinator::Stage;
use super::mutation::ShellFault;
use super::network::{Way, flip_a_bit};
use super::property::{Property, Step, broken, must};
use super::streams::Purpose;
use super::world::{Happening, Message, World};

/// Asks of one site in one collection, as the round promises.
const ASKS_MAX: u32 = 64;

/// A round that is being collected.
pub struct Collect {
    pub(super) round: Round,
    pub(super) number: u32,
    state: State,
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) opened_ms: u64,
    pub(super) restarts: u32,
    participants: BTreeMap<SiteName, u64>,
    wakes_at: Option<Millis>,
    asks: BTreeMap<SiteName, u32>,
}

impl World {
    pub(super) fn begin_round(&mut self, record: &RunRecord) -> Step {
        let state = self.open_state(record)?;
        let mut number = record.summary.round + 1;
        self.oracle.begins_from(state.round(), state.content())?;
        let participants: BTreeMap<SiteName, u64> = record
            .sites
            .iter()
            .flatten()
            .filter_map(|site| Some((site.clone(), record.admitted.get(site)?.records)))
            .collect();
        let spare = match &mut self.coordinator.process {
            Some(process) => {
                let fresh = std::mem::replace(&mut process.is_fresh, false);
                if fresh && self.has_shell_fault(ShellFault::ResumeFromTheRoundBefore) {
                    number = record.summary.round.max(1);
                }
                let process = self.coordinator.process.as_mut();
                process.and_then(|process| process.spare.take())
            }
            None => return Ok(()),
        };
        let run_id = self.run_id.clone();
        let terms = match RoundTerms::new(&self.spec, run_id, number, participants.clone()) {
            Ok(terms) => terms,
            Err(error) => return self.stop_run(error.to_string()),
        };
        let spare = spare.unwrap_or_else(|| Accumulator::zeros(0));
        let collect = Collect {
            round: Round::begin(self.driver_now(), terms, spare),
            number,
            bytes: wire_bytes(&state)?,
            state,
            opened_ms: self.now_ms,
            restarts: 0,
            wakes_at: None,
            asks: BTreeMap::new(),
            participants,
        };
        let mut inputs = Vec::new();
        for site in collect.participants.keys() {
            let index = self.by_name.get(site).copied().unwrap_or(usize::MAX);
            if self
                .links
                .get(index)
                .is_some_and(|link| link.at_coordinator.is_some())
            {
                inputs.push(RoundIn::Connected(site.clone()));
            }
        }
        self.set_stage(Stage::Round(Box::new(collect)));
        inputs.push(RoundIn::Tick);
        for input in inputs {
            self.hear(input)?;
        }
        Ok(())
    }

    /// The state that the journal says the run stands at.
    pub(super) fn open_state(&self, record: &RunRecord) -> Step<State> {
        let lost = |what: String| broken(Property::ResumesToTheSame, what);
        let content = record
            .state
            .ok_or_else(|| lost("the journal names no state".into()))?;
        self.states()
            .reopen(record.summary.round, content)
            .map_err(|error| lost(format!("the state that the journal names: {error}")))
    }

    /// Steps the round, and does what it wants done.
    pub(super) fn hear(&mut self, input: RoundIn) -> Step {
        match &input {
            RoundIn::Header { site, ask, update } => self.oracle.hears_header(site, *ask, update),
            RoundIn::Chunk {
                site, ask, bytes, ..
            } => self.oracle.hears_chunk(site, *ask, bytes),
            _ => {}
        }
        let now = self.driver_now();
        let Some(Stage::Round(collect)) = self.stage_mut() else {
            return Ok(());
        };
        let outs = collect.round.step(now, input);
        for out in outs {
            match out {
                RoundOut::Close(closed) => return self.close(closed),
                RoundOut::Fail(failure) => {
                    self.end_streams();
                    return self.stop_run(failure.to_string());
                }
                out => self.carry_out(out)?,
            }
        }
        self.set_timer();
        Ok(())
    }

    fn carry_out(&mut self, out: RoundOut) -> Step {
        match out {
            RoundOut::Ask {
                site,
                ask,
                from_chunk,
            } => self.ask(&site, ask, from_chunk),
            RoundOut::Drop { site, .. } | RoundOut::Decline { site, .. } => {
                self.end_streams_of(&site);
                Ok(())
            }
            RoundOut::Note(note) => {
                self.note(note);
                Ok(())
            }
            RoundOut::Close(_) | RoundOut::Fail(_) => Ok(()),
        }
    }

    fn note(&mut self, note: RoundNote) {
        match note {
            RoundNote::Accepted { site, .. } => self.oracle.hears_accepted(&site),
            RoundNote::Resumed { .. } => self.report.resumed_uploads += 1,
            RoundNote::Restarted { restarts } => {
                self.report.restarts += 1;
                self.oracle.forget_deliveries();
                if let Some(Stage::Round(collect)) = self.stage_mut() {
                    collect.restarts = restarts;
                    collect.asks.clear();
                }
            }
            RoundNote::Missing { .. } => {}
        }
    }

    fn ask(&mut self, site: &SiteName, ask: AskNumber, from_chunk: u64) -> Step {
        self.oracle.asked(site, ask, from_chunk);
        let Some(&index) = self.by_name.get(site) else {
            return Ok(());
        };
        let epoch = self.links.get(index).and_then(|link| link.at_coordinator);
        let run_id = self.run_id.clone();
        let (Some(epoch), Some(Stage::Round(collect))) = (epoch, self.stage_mut()) else {
            return Ok(());
        };
        let asks = collect.asks.entry(site.clone()).or_default();
        *asks += 1;
        let too_many = *asks > ASKS_MAX;
        must(!too_many, Property::Bounded, || {
            format!("`{site}` is asked more than {ASKS_MAX} times in one collection")
        })?;
        let train = Train {
            state: TensorsAhead {
                run_id,
                round: collect.number,
                bytes: collect.state.wire_bytes(),
                blake3: collect.state.wire_blake3(),
            },
            from_chunk,
        };
        let bytes = collect.bytes.clone();
        self.replace_stream_of(index);
        let purpose = Purpose::Update {
            ask,
            from_chunk,
            next_chunk: None,
        };
        let stream = self.open(index, epoch, purpose);
        self.send_request(index, epoch, stream, Request::Train(train));
        if from_chunk == 0 {
            self.send_state(index, epoch, stream, bytes);
        }
        let life = self.coordinator.lives;
        let wait_ms = self.spec.round_deadline_ms();
        self.after(wait_ms, Happening::AskTimesOut { life, stream });
        Ok(())
    }

    /// Sends the state, once in a while with a bit of it turned in the coordinator's own memory.
    pub(super) fn send_state(&mut self, site: usize, epoch: u64, stream: u64, bytes: Arc<Vec<u8>>) {
        let turned = self.is_stormy() && self.dice.permille(6);
        let bytes = match turned {
            true => {
                self.report.corrupted += 1;
                let mut bytes = bytes.to_vec();
                flip_a_bit(&mut bytes, &mut self.dice);
                Arc::new(bytes)
            }
            false => bytes,
        };
        self.send(Way::ToSite, site, epoch, stream, Message::State(bytes));
    }

    /// The round is complete: as the loop in `Driver::train`.
    fn close(&mut self, closed: Closed) -> Step {
        self.end_streams();
        let Some(Stage::Round(collect)) = self.take_stage() else {
            return Ok(());
        };
        let Collect {
            round,
            number,
            state,
            participants,
            ..
        } = *collect;
        let sum = round
            .into_sum()
            .ok_or_else(|| broken(Property::SumIsExact, "a round closed without a sum"))?;
        self.oracle.closed(number, &participants, &closed, &sum)?;
        if self.dies_here() {
            self.coordinator_crashes();
            return Ok(());
        }
        let no_state = |error| {
            broken(
                Property::NoFaultOfItsOwn,
                format!("the next state: {error}"),
            )
        };
        let next = self.states().next(&state, &sum).map_err(no_state)?;
        self.oracle
            .wrote(number, next.content(), next.wire_blake3())?;
        let is_late = self.has_shell_fault(ShellFault::CloseBeforeState);
        if is_late {
            std::fs::remove_file(self.states().path(number)).ok();
        } else if self.dies_here() {
            self.coordinator_crashes();
            return Ok(());
        }
        self.count(&closed);
        let event = Event::RoundClosed {
            run_id: self.run_id.clone(),
            round: number,
            state: next.content(),
            sites: closed.accepted,
            missing: closed.missing,
            duration_ms: closed.duration_ms,
            restarts: closed.restarts,
        };
        if !self.record(event)? {
            return Ok(());
        }
        if self.dies_here() {
            self.coordinator_crashes();
            return Ok(());
        }
        if is_late {
            self.states().next(&state, &sum).map_err(no_state)?;
        }
        self.states().forget(state.round()).map_err(no_state)?;
        if let Some(process) = &mut self.coordinator.process {
            process.spare = Some(sum.into_accumulator());
        }
        self.drive()
    }

    fn count(&mut self, closed: &Closed) {
        self.report.rounds += 1;
        self.report.accepted += closed.accepted.len() as u64;
        self.report.missing += closed.missing.len() as u64;
        for cause in closed.missing.values() {
            let cause = match cause {
                MissingCause::NotConnected => "not connected".to_owned(),
                MissingCause::Late => "late".to_owned(),
                MissingCause::Interrupted => "interrupted".to_owned(),
                MissingCause::Refused { refusal } => format!("refused ({})", refusal.code),
                MissingCause::BadUpdate { refusal } => format!("bad update ({})", refusal.code),
                MissingCause::Failed { .. } => "failed".to_owned(),
                MissingCause::Unsteady => "unsteady".to_owned(),
            };
            *self.report.causes.entry(cause).or_default() += 1;
        }
    }

    /// A timer for when the round wants to be woken.
    fn set_timer(&mut self) {
        let life = self.coordinator.lives;
        let now = self.driver_now();
        let forgets = self.has_shell_fault(ShellFault::ForgetDeadline);
        let Some(Stage::Round(collect)) = self.stage_mut() else {
            return;
        };
        let wakes_at = collect.round.wake_at();
        if wakes_at == collect.wakes_at {
            return;
        }
        collect.wakes_at = wakes_at;
        if let Some(wakes_at) = wakes_at.filter(|_| !forgets) {
            self.after(wakes_at.since_ms(now), Happening::RoundTimer { life });
        }
    }

    pub(super) fn round_timer(&mut self, life: u64) -> Step {
        match self.coordinator.lives == life {
            true => self.hear(RoundIn::Tick),
            false => Ok(()),
        }
    }

    pub(super) fn site_arrives(&mut self, site: usize) -> Step {
        self.review(site);
        self.evaluate_returned(site);
        match self.named(site) {
            Some(name) => self.hear(RoundIn::Connected(name)),
            None => Ok(()),
        }
    }

    /// The site's name, if the run settled on it.
    pub(super) fn named(&self, site: usize) -> Option<SiteName> {
        let name = &self.sites.get(site)?.plan.name;
        let record = self.coordinator.process.as_ref()?.record.as_ref()?;
        let named = record.sites.iter().flatten().any(|site| site == name);
        named.then(|| name.clone())
    }

    /// Someone who takes no part says that it sends an update.
    pub(super) fn stranger_speaks(&mut self, update: Update) -> Step {
        let site: SiteName = super::world::parsed("stranger")?;
        let ask = AskNumber(1);
        self.hear(RoundIn::Header { site, ask, update })
    }

    pub(super) fn ahead_of(&self, state: &State, round: u32) -> TensorsAhead {
        TensorsAhead {
            run_id: self.run_id.clone(),
            round,
            bytes: state.wire_bytes(),
            blake3: state.wire_blake3(),
        }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(process) = &mut self.coordinator.process {
            process.stage = stage;
        }
    }

    pub(super) fn stage_mut(&mut self) -> Option<&mut Stage> {
        Some(&mut self.coordinator.process.as_mut()?.stage)
    }

    fn take_stage(&mut self) -> Option<Stage> {
        let process = self.coordinator.process.as_mut()?;
        Some(std::mem::replace(&mut process.stage, Stage::Idle))
    }
}

/// Everything that a site receives of a state.
///
/// # Errors
/// The disk fails.
pub fn wire_bytes(state: &State) -> Step<Arc<Vec<u8>>> {
    let mut bytes = Vec::new();
    for index in 0..state.wire_chunks() {
        let chunk = state.wire_chunk(index);
        let chunk = chunk.map_err(|error| broken(Property::NoFaultOfItsOwn, error.to_string()))?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Arc::new(bytes))
}
