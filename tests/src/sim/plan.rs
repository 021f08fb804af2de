//! What a seed stands for: a consortium, a run, and what will go wrong.

use consilium_protocol::SiteName;

use super::dice::Dice;
use super::disk::DiskTrouble;
use super::property::{Property, Step, broken};
use super::questions::{EPSILON_DATASET, EPSILON_PATIENT};

/// Sites of an ordinary world at most.
const SITES_MAX: u64 = 100;

/// Trouble begins after this and ends before the plan's `calm_at_ms`.
const TROUBLE_FROM_MS: u64 = 50;

/// Everything that a seed decides before the first step.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub mode: Mode,
    pub sites: Vec<SitePlan>,
    pub run_text: String,
    /// A model of several chunks, trained by arithmetic instead of by the linear trainer.
    pub is_large: bool,
    pub network: NetworkPlan,
    /// By moment.
    pub troubles: Vec<(u64, Trouble)>,
    /// From here on nothing new goes wrong.
    pub calm_at_ms: u64,
    /// Chances in a thousand, at each labelled point, that a process dies there.
    pub crash_permille: u64,
}

/// What a world is mostly about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Calm,
    Network,
    Crashes,
    Disks,
    Policies,
    Liars,
    Equivocation,
    Everything,
}

/// One site.
#[derive(Debug, Clone)]
pub struct SitePlan {
    pub name: SiteName,
    pub rows: u64,
    pub training_ms: u64,
    pub liar: Option<Lie>,
    /// The last day of its permit.
    pub until: &'static str,
}

/// How messages fare, in chances of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkPlan {
    pub lost: u64,
    pub doubled: u64,
    pub corrupted: u64,
    pub delay_ms_max: u64,
}

/// How a node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    NotANumber,
    WrongShape,
    ShortChunk,
    StaleRound,
    HugeNorm,
    LargeNorm,
    ForeignRun,
    WrongHash,
    MoreRecords,
    HeaderTwice,
    OtherDigestOnResume,
    QuitsHalfway,
}

pub const LIES: [Lie; 12] = [
    Lie::NotANumber,
    Lie::WrongShape,
    Lie::ShortChunk,
    Lie::StaleRound,
    Lie::HugeNorm,
    Lie::LargeNorm,
    Lie::ForeignRun,
    Lie::WrongHash,
    Lie::MoreRecords,
    Lie::HeaderTwice,
    Lie::OtherDigestOnResume,
    Lie::QuitsHalfway,
];

/// One thing that goes wrong at one moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    CrashSite(usize),
    CrashCoordinator,
    /// Power is lost at the nth change to the disk from now.
    SiteLosesPowerAfter(usize, u64),
    CoordinatorLosesPowerAfter(u64),
    CutLink(usize),
    Partition {
        sites: Vec<usize>,
        to_sites: bool,
        to_coordinator: bool,
        lasts_ms: u64,
    },
    SiteDisk(usize, DiskTrouble),
    CoordinatorDisk(DiskTrouble),
    /// The next writes of local values fail.
    LocalValuesFail(usize),
    SiteClock(usize, ClockTrouble),
    CoordinatorClock(ClockTrouble),
    Policy(usize, PolicyChange),
    Evict(usize),
    /// The coordinator's identity asks a site with another state for the round.
    Equivocate(usize),
    /// It asks for a run that no researcher signed.
    AskUnsigned(usize),
    /// It asks for a round that is over, with that round's state.
    AskAgain(usize),
    /// It asks for a run that was never admitted.
    AskForeign(usize),
    /// Someone who takes no part sends an update.
    Stranger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTrouble {
    Forward(u64),
    Back(u64),
    Freeze,
    Thaw,
}

/// What an officer, or a half-done edit, does to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyChange {
    Remove,
    Break,
    Forbid,
    KeepMetrics,
    Restore,
}

impl Plan {
    /// What `seed` stands for.
    ///
    /// # Errors
    /// A name that is none: a defect of the simulator.
    pub fn of(seed: u64) -> Step<Self> {
        let mut dice = Dice::new(seed ^ 0x5EED_0F00);
        let mode = match dice.below(12) {
            0 => Mode::Calm,
            1 | 2 => Mode::Network,
            3 | 4 => Mode::Crashes,
            5 => Mode::Disks,
            6 => Mode::Policies,
            7 | 8 => Mode::Liars,
            9 => Mode::Equivocation,
            _ => Mode::Everything,
        };
        let is_large = dice.permille(300);
        let count = match dice.below(20) {
            _ if is_large => dice.between(3, 5),
            0 => dice.between(31, SITES_MAX),
            1..=4 => dice.between(9, 30),
            _ => dice.between(3, 8),
        };
        let calm_at_ms = dice.between(20_000, 240_000);
        let mut sites = Vec::new();
        for index in 0..count {
            sites.push(site(index, mode, is_large, count, &mut dice)?);
        }
        let run_text = run_text(&sites, mode, is_large, &mut dice);
        let network = network(mode, &mut dice);
        let crash_permille = match mode {
            Mode::Crashes => 25,
            Mode::Everything => 10,
            _ => 0,
        };
        let mut plan = Self {
            seed,
            mode,
            sites,
            run_text,
            is_large,
            network,
            troubles: Vec::new(),
            calm_at_ms,
            crash_permille,
        };
        plan.draw_troubles(&mut dice);
        Ok(plan)
    }

