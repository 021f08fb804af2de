//! The simulator in CI: seeds that must hold, planted faults that must be found, and every bug it ever found.

use consilium_tests::sim::mutation::{Mutation, ShellFault};
use consilium_tests::sim::property::Property;
use consilium_tests::sim::scale::{self, Scale};
use consilium_tests::sim::{replay, report::Report, run};

/// Seeds in CI: each a consortium with its own troubles.
const SEEDS: u64 = 200;

#[test]
fn two_hundred_consortia_keep_every_promise() {
    let mut total = Report::default();
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        match run(seed, None) {
            Ok(report) => total.add(&report),
            Err(violation) => broken.push(format!("{violation}; {}", replay(seed))),
        }
    }
    println!("{}", total.table());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // A simulator that simulates nothing keeps every promise too.
    for (what, count) in total.rows() {
        assert!(count > 0, "in {SEEDS} seeds there were no {what}");
    }
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None), "{}", replay(seed));
    }
}

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    println!("| planted fault | first seed | found by |\n|---|---:|---|");
    for (name, mutation) in Mutation::all() {
        let found = (0..SEEDS).find_map(|seed| Some((seed, run(seed, Some(mutation)).err()?)));
        match found {
            Some((seed, violation)) => println!("| {name} | {seed} | {} |", violation.property),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}

#[test]
fn a_run_of_a_few_among_many_members() {
    let scale = Scale {
        members: 300,
        sampled: 20,
        runs: 3,
        rounds: 2,
    };
    let mut runs = Vec::new();
    let report = scale::run(scale, 7, |number| runs.push(number)).unwrap();
    assert_eq!(runs, [1, 2, 3]);
    assert_eq!((report.rounds, report.accepted), (6, 120));
    assert_eq!((report.missing, report.failed), (0, 0));
}

/// Found by the simulator's first sixty seeds. A site whose local values could not be written answered with a fault,
/// and kept the update in memory; asked again, it sent it, and a restart would have left it nothing to go on from.
#[test]
fn repro_an_update_was_sent_whose_local_values_were_on_no_disk() {
    let as_it_was = Some(Mutation::Shell(ShellFault::KeepUnpersisted));
    let found = (0..SEEDS).find_map(|seed| Some((seed, run(seed, as_it_was).err()?)));
    let (seed, violation) = found.expect("no disk fails at the right moment any more");
    assert_eq!(violation.property, Property::LocalIsDurable, "{violation}");
    assert_eq!(run(seed, None).err(), None, "{}", replay(seed));
}
