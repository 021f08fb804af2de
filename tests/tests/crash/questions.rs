//! kill -9 of a node at each point of a charged question's way through the gate: what left is paid for, and the same
//! question gets the same answer, or hears that it is spent.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use crate::cases;
use crate::house::{Entry, Founded, House, connections, entries, has_connected};
use crate::kills::seeds;
use crate::passes::{Point, Then, points};
use crate::points::Side;
use crate::process::{eventually, role, within};
use crate::tracer::{Calls, Fate, Tracer, usable};

const POLICY: &str = r#"
name = "hospital"
version = 1

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
budget = { epsilon = 20.0, delta = 1e-6 }
budget-patient = { epsilon = 20.0, delta = 1e-6 }

[[permit]]
id = "heart-disease-statistics"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["statistics"]
dataset = "heart-disease"
until = "2099-12-31"
release = ["noisy-statistics"]
budget = { epsilon = 20.0, delta = 1e-6 }
"#;

/// What a killed process has written is in the system's memory, and so survives it, synced or not.
const POINTS: [Point; 14] = points! {
    "charge, not written": Before WRITE 1 of VAULT => Anew;
    "charge, written, not synced": Before SYNC 1 of VAULT => Anew;
    "charge, synced": After SYNC 1 of VAULT => Anew;
    "reservation, not written": Before WRITE 1 of JOURNAL => Anew;
    "reservation, written, not synced": Before SYNC 1 of JOURNAL => Spent;
    "reservation, synced": After SYNC 1 of JOURNAL => Spent;
    "worked, answer not written": Before WRITE 2 of VAULT => Spent;
    "answer, written, not synced": Before SYNC 2 of VAULT => Same;
    "answer, synced": After SYNC 2 of VAULT => Same;
    "release, not written": Before WRITE 2 of JOURNAL => Same;
    "release, written, not synced": Before SYNC 2 of JOURNAL => Same;
    "release, synced, not sent": After SYNC 2 of JOURNAL => Same;
    "asked again, not written": Before WRITE 1 of JOURNAL again => Same;
    "asked again, synced, not sent": After SYNC 1 of JOURNAL again => Same;
};

#[test]
fn wherever_a_node_is_killed_a_question_has_one_answer_and_it_is_paid_for() {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let cases: Vec<(&Point, u32)> = POINTS
        .iter()
        .flat_map(|point| (0..seeds()).map(move |seed| (point, seed)))
        .collect();
    println!("| killed at | seeds | asked again |\n|---|---:|---|");
    for point in &POINTS {
        println!("| {} | {} | {:?} |", point.label, seeds(), point.then);
    }
    cases::all_pass(
        &cases,
        |(point, seed)| format!("\"{}\", seed {seed}", point.label),
        |(point, seed)| play(&founded, point, *seed),
    );
}

fn play(founded: &Founded, point: &Point, seed: u32) -> Result<(), String> {
    let mut house = founded.running();
    let who = seed as usize % house.sites.len();
    house.sites[who].writes_policy(POLICY);
    // Another question before: the policy is taken up, and the patients have their numbers.
    Asking::of(&house, who, "age >= 30").comes_to(&house, who, 1)?;
    if point.is_repeated {
        Asking::of(&house, who, "age >= 60").comes_to(&house, who, 2)?;
    }
    let folder = house.sites[who].node.folder().to_owned();
    let calls = Calls {
        names: point.call,
        on: Some(folder.join(point.on)),
        nth: point.nth,
        onwards: false,
    };
    let fate = match point.side {
        Side::Before => Fate::Killed,
        Side::After => Fate::Held,
    };
    let node = &mut house.sites[who].node;
    let tracer = Tracer::attach(node.pid(), &calls, fate, &folder.join("trace"))?;
    let asking = Asking::of(&house, who, "age >= 60");
    let node = &mut house.sites[who].node;
    let reached = within(std::time::Duration::from_secs(40), || match point.side {
        Side::Before => (!node.is_running()).then_some(()),
        Side::After => tracer.holds().then_some(()),
    });
    if reached.is_none() {
        return Err(format!("never came there: {}", tracer.seen()));
    }
    drop(tracer);
    let lives = connections(node);
    node.kill_9();
    drop(asking);
    node.start();
    has_connected(node, lives + 1);
    let seen = entries(&folder).len();
    Asking::of(&house, who, "age >= 60").comes_to(&house, who, told(&entries(&folder)) + 1)?;
    heard(&entries(&folder), seen, point.then)?;
    // And once more, undisturbed: the same as before, or spent still.
    let seen = entries(&folder).len();
    let settled = match point.then {
        Then::Spent => Then::Spent,
        Then::Anew | Then::Same => Then::Same,
    };
    Asking::of(&house, who, "age >= 60").comes_to(&house, who, told(&entries(&folder)) + 1)?;
    heard(&entries(&folder), seen, settled)
}

/// A question at the command line.
struct Asking(Child);

impl Asking {
    fn of(house: &House, who: usize, filter: &str) -> Self {
        let mut command = role("consilium");
        command
            .arg("--home")
            .arg(&house.ada.home)
            .args(["stats", "count", "--where", filter, "--epsilon", "1"])
            .args(["--dataset", "heart-disease", "--project", "cardiology"])
            .args(["--purpose", "HMB", "--sites", &house.sites[who].name])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits until the node has told so much.
    fn comes_to(self, house: &House, who: usize, much: usize) -> Result<(), String> {
        let folder = house.sites[who].node.folder();
        eventually("the node has answered", || {
            (told(&entries(folder)) >= much).then_some(())
        });
        Ok(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How often the node has told anybody anything.
fn told(entries: &[Entry]) -> usize {
    let ends = ["pass-released", "pass-repeated", "pass-refused"];
    entries
        .iter()
        .filter(|entry| ends.contains(&entry.kind.as_str()))
        .count()
}

/// What the question heard, in the entries from `seen` on; and that nothing left that is not paid for, or differs.
fn heard(entries: &[Entry], seen: usize, then: Then) -> Result<(), String> {
    let question = entries
        .last()
        .map(|entry| entry.payload["ask"]["run-digest"].clone());
    let of_it = |entry: &&Entry| Some(&entry.payload["ask"]["run-digest"]) == question.as_ref();
    let kinds: Vec<&str> = entries[seen..]
        .iter()
        .map(|entry| entry.kind.as_str())
        .collect();
    let expected: &[&str] = match then {
        Then::Anew => &["pass-reserved", "pass-released"],
        Then::Spent => &["pass-refused"],
        Then::Same => &["pass-repeated"],
    };
    if kinds != expected {
        return Err(format!("expected {expected:?}, the journal has {kinds:?}"));
    }
    if then == Then::Spent {
        let code = &entries.last().unwrap().payload["refusal"]["code"];
        if code != "spent" {
            return Err(format!("refused as {code}"));
        }
    }
    let reserved: Vec<&Entry> = entries
        .iter()
        .filter(of_it)
        .filter(|entry| entry.kind == "pass-reserved")
        .collect();
    let frames: BTreeSet<String> = entries
        .iter()
        .filter(of_it)
        .filter(|entry| ["pass-released", "pass-repeated"].contains(&entry.kind.as_str()))
        .map(|entry| entry.payload["receipt"]["frame"].to_string())
        .collect();
    match (reserved.len(), frames.len()) {
        (1, 0 | 1) => Ok(()),
        (reserved, frames) => Err(format!("{reserved} reservations and {frames} answers")),
    }
}
