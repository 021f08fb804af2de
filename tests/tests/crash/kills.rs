//! Each labelled point with several seeds: killed there, started again, and the run ends by itself with the model of
//! the run that nothing disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::cases;
use crate::house::{Founded, House, Undisturbed, connections, has_connected};
use crate::points::{COORDINATOR, NODE, On, Point, Scene, Side, Victim};
use crate::process::{Process, within};
use crate::tracer::{Calls, Fate, Tracer, usable};

/// Seeds for each point, unless `CONSILIUM_CRASH_SEEDS` says otherwise.
pub(crate) const SEEDS: u32 = 3;

/// How long a run may take to come to a point.
const REACH_WAIT: Duration = Duration::from_secs(180);

#[test]
fn whoever_is_killed_at_whatever_point_the_run_ends_with_the_same_model() {
    if !usable() {
        return;
    }
    let seeds = seeds();
    let only = std::env::var("CONSILIUM_CRASH_POINT").unwrap_or_default();
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    assert_eq!(founded.rehearse(), undisturbed);

    let points = NODE
        .iter()
        .chain(COORDINATOR)
        .filter(|point| point.label.contains(&only));
    let cases: Vec<(&Point, u32)> = points
        .flat_map(|point| (0..seeds).map(move |seed| (point, seed)))
        .collect();
    let outcomes: Vec<_> = cases::each(&cases, |(point, seed)| {
        outcome_of(&founded, &undisturbed, point, *seed)
    })
    .into_iter()
    .map(|((point, seed), outcome)| (*point, *seed, outcome))
    .collect();
    print_table(&outcomes);
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|(point, seed, outcome)| {
            let cause = outcome.cause.as_ref()?;
            Some(format!(
                "{:?} \"{}\", seed {seed}: {cause}",
                point.victim, point.label
            ))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// Plays the points of one label, one after the other.
fn replay(label: &str, seeds: u32) {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    let points: Vec<&Point> = NODE
        .iter()
        .chain(COORDINATOR)
        .filter(|point| point.label == label)
        .collect();
    assert_eq!(points.len(), 1);
    for seed in 0..seeds {
        play(
            &founded,
            &undisturbed,
            points[0],
            seed,
            &mut Outcome::default(),
        );
    }
}

/// The run file went first and the signature stayed: the node found a run that it could not read, and did not start.
#[test]
fn repro_a_node_killed_while_it_forgot_a_run_starts_again() {
    replay("ended run, being removed", 4);
}

/// Nobody had dialled again yet, and the finished model was evaluated nowhere.
#[test]
fn repro_a_coordinator_killed_before_the_evaluation_has_it_made_at_every_site() {
    replay("run-evaluated, not written", 1);
}

/// Seeds for each point, as asked for.
pub(crate) fn seeds() -> u32 {
    let asked = std::env::var("CONSILIUM_CRASH_SEEDS").ok();
    asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

/// Houses that are begun for one case, until one is armed before its node has written anything.
const HOUSES_MAX: u32 = 20;

/// How far a case came.
#[derive(Default)]
struct Outcome {
    /// Houses that were begun for it.
    houses: u32,
    killed: bool,
    resumed: bool,
    same_model: bool,
    /// Why it did not come to its end.
    cause: Option<String>,
}

fn outcome_of(founded: &Founded, undisturbed: &Undisturbed, point: &Point, seed: u32) -> Outcome {
    let mut outcome = Outcome::default();
    let case = AssertUnwindSafe(|| play(founded, undisturbed, point, seed, &mut outcome));
    if let Err(panic) = catch_unwind(case) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        outcome.cause = Some(text.unwrap_or_default());
    }
    outcome
}

fn play(
    founded: &Founded,
    undisturbed: &Undisturbed,
    point: &Point,
    seed: u32,
    outcome: &mut Outcome,
) {
    let run_id = undisturbed.run_id.as_str();
    let mut house = founded.running();
    let who = match point.victim {
        Victim::Coordinator => None,
        Victim::Node => Some(seed as usize % house.sites.len()),
    };
    let folder = victim(&mut house, who).folder().to_owned();
    let scene = Scene {
        folder: &folder,
        victim: point.victim,
        run_id,
        round: point.round(seed),
    };
    let (way, at) = point.calls(&scene, seed);
    let log = house.path("trace");
    let first = Arming::begin(victim(&mut house, who), &way, &at, point.side, &log);
    outcome.houses += 1;
    if point.victim == Victim::Node && !kinds(&folder).is_empty() && outcome.houses < HOUSES_MAX {
        // On a busy machine it has taken up its policy already, as it does each second, and every write is one later.
        drop(first);
        drop(house);
        return play(founded, undisturbed, point, seed, outcome);
    }
    let submission = house.begins_to_submit();
    let armed = victim(&mut house, who);
    let connected_before = connections(armed);
    first.kills(armed);
    outcome.killed = true;
    let left = (point.leaves)(&scene);
    if !left && point.victim == Victim::Node && outcome.houses < HOUSES_MAX {
        // Its own look at the policy shared an fsync, so this was another place than the one that is meant.
        drop(house);
        return play(founded, undisturbed, point, seed, outcome);
    }
    assert!(
        left,
        "the disk is not as it must be at this point; the journal: {:?}",
        kinds(&folder)
    );
    tear_drafts(&scene);

    armed.start();
    drop(submission);
    assert_eq!(house.submits_again(), run_id);
    let sha256 = house.ada.gets_model_of(run_id).file_sha256.to_string();
    outcome.resumed = true;
    assert_eq!(sha256, undisturbed.sha256, "another model");
    outcome.same_model = true;
    if point.victim == Victim::Coordinator {
        // Whoever was there when it fell is there again for what is left to do.
        let evaluated = crate::house::entries(&folder)
            .into_iter()
            .find(|entry| entry.kind == "run-evaluated");
        let evaluated = evaluated.unwrap().payload;
        assert_eq!(evaluated["missing"], serde_json::json!({}), "{evaluated}");
    }
    if point.victim == Victim::Node {
        has_connected(victim(&mut house, who), connected_before + 1);
    }
    house.is_whole(run_id);
}

fn victim(house: &mut House, who: Option<usize>) -> &mut Process {
    match who {
        None => &mut house.coordinator,
        Some(site) => &mut house.sites[site].node,
    }
}

fn kinds(folder: &Path) -> Vec<String> {
    crate::house::entries(folder)
        .into_iter()
        .map(|entry| entry.kind)
        .collect()
}

/// What is under a temporary name need not be on disk in full: half of it is gone, and the rest is not as written.
fn tear_drafts(scene: &Scene<'_>) {
    for on in [
        On::StateDraft(0),
        On::ModelDraft,
        On::KeptDraft(0),
        On::RunFileDraft,
    ] {
        let Some(path) = scene.path(on).filter(|path| path.exists()) else {
            continue;
        };
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
    }
}

/// A process that is watched on its way to a point.
struct Arming<'a> {
    tracer: Tracer,
    way: &'a [Calls],
    at: &'a Calls,
    side: Side,
    log: &'a Path,
}

impl<'a> Arming<'a> {
    fn begin(
        process: &Process,
        way: &'a [Calls],
        at: &'a Calls,
        side: Side,
        log: &'a Path,
    ) -> Self {
        let (calls, fate) = match way.first() {
            Some(first) => (first, Fate::Held),
            None => (at, fate_of(side)),
        };
        Self {
            tracer: Tracer::attach(process.pid(), calls, fate, log).unwrap(),
            way,
            at,
            side,
            log,
        }
    }

    /// Leads the process along the way and kills it at the point.
    fn kills(self, process: &mut Process) {
        let Self {
            mut tracer,
            way,
            at,
            side,
            log,
        } = self;
        for stage in 1..=way.len() {
            let held = within(REACH_WAIT, || tracer.holds().then_some(()));
            assert!(
                held.is_some(),
                "never came to {:?}: {}",
                way[stage - 1],
                tracer.seen()
            );
            tracer.leave();
            let (calls, fate) = match way.get(stage) {
                Some(next) => (next, Fate::Held),
                None => (at, fate_of(side)),
            };
            tracer = Tracer::attach(process.pid(), calls, fate, log).unwrap();
            process.signal("-CONT");
        }
        let reached = within(REACH_WAIT, || match side {
            Side::Before => (!process.is_running()).then_some(()),
            Side::After => tracer.holds().then_some(()),
        });
        assert!(reached.is_some(), "never came to {at:?}: {}", tracer.seen());
        process.kill_9();
    }
}

fn fate_of(side: Side) -> Fate {
    match side {
        Side::Before => Fate::Killed,
        Side::After => Fate::Held,
    }
}

fn print_table(outcomes: &[(&Point, u32, Outcome)]) {
    let mut rows: BTreeMap<(usize, &str), [usize; 4]> = BTreeMap::new();
    for (point, _, outcome) in outcomes {
        let points = NODE.iter().chain(COORDINATOR);
        let place = points
            .take_while(|other| !std::ptr::eq(*other, *point))
            .count();
        let row = rows.entry((place, point.label)).or_default();
        let so_far = [true, outcome.killed, outcome.resumed, outcome.same_model];
        row.iter_mut()
            .zip(so_far)
            .for_each(|(count, yes)| *count += usize::from(yes));
    }
    println!("| process | killed at | seeds | killed | went on | same model |");
    println!("|---|---|---|---|---|---|");
    for ((place, label), [seeds, killed, resumed, same]) in rows {
        let process = if place < NODE.len() {
            "node"
        } else {
            "coordinator"
        };
        println!("| {process} | {label} | {seeds} | {killed} | {resumed} | {same} |");
    }
}
