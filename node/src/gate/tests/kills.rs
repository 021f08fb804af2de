//! Power lost at every change that a charged pass makes to the disks, and at every point between.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use consilium_privacy::Cost;

use super::*;

/// Power is lost at these points of a charged pass, and of the same ask again: each lies before the change to a disk of
/// that number, the first being 1, or in the work.
const POINTS: &[(&str, u64)] = &[
    ("bundle, not written", 1),
    ("bundle, written, not synced", 2),
    ("charge, not written", 3),
    ("charge, written, not synced", 4),
    ("charge synced, reservation not written", 5),
    ("reservation, written, not synced", 6),
    ("reservation synced, in the work", IN_WORK),
    ("worked, answer not written", 7),
    ("answer, written, not synced", 8),
    ("answer synced, release not written", 9),
    ("release, written, not synced", 10),
    ("release synced, not sent; asked again, not written", 11),
    ("asked again, written, not synced", 12),
    ("asked again, synced, not sent", 13),
];
const IN_WORK: u64 = u64::MAX;
/// Each decides anew what is left of the sectors that were not synced: nothing, a torn frame, all.
const SEEDS: u64 = 24;

/// Two disks that lose power together.
struct Dying {
    inner: Memory,
    changes_left: Arc<AtomicU64>,
}

impl Dying {
    fn change(&self) -> io::Result<()> {
        let spend = |left: u64| Some(left.saturating_sub(1));
        let left = self
            .changes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
            .unwrap();
        match left > 1 {
            true => Ok(()),
            false => Err(io::Error::other("power is lost")),
        }
    }
}

impl Storage for Dying {
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(name, offset, into)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.inner.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        self.inner.write_at(name, offset, bytes)
    }
    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.change()?;
        self.inner.set_len(name, bytes)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.inner.sync(name)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.inner.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.change()?;
        self.inner.sync_names()
    }
}

/// A site whose power can be lost, and all that anybody outside has ever got from it.
struct House {
    disk: Memory,
    vault: Memory,
    changes_left: Arc<AtomicU64>,
    samples: Cell<u32>,
    sent: BTreeSet<Vec<u8>>,
}

impl House {
    fn new() -> Self {
        Self {
            disk: Memory::default(),
            vault: Memory::default(),
            changes_left: Arc::new(AtomicU64::new(u64::MAX)),
            samples: Cell::new(0),
            sent: BTreeSet::new(),
        }
    }

    fn open(&self) -> Gate {
        self.changes_left.store(u64::MAX, Ordering::SeqCst);
        let dying = |inner: &Memory| {
            Arc::new(Dying {
                inner: inner.clone(),
                changes_left: self.changes_left.clone(),
            })
        };
        let records = records_on(dying(&self.disk), dying(&self.vault));
        let held = Arc::new(|| Some(with_budgets(40.0, 40.0).into_bytes()));
        Gate::open_without_disk(records, held, JUNE_2026).unwrap().0
    }

    /// Asks the one question, and keeps what came out of the door.
    fn ask(&mut self, gate: &Gate, dies_in_work: bool) -> Result<(), NotReleased> {
        let costs = Facts {
            cost: Cost::pure(0.5).unwrap(),
            ..facts()
        };
        let touches = Touches {
            dataset_version: Digest::of(b"version"),
            state: None,
            patients: Cohort::first(100).unwrap(),
        };
        let ask = ada(Action::Train {
            round: 1,
            rounds: 15,
        });
        let released = gate.pass_touching(&ask, &costs, &touches, JUNE_2026, |_, _| {
            if dies_in_work {
                self.changes_left.store(0, Ordering::SeqCst);
            }
            self.samples.set(self.samples.get() + 1);
            Ok(TrainedUpdate {
                vectors: vec![vec![self.samples.get() as f32; 4_000]],
                ..update()
            })
        })?;
        let bytes = TrainedUpdate::keep(released.wire()).unwrap();
        self.sent.insert(bytes);
        Ok(())
    }

    /// Or the process alone is killed, in each third case: then what was written is there, synced or not.
    fn loses_power(&mut self, seed: u64) {
        if seed.is_multiple_of(3) {
            self.disk = self.disk.copied();
            self.vault = self.vault.copied();
            return;
        }
        let seed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.disk = self.disk.after_crash(seed);
        self.vault = self.vault.after_crash(seed.rotate_left(17));
    }

    /// Asks that were charged, by the project's account; by the hundred patients' own.
    fn charged(&self, gate: &Gate) -> (u64, u64) {
        let books = gate.books.open();
        let ask = ada(Action::Evaluate);
        let account = books.spent(&ask).dataset;
        let (_, pico) = account.spent().points().last().unwrap();
        let everyone = Cohort::first(100).unwrap();
        let cost = Cost::pure(0.5).unwrap();
        let by_patient = (0..8).take_while(|paid| {
            let budget = 0.5 * f64::from(*paid) + 0.5;
            let budget = consilium_privacy::Budget::new(budget, 1e-9).unwrap();
            books.active(&ask, &everyone, &cost, &budget).is_empty()
        });
        (pico / 500_000_000_000, by_patient.count() as u64)
    }
}

