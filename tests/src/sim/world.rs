//! The world: one queue of happenings in virtual time, and the loop that takes them one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use consilium_policies::{Bundle, Researcher};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Role, RunId, SiteName};

use super::coordinator::{Coordinator, Stage};
use super::dice::Dice;
use super::disk::DiskLie;
use super::journals;
use super::mutation::{Mutation, ShellFault};
use super::network::{Link, Partition, Side, Way};
use super::oracle::Oracle;
use super::plan::{Mode, Plan, Trouble};
use super::property::{Property, Step, Violation, broken, must};
use super::report::Report;
use super::site::Site;

/// 2026-06-01, 00:00 UTC.
pub const BEGAN_AT_MS: u64 = 1_780_272_000_000;

/// Steps of one world; a run of 100 sites takes some 20,000.
const STEPS_MAX: u64 = 2_000_000;

/// Happenings that may lie ahead at one time.
const AHEAD_MAX: usize = 100_000;

/// Steps between two looks at every journal's chain.
const STEPS_BETWEEN_LOOKS: u64 = 997;

/// What can happen next.
pub enum Happening {
    Dial {
        site: usize,
        life: u64,
    },
    LinkLost {
        site: usize,
        epoch: u64,
        side: Side,
    },
    IdleLook {
        sites: Vec<usize>,
    },
    Arrives {
        way: Way,
        site: usize,
        epoch: u64,
        stream: u64,
        message: Message,
    },
    /// A site's time for its training or evaluation is over.
    Worked {
        site: usize,
        life: u64,
        stream: u64,
    },
    SiteStarts(usize),
    /// An operator stops a node whose journal takes no more.
    SiteStops {
        site: usize,
        life: u64,
    },
    CoordinatorStarts,
    CoordinatorStops {
        life: u64,
    },
    RoundTimer {
        life: u64,
    },
    AskTimesOut {
        life: u64,
        stream: u64,
    },
    ReviewAgain {
        life: u64,
        site: usize,
    },
    AdmissionEnds {
        life: u64,
        resumes: u32,
    },
    EvaluationEnds {
        life: u64,
    },
    ReturnWaitEnds {
        life: u64,
    },
    ResearcherResumes,
    /// Somebody asks a site something that has a cost.
    Question {
        site: usize,
        life: u64,
    },
    Trouble(Trouble),
}

/// What travels.
#[derive(Clone)]
pub enum Message {
    /// A framed request or response.
    Frame(Vec<u8>),
    /// A round's state, all of its chunks.
    State(Arc<Vec<u8>>),
    /// One chunk of an update.
    Chunk(Bytes),
    /// The stream broke: a hash or a frame did not fit.
    Broken,
    /// The other side ended the stream.
    Ended,
}

/// A whole consortium.
pub struct World {
    pub(super) plan: Plan,
    pub(super) mutation: Option<Mutation>,
    pub(super) dice: Dice,
    /// Virtual milliseconds since the world began.
    pub(super) now_ms: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    steps: u64,
    pub(super) links: Vec<Link>,
    pub(super) partitions: Vec<Partition>,
    /// The last arrival on a stream, for streams keep their order.
    pub(super) arrivals: BTreeMap<(u64, Way), u64>,
    /// Streams of which something was lost for good.
    pub(super) stalled: BTreeSet<(u64, Way)>,
    pub(super) streams: u64,
    pub(super) coordinator: Coordinator,
    pub(super) sites: Vec<Site>,
    pub(super) by_name: BTreeMap<SiteName, usize>,
    pub(super) oracle: Oracle,
    pub(super) policies: BTreeMap<Digest, Bundle>,
    pub(super) run_id: RunId,
    pub(super) spec: RunSpec,
    pub report: Report,
}

