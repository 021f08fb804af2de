//! kill -9 of a node at each point of a private round's way through the gate: the round asked for again gets the same
//! bytes, or hears that it is spent; and it is paid for once.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::cases;
use crate::house::{Entry, Founded, House, SITES, connections, entries, has_connected};
use crate::passes::{JOURNAL, Point, SYNC, Then, VAULT, points};
use crate::points::Side;
use crate::process::{eventually, types, within};
use crate::tracer::{Calls, Fate, Tracer, usable};
use crate::world::RunFile;

/// How long a run may take to come to a point.
const REACH_WAIT: Duration = Duration::from_secs(120);

const ROUNDS: u64 = 6;
/// What all rounds together cost, and within which bounds it is found in the ledger.
const EPSILON: f64 = 3.0;
const DELTA: &str = "1e-6";

const POLICY: &str = r#"
name = "hospital"
version = 1

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
budget = { epsilon = 60.0, delta = 1e-6 }
budget-patient = { epsilon = 60.0, delta = 1e-6 }

[[permit]]
id = "heart-disease-private-training"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2099-12-31"
minimum-records = 20
maximum-parameters-per-record = 0.6
maximum-rounds = 1000
release = ["noisy-update"]
budget = { epsilon = 60.0, delta = 1e-6 }
"#;

/// Of the vault's calls from the submission on; of the journal's from the charge on.
const POINTS: [Point; 9] = points! {
    "charge, not written": Before WRITE 1 of VAULT => Anew;
    "charge, synced": After SYNC 1 of VAULT => Anew;
    "reservation, not written": Before WRITE 1 of JOURNAL => Anew;
    "reservation, synced": After SYNC 1 of JOURNAL => Spent;
    "trained, update not written": Before WRITE 2 of VAULT => Spent;
    "update, written, not synced": Before SYNC 2 of VAULT => Same;
    "update, synced": After SYNC 2 of VAULT => Same;
    "release, not written": Before WRITE 2 of JOURNAL => Same;
    "release, synced, not sent": After SYNC 2 of JOURNAL => Same;
};

#[test]
fn wherever_a_node_is_killed_a_private_round_has_one_update_and_is_paid_for_once() {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let cases: Vec<(&Point, usize)> = POINTS
        .iter()
        .flat_map(|point| (0..SITES.len()).map(move |who| (point, who)))
        .collect();
    cases::all_pass(
        &cases,
        |(point, who)| format!("\"{}\", {}", point.label, SITES[*who]),
        |(point, who)| play(&founded, point, *who),
    );
}

fn private_run() -> RunFile {
    let data = r#"{ features = [{ column = "age", between = [20, 90] }, { column = "sex", between = [0, 1] }],
                    label = { column = "num", greater-than = 0 } }"#;
    RunFile::of(&SITES)
        .with("rounds", &ROUNDS.to_string())
        .with("quorum", "1")
        .with(
            "privacy",
            &format!("{{ clip = 1.0, epsilon = {EPSILON:?}, delta = {DELTA} }}"),
        )
        .with(
            "training",
            "{ learning-rate = 0.1, local-steps = 20, batch-size = 32 }",
        )
        .with("data", data)
}

/// A copy in which everybody's policy is for private training, and so is the run.
fn running(founded: &Founded) -> House {
    let mut house = founded.copy();
    fs::write(house.path("run.toml"), private_run().text()).unwrap();
    house.coordinator.start();
    for site in &mut house.sites {
        site.writes_policy(POLICY);
        site.node.start();
    }
    for site in &house.sites {
        has_connected(&site.node, 1);
    }
    house
}

