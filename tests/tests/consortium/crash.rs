//! Power cuts. Whoever is killed, at whatever moment, the run goes on by itself once everybody is back, and the model
//! is bit for bit the one of a run that nothing disturbed.

use consilium_protocol::Digest;

use crate::process::{Process, pause};
use crate::world::{Consortium, HOSPITALS, Person, RunFile, Site};

const ROUNDS: &str = "60";
/// Enough that a run lasts seconds on an idle machine, and a kill falls in the middle of it.
const LOCAL_STEPS: u32 = 400;

/// What a test of this room stands on: the consortium, and the model of the same run undisturbed.
struct Rehearsed {
    consortium: Consortium,
    sites: Vec<Site>,
    ada: Person,
    run: RunFile,
    undisturbed: Digest,
}

impl Rehearsed {
    fn with(model: &str, strategy: &str) -> Self {
        let consortium = Consortium::found();
        let sites = consortium.four_hospitals();
        let ada = consortium.researcher("ada");
        let run = RunFile::of(&HOSPITALS)
            .with("rounds", ROUNDS)
            .with_local_steps(LOCAL_STEPS)
            .with("model", model)
            .with("strategy", strategy);
        let undisturbed = ada.gets_model_of(&ada.submits(&run)).tensors_sha256;
        Self {
            consortium,
            sites,
            ada,
            run,
            undisturbed,
        }
    }

    /// Submits the run once more; kills at each of `rounds`, a few milliseconds into the next one, and starts again.
    fn is_killed_at(&mut self, rounds: &[usize], seed: u64, victims: Victims) {
        let run_id = self.ada.submits(&self.run);
        let mut chance = seed;
        for round in rounds {
            self.consortium.reaches_round(&run_id, *round);
            // A linear congruential generator (Knuth, MMIX) is chance enough to hit a round anywhere.
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            pause(std::time::Duration::from_micros((chance >> 33) % 20_000));
            self.kill_and_start(victims, (chance >> 40) as usize);
        }
        let model = self.ada.gets_model_of(&run_id);
        assert_eq!(model.tensors_sha256, self.undisturbed);
        if victims != Victims::Node {
            // It was killed in the middle of the run, and took it up each time: the last kill may have come too late.
            let taken_up = self
                .consortium
                .coordinator
                .log()
                .matches("a run goes on")
                .count();
            assert!(taken_up + 1 >= rounds.len(), "taken up {taken_up} times");
        }
        let rounds = self.consortium.rounds_of(&run_id);
        assert_eq!(rounds.len(), 60);
        for closed in rounds {
            assert!(
                closed["missing"].as_object().unwrap().is_empty(),
                "{closed}"
            );
        }
    }

    fn kill_and_start(&mut self, victims: Victims, chance: usize) {
        let mut killed: Vec<&mut Process> = Vec::new();
        if victims != Victims::Node {
            killed.push(&mut self.consortium.coordinator);
        }
        if victims != Victims::Coordinator {
            let count = self.sites.len();
            killed.push(&mut self.sites[chance % count].node);
        }
        killed.iter_mut().for_each(|process| process.kill_9());
        killed.iter_mut().for_each(|process| process.start());
        self.consortium.is_up();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    Coordinator,
    Node,
    Both,
}

const LOCAL_INTERCEPT: &str = r#"{ kind = "logistic", local = ["intercept"] }"#;
const SHARED: &str = r#"{ kind = "logistic" }"#;
const FED_AVG: &str = r#"{ name = "FedAvg" }"#;
const FED_ADAM: &str = r#"{ name = "FedAdam", server-learning-rate = 0.01 }"#;
const SCAFFOLD: &str = r#"{ name = "SCAFFOLD" }"#;

#[test]
fn fed_avg_with_local_intercepts_survives_kills_of_its_coordinator() {
    let mut house = Rehearsed::with(LOCAL_INTERCEPT, FED_AVG);
    house.is_killed_at(&[1, 20, 45], 1, Victims::Coordinator);
}

#[test]
fn fed_adam_survives_kills_of_its_coordinator() {
    let mut house = Rehearsed::with(SHARED, FED_ADAM);
    house.is_killed_at(&[3, 30, 58], 2, Victims::Coordinator);
}

#[test]
fn scaffold_survives_kills_of_its_coordinator() {
    let mut house = Rehearsed::with(SHARED, SCAFFOLD);
    house.is_killed_at(&[2, 25, 50], 3, Victims::Coordinator);
}

#[test]
fn fed_avg_with_local_intercepts_survives_kills_of_its_nodes() {
    let mut house = Rehearsed::with(LOCAL_INTERCEPT, FED_AVG);
    house.is_killed_at(&[1, 10, 20, 30, 40, 50], 4, Victims::Node);
}

#[test]
fn fed_adam_survives_kills_of_its_nodes() {
    let mut house = Rehearsed::with(SHARED, FED_ADAM);
    house.is_killed_at(&[1, 10, 20, 30, 40, 50], 5, Victims::Node);
}

#[test]
fn scaffold_survives_kills_of_its_nodes() {
    let mut house = Rehearsed::with(SHARED, SCAFFOLD);
    house.is_killed_at(&[1, 10, 20, 30, 40, 50], 6, Victims::Node);
}

#[test]
fn scaffold_with_local_intercepts_survives_kills_of_coordinator_and_node_at_once() {
    let mut house = Rehearsed::with(LOCAL_INTERCEPT, SCAFFOLD);
    house.is_killed_at(&[5, 35, 55], 7, Victims::Both);
}