impl World {
    /// A consortium in which every site is enrolled and a run is submitted, before the first step.
    ///
    /// # Errors
    /// A defect of the simulator.
    pub fn new(plan: Plan, mutation: Option<Mutation>) -> Step<Self> {
        let disk_lie = |under: fn(DiskLie) -> Mutation, lies: &[DiskLie]| {
            let planted = |lie: &&DiskLie| Some(under(**lie)) == mutation;
            lies.iter().find(planted).copied()
        };
        let lies = [
            DiskLie::SkipSync,
            DiskLie::SyncReservationLate,
            DiskLie::SwallowErrors,
        ];
        let node_lie = disk_lie(Mutation::NodeDisk, &lies);
        let vault_lie = disk_lie(Mutation::VaultDisk, &lies);
        let mut sites = Vec::new();
        let mut by_name = BTreeMap::new();
        for (index, site) in plan.sites.iter().enumerate() {
            by_name.insert(site.name.clone(), index);
            let questions = Dice::new(plan.seed ^ 0xA5C ^ (index as u64) << 20);
            sites.push(Site::new(
                index,
                site.clone(),
                [node_lie, vault_lie],
                questions,
            )?);
        }
        let run_id: RunId = parsed("r-1")?;
        let spec = spec_of(&plan.run_text)?;
        let mut dice = Dice::new(plan.seed);
        let mut world = Self {
            oracle: oracle_of(&run_id, &spec, &sites)?,
            links: vec![Link::default(); sites.len()],
            coordinator: Coordinator::new(disk_lie(Mutation::CoordinatorDisk, &lies))?,
            dice: dice.split(),
            plan,
            mutation,
            now_ms: 0,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            partitions: Vec::new(),
            arrivals: BTreeMap::new(),
            stalled: BTreeSet::new(),
            streams: 0,
            sites,
            by_name,
            policies: BTreeMap::new(),
            run_id,
            spec,
            report: Report::default(),
        };
        world.found()?;
        Ok(world)
    }

