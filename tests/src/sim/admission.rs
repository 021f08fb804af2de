//! The coordinator's shell before the first round and after the last, mirrored: `run/admission.rs` and
//! `run/final_evaluation.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consilium_coordinator::event::{Admission as Admitted, Event};
use consilium_coordinator::run::record::RunRecord;
use consilium_link::BACKOFF_CAP_MS;
use consilium_protocol::message::{Metrics, Request, Response, RunState, SignedRun, TensorsAhead};
use consilium_protocol::{Digest, SiteName};

use super::coordinator::Stage;
use super::mutation::ShellFault;
use super::network::Way;
use super::property::{Property, Step, broken};
use super::streams::Purpose;
use super::world::{Happening, Message, World};

/// As the coordinator's configuration has it in these worlds.
const ADMISSION_DEADLINE_MS: u64 = 120_000;
const RETRY_MS: u64 = 1_000;
const TRIES_MAX: u32 = 5;
const EXCHANGE_WAIT_MS: u64 = 60_000;

/// How long after a restart the evaluation waits for sites that are on their way back.
const RETURN_WAIT_MS: u64 = 10_000 + BACKOFF_CAP_MS;

/// Every participant is asked whether it takes part.
pub struct Admission {
    /// Sites that gave no verdict yet, with why.
    waiting: BTreeMap<SiteName, String>,
    /// Sites that may still be asked, with their failures.
    tries: BTreeMap<usize, u32>,
    asked: BTreeSet<usize>,
    resumes: u32,
}

/// Every site is asked once how the final state does.
pub struct Evaluation {
    ahead: TensorsAhead,
    bytes: Arc<Vec<u8>>,
    waiting: BTreeSet<SiteName>,
    /// Those that may still come back to be asked.
    returning: BTreeMap<usize, SiteName>,
    missing: BTreeMap<SiteName, String>,
    sites: BTreeMap<SiteName, Metrics>,
}

impl World {
    pub(super) fn begin_admission(&mut self, record: &RunRecord) -> Step {
        let heard = |site: &SiteName| {
            record.admitted.contains_key(site) || record.refused.contains_key(site)
        };
        let named = self.spec.document().participants.iter();
        let unheard: Vec<SiteName> = named.filter(|site| !heard(site)).cloned().collect();
        let tries = unheard.iter().filter_map(|site| self.by_name.get(site));
        let admission = Admission {
            tries: tries.map(|&site| (site, 0)).collect(),
            waiting: unheard
                .into_iter()
                .map(|site| (site, "not connected".to_owned()))
                .collect(),
            asked: BTreeSet::new(),
            resumes: self.coordinator.resumes,
        };
        let resumes = admission.resumes;
        let sites: Vec<usize> = admission.tries.keys().copied().collect();
        self.set_stage(Stage::Admission(admission));
        let life = self.coordinator.lives;
        self.after(
            ADMISSION_DEADLINE_MS,
            Happening::AdmissionEnds { life, resumes },
        );
        for site in sites {
            self.review(site);
        }
        self.settle_admission(false)
    }

    /// Asks a site, if it is connected, still to be asked, and not being asked.
    pub(super) fn review(&mut self, site: usize) {
        let epoch = self.links.get(site).and_then(|link| link.at_coordinator);
        let Some(Stage::Admission(admission)) = self.stage_mut() else {
            return;
        };
        let Some(epoch) = epoch.filter(|_| admission.tries.contains_key(&site)) else {
            return;
        };
        if !admission.asked.insert(site) {
            return;
        }
        let request = Request::Review {
            run_id: self.run_id.clone(),
            run: self.signed_run(true),
        };
        let stream = self.open(site, epoch, Purpose::Review);
        self.send_request(site, epoch, stream, request);
        let life = self.coordinator.lives;
        self.after(EXCHANGE_WAIT_MS, Happening::AskTimesOut { life, stream });
    }

    /// The run file with a signature. Signatures are not computed here: one word stands for a good one.
    pub(super) fn signed_run(&self, is_signed: bool) -> SignedRun {
        SignedRun {
            text: self.plan.run_text.clone().into_bytes(),
            certificate: Vec::new(),
            signature: if is_signed {
                b"good".to_vec()
            } else {
                Vec::new()
            },
        }
    }

