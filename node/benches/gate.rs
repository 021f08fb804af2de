//! What the gate adds to an ask: its own time without a disk, asks per second where every ask is made durable, and how
//! long it takes to open again.
//!
//! `cargo bench -p consilium-node --bench gate --profile dev [-- FOLDER]`. Without a folder the disk is the system's
//! place for temporary files.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark stops where it cannot measure, and prints what it measured"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use consilium_journal::storage::{Disk, Memory, Storage};
use consilium_journal::{Journal, Limits};
use consilium_node::gate::{Evaluation, Gate, Records, Touches, VAULT_LIMITS};
use consilium_policies::{Action, Ask, Facts, Researcher};
use consilium_privacy::Cost;
use consilium_privacy::ledger::Cohort;
use consilium_protocol::message::Metrics;
use consilium_protocol::{Digest, Millis, Role};

const POLICY: &str = r#"
name = "bench"
version = 1

[[permit]]
id = "training"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2099-12-31"
minimum-records = 50
maximum-parameters-per-record = 1.0
maximum-rounds = 100
release = ["update", "metrics", "noisy-update"]
budget = { epsilon = 1000.0, delta = 1e-6 }

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 5
budget = { epsilon = 1000.0, delta = 1e-6 }
budget-patient = { epsilon = 1000.0, delta = 1e-6 }
"#;
const NOW: Millis = Millis(1_780_272_000_000);
/// Patients behind each ask.
const PATIENTS: [u32; 2] = [1_000, 100_000];
/// Passes of a measurement without a disk.
const PASSES: u64 = 2_000;
/// How long each measurement on a disk lasts.
const LASTS: Duration = Duration::from_secs(3);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    println!("| ask, in memory | µs, mean | µs, p50 | µs, p99 |\n|---|---:|---:|---:|");
    in_memory("free", None);
    for patients in PATIENTS {
        in_memory(&format!("charged to {patients} patients"), Some(patients));
    }
    println!("\n| opening after | s | of which journals |\n|---|---:|---:|");
    opening(100_000, None);
    opening(20_000, Some(1_000));
    opening_again(500_000, None);
    opening_again(20_000, Some(1_000));
    println!("\n| asks at one time, on disk | free asks/s | charged asks/s |\n|---:|---:|---:|");
    for threads in [1, 8, 64] {
        let free = on_disk(&folder, threads, None);
        let charged = on_disk(&folder, threads, Some(1_000));
        println!("| {threads} | {free:.0} | {charged:.0} |");
    }
}

/// How long a node takes to open its journals, its books and its counts after so many passes.
fn opening(passes: u64, patients: Option<u32>) {
    let (journal, vault) = (Memory::default(), Memory::default());
    let before = gate(Arc::new(journal.clone()), Arc::new(vault.clone()));
    (0..passes).for_each(|number| pass(&before, number, patients));
    drop(before);
    let began = Instant::now();
    let records = records(Arc::new(journal), Arc::new(vault));
    let of_journals = began.elapsed().as_secs_f64();
    drop(opened(records));
    let took = began.elapsed().as_secs_f64();
    let what = if patients.is_some() {
        "charged"
    } else {
        "free"
    };
    let entries = 2 * passes;
    println!("| {passes} {what} passes, {entries} entries | {took:.2} | {of_journals:.2} |");
}

/// The same with what a node keeps beside its journals: at the first start nothing of it is there, the second finds
/// what the first left.
fn opening_again(passes: u64, patients: Option<u32>) {
    let (journal, vault) = (Memory::default(), Memory::default());
    let before = gate(Arc::new(journal.clone()), Arc::new(vault.clone()));
    (0..passes).for_each(|number| pass(&before, number, patients));
    drop(before);
    let folder = tempfile::tempdir().expect("a folder to write in");
    std::fs::write(folder.path().join("policy.toml"), POLICY).expect("a policy is written");
    let what = if patients.is_some() {
        "charged"
    } else {
        "free"
    };
    for start in ["first", "second"] {
        let began = Instant::now();
        let records = records(Arc::new(journal.clone()), Arc::new(vault.clone()));
        let of_journals = began.elapsed().as_secs_f64();
        drop(Gate::open(records, folder.path(), folder.path(), NOW).expect("a gate that opens"));
        let took = began.elapsed().as_secs_f64();
        let entries = 2 * passes;
        println!(
            "| {passes} {what} passes, {entries} entries, {start} start | {took:.2} | {of_journals:.2} |"
        );
    }
}

