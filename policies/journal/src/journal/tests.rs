//! Group commit and crashed batches, seen from inside: what is queued, and who leads.

use std::io;
use std::sync::Barrier;

use super::*;
use crate::storage::{Break, Breaking, Memory, Verb};
use crate::{read_on, verify_on};

fn payloads(memory: &Memory) -> Vec<Vec<u8>> {
    read_on(Arc::new(memory.clone()))
        .unwrap()
        .map(|entry| entry.unwrap().payload)
        .collect()
}

#[test]
fn appends_that_meet_share_an_fsync() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let storage = Arc::new(Breaking::new(Arc::new(Memory::default())));
    let (journal, _) = Journal::open_on(storage.clone(), Limits::default()).unwrap();
    let syncs_before = storage.count(Verb::Sync);
    let all_queued = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    all_queued.wait();
                    let appended = journal.enqueue(round, "test", b"{}").unwrap();
                    all_queued.wait();
                    journal.wait_until_durable(appended.seq).unwrap();
                }
            });
        }
    });
    assert_eq!(journal.head().seq, THREADS * ROUNDS);
    assert_eq!(storage.count(Verb::Sync) - syncs_before, ROUNDS);
}

#[test]
fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let memory = Memory::default();
    let limits = Limits {
        batch_bytes_max: 200,
        segment_bytes_max: 2_000,
        ..Limits::default()
    };
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), limits).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for round in 0..50 {
                    let before = journal.head();
                    let appended = journal.append_json(0, "test", &(thread, round)).unwrap();
                    assert!(appended.seq >= before.seq && journal.head().seq > appended.seq);
                }
            });
        }
    });
    let verified = verify_on(Arc::new(memory.clone()), Some(journal.head()))
        .unwrap()
        .unwrap();
    assert_eq!(verified.entries, 400);
    let read: Vec<(u32, u32)> = payloads(&memory)
        .iter()
        .map(|payload| serde_json::from_slice(payload).unwrap())
        .collect();
    for thread in 0..8 {
        assert!(
            read.iter()
                .filter(|entry| entry.0 == thread)
                .map(|entry| entry.1)
                .eq(0..50)
        );
    }
}

#[test]
fn what_is_queued_is_chained_at_once_and_durable_when_waited_for() {
    let memory = Memory::default();
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), Limits::default()).unwrap();
    let first = journal.enqueue_json(0, "test", &1).unwrap();
    let second = journal.enqueue_json(0, "test", &2).unwrap();
    assert_eq!((first.seq, second.seq), (0, 1));
    assert_eq!(journal.head(), Head::EMPTY);
    assert!(payloads(&memory).is_empty());

    journal.wait_until_durable(first.seq).unwrap();
    assert_eq!(journal.head().hash, second.hash);
    assert_eq!(payloads(&memory), [b"1", b"2"]);
}

#[test]
fn nobody_waits_for_an_entry_that_nobody_queued() {
    let (journal, _) = Journal::open_on(Arc::new(Memory::default()), Limits::default()).unwrap();
    let waited = journal.wait_until_durable(0);
    assert!(matches!(
        waited,
        Err(JournalError::NotQueued { seq: 0, queued: 0 })
    ));
}

#[test]
fn a_queue_that_nobody_waits_for_is_written_when_it_is_full() {
    let limits = Limits {
        batch_bytes_max: 300,
        ..Limits::default()
    };
    let memory = Memory::default();
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), limits).unwrap();
    for number in 0..20 {
        journal.enqueue_json(0, "test", &number).unwrap();
    }
    assert!(!payloads(&memory).is_empty());
}

/// A segment with two durable entries, and the same with an unsynced batch of four more after them.
fn with_unsynced_batch() -> (Vec<u8>, Vec<u8>) {
    let memory = Memory::default();
    let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
    let (journal, _) = Journal::open_on(breaking.clone(), Limits::default()).unwrap();
    journal.append(1, "test", b"\"first\"").unwrap();
    journal.append(1, "test", b"\"second\"").unwrap();
    let durable = memory.bytes(&segment_name(0)).unwrap();
    for (name, bytes) in [("a", 300), ("b", 700), ("c", 20), ("d", 500)] {
        journal
            .enqueue(1, "test", name.repeat(bytes).as_bytes())
            .unwrap();
    }
    breaking.break_next(Verb::Sync, 1, Break::Fail(io::ErrorKind::Other));
    assert!(journal.wait_until_durable(5).is_err());
    assert!(
        journal.wait_until_durable(2).is_err(),
        "followers hear of the failure too"
    );
    (durable, memory.bytes(&segment_name(0)).unwrap())
}