    /// A site's answer to a review; `None` where the exchange failed.
    pub(super) fn review_answered(&mut self, site: usize, answer: Option<Response>) -> Step {
        let Some(name) = self.sites.get(site).map(|site| site.plan.name.clone()) else {
            return Ok(());
        };
        let run_id = self.run_id.clone();
        let Some(Stage::Admission(admission)) = self.stage_mut() else {
            return Ok(());
        };
        admission.asked.remove(&site);
        let event = match answer {
            Some(Response::Admitted(admitted)) => Event::SiteAdmitted {
                run_id,
                site: name.clone(),
                admission: Admitted {
                    records: admitted.records,
                    dataset_version: admitted.dataset_version,
                    bundle: admitted.bundle,
                },
            },
            Some(Response::Refusal(refusal)) => Event::SiteRefused {
                run_id,
                site: name.clone(),
                refusal,
            },
            _ => {
                let tries = admission.tries.entry(site).or_default();
                *tries += 1;
                if *tries >= TRIES_MAX {
                    admission.tries.remove(&site);
                    admission.waiting.insert(name, "it failed to answer".into());
                    return self.settle_admission(false);
                }
                let life = self.coordinator.lives;
                self.after(RETRY_MS, Happening::ReviewAgain { life, site });
                return Ok(());
            }
        };
        admission.tries.remove(&site);
        admission.waiting.remove(&name);
        match self.record(event)? {
            true => self.settle_admission(false),
            false => Ok(()),
        }
    }

    pub(super) fn review_again(&mut self, life: u64, site: usize) -> Step {
        if self.coordinator.lives == life {
            self.review(site);
        }
        Ok(())
    }

    pub(super) fn admission_ends(&mut self, life: u64, resumes: u32) -> Step {
        let is_this =
            matches!(self.coordinator.stage(), Some(Stage::Admission(a)) if a.resumes == resumes);
        match is_this && self.coordinator.lives == life {
            true => self.settle_admission(true),
            false => Ok(()),
        }
    }

    /// Settles which sites train, once all are heard, or the time is up, or too few are left.
    fn settle_admission(&mut self, time_is_up: bool) -> Step {
        let Some(record) = self.record_now() else {
            return Ok(());
        };
        let quorum = self.spec.quorum();
        let Some(Stage::Admission(admission)) = self.stage_mut() else {
            return Ok(());
        };
        let out_of_reach = record.admitted.len() + admission.waiting.len() < quorum;
        if !(time_is_up || admission.tries.is_empty() || out_of_reach) {
            return Ok(());
        }
        let mut unheard = std::mem::take(&mut admission.waiting);
        for (site, refusal) in &record.refused {
            unheard.insert(site.clone(), refusal.to_string());
        }
        self.end_streams();
        let admitted: Vec<SiteName> = record.admitted.keys().cloned().collect();
        if admitted.len() < quorum {
            let cause = format!(
                "{} sites admitted the run and it needs {quorum}",
                admitted.len()
            );
            return self.stop_run(cause);
        }
        let state = self.states().initial().map_err(|error| {
            broken(
                Property::NoFaultOfItsOwn,
                format!("the first state: {error}"),
            )
        })?;
        self.oracle.wrote(0, state.content(), state.wire_blake3())?;
        if self.dies_here() {
            self.coordinator_crashes();
            return Ok(());
        }
        let started = Event::RunStarted {
            run_id: self.run_id.clone(),
            sites: admitted,
            state: state.content(),
            missing: unheard,
        };
        match self.record(started)? {
            true => self.drive(),
            false => Ok(()),
        }
    }

    pub(super) fn begin_evaluation(&mut self, record: &RunRecord) -> Step {
        let state = self.open_state(record)?;
        self.oracle.begins_from(state.round(), state.content())?;
        let round = record.summary.rounds + 1;
        let ahead = self.ahead_of(&state, round);
        let bytes = super::rounds::wire_bytes(&state)?;
        let mut evaluation = Evaluation {
            ahead,
            bytes,
            waiting: BTreeSet::new(),
            returning: BTreeMap::new(),
            missing: BTreeMap::new(),
            sites: BTreeMap::new(),
        };
        let back_in_ms = self.returns_within_ms();
        let mut connected = Vec::new();
        for site in record.sites.clone().unwrap_or_default() {
            let Some(&index) = self.by_name.get(&site) else {
                continue;
            };
            let link = self.links.get(index).and_then(|link| link.at_coordinator);
            if link.is_some() || back_in_ms > 0 {
                evaluation.returning.insert(index, site.clone());
                evaluation.waiting.insert(site.clone());
            }
            if link.is_some() {
                connected.push(index);
            }
            evaluation.missing.insert(site, "not connected".into());
        }
        self.set_stage(Stage::Evaluation(evaluation));
        for site in connected {
            self.evaluate_returned(site);
        }
        if back_in_ms > 0 {
            let life = self.coordinator.lives;
            self.after(back_in_ms, Happening::ReturnWaitEnds { life });
        }
        let life = self.coordinator.lives;
        let wait_ms = self.spec.round_deadline_ms();
        self.after(wait_ms, Happening::EvaluationEnds { life });
        self.settle_evaluation(false)
    }

    /// How much longer a site that is not connected may be on its way back: a coordinator that was started in the
    /// middle of a run knows nobody yet.
    fn returns_within_ms(&self) -> u64 {
        match &self.coordinator.process {
            Some(process) if process.found_running => {
                (process.began_ms + RETURN_WAIT_MS).saturating_sub(self.now_ms)
            }
            _ => 0,
        }
    }