    fn draw_troubles(&mut self, dice: &mut Dice) {
        let many = match self.mode {
            Mode::Calm => 0,
            Mode::Network | Mode::Crashes | Mode::Disks => dice.between(3, 14),
            Mode::Policies | Mode::Equivocation => dice.between(3, 10),
            Mode::Liars => dice.between(0, 4),
            Mode::Everything => dice.between(6, 24),
        };
        for _ in 0..many {
            // Most of a short run is over early, so most trouble comes early.
            let span = match dice.below(3) {
                0 => self.calm_at_ms,
                1 => self.calm_at_ms / 4,
                _ => self.calm_at_ms / 12,
            };
            let at = dice.between(TROUBLE_FROM_MS, span.max(TROUBLE_FROM_MS + 1));
            let kind = match self.mode {
                Mode::Network => dice.below(2),
                Mode::Crashes | Mode::Liars => dice.between(1, 5),
                Mode::Disks => dice.between(6, 8),
                Mode::Policies => dice.between(9, 12),
                Mode::Equivocation => dice.between(13, 17),
                _ => dice.below(18),
            };
            let trouble = self.trouble(kind, dice);
            self.troubles.push((at, trouble));
        }
    }

    fn trouble(&self, kind: u64, dice: &mut Dice) -> Trouble {
        let site = dice.index(self.sites.len());
        match kind {
            0 => self.partition(dice),
            1 => Trouble::CutLink(site),
            2 => Trouble::CrashSite(site),
            3 => Trouble::CrashCoordinator,
            4 => Trouble::SiteLosesPowerAfter(site, dice.below(9)),
            5 => Trouble::CoordinatorLosesPowerAfter(dice.below(9)),
            6 => Trouble::SiteDisk(site, disk_trouble(dice)),
            7 => Trouble::CoordinatorDisk(disk_trouble(dice)),
            8 => Trouble::LocalValuesFail(site),
            9 => Trouble::SiteClock(site, clock_trouble(dice)),
            10 => Trouble::CoordinatorClock(clock_trouble(dice)),
            11 => Trouble::Policy(site, policy_change(dice)),
            12 => match dice.permille(300) {
                true => Trouble::Evict(site),
                false => Trouble::Policy(site, policy_change(dice)),
            },
            13 => Trouble::Equivocate(site),
            14 => Trouble::AskUnsigned(site),
            15 => Trouble::AskAgain(site),
            16 => Trouble::AskForeign(site),
            _ => Trouble::Stranger,
        }
    }

    fn partition(&self, dice: &mut Dice) -> Trouble {
        let sites = (0..self.sites.len()).filter(|_| dice.permille(400));
        let sites: Vec<usize> = sites.collect();
        let (to_sites, to_coordinator) = match dice.below(3) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        Trouble::Partition {
            sites,
            to_sites,
            to_coordinator,
            lasts_ms: dice.between(500, 45_000),
        }
    }
}

fn site(index: u64, mode: Mode, is_large: bool, count: u64, dice: &mut Dice) -> Step<SitePlan> {
    let name = format!("site-{index:05}");
    let name = name.parse().map_err(|error| {
        broken(
            Property::NoFaultOfItsOwn,
            format!("`{name}` is no site name: {error}"),
        )
    })?;
    let slowest = if dice.permille(60) { 90_000 } else { 4_000 };
    // Of three sites one may lie, of more a quarter.
    let may_lie = match mode {
        Mode::Liars => index < 1.max(count / 4),
        Mode::Everything => index < 1.max(count / 8) && dice.permille(400),
        _ => false,
    };
    let lie = LIES[..].get(dice.index(LIES.len())).copied();
    let long = [Lie::OtherDigestOnResume, Lie::QuitsHalfway];
    let lie = match (is_large && dice.permille(600), dice.permille(700)) {
        (true, true) => Some(Lie::OtherDigestOnResume),
        (true, false) => Some(Lie::QuitsHalfway),
        _ => lie.filter(|lie| is_large || !long.contains(lie)),
    };
    let until = match dice.permille(150) && mode == Mode::Policies {
        true => "2026-06-01",
        false => "2099-12-31",
    };
    Ok(SitePlan {
        name,
        rows: dice.between(12, 40),
        training_ms: dice.between(20, slowest),
        liar: lie.filter(|_| may_lie),
        until,
    })
}