#[test]
fn any_sectors_of_an_unsynced_batch_may_be_lost() {
    let (durable, whole) = with_unsynced_batch();
    let sectors: Vec<usize> = (durable.len() / 512..whole.len().div_ceil(512)).collect();
    let mut most = 0;
    for end in (durable.len()..=whole.len()).rev().step_by(3) {
        for survivors in 0..1_u32 << sectors.len() {
            let mut left = durable.clone();
            left.resize(end, 0);
            for (_, sector) in sectors
                .iter()
                .enumerate()
                .filter(|(bit, _)| survivors >> bit & 1 == 1)
            {
                let from = (sector * 512).min(end);
                let to = (from + 512).min(end);
                left[from..to].copy_from_slice(&whole[from..to]);
            }
            let memory = Memory::default();
            memory.put(&segment_name(0), left);
            let (journal, opened) = Journal::open_on(Arc::new(memory.clone()), Limits::default())
                .unwrap_or_else(|error| panic!("{end} bytes, sectors {survivors:b}: {error}"));
            assert!(opened.entries >= 2);
            most = most.max(opened.entries);
            let appended = journal.append(2, "test", b"\"after\"").unwrap();
            assert_eq!(appended.seq, opened.entries);
            assert_eq!(payloads(&memory).last().unwrap(), b"\"after\"");
        }
    }
    assert_eq!(most, 6, "the whole batch survives when no sector is lost");
}

#[test]
fn a_changed_byte_in_the_last_batch_is_never_taken_for_a_crash() {
    let (_, whole) = with_unsynced_batch();
    for at in 56..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let memory = Memory::default();
            memory.put(&segment_name(0), bytes.clone());
            let opened = Journal::open_on(Arc::new(memory.clone()), Limits::default());
            assert!(
                matches!(opened, Err(JournalError::Damaged(_))),
                "byte {at} ^ {flip:#x}: {opened:?}"
            );
            assert_eq!(memory.bytes(&segment_name(0)).unwrap(), bytes);
        }
    }
}

/// Memory whose second fsync panics: the first is that of the header.
struct Panicking(Breaking);

impl Storage for Panicking {
    fn sync(&self, name: &str) -> io::Result<()> {
        self.0.sync(name)?;
        assert!(self.0.count(Verb::Sync) < 2, "the storage panics");
        Ok(())
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.0.len(name)
    }
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(name, offset, into)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.0.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(name, offset, bytes)
    }
    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.0.set_len(name, bytes)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.0.sync_names()
    }
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    let storage = Panicking(Breaking::new(Arc::new(Memory::default())));
    let (journal, _) = Journal::open_on(Arc::new(storage), Limits::default()).unwrap();
    let leader =
        std::thread::scope(|scope| scope.spawn(|| journal.append(1, "test", b"{}")).join());
    assert!(leader.is_err(), "the leader panics");
    match journal.append(2, "test", b"{}") {
        Err(JournalError::Poisoned { cause, .. }) => {
            assert!(matches!(*cause, JournalError::Abandoned))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_journal_whose_storage_failed_says_so_and_opened_anew_it_goes_on() {
    let disk = Arc::new(Memory::default());
    let broken = Arc::new(Breaking::new(disk));
    let (journal, _) = Journal::open_on(broken.clone(), Limits::default()).unwrap();
    journal.append(1, "test", b"{}").unwrap();
    assert!(journal.failure().is_none());
    broken.break_next(Verb::Sync, 1, Break::Fail(io::ErrorKind::StorageFull));
    let error = journal.append(2, "test", b"{}").unwrap_err();
    let cause = journal.failure().unwrap();
    assert!(error.is_of_storage() && cause.is_of_storage(), "{error}");
    drop(journal);
    let (journal, opened) = Journal::open_on(broken, Limits::default()).unwrap();
    assert!(journal.failure().is_none());
    assert!((1..=2).contains(&opened.entries));
    journal.append(3, "test", b"{}").unwrap();
}