fn play(founded: &Founded, point: &Point, who: usize) -> Result<(), String> {
    let mut house = running(founded);
    let folder = house.sites[who].node.folder().to_owned();
    let calls = |names, on: &str, nth| Calls {
        names,
        on: Some(folder.join(on)),
        nth,
        onwards: false,
    };
    let trace = folder.join("trace");
    let pid = house.sites[who].node.pid();
    let at = calls(point.call, point.on, point.nth);
    let fate = match point.side {
        Side::Before => Fate::Killed,
        Side::After => Fate::Held,
    };
    // To be admitted writes to the journal too: its calls count from the charge on.
    let is_on_the_way = point.on == JOURNAL;
    let mut tracer = match is_on_the_way {
        true => Tracer::attach(pid, &calls(SYNC, VAULT, 1), Fate::Held, &trace)?,
        false => Tracer::attach(pid, &at, fate, &trace)?,
    };
    let submission = house.begins_to_submit();
    let node = &mut house.sites[who].node;
    if is_on_the_way {
        within(REACH_WAIT, || tracer.holds().then_some(()))
            .ok_or_else(|| format!("charges nobody: {}", tracer.seen()))?;
        tracer.leave();
        tracer = Tracer::attach(pid, &at, fate, &trace)?;
        node.signal("-CONT");
    }
    within(REACH_WAIT, || match point.side {
        Side::Before => (!node.is_running()).then_some(()),
        Side::After => tracer.holds().then_some(()),
    })
    .ok_or_else(|| format!("never came there: {}", tracer.seen()))?;
    drop(tracer);
    let lives = connections(node);
    node.kill_9();
    drop(submission);
    node.start();
    has_connected(node, lives + 1);
    let run_id = house.submits_again();
    house.ada.gets_model_of(&run_id);
    has_one_update_of_each_round(&entries(&folder), point.then)?;
    was_counted(&entries(house.coordinator.folder()), SITES[who], point.then)?;
    let spent = spent_epsilon(&house, who);
    match (0.95 * EPSILON..=EPSILON).contains(&spent) {
        true => Ok(()),
        false => Err(format!("ε = {spent} of {EPSILON} was spent")),
    }
}

/// Each round is reserved once, and nothing but the same bytes ever left for it.
fn has_one_update_of_each_round(entries: &[Entry], then: Then) -> Result<(), String> {
    for round in 1..=ROUNDS {
        let of_round: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.payload["ask"]["action"]["round"] == round)
            .collect();
        let kinds: Vec<&str> = of_round.iter().map(|entry| entry.kind.as_str()).collect();
        let expected: &[&str] = match then {
            // The kept answer was not released yet, or was: asked for again it is the same.
            Then::Same if round == 1 => match kinds.contains(&"pass-released") {
                true => &["pass-reserved", "pass-released", "pass-repeated"],
                false => &["pass-reserved", "pass-abandoned", "pass-repeated"],
            },
            Then::Spent if round == 1 => &["pass-reserved", "pass-abandoned", "pass-refused"],
            _ => &["pass-reserved", "pass-released"],
        };
        let is_end = |kind: &&&str| **kind != "pass-abandoned";
        let without = |kinds: &[&str]| -> Vec<String> {
            kinds
                .iter()
                .filter(is_end)
                .map(ToString::to_string)
                .collect()
        };
        if without(&kinds) != without(expected) {
            return Err(format!(
                "round {round}: expected {expected:?}, the journal has {kinds:?}"
            ));
        }
        // With the hashes of the frame and of the tensors behind it.
        let left: BTreeSet<String> = of_round
            .iter()
            .filter(|entry| !entry.payload["receipt"].is_null())
            .map(|entry| entry.payload["receipt"].to_string())
            .collect();
        let refused = then == Then::Spent && round == 1;
        if left.len() != usize::from(!refused) || !left.iter().all(|left| left.contains("blake3")) {
            return Err(format!("round {round}: other bytes left again: {left:?}"));
        }
        if refused && of_round.last().unwrap().payload["refusal"]["code"] != "spent" {
            return Err(format!("{}", of_round.last().unwrap().payload));
        }
    }
    Ok(())
}

/// The coordinator counted the site in its first round, unless that was spent.
fn was_counted(entries: &[Entry], site: &str, then: Then) -> Result<(), String> {
    let closed = entries.iter().find(|entry| entry.kind == "round-closed");
    let first = &closed.unwrap().payload;
    match first["sites"].get(site).is_some() == (then != Then::Spent) {
        true => Ok(()),
        false => Err(format!("{first}")),
    }
}

fn spent_epsilon(house: &House, who: usize) -> f64 {
    let folder = house.sites[who].node.folder().to_str().unwrap();
    let line = [
        "--format", "json", "budget", "show", folder, "--delta", DELTA,
    ];
    // The journal is read beside the node that writes it.
    let data: Value = eventually("the budget is shown", || {
        let typed = types("consilium", line);
        (typed.exit == 0).then(|| typed.data())
    });
    data["datasets"][0]["spent_epsilon"].as_f64().unwrap()
}
