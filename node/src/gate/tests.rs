//! A small site: a journal in memory that can break and lose power, a folder with an officer's policy, a gate.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use consilium_journal::storage::{Break, Breaking, Memory, Verb};
use consilium_journal::{Entry, Journal, Limits};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED, PASS_RESERVED,
    PassAbandoned, PassFailed, PassRefused, PassReleased, PassReserved,
};
use consilium_policies::{Action, Ask, Facts, Researcher};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{Metrics, Response};
use consilium_protocol::{Digest, Millis, RefusalCode, Role, frame, wire};

use super::*;

mod content;
mod decisions;
mod faults;
mod index;

const POLICY: &str = r#"
name = "cleveland"
version = 3

[[permit]]
id = "cardiology-training"
researchers = ["ada"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2027-12-31"
minimum-records = 50
maximum-parameters-per-record = 0.33
maximum-rounds = 100
release = ["update", "metrics"]
"#;

const JUNE_2026: Millis = Millis(1_780_272_000_000);
const JUNE_2028: Millis = Millis(1_843_430_400_000);
const FACTS: Facts = Facts {
    dataset_records: Some(199),
    parameters: 14,
};

struct Site {
    folder: tempfile::TempDir,
    disk: Memory,
    storage: Arc<Breaking>,
    gate: Gate,
    opened: Opened,
}

impl Site {
    fn with_policy(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(POLICY_FILE), policy).unwrap();
        Self::start(folder, Memory::default(), JUNE_2026)
    }

    fn cleveland() -> Self {
        Self::with_policy(POLICY)
    }

    fn start(folder: tempfile::TempDir, disk: Memory, now: Millis) -> Self {
        let storage = Arc::new(Breaking::new(Arc::new(disk.clone())));
        let (journal, _) = Journal::open_on(storage.clone(), Limits::default()).unwrap();
        let (gate, opened) =
            Gate::open(Arc::new(journal), folder.path(), folder.path(), now).unwrap();
        Self {
            folder,
            disk,
            storage,
            gate,
            opened,
        }
    }

    /// The process ends without warning and starts again; what lay on disk is there.
    fn killed(self) -> Self {
        let disk = self.disk.after_crash(1);
        self.restarted_on(disk)
    }

    fn restarted_on(self, disk: Memory) -> Self {
        let Self { folder, gate, .. } = self;
        drop(gate);
        Self::start(folder, disk, JUNE_2026)
    }

    fn officer_writes(&self, policy: &str) {
        fs::write(self.folder.path().join(POLICY_FILE), policy).unwrap();
    }

    fn journal_breaks_at_next(&self, verb: Verb) {
        self.storage
            .break_next(verb, 1, Break::Fail(ErrorKind::StorageFull));
    }

    fn entries(&self) -> Vec<Entry> {
        consilium_journal::read_on(Arc::new(self.disk.clone()))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.entries().into_iter().map(|entry| entry.kind).collect()
    }

    fn last<T: serde::de::DeserializeOwned>(&self, kind: &str) -> T {
        let last = self.entries().pop().unwrap();
        assert_eq!(last.kind, kind);
        last.parse().unwrap()
    }

    fn train(&self, round: u32) -> Result<Released<OutgoingUpdate>, NotReleased> {
        self.gate.pass(
            &ada(Action::Train { round, rounds: 15 }),
            &FACTS,
            JUNE_2026,
            |_| Ok(update()),
        )
    }
}

fn ada(action: Action) -> Ask {
    Ask {
        project: "cardiology".parse().unwrap(),
        researcher: Researcher {
            name: "ada".parse().unwrap(),
            role: Role::Researcher,
        },
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        run: "r1".parse().unwrap(),
        run_digest: Digest::of(b"run"),
        action,
    }
}

fn metrics() -> Metrics {
    Metrics {
        records: 104,
        loss: 0.41,
        accuracy: 0.8,
        auc: Some(0.9),
    }
}

fn update() -> TrainedUpdate {
    TrainedUpdate {
        vectors: vec![vec![0.25; 13], vec![-1.5]],
        records: 199,
        training_loss: Some(0.5),
        held_out: Some(metrics()),
    }
}

fn refusal<T>(outcome: Result<T, NotReleased>) -> Refusal {
    match outcome {
        Err(NotReleased::Refused(refusal)) => refusal,
        Err(NotReleased::Failed(fault)) => panic!("failed: {fault}"),
        Ok(_) => panic!("released"),
    }
}

fn fault<T>(outcome: Result<T, NotReleased>) -> GateFault {
    match outcome {
        Err(NotReleased::Failed(fault)) => fault,
        Err(NotReleased::Refused(refusal)) => panic!("refused: {refusal}"),
        Ok(_) => panic!("released"),
    }
}
