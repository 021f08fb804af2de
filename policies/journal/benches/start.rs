//! How long a node waits for its journal: opening 1,000,000 entries of the size of a pass, checked whole.
//!
//! `cargo bench --profile dev -p consilium-journal --bench start` (in the folder of `TMPDIR`; it writes 650 MB there).
//! The figures are from the page cache: the first start after a boot adds the time to read the files.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::{self, Write};
use std::time::Instant;

use consilium_journal::{Journal, Limits, Snapshot, verify};

const ENTRIES: u64 = 1_000_000;
const TURNS: usize = 3;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut out = io::stdout().lock();
    let folder = tempfile::tempdir()?;
    let payload = payload();
    let begun = Instant::now();
    {
        let (journal, _) = Journal::open(folder.path(), Limits::default())?;
        for at_ms in 0..ENTRIES {
            let appended = journal.enqueue_json(at_ms, "pass-released", &payload)?;
            if at_ms + 1 == ENTRIES {
                journal.wait_until_durable(appended.seq)?;
            }
        }
    }
    let bytes: u64 = std::fs::read_dir(folder.path())?
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    writeln!(
        out,
        "{ENTRIES} entries, {} MB, written in {:.1} s",
        bytes >> 20,
        begun.elapsed().as_secs_f64()
    )?;
    for _ in 0..TURNS {
        let begun = Instant::now();
        let (journal, opened) = Journal::open(folder.path(), Limits::default())?;
        let seconds = begun.elapsed().as_secs_f64();
        writeln!(out, "open     {} entries: {seconds:.2} s", opened.entries)?;
        let begun = Instant::now();
        let snapshot = journal.snapshot()?;
        let size = snapshot.tree_head().size;
        let path = snapshot.prove_consistency(size / 3, size)?;
        let seconds = begun.elapsed().as_secs_f64() * 1e3;
        writeln!(
            out,
            "prove    that it continues a third of it: {} hashes, {seconds:.1} ms",
            path.path().len()
        )?;
    }
    let begun = Instant::now();
    let verified = verify(folder.path(), None)?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(out, "verify   {} entries: {seconds:.2} s", verified.entries)?;
    let begun = Instant::now();
    let snapshot = Snapshot::read(folder.path())?;
    snapshot.prove_inclusion(ENTRIES / 2, ENTRIES)?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "prove    one entry, reading the folder: {seconds:.2} s"
    )?;
    Ok(())
}

/// As long as what a pass leaves: about 560 bytes.
fn payload() -> serde_json::Value {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    serde_json::json!({
        "reserved": 7,
        "ask": {
            "project": "cardiology", "researcher": { "name": "ada", "role": "researcher" }, "purpose": "HMB",
            "dataset": "heart-disease", "run": "r1", "run-digest": digest,
            "action": { "kind": "train", "round": 3, "rounds": 15 },
        },
        "rules": ["cardiology-training"],
        "bundle": digest,
        "receipt": {
            "what": "update", "frame": digest, "tensors": { "blake3": digest, "bytes": 56 }, "records": 199,
            "metrics-withheld": true,
        },
    })
}
