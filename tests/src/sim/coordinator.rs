//! The coordinator's shell, mirrored: its process, its one door to the journal, and who is connected.
//!
//! What `coordinator/src/coordinator.rs` does with tokio and sled is done here by hand and in the same order: an
//! entry is durable before the record, the members and anybody else hear of it. The record is made anew from the
//! journal at each start, by the real [`RunRecord`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use consilium_coordinator::event::Event;
use consilium_coordinator::members::Members;
use consilium_coordinator::round::Accumulator;
use consilium_coordinator::run::record::RunRecord;
use consilium_coordinator::state::StateFolder;
use consilium_journal::{Head, Journal, Limits};
use consilium_protocol::limits::EVENT_BYTES_MAX;
use consilium_protocol::message::RunState;
use consilium_protocol::{Digest, Millis, Role, SiteName};

use super::admission::{Admission, Evaluation};
use super::clock::WallClock;
use super::disk::{Disk, DiskLie, Mount};
use super::journals;
use super::property::{Property, Step, broken, must};
use super::rounds::Collect;
use super::streams::Stream;
use super::world::{Happening, World, parsed};

/// How often the researcher takes a failed run up again.
pub(super) const RESUMES_MAX: u32 = 4;

/// Long after the last moment of any world.
const CERTIFICATES_END_MS: u64 = 4_000_000_000_000;

/// What survives the coordinator's process.
pub struct Coordinator {
    pub(super) disk: Disk,
    /// States lie in a real folder, in memory where the system has such a place.
    folder: tempfile::TempDir,
    pub(super) clock: WallClock,
    acknowledged: Option<Head>,
    /// The record after the last acknowledged entry.
    pub(super) known: Option<RunRecord>,
    pub(super) lives: u64,
    pub(super) resumes: u32,
    pub(super) process: Option<Process>,
}

/// The coordinator's process.
pub struct Process {
    pub(super) mount: Arc<Mount>,
    pub(super) journal: Journal,
    pub(super) members: Members,
    pub(super) record: Option<RunRecord>,
    pub(super) stage: Stage,
    pub(super) streams: BTreeMap<u64, Stream>,
    /// The driver's clock: the wall's when it began, and then one second a second.
    pub(super) began_ms: u64,
    pub(super) began_at: Millis,
    /// The accumulator's memory between rounds.
    pub(super) spare: Option<Accumulator>,
    /// This process has not begun a round yet.
    pub(super) is_fresh: bool,
    /// It was started in the middle of a run whose sites are settled.
    pub(super) found_running: bool,
}

/// What the run's driver is at.
pub enum Stage {
    Idle,
    Admission(Admission),
    Round(Box<Collect>),
    Evaluation(Evaluation),
}

impl Coordinator {
    /// With an empty disk, not running.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn new(lie: Option<DiskLie>) -> Step<Self> {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let folder = in_memory
            .or_else(|_| tempfile::tempdir())
            .map_err(|error| {
                broken(
                    Property::NoFaultOfItsOwn,
                    format!("no temporary folder: {error}"),
                )
            })?;
        Ok(Self {
            disk: Disk::new(lie),
            folder,
            clock: WallClock::default(),
            acknowledged: None,
            known: None,
            lives: 0,
            resumes: 0,
            process: None,
        })
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// What its driver is at.
    #[must_use]
    pub fn stage(&self) -> Option<&Stage> {
        Some(&self.process.as_ref()?.stage)
    }