    /// Takes happenings until none is left, and looks at everything once more.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn run(&mut self) -> Step {
        while let Some(((at_ms, _), happening)) = self.queue.pop_first() {
            self.now_ms = at_ms;
            self.steps += 1;
            self.round_is_in_time()?;
            self.take(happening)?;
            self.is_bounded()?;
            if self.steps.is_multiple_of(STEPS_BETWEEN_LOOKS) {
                self.chains_verify()?;
            }
        }
        self.look_back()
    }

    /// Another run of the same consortium, after the one before is over.
    ///
    /// # Errors
    /// A defect of the simulator.
    pub fn submit_another(&mut self, number: u64, run_text: String) -> Step {
        self.run_id = parsed(&format!("r-{number}"))?;
        self.spec = spec_of(&run_text)?;
        self.oracle = oracle_of(&self.run_id, &self.spec, &self.sites)?;
        self.plan.run_text = run_text;
        self.submit()
    }

    pub(super) fn after(&mut self, ms: u64, happening: Happening) {
        self.queued += 1;
        self.queue
            .insert((self.now_ms.saturating_add(ms), self.queued), happening);
    }

    /// Whether new trouble may still be made.
    pub(super) fn is_stormy(&self) -> bool {
        self.now_ms < self.plan.calm_at_ms && self.plan.mode != Mode::Calm
    }

    /// A labelled point: does the process die here?
    pub(super) fn dies_here(&mut self) -> bool {
        self.is_stormy() && self.dice.permille(self.plan.crash_permille)
    }

    pub(super) fn has_shell_fault(&self, fault: ShellFault) -> bool {
        self.mutation == Some(Mutation::Shell(fault))
    }

    fn take(&mut self, happening: Happening) -> Step {
        match happening {
            Happening::Dial { site, life } => self.dial(site, life),
            Happening::LinkLost { site, epoch, side } => self.link_is_lost(site, epoch, side),
            Happening::IdleLook { sites } => {
                self.look_for_idle_links(&sites);
                Ok(())
            }
            Happening::Arrives {
                way: Way::ToSite,
                site,
                epoch,
                stream,
                message,
            } => self.site_hears(site, epoch, stream, message),
            Happening::Arrives {
                site,
                epoch,
                stream,
                message,
                ..
            } => self.coordinator_hears(site, epoch, stream, message),
            Happening::Worked { site, life, stream } => self.site_worked(site, life, stream),
            Happening::SiteStarts(site) => self.site_starts(site),
            Happening::SiteStops { site, life } => self.site_stops(site, life),
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::CoordinatorStops { life } => self.coordinator_stops(life),
            Happening::RoundTimer { life } => self.round_timer(life),
            Happening::AskTimesOut { life, stream } => self.ask_times_out(life, stream),
            Happening::ReviewAgain { life, site } => self.review_again(life, site),
            Happening::AdmissionEnds { life, resumes } => self.admission_ends(life, resumes),
            Happening::EvaluationEnds { life } => self.evaluation_ends(life),
            Happening::ReturnWaitEnds { life } => self.return_wait_ends(life),
            Happening::ResearcherResumes => self.researcher_resumes(),
            Happening::Question { site, life } => self.question(site, life),
            Happening::Trouble(trouble) => self.trouble(trouble),
        }
    }

    fn round_is_in_time(&self) -> Step {
        let Some(Stage::Round(collect)) = self.coordinator.stage() else {
            return Ok(());
        };
        let deadline_ms = self.spec.round_deadline_ms();
        let due_ms = collect.opened_ms + deadline_ms * (u64::from(collect.restarts) + 1);
        must(self.now_ms <= due_ms, Property::RoundEnds, || {
            format!(
                "round {} is open {} ms after its deadline",
                collect.number,
                self.now_ms - due_ms
            )
        })
    }

    fn is_bounded(&self) -> Step {
        must(
            self.queue.len() <= AHEAD_MAX && self.steps <= STEPS_MAX,
            Property::Bounded,
            || format!("{} steps, {} ahead", self.steps, self.queue.len()),
        )
    }

    fn chains_verify(&self) -> Step {
        self.coordinator.verify()?;
        self.sites.iter().try_for_each(Site::verify)
    }

    /// The end: the run is over with a cause, and every journal says what must be said.
    fn look_back(&mut self) -> Step {
        self.run_is_over()?;
        self.ask_everything_again()?;
        self.chains_verify()?;
        self.report.steps = self.steps;
        self.report.virtual_ms = self.now_ms;
        for site in &self.sites {
            let counts = site.audit(&self.policies)?;
            let most = 8 + 4 * site.requests + 4 * site.lives;
            must(counts.entries <= most, Property::Bounded, || {
                format!(
                    "{} journal entries at `{}` after {} requests and {} starts",
                    counts.entries, site.plan.name, site.requests, site.lives
                )
            })?;
            self.report.entries += counts.entries;
            self.report.released += counts.released;
            self.report.refused += counts.refused;
            self.report.abandoned += counts.abandoned;
        }
        journals::entries(self.coordinator.disk.as_read())?;
        Ok(())
    }
}

/// A name that the simulator made.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Step<T> {
    text.parse::<T>().map_err(|error| {
        broken(
            Property::NoFaultOfItsOwn,
            format!("`{text}` is no name: {error}"),
        )
    })
}

pub(super) fn researcher() -> Step<Researcher> {
    Ok(Researcher {
        name: parsed("ada")?,
        role: Role::Researcher,
    })
}

fn spec_of(text: &str) -> Step<RunSpec> {
    RunSpec::parse(text.as_bytes())
        .map_err(|error| broken(Property::NoFaultOfItsOwn, format!("the run file: {error}")))
}

fn oracle_of(run_id: &RunId, spec: &RunSpec, sites: &[Site]) -> Result<Oracle, Violation> {
    let named: BTreeSet<&SiteName> = spec.document().participants.iter().collect();
    let honest = sites
        .iter()
        .filter(|site| site.plan.liar.is_none() && named.contains(&site.plan.name))
        .map(|site| (site.plan.name.clone(), site.data.clone()));
    Ok(Oracle::new(
        run_id.clone(),
        spec.clone(),
        researcher()?,
        honest.collect(),
    ))
}
