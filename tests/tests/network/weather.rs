//! Wires that are bad all the time.

use crate::consortium::{Far, are_the_same, can_be_far, prints, side_by_side};
use crate::wire::Faults;
use crate::world::{Consortium, HOSPITALS, Model, RunFile};

const ROUNDS: &str = "5";

const GOOD: Faults = Faults {
    loss: 0.0,
    delay_ms: 0,
    jitter_ms: 0,
    reordered: 0.0,
    doubled: 0.0,
    damaged: 0.0,
    bits_per_s: None,
};

/// Each both ways, so that a delay counts twice for a round trip.
const WEATHER: [(&str, Faults); 10] = [
    ("loss 1 %", Faults { loss: 0.01, ..GOOD }),
    ("loss 5 %", Faults { loss: 0.05, ..GOOD }),
    ("loss 20 %", Faults { loss: 0.2, ..GOOD }),
    (
        "delay 10 ms ± 2",
        Faults {
            delay_ms: 10,
            jitter_ms: 2,
            ..GOOD
        },
    ),
    (
        "delay 100 ms ± 20",
        Faults {
            delay_ms: 100,
            jitter_ms: 20,
            ..GOOD
        },
    ),
    (
        "delay 300 ms ± 50",
        Faults {
            delay_ms: 300,
            jitter_ms: 50,
            ..GOOD
        },
    ),
    (
        "25 % reordered",
        Faults {
            delay_ms: 10,
            reordered: 0.25,
            ..GOOD
        },
    ),
    (
        "5 % doubled",
        Faults {
            doubled: 0.05,
            ..GOOD
        },
    ),
    (
        "1 % damaged",
        Faults {
            damaged: 0.01,
            ..GOOD
        },
    ),
    (
        "1 Mbit/s",
        Faults {
            bits_per_s: Some(1_000_000),
            ..GOOD
        },
    ),
];

/// What a good network gives.
pub(crate) fn model_of_a_good_network(run: &RunFile) -> Model {
    let consortium = Consortium::found();
    let _sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    ada.gets_model_of(&ada.submits(run))
}

#[test]
fn the_model_is_the_same_over_every_bad_wire() {
    if !can_be_far("weather") {
        return;
    }
    let run = RunFile::of(&HOSPITALS).with("rounds", ROUNDS);
    let expected = model_of_a_good_network(&run);
    side_by_side(&WEATHER, |name, faults| {
        let far = Far::found(&HOSPITALS, *faults);
        let model = far.trains(&run);
        let rounds = model.card["rounds"].as_array().unwrap();
        let spans = rounds
            .iter()
            .map(|round| round["duration_ms"].as_u64().unwrap_or_default());
        let worst_ms = spans.max().unwrap_or_default();
        prints(&format!(
            "{name}: the slowest of {ROUNDS} rounds took {worst_ms} ms"
        ));
        assert!(are_the_same(&model, &expected), "{name}: another model");
    });
}
