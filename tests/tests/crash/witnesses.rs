//! kill -9 while a witness remembers a checkpoint, or a site keeps its own: what was cosigned is not forgotten, and a
//! site that did nothing wrong is not taken for set back.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consilium_journal::checkpoint::{CHECKPOINTS_FOLDER, SignedCheckpoint, read_checkpoints};
use consilium_link::Credentials;

use crate::cases;
use crate::house::{Founded, House, SITES, Undisturbed, connections, has_connected, names};
use crate::points::{Side, Victim};
use crate::process::{Process, eventually, within};
use crate::tracer::{Calls, Fate, Tracer, usable};

/// How long a consortium may take to come to a point.
const REACH_WAIT: Duration = Duration::from_secs(30);

/// Runs that are begun for one point.
const RUNS_MAX: usize = 6;

const NEVER_CAME: &str = "never came there";

/// How long the first checkpoint may take to be witnessed, where it is.
const WITNESSED_WAIT: Duration = Duration::from_secs(10);

/// So often that a short run sees several.
const PACE: &str = "\n[checkpoint]\nevery-s = 1\nevery-entries = 1\n";

/// Which file.
#[derive(Debug, Clone, Copy)]
enum On {
    /// What the witness is about to remember, or what it remembered before.
    Next,
    Last,
    /// A site's own checkpoints.
    Own,
}

struct Point {
    label: &'static str,
    victim: Victim,
    side: Side,
    call: &'static str,
    on: On,
    /// What must then lie in the witness's memory: the last one, and how much of the next.
    leaves: fn(last: bool, next_bytes: Option<u64>) -> bool,
}

const WRITE: &str = "write";
const SYNC: &str = "fdatasync";
const REMOVE: &str = "?unlink,?unlinkat";

macro_rules! points {
    ($($label:literal: $victim:ident $side:ident $call:ident of $on:ident, leaves $leaves:expr;)*) => {
        [$(Point {
            label: $label,
            victim: Victim::$victim,
            side: Side::$side,
            call: $call,
            on: On::$on,
            leaves: $leaves,
        }),*]
    };
}

const POINTS: [Point; 10] = points! {
    "coordinator: checkpoint, not written": Coordinator Before WRITE of Next, leaves |last, next| last && next == Some(0);
    "coordinator: checkpoint, not synced": Coordinator Before SYNC of Next, leaves |last, next| last && next > Some(0);
    "coordinator: older one, not removed": Coordinator Before REMOVE of Last, leaves |last, next| last && next > Some(0);
    "coordinator: older one, removed": Coordinator After REMOVE of Last, leaves |last, next| !last && next > Some(0);
    "peer: checkpoint, not written": Node Before WRITE of Next, leaves |last, next| last && next == Some(0);
    "peer: checkpoint, not synced": Node Before SYNC of Next, leaves |last, next| last && next > Some(0);
    "peer: older one, not removed": Node Before REMOVE of Last, leaves |last, next| last && next > Some(0);
    "peer: older one, removed": Node After REMOVE of Last, leaves |last, next| !last && next > Some(0);
    "own checkpoint, not written": Node Before WRITE of Own, leaves |_, _| true;
    "own checkpoint, not synced": Node Before SYNC of Own, leaves |_, _| true;
};

#[test]
fn wherever_a_witness_is_killed_it_forgets_nothing_and_no_honest_site_is_taken_for_set_back() {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    let cases: Vec<(&Point, usize)> = POINTS
        .iter()
        .flat_map(|point| (0..SITES.len()).map(move |whose| (point, whose)))
        .collect();
    cases::all_pass(
        &cases,
        |(point, whose)| format!("\"{}\" of {}", point.label, SITES[*whose]),
        |(point, whose)| play_until_there(&founded, &undisturbed, point, *whose),
    );
}

/// A run that is over before the next checkpoint, or one without the peer's cosignature, has no such place: another one
/// does.
fn play_until_there(
    founded: &Founded,
    undisturbed: &Undisturbed,
    point: &Point,
    whose: usize,
) -> Result<(), String> {
    let mut outcome = play(founded, undisturbed, point, whose);
    for _ in 1..RUNS_MAX {
        match outcome {
            Err(cause) if cause.starts_with(NEVER_CAME) => {
                outcome = play(founded, undisturbed, point, whose);
            }
            ended => return ended,
        }
    }
    outcome
}

