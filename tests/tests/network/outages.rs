//! Wires that are good, and then not there for a while.

use std::time::Duration;

use crate::consortium::{Far, are_the_same, can_be_far, prints, side_by_side, waits_long_for};
use crate::process::{eventually, pause};
use crate::weather::model_of_a_good_network;
use crate::wire::{Faults, Way};
use crate::world::{HOSPITALS, RunFile};

/// Enough rounds, and slow enough, that the outage comes in the middle of the run.
const ROUNDS: usize = 100;
const WIRE: Faults = Faults {
    loss: 0.0,
    delay_ms: 15,
    jitter_ms: 0,
    reordered: 0.0,
    doubled: 0.0,
    damaged: 0.0,
    bits_per_s: None,
};

const BLACKOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Outage {
    /// Nothing goes either way, for nobody, for 30 s.
    Blackout,
    /// Nothing reaches one node, until it has given its connection up.
    DeafNode,
    /// Nothing comes from one node, until the coordinator has given its connection up.
    MuteNode,
}

const OUTAGES: [(&str, Outage); 3] = [
    ("blackout of 30 s", Outage::Blackout),
    ("one node hears nothing", Outage::DeafNode),
    ("one node is not heard", Outage::MuteNode),
];

#[test]
fn the_model_is_the_same_after_an_outage() {
    if !can_be_far("outages") {
        return;
    }
    let run = RunFile::of(&HOSPITALS).with("rounds", &ROUNDS.to_string());
    let expected = model_of_a_good_network(&run);
    side_by_side(&OUTAGES, |name, outage| {
        let far = Far::found(&HOSPITALS, WIRE);
        let ada = far.consortium.researcher("ada");
        let run_id = ada.submits(&run);
        far.consortium.reaches_round(&run_id, 3);
        happens(*outage, &far);
        let before = far.consortium.rounds_of(&run_id).len();
        assert!(before < ROUNDS, "{name}: the run was over before it");
        far.wires.iter().for_each(|wire| wire.heal());
        let model = waits_long_for(&ada, &run_id);
        let rounds = far.consortium.rounds_of(&run_id);
        let spans = rounds
            .iter()
            .map(|round| round["duration_ms"].as_u64().unwrap_or_default());
        let worst_ms = spans.max().unwrap_or_default();
        prints(&format!(
            "{name}: in round {} of {ROUNDS}, which took {worst_ms} ms",
            before + 1
        ));
        assert!(are_the_same(&model, &expected), "{name}: another model");
    });
}

/// Begins an outage, and returns when it may end.
fn happens(outage: Outage, far: &Far) {
    match outage {
        Outage::Blackout => {
            far.wires.iter().for_each(|wire| wire.cut_both_ways());
            // How long it is dark is what this is about.
            pause(BLACKOUT);
        }
        Outage::DeafNode => {
            far.wires[0].cut(Way::Down);
            eventually("the node gives its connection up", || {
                far.is_given_up_by_the_node(0)
            });
        }
        Outage::MuteNode => {
            far.wires[0].cut(Way::Up);
            eventually("the coordinator gives its connection up", || {
                far.is_given_up_by_the_coordinator(0)
            });
        }
    }
}