/// The gate's own time: the work is nothing, and no byte is synced.
fn in_memory(what: &str, patients: Option<u32>) {
    let gate = gate(Arc::new(Memory::default()), Arc::new(Memory::default()));
    let mut times: Vec<Duration> = (0..PASSES)
        .map(|number| {
            let began = Instant::now();
            pass(&gate, number, patients);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / PASSES as f64;
    println!("| {what} | {mean:.0} | {:.0} | {:.0} |", at(0.5), at(0.99));
}

/// Asks per second, each durable before it is released.
fn on_disk(folder: &Path, threads: u64, patients: Option<u32>) -> f64 {
    let folder = tempfile::tempdir_in(folder).expect("a folder to write in");
    let disk = |name: &str| -> Arc<dyn Storage> {
        Arc::new(Disk::for_writing(&folder.path().join(name)).expect("a folder to write in"))
    };
    let gate = gate(disk("journal"), disk("vault"));
    let done = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (gate, done) = (&gate, &done);
            scope.spawn(move || {
                let mut number = thread << 32;
                while began.elapsed() < LASTS {
                    pass(gate, number, patients);
                    number += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn gate(journal: Arc<dyn Storage>, vault: Arc<dyn Storage>) -> Gate {
    opened(records(journal, vault))
}

fn records(journal: Arc<dyn Storage>, vault: Arc<dyn Storage>) -> Records {
    let open = |storage, limits| {
        let (journal, _) = Journal::open_on(storage, limits).expect("a journal that opens");
        Arc::new(journal)
    };
    Records {
        journal: open(journal, Limits::default()),
        vault: open(vault, VAULT_LIMITS),
        new_secret: [7; 32],
    }
}

fn opened(records: Records) -> Gate {
    let policy = Arc::new(|| Some(POLICY.as_bytes().to_vec()));
    let (gate, _) = Gate::open_without_disk(records, policy, NOW).expect("a gate that opens");
    gate
}

/// One ask from the door to the answer; a charged one is a question that was never asked before.
fn pass(gate: &Gate, number: u64, patients: Option<u32>) {
    let ask = Ask {
        project: "cardiology".parse().expect("a name"),
        researcher: Researcher {
            name: "ada".parse().expect("a name"),
            role: Role::Researcher,
        },
        purpose: "HMB".parse().expect("a purpose"),
        dataset: "heart-disease".parse().expect("a name"),
        run: Some("r1".parse().expect("a name")),
        run_digest: Digest::of(&number.to_le_bytes()),
        action: Action::Evaluate,
    };
    let facts = Facts {
        dataset_records: Some(200_000),
        dataset_patients: Some(200_000),
        parameters: 14,
        cost: patients.map_or(Cost::None, |_| Cost::Pure {
            epsilon_pico: 1_000,
        }),
        ..Facts::default()
    };
    let touches = Touches {
        dataset_version: Digest([0; 32]),
        state: None,
        patients: Cohort::first(patients.unwrap_or(0)).expect("few patients"),
    };
    let work = Evaluation {
        held_out: Metrics {
            records: 104,
            loss: 0.41,
            accuracy: 0.8,
            auc: Some(0.9),
        },
    };
    let released = gate.pass_touching(&ask, &facts, &touches, NOW, |_, _| Ok(work));
    assert!(released.is_ok(), "{:?}", released.err());
}
