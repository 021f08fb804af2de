//! A hospital that is away for longer than a round waits.

use serde_json::Value;

use crate::process::eventually;
use crate::world::{Consortium, HOSPITALS, RunFile};

/// Long enough that it does not end before a node is killed, short enough that its rounds do not matter.
const ROUNDS: usize = 150;

/// Longer than any hospital takes that is there, on a busy machine as well.
const DEADLINE_S: u64 = 10;

fn patient_run() -> RunFile {
    RunFile::of(&HOSPITALS)
        .with("rounds", &ROUNDS.to_string())
        .with("quorum", "3")
        .with("round-deadline-s", &DEADLINE_S.to_string())
        .with_local_steps(400)
}

fn took_part(round: &Value, site: &str) -> bool {
    let gave = round["sites"].get(site).is_some();
    assert_ne!(gave, round["missing"].get(site).is_some(), "{round}");
    gave
}

#[test]
fn a_round_closes_without_a_hospital_that_is_away_and_with_it_when_it_is_back() {
    let consortium = Consortium::found();
    let mut sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run_id = ada.submits(&patient_run());
    consortium.reaches_round(&run_id, 2);
    sites[3].node.kill_9();
    let round_without = eventually("a round closes without va", || {
        let rounds = consortium.rounds_of(&run_id);
        rounds.into_iter().find(|round| !took_part(round, "va"))
    });
    assert_eq!(round_without["missing"]["va"]["cause"], "late");
    assert_eq!(round_without["missing"].as_object().unwrap().len(), 1);
    assert_eq!(round_without["sites"].as_object().unwrap().len(), 3);
    assert!(round_without["duration_ms"].as_u64().unwrap() >= DEADLINE_S * 1000);

    sites[3].node.start();
    let model = ada.gets_model_of(&run_id);
    let rounds = model.card["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), ROUNDS);
    assert!(
        took_part(&rounds[ROUNDS - 1], "va"),
        "{}",
        rounds[ROUNDS - 1]
    );
    assert!(
        model.card["sites"]["va"]["held_out"]["records"]
            .as_u64()
            .is_some()
    );
}

#[test]
fn a_hospital_that_missed_rounds_of_its_own_values_is_named_and_the_others_go_on() {
    let consortium = Consortium::found();
    let mut sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let model = r#"{ kind = "logistic", local = ["intercept"] }"#;
    let run_id = ada.submits(&patient_run().with("model", model));
    consortium.reaches_round(&run_id, 2);
    sites[3].node.kill_9();
    // Two rounds: of the first, the node may have written its values before it was killed.
    eventually("two rounds close without va", || {
        let rounds = consortium.rounds_of(&run_id);
        let without = rounds
            .iter()
            .filter(|round| !took_part(round, "va"))
            .count();
        (without >= 2).then_some(())
    });
    sites[3].node.start();
    let model = ada.gets_model_of(&run_id);
    let last = &model.card["rounds"][ROUNDS - 1];
    assert_eq!(last["missing"]["va"]["cause"], "refused", "{last}");
    assert_eq!(last["missing"]["va"]["refusal"]["code"], "wrong-round");
    assert_eq!(last["sites"].as_object().unwrap().len(), 3);
    assert!(model.card["sites"]["va"]["held_out"].is_null());
    let evaluated = &consortium.happened("run-evaluated")[0];
    assert!(
        evaluated["missing"]["va"]
            .as_str()
            .unwrap()
            .contains("wrong-round")
    );
}

#[test]
fn a_run_without_its_quorum_ends_at_the_deadline_and_says_who_is_missing() {
    let consortium = Consortium::found();
    let mut sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run_id = ada.submits(&patient_run().with("quorum", "4"));
    consortium.reaches_round(&run_id, 2);
    // A machine that hangs: its socket is there and nobody answers.
    sites[3].node.signal("-STOP");
    let why = ada.hears_why_it_failed(&run_id);
    assert!(
        why.contains("needs 4 of 4") && why.contains("`va` (late)"),
        "{why}"
    );
    // Once it is awake again, the run can be taken up where it ended.
    sites[3].node.signal("-CONT");
    ada.types(&format!("run resume {run_id}")).data();
    let model = ada.gets_model_of(&run_id);
    assert_eq!(model.card["rounds"].as_array().unwrap().len(), ROUNDS);
    assert!(sites[3].node.is_running());
}

/// Long enough for who is awake, and half of it far below the time after which a silent connection counts as lost.
const SHORT_DEADLINE_S: u64 = 4;

#[test]
fn a_hospital_that_comes_too_late_hears_why_its_update_was_not_taken() {
    let consortium = Consortium::found();
    let sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run = patient_run()
        .with("quorum", "1")
        .with("round-deadline-s", &SHORT_DEADLINE_S.to_string());
    let run_id = ada.submits(&run);
    consortium.reaches_round(&run_id, 2);
    let va = &sites[3].node;
    va.signal("-STOP");
    // Two rounds: it was asked for the second of them while it slept, from the first byte on.
    eventually("two rounds close without va", || {
        let rounds = consortium.rounds_of(&run_id);
        let without = rounds.iter().filter(|round| !took_part(round, "va"));
        (without.count() >= 2).then_some(())
    });
    va.signal("-CONT");
    let told = |line: &str| {
        line.contains("does not take this site's update")
            && line.contains("wrong-round")
            && line.contains("closed before the update was complete")
            && line.contains("round-deadline-s")
    };
    eventually("va is told why its update was not taken", || {
        va.log().lines().any(told).then_some(())
    });
    // Unless it is over: awake, the hospitals need little time.
    ada.types(&format!("run stop {run_id}"));
}