    /// A site that is to be evaluated is connected: it is asked, once.
    pub(super) fn evaluate_returned(&mut self, site: usize) {
        let epoch = self.links.get(site).and_then(|link| link.at_coordinator);
        let Some(Stage::Evaluation(evaluation)) = self.stage_mut() else {
            return;
        };
        let Some(epoch) = epoch else {
            return;
        };
        let Some(name) = evaluation.returning.remove(&site) else {
            return;
        };
        evaluation.missing.insert(name, "late".into());
        let (ahead, bytes) = (evaluation.ahead.clone(), evaluation.bytes.clone());
        let stream = self.open(site, epoch, Purpose::Evaluate);
        self.send_request(site, epoch, stream, Request::Evaluate(ahead));
        self.send(Way::ToSite, site, epoch, stream, Message::State(bytes));
    }

    pub(super) fn return_wait_ends(&mut self, life: u64) -> Step {
        if self.coordinator.lives != life {
            return Ok(());
        }
        if let Some(Stage::Evaluation(evaluation)) = self.stage_mut() {
            for (_, site) in std::mem::take(&mut evaluation.returning) {
                evaluation.waiting.remove(&site);
            }
        }
        self.settle_evaluation(false)
    }

    pub(super) fn evaluation_answered(&mut self, site: usize, answer: Option<Response>) -> Step {
        let Some(name) = self.sites.get(site).map(|site| site.plan.name.clone()) else {
            return Ok(());
        };
        let Some(Stage::Evaluation(evaluation)) = self.stage_mut() else {
            return Ok(());
        };
        evaluation.waiting.remove(&name);
        match answer {
            Some(Response::Evaluated(evaluated)) => {
                evaluation.missing.remove(&name);
                evaluation.sites.insert(name, evaluated.held_out);
            }
            Some(Response::Refusal(refusal)) => {
                evaluation
                    .missing
                    .insert(name, format!("refused: {refusal}"));
            }
            _ => {
                evaluation.missing.insert(name, "it failed".into());
            }
        }
        self.settle_evaluation(false)
    }

    pub(super) fn evaluation_ends(&mut self, life: u64) -> Step {
        match self.coordinator.lives == life {
            true => self.settle_evaluation(true),
            false => Ok(()),
        }
    }

    fn settle_evaluation(&mut self, time_is_up: bool) -> Step {
        let run_id = self.run_id.clone();
        let Some(Stage::Evaluation(evaluation)) = self.stage_mut() else {
            return Ok(());
        };
        if !time_is_up && !evaluation.waiting.is_empty() {
            return Ok(());
        }
        let evaluated = Event::RunEvaluated {
            run_id,
            sites: std::mem::take(&mut evaluation.sites),
            missing: std::mem::take(&mut evaluation.missing),
        };
        self.end_streams();
        match self.record(evaluated)? {
            true => self.drive(),
            false => Ok(()),
        }
    }

    /// As `Driver::finish`: the model's file, the entry, and the end told to the sites.
    pub(super) fn finish(&mut self, record: &RunRecord) -> Step {
        let state = self.open_state(record)?;
        self.oracle.begins_from(state.round(), state.content())?;
        let path = self.coordinator.path("model.safetensors");
        let exported = self
            .states()
            .export_model(&state, &path)
            .map_err(|error| broken(Property::NoFaultOfItsOwn, format!("the model: {error}")))?;
        if self.dies_here() {
            self.coordinator_crashes();
            return Ok(());
        }
        let ended = Event::RunEnded {
            run_id: self.run_id.clone(),
            state: RunState::Finished,
            cause: String::new(),
            model: Some(exported.sha256),
        };
        if !self.record(ended)? {
            return Ok(());
        }
        self.set_stage(Stage::Idle);
        for name in self.spec.document().participants.clone() {
            let Some(&site) = self.by_name.get(&name) else {
                continue;
            };
            let Some(epoch) = self.links.get(site).and_then(|link| link.at_coordinator) else {
                continue;
            };
            let request = Request::EndRun {
                run_id: self.run_id.clone(),
                outcome: "finished".into(),
            };
            let stream = self.open(site, epoch, Purpose::Told);
            self.send_request(site, epoch, stream, request);
        }
        Ok(())
    }

    /// At a start: the record as the journal has it, or, where that is planted, without the sites it settled on.
    pub(super) fn forget_sites_where_planted(&mut self) {
        if self.has_shell_fault(ShellFault::ReadmitAfterStart)
            && let Some(process) = &mut self.coordinator.process
            && let Some(record) = &mut process.record
            && record.sites.is_some()
            && record.summary.round > 0
        {
            record.sites = None;
        }
    }

    /// The version of a site's data set in these worlds.
    #[must_use]
    pub fn dataset_version() -> Digest {
        Digest::of(b"generated")
    }
}
