//! A 40 MB update on its way over a long wire.

use crate::consortium::{Far, are_the_same, can_be_far, has_time_for, prints, waits_long_for};
use crate::process::eventually;
use crate::wire::{Faults, Way};
use crate::world::{HOSPITALS, Model, POLICY, RunFile};

/// 13 inputs, two layers of so many and one output: 10.0 million parameters.
const HIDDEN: u64 = 3155;
const PARAMETERS: u64 = 13 * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN + HIDDEN + 1;
const UPDATE_BYTES: u64 = PARAMETERS * 4;
const CHUNK_BYTES: u64 = 1024 * 1024;
/// What the link lets be under way, unacknowledged (`SEND_WINDOW_BYTES` of its limits).
const SEND_WINDOW_BYTES: u64 = 4 * CHUNK_BYTES;

/// 100 ms there and back.
const LONG: Faults = Faults {
    loss: 0.0,
    delay_ms: 50,
    jitter_ms: 0,
    reordered: 0.0,
    doubled: 0.0,
    damaged: 0.0,
    bits_per_s: None,
};

/// What bad weather may cost of the time that good weather takes. Printed beside what it does; no time is asserted.
const SLOWER_AT_MOST: f64 = 3.0;

/// One hospital over one wire.
fn one_hospital(faults: Faults) -> Far {
    let far = Far::found(&HOSPITALS[..1], faults);
    let generous = POLICY.replace("per-record = 0.6", "per-record = 1000000");
    far.sites[0].writes_policy(&generous);
    far
}

/// One round that sends the model out and gets it back, with no step of training in between.
fn there_and_back() -> RunFile {
    let model = format!("{{ kind = \"mlp\", hidden = [{HIDDEN}, {HIDDEN}] }}");
    RunFile::of(&HOSPITALS[..1])
        .with("rounds", "1")
        .with("model", &model)
        .with_local_steps(0)
}

#[test]
fn an_upload_cut_in_the_middle_sends_one_chunk_again_at_most() {
    if !can_be_far("an upload cut in the middle") {
        return;
    }
    let far = one_hospital(LONG);
    let ada = far.consortium.researcher("ada");
    let wire = &far.wires[0];
    let run_id = ada.submits(&there_and_back());
    let coordinator = &far.consortium.coordinator;
    let before = wire.bulk_bytes(Way::Up);
    eventually("the update is on its way", || {
        assert!(far.consortium.happened("run-ended").is_empty());
        (wire.bulk_bytes(Way::Up) - before > UPDATE_BYTES / 3).then_some(())
    });
    wire.cut_both_ways();
    let cut_at = wire.bulk_bytes(Way::Up) - before;
    eventually("both give the connection up", || {
        far.is_given_up_by_the_coordinator(0)
            .and(far.is_given_up_by_the_node(0))
    });
    wire.heal();
    let model = waits_long_for(&ada, &run_id);
    assert_eq!(model.card["parameters"], PARAMETERS);

    let log = coordinator.log();
    let resumed: Vec<u64> = log
        .split("from_chunk: ")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let [from_chunk] = resumed[..] else {
        panic!("resumed from {resumed:?}");
    };
    let kept = from_chunk * CHUNK_BYTES;
    let all_up = wire.bulk_bytes(Way::Up) - before;
    prints(&format!(
        "an upload cut after {cut_at} B goes on from chunk {from_chunk}: {all_up} B went up for {UPDATE_BYTES} B"
    ));
    // What went up before the cut and was no whole chunk yet, and what was still under way or had arrived behind a
    // packet that was lost: the link's window, at most. 3 % for headers.
    let under_way = SEND_WINDOW_BYTES;
    assert!(
        cut_at < (kept + CHUNK_BYTES + under_way) * 103 / 100,
        "{cut_at} B were sent, and {kept} B are kept"
    );
    assert!(kept < cut_at, "more is kept than was sent");
    assert_eq!(
        log.matches("restarts").count(),
        0,
        "the collection began anew"
    );
}

#[test]
fn a_large_update_is_the_same_at_5_percent_loss() {
    let test = "a 40 MB update at 5 % loss and 100 ms";
    if !can_be_far(test) || !has_time_for(test) {
        return;
    }
    let (clean, clean_ms) = goes_there_and_back("40 MB there and back, 100 ms", LONG);
    let lossy = Faults { loss: 0.05, ..LONG };
    let (model, lossy_ms) = goes_there_and_back("40 MB there and back, 100 ms, 5 % loss", lossy);
    let ratio = lossy_ms as f64 / clean_ms.max(1) as f64;
    prints(&format!(
        "5 % loss takes {ratio:.1} times the clean time; the aim is {SLOWER_AT_MOST}"
    ));
    assert!(are_the_same(&model, &clean), "another model");
}

/// The model, and how long its one round took.
fn goes_there_and_back(name: &str, faults: Faults) -> (Model, u64) {
    let far = one_hospital(faults);
    let (up, down) = (far.wires[0].bytes(Way::Up), far.wires[0].bytes(Way::Down));
    let model = far.trains(&there_and_back());
    let took_ms = model.card["rounds"][0]["duration_ms"].as_u64().unwrap();
    let wire = &far.wires[0];
    // The final model goes down once more, to be evaluated.
    let share = |bytes: u64, updates: u64| bytes as f64 / (updates * UPDATE_BYTES) as f64;
    prints(&format!(
        "{name}: {took_ms} ms; on a 1500-byte path {:.3} of the payload went up and {:.3} down; {}",
        share(wire.bytes(Way::Up) - up, 1),
        share(wire.bytes(Way::Down) - down, 2),
        wire.story()
    ));
    (model, took_ms)
}