/// `whose` journal it is about; a peer is the other site.
fn play(
    founded: &Founded,
    undisturbed: &Undisturbed,
    point: &Point,
    whose: usize,
) -> Result<(), String> {
    let who = match (point.victim, point.on) {
        (Victim::Coordinator, _) => None,
        (Victim::Node, On::Own) => Some(whose),
        (Victim::Node, _) => Some(1 - whose),
    };
    let (mut house, memory, last) = eventually("the first checkpoint is witnessed", || {
        let mut house = running(founded);
        let memory = Memory::of(&mut house, who, whose);
        // Shown before the witness was connected it is shown again with the next entry, and there is none: begin anew.
        let last = within(WITNESSED_WAIT, || memory.newest())?;
        Some((house, memory, last))
    });
    // The coordinator writes twice for each: first the checkpoint, then the peer's cosignature under it.
    let next = match point.victim {
        Victim::Coordinator => last + 2,
        Victim::Node => last + 1,
    };
    let on = match point.on {
        On::Next => memory.path(next),
        On::Last => memory.path(next - 1),
        On::Own => own_checkpoints(&house, whose).join("000001.checkpoints"),
    };
    let calls = Calls {
        names: point.call,
        on: Some(on),
        nth: 1,
        onwards: false,
    };
    let fate = match point.side {
        Side::Before => Fate::Killed,
        Side::After => Fate::Held,
    };
    let log = house.path("trace");
    let tracer = Tracer::attach(victim(&mut house, who).pid(), &calls, fate, &log)?;
    let submission = house.begins_to_submit();
    let process = victim(&mut house, who);
    within(REACH_WAIT, || match point.side {
        Side::Before => (!process.is_running()).then_some(()),
        Side::After => tracer.holds().then_some(()),
    })
    .ok_or_else(|| format!("{NEVER_CAME}: {}", tracer.seen()))?;
    drop(tracer);
    let lives = connections(process);
    process.kill_9();
    let left = |generation| {
        fs::metadata(memory.path(generation))
            .map(|file| file.len())
            .ok()
    };
    if !(point.leaves)(left(next - 1).is_some(), left(next)) {
        return Err(format!(
            "the disk is not as it must be: {:?}",
            names(&memory.folder)
        ));
    }
    let remembered = memory.sizes();
    let process = victim(&mut house, who);
    process.start();
    if who.is_some() {
        has_connected(process, lives + 1);
    }
    drop(submission);
    ends_well(&house, undisturbed)?;
    let now = memory.sizes();
    let forgotten = remembered
        .iter()
        .find(|(site, size)| now.get(*site) < Some(*size));
    match forgotten {
        None => Ok(()),
        Some(forgotten) => Err(format!("forgot {forgotten:?}: {now:?}")),
    }
}

fn running(founded: &Founded) -> House {
    let mut house = founded.copy();
    house.coordinator.start();
    for site in &mut house.sites {
        let config = site.path("node.toml");
        let mut config = OpenOptions::new().append(true).open(config).unwrap();
        config.write_all(PACE.as_bytes()).unwrap();
        site.node.start();
    }
    house
        .sites
        .iter()
        .for_each(|site| has_connected(&site.node, 1));
    house
}

/// The run's end is as if nothing had been, and nobody says that a journal is not the one witnessed.
fn ends_well(house: &House, undisturbed: &Undisturbed) -> Result<(), String> {
    let run_id = house.submits_again();
    let model = house.ada.gets_model_of(&run_id);
    if model.file_sha256.to_string() != undisturbed.sha256 {
        return Err("another model".into());
    }
    house.is_whole(&run_id);
    for (at, site) in house.sites.iter().enumerate() {
        if site.node.log().contains("answers nothing any more") {
            return Err(format!("{} is taken for set back", site.name));
        }
        // The next one comes within a second or two, also where the run was over before.
        let damaged = eventually("a site keeps its own checkpoints", || {
            let mut kept = 0;
            let damaged = read_checkpoints(&own_checkpoints(house, at), |_| kept += 1).unwrap();
            (kept > 0).then_some(damaged)
        });
        if !damaged.is_empty() {
            return Err(format!(
                "{} has damaged checkpoints: {damaged:?}",
                site.name
            ));
        }
    }
    Ok(())
}

fn victim(house: &mut House, who: Option<usize>) -> &mut Process {
    match who {
        None => &mut house.coordinator,
        Some(site) => &mut house.sites[site].node,
    }
}

fn own_checkpoints(house: &House, whose: usize) -> PathBuf {
    let journal = house.sites[whose].path("journal");
    journal.join(CHECKPOINTS_FOLDER)
}

/// What one witness remembers.
struct Memory {
    folder: PathBuf,
    /// The beginning of the names of the files about the site that it is about.
    about: String,
}

impl Memory {
    fn of(house: &mut House, witness: Option<usize>, whose: usize) -> Self {
        let credentials = Credentials::load(&house.sites[whose].path("identity")).unwrap();
        let key = credentials.public_key().unwrap();
        // Where nobody is its witness, the coordinator is asked.
        let witness = witness.filter(|witness| *witness != whose);
        Self {
            folder: victim(house, witness).folder().join("witnessed"),
            about: format!("{}-{key}-", SITES[whose]),
        }
    }

    fn path(&self, generation: u64) -> PathBuf {
        let name = format!("{}{generation:020}.checkpoint", self.about);
        self.folder.join(name)
    }

    fn newest(&self) -> Option<u64> {
        let names = names(&self.folder);
        let about = |name: &String| {
            let rest = name.strip_prefix(&self.about)?;
            rest.strip_suffix(".checkpoint")?.parse().ok()
        };
        names.iter().filter_map(about).max()
    }

    /// How many entries of each site's journal were seen, in files that are whole.
    fn sizes(&self) -> BTreeMap<String, u64> {
        let mut sizes = BTreeMap::new();
        for name in names(&self.folder) {
            let Some(checkpoint) = whole(&self.folder.join(&name)) else {
                continue;
            };
            let site = name.split('-').next().unwrap_or_default().to_owned();
            let size: &mut u64 = sizes.entry(site).or_default();
            *size = checkpoint.head().size.max(*size);
        }
        sizes
    }
}

/// `None` where it is not whole, or was replaced this very moment.
fn whole(path: &Path) -> Option<SignedCheckpoint> {
    SignedCheckpoint::parse(&fs::read(path).ok()?).ok()
}
