//! Drives one run: admission, rounds, evaluation, model. The shell around [`crate::round::Round`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consilium_link::{BACKOFF_CAP_MS, Connection};
use consilium_protocol::message::{Request, RunState, SignedRun};
use consilium_protocol::run::{RunError, RunSpec};
use consilium_protocol::{MemberName, Millis, Role, RunId, SiteName};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::causes::fitting_end;
use super::record::RunRecord;
use super::unhex;
use crate::coordinator::{Coordinator, CoordinatorError, Presence, RunSignal};
use crate::event::Event;
use crate::round::{RoundFailure, TermsError};
use crate::state::{StateError, StateFolder};

/// How long the end of a run is told to its sites before it is left at that.
const END_RUN_WAIT_MS: u64 = 5_000;

/// How long after a restart sites are waited for where a round would not wait: a node notices
/// within two keep-alives, and dials again within its longest pause.
const RETURN_WAIT: Duration = Duration::from_millis(10_000 + BACKOFF_CAP_MS);

/// One run under way.
pub(super) struct Driver {
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) record: RunRecord,
    pub(super) spec: RunSpec,
    pub(super) signed: SignedRun,
    pub(super) states: Arc<StateFolder>,
    pub(super) inbox: mpsc::Receiver<RunSignal>,
    pub(super) presence: broadcast::Receiver<Presence>,
    /// The connection of each participant that this run last saw.
    pub(super) connections: BTreeMap<SiteName, Connection>,
    clock: Clock,
    /// Until when a site that is not connected may still be on its way back: a coordinator that was just started anew
    /// knows nobody yet. In a run that began under this process, no longer than it takes to look.
    pub(super) back_until: Instant,
}

/// Time that only goes forward, at one second a second, whatever the wall clock does.
struct Clock {
    began: Instant,
    began_at: Millis,
}

