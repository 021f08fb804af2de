//! Four honest hospitals train while the crowd is at the door.

use std::fs;
use std::io::Write;

use consilium_link::Credentials;

use crate::crowd::{ADDRESSES, CROWD, Crowd, Member, PEOPLE};
use crate::place::{self, Place};
use crate::process::{eventually, within};
use crate::world::{Consortium, HOSPITALS, Model, RunFile};

/// How long the crowd has to come: some seconds are enough where nothing else runs.
const GATHERING: std::time::Duration = std::time::Duration::from_secs(300);

const ROUNDS: &str = "1000";

/// What the crowd has done at least before its cost is looked at: each of those that do something, ten times or so.
const MISDEEDS: usize = 4000;

/// What the coordinator may grow by.
const GROWTH_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[test]
fn a_thousand_hostile_connections_cost_little_and_change_nothing() {
    if let Some(why) = place::why_there_are_none() {
        return prints(&format!(
            "DID NOT RUN: no network namespace can be made here ({why})"
        ));
    }
    // The near end of each link is an address of this machine, and what dials it comes from it.
    let places: [Place; ADDRESSES] = std::array::from_fn(|_| Place::new());
    // On every address of this machine, and not on loopback alone.
    let consortium = Consortium::found_with(&[("127.0.0.1", "0.0.0.0")]);
    let _hospitals = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&HOSPITALS).with("rounds", ROUNDS);
    let alone = ada.gets_model_of(&ada.submits(&run));
    let pid = consortium.coordinator.pid();
    let before = memory_bytes(pid, "VmRSS");

    let members = people_and_a_site(&consortium);
    let doors = places
        .each_ref()
        .map(|place| format!("{}:{}", place.here, consortium.port()));
    let crowd = Crowd::gathers(&doors, members);
    let standing = || (crowd.let_in() >= CROWD).then_some(());
    let all_came = within(GATHERING, standing).is_some();
    let came = crowd.let_in();
    let run_id = ada.submits(&run);
    let besieged = ada.gets_model_of(&run_id);
    eventually("the crowd has done its worst", || {
        (crowd.misdeeds() >= MISDEEDS).then_some(())
    });
    let deeds = crowd.story();
    let peak = memory_bytes(pid, "VmHWM");
    drop(crowd);

    let (calm_ms, siege_ms) = (median_round_ms(&alone), median_round_ms(&besieged));
    prints(&format!(
        "{came} handshakes of the crowd ended well before the run, and then: {deeds}"
    ));
    prints(&format!(
        "the coordinator had {} MiB before and {} MiB at its peak",
        before / 1024 / 1024,
        peak / 1024 / 1024
    ));
    prints(&format!(
        "a round of four hospitals took {calm_ms} ms alone and {siege_ms} ms besieged (medians)"
    ));
    prints(&format!(
        "the coordinator's log has {} lines",
        consortium.coordinator.log().lines().count()
    ));
    assert!(
        all_came,
        "only {came} of {CROWD} came through the door in {GATHERING:?}"
    );
    assert!(
        peak - before <= GROWTH_BYTES_MAX,
        "grew from {before} B to {peak} B"
    );
    assert_eq!(bits(&alone), bits(&besieged), "another model");
    // Whoever did nothing wrong is still served.
    consortium.knows_as_connected(&HOSPITALS);
    eventually("the coordinator stays up", || {
        (ada.types("run list").exit == 0).then_some(())
    });
    assert!(!consortium.coordinator.log().contains("panicked"));
}

/// The crowd's members: researchers with true credentials, and a site with its own.
fn people_and_a_site(consortium: &Consortium) -> Vec<Member> {
    let mut members: Vec<Member> = (0..PEOPLE)
        .map(|number| {
            let person = consortium.researcher(&format!("mallory-{number}"));
            Member(Credentials::load(&person.home).unwrap())
        })
        .collect();
    let site = consortium.site("trudy");
    members.push(Member(Credentials::load(&site.path("identity")).unwrap()));
    members
}

fn median_round_ms(model: &Model) -> u64 {
    let rounds = model.card["rounds"].as_array().unwrap();
    let mut spans: Vec<u64> = rounds
        .iter()
        .map(|round| round["duration_ms"].as_u64().unwrap())
        .collect();
    spans.sort_unstable();
    spans[spans.len() / 2]
}

fn bits(model: &Model) -> Vec<u32> {
    model.values.iter().map(|value| value.to_bits()).collect()
}

/// A figure of a process's memory as the kernel gives it, in kB: the present one or the peak.
fn memory_bytes(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(figure))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn prints(line: &str) {
    writeln!(std::io::stderr(), "hostile: {line}").unwrap();
}
