//! A run as its journal entries make it: what listings show and a restart resumes from.

use std::collections::BTreeMap;

use consilium_protocol::message::{Metrics, RunState, RunSummary};
use consilium_protocol::refusal::bounded;
use consilium_protocol::run::{RunError, RunSpec};
use consilium_protocol::{Digest, MemberName, Refusal, RunId, SiteName};
use serde::{Deserialize, Serialize};

use crate::event::{Admission, Event};

/// Everything about one run but its history and its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub summary: RunSummary,
    /// The run file, byte for byte.
    pub text: String,
    /// DER in hexadecimal.
    pub certificate: String,
    pub signature: String,
    pub admitted: BTreeMap<SiteName, Admission>,
    pub refused: BTreeMap<SiteName, Refusal>,
    /// The sites that train, once it is settled which do.
    pub sites: Option<Vec<SiteName>>,
    /// BLAKE3 of the file of the state after `summary.round` rounds.
    pub state: Option<Digest>,
    /// Of the final state, by site.
    pub evaluated: Option<BTreeMap<SiteName, Metrics>>,
    pub model: Option<Digest>,
    /// Entries of its history so far.
    pub events: u64,
}

impl RunRecord {
    /// A run from its first entry; `None` if that is none or its text is no run file.
    #[must_use]
    pub fn from_submission(event: &Event, at_ms: u64) -> Option<Self> {
        let Event::RunSubmitted {
            run_id,
            researcher,
            text,
            certificate,
            signature,
            ..
        } = event
        else {
            return None;
        };
        let spec = RunSpec::parse(text.as_bytes()).ok()?;
        let summary = summary_of(run_id, researcher, &spec, at_ms);
        Some(Self {
            summary,
            text: text.clone(),
            certificate: certificate.clone(),
            signature: signature.clone(),
            admitted: BTreeMap::new(),
            refused: BTreeMap::new(),
            sites: None,
            state: None,
            evaluated: None,
            model: None,
            events: 1,
        })
    }

    /// Takes a later entry of this run into account.
    pub fn apply(&mut self, event: &Event, at_ms: u64) {
        self.events += 1;
        match event {
            Event::SiteAdmitted {
                site, admission, ..
            } => {
                self.refused.remove(site);
                self.admitted.insert(site.clone(), admission.clone());
            }
            Event::SiteRefused { site, refusal, .. } => {
                self.refused.insert(site.clone(), refusal.clone());
            }
            Event::RunStarted { sites, state, .. } => {
                self.summary.state = RunState::Running;
                self.sites = Some(sites.clone());
                self.state = Some(*state);
            }
            Event::RoundClosed { round, state, .. } => {
                self.summary.round = *round;
                self.state = Some(*state);
            }
            Event::RunEvaluated { sites, .. } => self.evaluated = Some(sites.clone()),
            Event::RunEnded {
                state,
                cause,
                model,
                ..
            } => {
                self.summary.state = *state;
                self.summary.cause = bounded(cause.clone());
                self.summary.ended_at_ms = at_ms;
                self.model = *model;
            }
            Event::RunResumed { .. } => {
                self.summary.state = match self.sites {
                    Some(_) => RunState::Running,
                    None => RunState::Waiting,
                };
                self.summary.cause.clear();
                self.summary.ended_at_ms = 0;
                // A site that refused may have changed its policy since.
                self.refused.clear();
            }
            _ => {}
        }
    }

    /// The run file, parsed.
    ///
    /// # Errors
    /// None for a record made by [`Self::from_submission`].
    pub fn spec(&self) -> Result<RunSpec, RunError> {
        RunSpec::parse(self.text.as_bytes())
    }
}

fn summary_of(run_id: &RunId, researcher: &MemberName, spec: &RunSpec, at_ms: u64) -> RunSummary {
    let document = spec.document();
    RunSummary {
        run_id: run_id.clone(),
        name: document.name.clone(),
        project: document.project.clone(),
        researcher: researcher.clone(),
        state: RunState::Waiting,
        round: 0,
        rounds: document.rounds,
        submitted_at_ms: at_ms,
        ended_at_ms: 0,
        cause: String::new(),
    }
}