    /// Its journal's chain.
    ///
    /// # Errors
    /// It is broken.
    pub fn verify(&self) -> Step {
        journals::verify(self.disk.as_read(), "the coordinator", self.acknowledged)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl World {
    /// Before the first step: the members are enrolled, the run is submitted, everybody starts.
    pub(super) fn found(&mut self) -> Step {
        self.coordinator_starts()?;
        let mut members: Vec<(Role, SiteName)> = Vec::new();
        for site in &self.sites {
            members.push((Role::Site, site.plan.name.clone()));
        }
        for (role, name) in members {
            let enrolled = Event::MemberEnrolled {
                role,
                certificate: Digest::of(name.as_str().as_bytes()),
                name: name.into(),
                expires_at_ms: CERTIFICATES_END_MS,
            };
            self.record(enrolled)?;
        }
        for site in 0..self.sites.len() {
            self.site_starts(site)?;
        }
        let mut troubles = self.plan.troubles.clone();
        for (at_ms, trouble) in troubles.drain(..) {
            self.after(at_ms, Happening::Trouble(trouble));
        }
        self.submit()
    }

    /// A researcher submits the run: as `run::submit`, whose checks are not mirrored.
    pub(super) fn submit(&mut self) -> Step {
        let submitted = Event::RunSubmitted {
            run_id: self.run_id.clone(),
            token: Digest::of(self.run_id.as_str().as_bytes()),
            researcher: parsed("ada")?,
            text: self.plan.run_text.clone(),
            certificate: String::new(),
            signature: String::new(),
        };
        self.coordinator.known = None;
        if let Some(process) = &mut self.coordinator.process {
            process.record = None;
        }
        self.record(submitted)?;
        self.drive()
    }

    pub(super) fn coordinator_starts(&mut self) -> Step {
        self.coordinator.lives += 1;
        let mount = self.coordinator.disk.mount();
        self.coordinator.verify()?;
        let opened = Journal::open_on(mount.clone(), Limits::default());
        let (journal, _) = opened.map_err(|error| {
            broken(
                Property::JournalSurvives,
                format!("the coordinator's journal cannot be opened: {error}"),
            )
        })?;
        let (members, record) = self.read_again(&journal)?;
        let began_at = Millis(
            self.coordinator
                .clock
                .now_ms(self.now_ms)
                .max(journal.latest_ms()),
        );
        self.coordinator.acknowledged = Some(journal.head());
        self.coordinator.known.clone_from(&record);
        let found_running = record.as_ref().is_some_and(|record| record.sites.is_some());
        self.coordinator.process = Some(Process {
            mount,
            journal,
            members,
            record,
            stage: Stage::Idle,
            streams: BTreeMap::new(),
            began_ms: self.now_ms,
            began_at,
            spare: None,
            is_fresh: true,
            found_running,
        });
        self.forget_sites_where_planted();
        self.drive()
    }

    /// Members and the run, from the journal alone; the run must stand where it was acknowledged to stand, or one
    /// entry further.
    fn read_again(&self, journal: &Journal) -> Step<(Members, Option<RunRecord>)> {
        let unreadable = |error: consilium_journal::JournalError| {
            broken(Property::JournalSurvives, error.to_string())
        };
        let mut members = Members::default();
        let mut record: Option<RunRecord> = None;
        let mut latest_ms = 0;
        for entry in journal.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let event: Event = entry.parse().map_err(unreadable)?;
            must(entry.at_ms >= latest_ms, Property::TimeGoesForward, || {
                format!(
                    "entry {} of the coordinator lies before the one before it",
                    entry.seq
                )
            })?;
            latest_ms = entry.at_ms;
            members.apply(&event);
            match RunRecord::from_submission(&event, entry.at_ms) {
                Some(submitted) => record = Some(submitted),
                None => {
                    if let Some(record) = &mut record
                        && event.run_id() == Some(&record.summary.run_id)
                    {
                        record.apply(&event, entry.at_ms);
                    }
                }
            }
        }
        let (known, found) = (&self.coordinator.known, &record);
        let events = |record: &Option<RunRecord>| record.as_ref().map_or(0, |r| r.events);
        let goes_on = events(found) == events(known) + 1 || found == known;
        must(goes_on, Property::ResumesToTheSame, || {
            format!(
                "the run stood at entry {} and is found at {}, or otherwise than it was",
                events(known),
                events(found)
            )
        })?;
        Ok((members, record))
    }

    /// The run from where its record stands: as `run::resume_all` and `Driver::drive`.
    pub(super) fn drive(&mut self) -> Step {
        let Some(record) = self.record_now() else {
            return Ok(());
        };
        if record.summary.state.is_over() {
            return self.plan_resume(&record);
        }
        if record.sites.is_none() {
            self.begin_admission(&record)
        } else if record.summary.round < record.summary.rounds {
            self.begin_round(&record)
        } else if record.evaluated.is_none() {
            self.begin_evaluation(&record)
        } else {
            self.finish(&record)
        }
    }

    /// The run's record, as the running process has it.
    pub(super) fn record_now(&self) -> Option<RunRecord> {
        self.coordinator.process.as_ref()?.record.clone()
    }

    /// Records an entry, durably, before it takes effect; false where it could not, and nothing goes on.
    pub(super) fn record(&mut self, event: Event) -> Step<bool> {
        let Some(process) = &mut self.coordinator.process else {
            return Ok(false);
        };
        let wall = self.coordinator.clock.now_ms(self.now_ms);
        let at_ms = wall.max(process.journal.latest_ms());
        let bytes = serde_json::to_vec(&event).map_or(0, |json| json.len());
        must(bytes <= EVENT_BYTES_MAX, Property::Bounded, || {
            format!(
                "`{}` is an event of {bytes} bytes, and nobody reads more than {EVENT_BYTES_MAX}",
                event.kind()
            )
        })?;
        if let Err(error) = process.journal.append_json(at_ms, event.kind(), &event) {
            return self.journal_stopped(&error.to_string());
        }
        self.coordinator.acknowledged = Some(process.journal.head());
        process.members.apply(&event);
        match RunRecord::from_submission(&event, at_ms) {
            Some(record) => process.record = Some(record),
            None => {
                if let Some(record) = &mut process.record
                    && event.run_id() == Some(&record.summary.run_id)
                {
                    record.apply(&event, at_ms);
                }
            }
        }
        self.coordinator.known.clone_from(&process.record);
        Ok(true)
    }

    /// Power was lost, or the disk fails: then the run rests until an operator restarts the coordinator.
    fn journal_stopped(&mut self, cause: &str) -> Step<bool> {
        let Some(process) = &mut self.coordinator.process else {
            return Ok(false);
        };
        if process.mount.is_dead() {
            self.coordinator_crashes();
            return Ok(false);
        }
        must(
            self.report.disk_troubles > 0,
            Property::NoFaultOfItsOwn,
            || format!("the coordinator's journal stopped: {cause}"),
        )?;
        process.stage = Stage::Idle;
        process.streams.clear();
        let life = self.coordinator.lives;
        let wait_ms = self.dice.between(1_000, 20_000);
        self.after(wait_ms, Happening::CoordinatorStops { life });
        Ok(false)
    }

    pub(super) fn coordinator_stops(&mut self, life: u64) -> Step {
        if self.coordinator.lives == life {
            self.coordinator_crashes();
        }
        Ok(())
    }

    /// The process is gone, and with it what was not synced.
    pub(super) fn coordinator_crashes(&mut self) {
        if self.coordinator.process.take().is_none() {
            return;
        }
        self.report.coordinator_crashes += 1;
        self.oracle.forget_deliveries();
        self.coordinator.disk.lose_power(&mut self.dice);
        for site in 0..self.links.len() {
            self.cut_link(site);
            if let Some(link) = self.links.get_mut(site) {
                link.at_coordinator = None;
            }
        }
        let wait_ms = self.dice.between(100, 8_000);
        self.after(wait_ms, Happening::CoordinatorStarts);
    }

    /// Whether a member's certificate is still good, as every handshake asks.
    pub(super) fn coordinator_admits(&self, role: Role, site: usize) -> Step<bool> {
        let (Some(process), Some(site)) = (&self.coordinator.process, self.sites.get(site)) else {
            return Ok(false);
        };
        let name = &site.plan.name;
        let certificate = Digest::of(name.as_str().as_bytes());
        let wall = self.coordinator.clock.now_ms(self.now_ms);
        let now = Millis(wall.max(process.journal.latest_ms()));
        let admitted = process
            .members
            .admit(role, &name.clone().into(), certificate, now);
        must(
            admitted.is_ok() || site.is_evicted,
            Property::HonestIsNotBlamed,
            || format!("`{name}` is turned away: {admitted:?}"),
        )?;
        must(
            admitted.is_err() || !site.is_evicted,
            Property::NoFaultOfItsOwn,
            || format!("the evicted `{name}` is let in"),
        )?;
        Ok(admitted.is_ok())
    }

    /// The run's states on disk.
    pub(super) fn states(&self) -> StateFolder {
        let folder = self.coordinator.folder.path().to_owned();
        StateFolder::new(folder, self.run_id.clone(), self.spec.clone())
    }

    /// The driver's time.
    pub(super) fn driver_now(&self) -> Millis {
        match &self.coordinator.process {
            Some(process) => process.began_at + (self.now_ms - process.began_ms),
            None => Millis(0),
        }
    }

    /// As `driver::record_stop`: the run ends with its cause.
    pub(super) fn stop_run(&mut self, cause: String) -> Step {
        if let Some(process) = &mut self.coordinator.process {
            process.stage = Stage::Idle;
            process.streams.clear();
        }
        must(!cause.is_empty(), Property::RoundEnds, || {
            "a run failed without a cause".into()
        })?;
        let ended = Event::RunEnded {
            run_id: self.run_id.clone(),
            state: RunState::Failed,
            cause,
            model: None,
        };
        if self.record(ended)?
            && let Some(record) = self.record_now()
        {
            self.plan_resume(&record)?;
        }
        Ok(())
    }

    /// The researcher sees a failed run and takes it up again, a few times.
    fn plan_resume(&mut self, record: &RunRecord) -> Step {
        if record.summary.state == RunState::Failed && self.coordinator.resumes < RESUMES_MAX {
            let wait_ms = self.dice.between(5_000, 60_000);
            self.after(wait_ms, Happening::ResearcherResumes);
        }
        Ok(())
    }

    /// As `run::resume_ended`.
    pub(super) fn researcher_resumes(&mut self) -> Step {
        let failed = self
            .record_now()
            .is_some_and(|record| record.summary.state == RunState::Failed);
        if !failed || self.coordinator.resumes >= RESUMES_MAX {
            return Ok(());
        }
        self.coordinator.resumes += 1;
        self.report.resumed_runs += 1;
        let resumed = Event::RunResumed {
            run_id: self.run_id.clone(),
            by: parsed("ada")?,
        };
        match self.record(resumed)? {
            true => self.drive(),
            false => Ok(()),
        }
    }

    /// At the end of a world: the run is finished, or failed with a cause and often enough.
    pub(super) fn run_is_over(&mut self) -> Step {
        let record = self.record_now().ok_or_else(|| {
            broken(
                Property::RoundEnds,
                "the coordinator does not run, and nothing will start it",
            )
        })?;
        let summary = &record.summary;
        let is_finished = summary.state == RunState::Finished;
        must(
            is_finished || (summary.state == RunState::Failed && !summary.cause.is_empty()),
            Property::RoundEnds,
            || {
                format!(
                    "nothing more happens, and the run is {} after round {} of {}",
                    summary.state.as_str(),
                    summary.round,
                    summary.rounds
                )
            },
        )?;
        if self.plan.mode == super::plan::Mode::Calm {
            must(
                is_finished && self.report.missing == 0,
                Property::NoFaultOfItsOwn,
                || {
                    format!(
                        "nothing went wrong, and the run is {}: {}",
                        summary.state.as_str(),
                        summary.cause
                    )
                },
            )?;
        }
        match is_finished {
            true => self.report.finished += 1,
            false => self.report.failed += 1,
        }
        Ok(())
    }
}