/// Why a run does not finish.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunStop {
    #[error("stopped by `{by}`")]
    Stopped { by: MemberName },
    #[error("{0}")]
    Round(#[from] RoundFailure),
    #[error("{0}")]
    Terms(#[from] TermsError),
    #[error("{cause}")]
    Admission { cause: String },
    #[error("{what}; this is a defect of the coordinator, please report it")]
    Lost { what: String },
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{0}")]
    Spec(#[from] RunError),
    #[error("{0}")]
    Coordinator(#[from] CoordinatorError),
}

impl From<tokio::task::JoinError> for RunStop {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Coordinator(error.into())
    }
}

/// Begins to drive a run, unless it is being driven already.
pub(super) fn spawn(coordinator: &Arc<Coordinator>, record: RunRecord) {
    let run_id = record.summary.run_id.clone();
    let Some(inbox) = coordinator.enliven(&run_id, record.events) else {
        return;
    };
    let coordinator = coordinator.clone();
    tokio::spawn(async move {
        let ended = match Driver::new(&coordinator, record, inbox) {
            Ok(mut driver) => driver.drive().await,
            Err(stop) => Err(stop),
        };
        if let Err(stop) = ended
            && let Err(error) = record_stop(&coordinator, &run_id, &stop).await
        {
            // The disk fails: the run is taken up again at the next start.
            tracing::error!(%run_id, %error, %stop, "the end of a run could not be recorded");
        }
        coordinator.retire(&run_id);
    });
}

async fn record_stop(
    coordinator: &Arc<Coordinator>,
    run_id: &RunId,
    stop: &RunStop,
) -> Result<(), CoordinatorError> {
    tracing::warn!(%run_id, %stop, "a run ended");
    let state = match stop {
        RunStop::Stopped { .. } => RunState::Stopped,
        _ => RunState::Failed,
    };
    let ended = Event::RunEnded {
        run_id: run_id.clone(),
        state,
        cause: fitting_end(stop.to_string()),
        model: None,
    };
    coordinator.record(ended).await?;
    Ok(())
}

impl Driver {
    fn new(
        coordinator: &Arc<Coordinator>,
        record: RunRecord,
        inbox: mpsc::Receiver<RunSignal>,
    ) -> Result<Self, RunStop> {
        let spec = record.spec()?;
        let signed = SignedRun {
            text: record.text.clone().into_bytes(),
            certificate: unhex(&record.certificate).unwrap_or_default(),
            signature: unhex(&record.signature).unwrap_or_default(),
        };
        let run_id = record.summary.run_id.clone();
        let folder = coordinator.folder.run(&run_id);
        std::fs::create_dir_all(&folder).map_err(|source| CoordinatorError::Disk {
            what: format!("cannot make the folder `{}`", folder.display()),
            source,
        })?;
        let began = Instant::now();
        let back_until = match record.sites {
            Some(_) => began + RETURN_WAIT,
            None => began,
        };
        Ok(Self {
            states: Arc::new(StateFolder::new(folder, run_id, spec.clone())),
            // Before the first look at who is connected, so that nothing falls between.
            presence: coordinator.watch_presence(),
            connections: BTreeMap::new(),
            clock: Clock {
                began,
                began_at: coordinator.now(),
            },
            back_until,
            coordinator: coordinator.clone(),
            record,
            spec,
            signed,
            inbox,
        })
    }

    async fn drive(&mut self) -> Result<(), RunStop> {
        let slots = self.coordinator.active_runs.clone();
        let _slot = tokio::select! {
            slot = slots.acquire_owned() => slot,
            stop = stopped(&mut self.inbox) => return Err(stop),
        };
        if self.record.sites.is_none() {
            self.admit().await?;
        }
        self.train().await?;
        if self.record.evaluated.is_none() {
            self.evaluate().await?;
        }
        self.finish().await
    }

    /// Writes the model's file, records the end, and tells the sites.
    async fn finish(&mut self) -> Result<(), RunStop> {
        let state = self.open_state().await?;
        let path = self.coordinator.folder.model(&self.record.summary.run_id);
        let states = self.states.clone();
        let exported =
            tokio::task::spawn_blocking(move || states.export_model(&state, &path)).await??;
        let ended = Event::RunEnded {
            run_id: self.record.summary.run_id.clone(),
            state: RunState::Finished,
            cause: String::new(),
            model: Some(exported.sha256),
        };
        self.record(ended).await?;
        tracing::info!(run_id = %self.record.summary.run_id, "a run finished");
        self.tell_end("finished").await;
        Ok(())
    }

    /// Tells the sites that they may forget the run. A site that misses it keeps a little on disk.
    async fn tell_end(&self, outcome: &str) {
        let mut told = tokio::task::JoinSet::new();
        for site in self.spec.document().participants.clone() {
            let Some(connection) = self.coordinator.connection(Role::Site, &site.into()) else {
                continue;
            };
            let request = Request::EndRun {
                run_id: self.record.summary.run_id.clone(),
                outcome: outcome.to_owned(),
            };
            told.spawn(async move { super::ask::exchange(&connection, request).await });
        }
        let wait = Duration::from_millis(END_RUN_WAIT_MS);
        tokio::time::timeout(wait, told.join_all()).await.ok();
    }

    /// Records an entry of this run and keeps the record in step.
    pub(super) async fn record(&mut self, event: Event) -> Result<(), CoordinatorError> {
        if let Some(record) = self.coordinator.record(event).await? {
            self.record = record;
        }
        Ok(())
    }

    /// The driver's time.
    pub(super) fn now(&self) -> Millis {
        let elapsed = self.clock.began.elapsed().as_millis();
        self.clock.began_at + u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    /// That moment as tokio's timers know it.
    pub(super) fn instant_of(&self, moment: Millis) -> Instant {
        let ahead = moment.since_ms(self.clock.began_at);
        self.clock.began + Duration::from_millis(ahead)
    }
}

/// Waits until a person stops the run. A run that nobody can stop any more is never stopped.
pub(super) async fn stopped(inbox: &mut mpsc::Receiver<RunSignal>) -> RunStop {
    match inbox.recv().await {
        Some(RunSignal::Stop { by }) => RunStop::Stopped { by },
        None => std::future::pending().await,
    }
}