fn run_text(sites: &[SitePlan], mode: Mode, is_large: bool, dice: &mut Dice) -> String {
    let count = sites.len() as u64;
    let quorum = match mode {
        Mode::Calm => count,
        _ => dice.between(1, count.div_ceil(2)),
    };
    let names: Vec<String> = sites
        .iter()
        .map(|site| format!("\"{}\"", site.name))
        .collect();
    let rounds = if is_large || count > 30 {
        dice.between(2, 3)
    } else {
        dice.between(2, 7)
    };
    let deadline_s = match mode {
        Mode::Calm => 600,
        _ => dice.between(8, 60),
    };
    let local = match dice.permille(500) {
        true => ", local = [\"intercept\"]",
        false => "",
    };
    let hidden = if dice.permille(250) {
        "[1024, 512]"
    } else {
        "[512, 512]"
    };
    let model = match is_large {
        true => format!("{{ kind = \"mlp\", hidden = {hidden}{local} }}"),
        false => format!("{{ kind = \"logistic\"{local} }}"),
    };
    let strategy = match dice.below(7) {
        0 => "{ name = \"FedAvgM\", server-learning-rate = 0.9, momentum = 0.5 }",
        1 => "{ name = \"FedProx\", mu = 0.1 }",
        2 => "{ name = \"FedAdam\", server-learning-rate = 0.05 }",
        3 => "{ name = \"FedYogi\", server-learning-rate = 0.05 }",
        4 => "{ name = \"FedAdagrad\", server-learning-rate = 0.05 }",
        5 if !is_large => "{ name = \"SCAFFOLD\" }",
        _ => "{ name = \"FedAvg\" }",
    };
    let seed = dice.below(1 << 40);
    let names = names.join(", ");
    format!(
        r#"name = "simulated"
project = "p"
purpose = "HMB"
dataset = "d"
participants = [{names}]
rounds = {rounds}
seed = {seed}
quorum = {quorum}
round-deadline-s = {deadline_s}
model = {model}
strategy = {strategy}
training = {{ learning-rate = 0.1, local-steps = 3, batch-size = 4 }}
data = {{ features = [{{ column = "a" }}, {{ column = "b" }}], label = {{ column = "y", greater-than = 0 }} }}
"#
    )
}

fn network(mode: Mode, dice: &mut Dice) -> NetworkPlan {
    match mode {
        Mode::Calm => NetworkPlan {
            delay_ms_max: 100,
            ..NetworkPlan::default()
        },
        Mode::Network => NetworkPlan {
            lost: dice.below(40),
            doubled: dice.below(150),
            corrupted: dice.below(40),
            delay_ms_max: dice.between(50, 8_000),
        },
        _ => NetworkPlan {
            lost: dice.below(8),
            doubled: dice.below(40),
            corrupted: dice.below(8),
            delay_ms_max: dice.between(20, 2_500),
        },
    }
}

fn disk_trouble(dice: &mut Dice) -> DiskTrouble {
    match dice.below(4) {
        0 => DiskTrouble::Full,
        1 => DiskTrouble::Torn,
        2 => DiskTrouble::ReadOnly,
        _ => DiskTrouble::SyncFails,
    }
}

fn clock_trouble(dice: &mut Dice) -> ClockTrouble {
    let by_ms = dice.between(1_000, 3 * 86_400_000);
    match dice.below(5) {
        0 | 1 => ClockTrouble::Forward(by_ms),
        2 => ClockTrouble::Back(by_ms),
        3 => ClockTrouble::Freeze,
        _ => ClockTrouble::Thaw,
    }
}

fn policy_change(dice: &mut Dice) -> PolicyChange {
    match dice.below(6) {
        0 => PolicyChange::Remove,
        1 => PolicyChange::Break,
        2 => PolicyChange::Forbid,
        3 => PolicyChange::KeepMetrics,
        _ => PolicyChange::Restore,
    }
}

/// A policy as its officer wrote it; `releases` is what may leave.
#[must_use]
pub fn policy_text(version: u32, until: &str, project: &str, releases: &str) -> String {
    format!(
        r#"name = "hospital"
version = {version}

[[permit]]
id = "simulated-training"
researchers = ["*"]
projects = ["{project}"]
purposes = ["HMB"]
actions = ["train"]
dataset = "d"
until = "{until}"
minimum-records = 10
maximum-parameters-per-record = 1000000.0
maximum-rounds = 100
release = [{releases}, "noisy-update"]
budget = {{ epsilon = {EPSILON_DATASET:.1}, delta = 1e-6 }}

[dataset.d]
duo = ["HMB"]
unit = "patient"
floor-patients = 5
budget = {{ epsilon = {EPSILON_DATASET:.1}, delta = 1e-6 }}
budget-patient = {{ epsilon = {EPSILON_PATIENT:.1}, delta = 1e-12 }}
"#
    )
}
