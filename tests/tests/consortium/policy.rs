//! The policy decides at the hospital, whoever asks.

use std::fs;

use serde_json::Value;

use crate::world::{Consortium, POLICY, RunFile, Site};

/// Submits a run that names the site alone, and hears the site's refusal: its code, and what the researcher is told.
fn refusal(consortium: &Consortium, site: &Site, run: &RunFile) -> (String, String) {
    let ada = crate::world::Person {
        home: consortium.path("ada"),
    };
    let refused_before = site.happened("pass-refused").len();
    let run_id = ada.submits(run);
    let why = ada.hears_why_it_failed(&run_id);
    assert!(why.contains(&format!("`{}`", site.name)), "{why}");
    let refused = site.happened("pass-refused");
    // Once, and written down at the site before it was told.
    assert_eq!(refused.len(), refused_before + 1, "{why}");
    let last = &refused[refused_before]["refusal"];
    assert!(
        why.contains(last["reason"].as_str().unwrap()),
        "{why}: {last}"
    );
    assert!(site.runs().is_empty());
    (last["code"].as_str().unwrap().to_owned(), why)
}

#[test]
fn what_no_permit_covers_is_refused_with_the_reason() {
    let consortium = Consortium::found();
    let site = consortium.running_site("va");
    consortium.researcher("ada");
    let run = RunFile::of(&["va"]);
    // The node reads its policy anew at every ask: no restart in between.
    for (from, to, code) in [
        ("2099-12-31", "2020-12-31", "expired"),
        ("[\"cardiology\"]", "[\"oncology\"]", "not-permitted"),
        ("[\"HMB\"]", "[\"CC\"]", "not-permitted"),
        (
            "researchers = [\"*\"]",
            "researchers = [\"grace\"]",
            "not-permitted",
        ),
        (
            "dataset = \"heart-disease\"",
            "dataset = \"stroke\"",
            "not-permitted",
        ),
        (
            "minimum-records = 20",
            "minimum-records = 5000",
            "too-few-records",
        ),
        (
            "-per-record = 0.6",
            "-per-record = 0.01",
            "too-many-parameters",
        ),
        (
            "maximum-rounds = 1000",
            "maximum-rounds = 2",
            "not-permitted",
        ),
        (
            "release = [\"update\", \"metrics\"]",
            "release = [\"metrics\"]",
            "not-permitted",
        ),
    ] {
        assert!(POLICY.contains(from), "{from}");
        site.writes_policy(&POLICY.replace(from, to));
        let (heard, why) = refusal(&consortium, &site, &run);
        assert_eq!(heard, code, "{to}: {why}");
    }
    assert!(site.happened("pass-reserved").is_empty());
}

#[test]
fn without_a_policy_that_can_be_read_nothing_leaves() {
    let consortium = Consortium::found();
    let site = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["va"]);
    fs::remove_file(site.path("policy/policy.toml")).unwrap();
    let (none, _) = refusal(&consortium, &site, &run);
    site.writes_policy(&POLICY.replace("version = 1", "version = "));
    let (unreadable, _) = refusal(&consortium, &site, &run);
    site.writes_policy(&POLICY.replace("minimum-records = 20\n", ""));
    let (incomplete, _) = refusal(&consortium, &site, &run);
    assert_eq!(
        [none, unreadable, incomplete],
        ["no-bundle", "unreadable-bundle", "unreadable-bundle"]
    );
    let typed = site.checks();
    assert_eq!(typed.exit, 1);
    let findings = typed.envelope()["data"]["findings"].take();
    let policy = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["check"] == "policy")
        .unwrap();
    assert_eq!(policy["standing"], "bad");
    // Set right, the same node takes part.
    site.writes_policy(POLICY);
    ada.gets_model_of(&ada.submits(&run));
}

#[test]
fn a_data_set_that_a_site_does_not_have_is_refused_there() {
    let consortium = Consortium::found();
    let site = consortium.running_site("va");
    consortium.researcher("ada");
    site.writes_policy(&POLICY.replace("dataset = \"heart-disease\"", "dataset = \"*\""));
    let run = RunFile::of(&["va"]).with("dataset", "\"stroke\"");
    let (code, why) = refusal(&consortium, &site, &run);
    assert_eq!(code, "unknown-dataset", "{why}");
}

#[test]
fn metrics_stay_at_home_where_the_policy_keeps_them() {
    let consortium = Consortium::found();
    let _cleveland = consortium.running_site("cleveland");
    let va = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    va.writes_policy(&POLICY.replace(
        "release = [\"update\", \"metrics\"]",
        "release = [\"update\"]",
    ));
    let model = ada.gets_model_of(&ada.submits(&RunFile::of(&["cleveland", "va"])));
    let is_there = |value: &Value| !value.is_null();
    for round in model.card["rounds"].as_array().unwrap() {
        let (open, closed) = (&round["sites"]["cleveland"], &round["sites"]["va"]);
        assert!(
            is_there(&open["training_loss"]) && is_there(&open["held_out"]),
            "{open}"
        );
        assert!(
            !is_there(&closed["training_loss"]) && !is_there(&closed["held_out"]),
            "{closed}"
        );
        assert_eq!(
            (&open["metrics_withheld"], &closed["metrics_withheld"]),
            (&false.into(), &true.into())
        );
    }
    assert!(is_there(&model.card["sites"]["cleveland"]["held_out"]));
    assert!(!is_there(&model.card["sites"]["va"]["held_out"]));
    let evaluated = &consortium.happened("run-evaluated")[0];
    assert!(
        evaluated["missing"]["va"]
            .as_str()
            .unwrap()
            .contains("refused"),
        "{evaluated}"
    );
}

#[test]
fn a_permit_that_is_taken_back_ends_a_run_under_way() {
    let consortium = Consortium::found();
    let _cleveland = consortium.running_site("cleveland");
    let va = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["cleveland", "va"]).with("rounds", "1000");
    let run_id = ada.submits(&run.with_local_steps(400));
    consortium.reaches_round(&run_id, 2);
    va.writes_policy(&POLICY.replace("2099-12-31", "2020-12-31"));
    let why = ada.hears_why_it_failed(&run_id);
    assert!(why.contains("`va`") && why.contains("expired"), "{why}");
    let released = va.happened("pass-released").len();
    // The officer changes her mind: the run goes on from its last round.
    va.writes_policy(POLICY);
    ada.types(&format!("run resume {run_id}")).data();
    consortium.reaches_round(&run_id, consortium.rounds_of(&run_id).len() + 1);
    assert!(va.happened("pass-released").len() > released);
}
