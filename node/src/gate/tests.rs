//! A small site: a journal in memory that can break and lose power, a folder with an officer's policy, a gate.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use consilium_journal::storage::{Break, Breaking, Memory, Storage, Verb};
use consilium_journal::{Entry, Journal, Limits};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED, PASS_REPEATED,
    PASS_RESERVED, PassAbandoned, PassFailed, PassRefused, PassReleased, PassRepeated,
    PassReserved,
};
use consilium_policies::{Action, Ask, Facts, Researcher};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{Metrics, Response};
use consilium_protocol::{Digest, Millis, Refusal, RefusalCode, Role, frame, wire};

use super::*;

mod charged;
mod content;
mod copied;
mod decisions;
mod faults;
mod index;
mod kills;
mod private;
mod signed;
mod waiting;

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

/// As [`POLICY`], with budgets.
fn with_budgets(epsilon: f64, patient: f64) -> String {
    let permit = POLICY.replace("\"metrics\"]", "\"metrics\", \"noisy-update\"]");
    let budget = format!("budget = {{ epsilon = {epsilon:.1}, delta = 1e-6 }}");
    format!(
        "{permit}{budget}\n\n[dataset.heart-disease]\nduo = [\"HMB\"]\nunit = \"patient\"\nfloor-patients = 5\n{budget}\nbudget-patient = {{ epsilon = {patient:.1}, delta = 1e-6 }}\n"
    )
}

const JUNE_2026: Millis = Millis(1_780_272_000_000);
const JUNE_2028: Millis = Millis(1_843_430_400_000);
fn facts() -> Facts {
    Facts {
        dataset_records: Some(199),
        parameters: 14,
        ..Facts::default()
    }
}

struct Site {
    folder: tempfile::TempDir,
    disk: Memory,
    vault: Memory,
    storage: Arc<Breaking>,
    gate: Gate,
    opened: Opened,
}

impl Site {
    fn with_policy(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(POLICY_FILE), policy).unwrap();
        Self::start(folder, Memory::default(), Memory::default(), JUNE_2026)
    }

    fn cleveland() -> Self {
        Self::with_policy(POLICY)
    }

    fn start(folder: tempfile::TempDir, disk: Memory, vault: Memory, now: Millis) -> Self {
        let storage = Arc::new(Breaking::new(Arc::new(disk.clone())));
        let records = records_on(storage.clone(), Arc::new(vault.clone()));
        let (gate, opened) = Gate::open(records, folder.path(), folder.path(), now).unwrap();
        Self {
            folder,
            disk,
            vault,
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
        let Self {
            folder,
            gate,
            vault,
            ..
        } = self;
        drop(gate);
        Self::start(folder, disk, vault.after_crash(1), JUNE_2026)
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
            &facts(),
            JUNE_2026,
            |_| Ok(update()),
        )
    }
}

fn records_on(journal: Arc<dyn Storage>, vault: Arc<dyn Storage>) -> Records {
    let (journal, _) = Journal::open_on(journal, Limits::default()).unwrap();
    let (vault, _) = Journal::open_on(vault, VAULT_LIMITS).unwrap();
    Records {
        journal: Arc::new(journal),
        vault: Arc::new(vault),
        new_secret: [7; 32],
    }
}

fn digest_of(policy: &str) -> Digest {
    let files = consilium_policies::BundleFiles {
        policy: policy.as_bytes().to_vec(),
        ..Default::default()
    };
    files.digest()
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
        run: Some("r1".parse().unwrap()),
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