#[test]
fn wherever_power_is_lost_what_left_is_spent_and_there_is_one_answer() {
    println!(
        "| power lost at | seeds | same answer | spent | asked anew | charged beyond |\n|---|---:|---:|---:|---:|---:|"
    );
    for (label, at) in POINTS {
        let (mut same, mut spent, mut anew, mut beyond) = (0, 0, 0, 0);
        for seed in 0..SEEDS {
            let mut house = House::new();
            let gate = house.open();
            house.changes_left.store(*at, Ordering::SeqCst);
            let first = house.ask(&gate, *at == IN_WORK);
            if first.is_ok() {
                let _ = house.ask(&gate, false);
            }
            let left = house.changes_left.load(Ordering::SeqCst);
            assert!(left <= 1, "{label}: not reached");
            drop(gate);
            house.loses_power(seed);

            let gate = house.open();
            let told = format!("{label}, seed {seed}");
            let (project, patients) = house.charged(&gate);
            let left = house.sent.len() as u64;
            assert!(
                project >= left && patients >= left,
                "{told}: {left} left, {project} and {patients} charged"
            );
            assert!(
                project <= 1 && patients <= 1,
                "{told}: more than was in flight"
            );
            beyond += patients - left;
            let samples_before = house.samples.get();
            match house.ask(&gate, false) {
                Ok(()) if house.samples.get() == samples_before => same += 1,
                Ok(()) => {
                    assert_eq!((left, project), (0, 0), "{told}: a second sample");
                    anew += 1;
                }
                Err(NotReleased::Refused(refusal)) => {
                    assert_eq!(refusal.code, RefusalCode::Spent, "{told}");
                    spent += 1;
                }
                Err(NotReleased::Failed(fault)) => panic!("{told}: {fault}"),
            }
            assert!(house.sent.len() <= 1, "{told}: two answers to one question");
            drop(gate);

            // And once more, without a crash: nothing changes.
            let gate = house.open();
            let charged = house.charged(&gate);
            let _ = house.ask(&gate, false);
            assert!(house.sent.len() <= 1, "{told}: two answers to one question");
            assert_eq!(house.charged(&gate), charged, "{told}");
            assert!(charged.0 >= house.sent.len() as u64, "{told}");
        }
        println!("| {label} | {SEEDS} | {same} | {spent} | {anew} | {beyond} |");
    }
}

/// A write that fails, is torn or finds the disk full; an fsync that fails; a disk that may only be read.
#[test]
fn whatever_breaks_beneath_nothing_leaves_uncharged_and_the_next_process_has_one_answer() {
    let breaks = [
        (Verb::Write, Break::Fail(ErrorKind::StorageFull)),
        (Verb::Write, Break::Fail(ErrorKind::ReadOnlyFilesystem)),
        (
            Verb::Write,
            Break::Tear {
                bytes: 40,
                kind: ErrorKind::StorageFull,
            },
        ),
        (Verb::Sync, Break::Fail(ErrorKind::Other)),
    ];
    for (verb, how) in breaks {
        for (in_vault, nth) in [(true, 1), (true, 2), (false, 2), (false, 3)] {
            for seed in 0..8 {
                let mut house = House::new();
                let breaking = |inner: &Memory| Arc::new(Breaking::new(Arc::new(inner.clone())));
                let (journal, vault) = (breaking(&house.disk), breaking(&house.vault));
                let records = records_on(journal.clone(), vault.clone());
                let held = Arc::new(|| Some(with_budgets(40.0, 40.0).into_bytes()));
                let (gate, _) = Gate::open_without_disk(records, held, JUNE_2026).unwrap();
                let broken = if in_vault { &vault } else { &journal };
                broken.break_next(verb, nth, how);
                let told = format!(
                    "{verb:?} {nth} of {}, {how:?}",
                    if in_vault { "the vault" } else { "the journal" }
                );
                let outcome = house.ask(&gate, false);
                assert!(matches!(outcome, Err(NotReleased::Failed(_))), "{told}");
                assert!(house.sent.is_empty(), "{told}");
                drop(gate);
                house.loses_power(seed);
                let gate = house.open();
                let (project, _) = house.charged(&gate);
                match house.ask(&gate, false) {
                    Ok(()) => {}
                    Err(NotReleased::Refused(refusal)) => {
                        assert_eq!((refusal.code, project), (RefusalCode::Spent, 1), "{told}");
                    }
                    Err(NotReleased::Failed(fault)) => panic!("{told}: {fault}"),
                }
                assert!(house.charged(&gate).0 >= house.sent.len() as u64, "{told}");
            }
        }
    }
}
