//! Training with noise: what it costs, who says so, and that nothing leaves beside it.

use crate::process::types;
use crate::world::{Consortium, RunFile, Site};

const WHO: [&str; 2] = ["cleveland", "hungarian"];
const ROUNDS: usize = 120;
const DELTA: &str = "1e-6";

/// An officer's policy that releases updates with noise, within a project's budget of this ε.
fn policy(epsilon: &str) -> String {
    format!(
        r#"
name = "hospital"
version = 2

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
rounding = 5
budget = {{ epsilon = 60.0, delta = {DELTA} }}
budget-patient = {{ epsilon = 60.0, delta = {DELTA} }}

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
budget = {{ epsilon = {epsilon}, delta = {DELTA} }}
"#
    )
}

/// A run of ε = 3 in all its rounds together.
fn private_run() -> RunFile {
    RunFile::of(&WHO)
        .with("rounds", &ROUNDS.to_string())
        .with(
            "privacy",
            &format!("{{ clip = 1.0, epsilon = 3.0, delta = {DELTA} }}"),
        )
        .with(
            "training",
            "{ learning-rate = 0.1, local-steps = 100, batch-size = 32 }",
        )
        .with(
            "data",
            r#"{ features = [{ column = "age", between = [20, 90] }, { column = "sex", between = [0, 1] }],
                 label = { column = "num", greater-than = 0 } }"#,
        )
}

fn hospitals(consortium: &Consortium) -> Vec<Site> {
    let sites = WHO.map(|name| {
        let site = consortium.running_site(name);
        site.writes_policy(&policy("3.0"));
        site
    });
    sites.into()
}

/// What `consilium budget show` says was spent on the data set.
fn spent_epsilon(site: &Site) -> f64 {
    let folder = site.node.folder().to_str().unwrap();
    let line = [
        "--format", "json", "budget", "show", folder, "--delta", DELTA,
    ];
    let data = types("consilium", line).data();
    data["datasets"][0]["spent_epsilon"].as_f64().unwrap()
}

/// Rounds that were charged, as the node's journal has them.
fn charged(site: &Site) -> Vec<u64> {
    let reserved = site.happened("pass-reserved").into_iter();
    let charged = reserved.filter(|entry| !entry["vault"].is_null());
    let mut rounds: Vec<u64> = charged
        .map(|entry| entry["ask"]["action"]["round"].as_u64().unwrap())
        .collect();
    rounds.sort_unstable();
    rounds
}

#[test]
fn a_private_run_spends_what_it_says_and_tells_nothing_without_noise() {
    let mut consortium = Consortium::found();
    let sites = hospitals(&consortium);
    let ada = consortium.researcher("ada");
    let run_id = ada.submits(&private_run());
    // A power cut at the coordinator: what it asks for again is answered with what was kept.
    consortium.reaches_round(&run_id, 1);
    consortium.coordinator.kill_9();
    consortium.coordinator.start();
    consortium.is_up();
    let card = ada.gets_model_of(&run_id).card;
    assert!(consortium.coordinator.log().contains("a run goes on"));

    assert_eq!(card["run"]["state"], "finished");
    assert_eq!(card["privacy"]["epsilon_at_most"], 3.0, "{card}");
    assert_eq!(card["rounds"].as_array().unwrap().len(), ROUNDS);
    for site in &sites {
        for round in card["rounds"].as_array().unwrap() {
            let told = &round["sites"][&site.name];
            assert!(told.is_object(), "{round}");
            assert!(told["training_loss"].is_null(), "{told}");
        }
        let told = &card["sites"][&site.name];
        assert!(told["held_out"].is_null(), "{told}");
        let each_once: Vec<u64> = (1..=ROUNDS as u64).collect();
        assert_eq!(charged(site), each_once, "{}", site.name);
        let spent = spent_epsilon(site);
        assert!((2.9..=3.0).contains(&spent), "{spent}");
    }
}

#[test]
fn a_run_beyond_the_budget_is_refused_and_the_site_is_named() {
    let consortium = Consortium::found();
    let sites = hospitals(&consortium);
    // Enough for the first rounds, and not for all: it is refused before any.
    sites[1].writes_policy(&policy("2.5"));
    let ada = consortium.researcher("ada");
    let run_id = ada.submits(&private_run());
    let why = ada.hears_why_it_failed(&run_id);
    assert!(
        why.contains("hungarian") && why.contains("budget-exhausted"),
        "{why}"
    );
    for site in &sites {
        assert!(charged(site).is_empty(), "{}", site.name);
    }
}
