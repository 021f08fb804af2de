//! After a crash at any byte, with any unsynced sector lost, every acknowledged entry is there, and nothing that was
//! never written.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::world::{SMALL, append_rounds, entries, journal_of, open, pieces, segments};
use consilium_journal::storage::{Break, Breaking, Memory, Storage, Verb};
use consilium_journal::{Appended, Journal, JournalError, verify_on};
use proptest::prelude::*;

#[test]
fn cut_at_any_byte_a_journal_opens_with_a_prefix_and_goes_on() {
    let (memory, _) = journal_of(6);
    let whole = entries(&memory);
    let [first, second] = segments(&memory).try_into().unwrap();
    for (segment, base) in [(&second, 4), (&first, 0)] {
        let frames: Vec<usize> = pieces(&memory, segment).iter().map(Vec::len).collect();
        let bytes = memory.bytes(segment).unwrap();
        for cut in 0..bytes.len() {
            let mut end = 0;
            let ends = frames.iter().map(|frame| {
                end += frame;
                end
            });
            let whole_pieces = ends.filter(|&end| end <= cut).count();
            memory.put(segment, bytes[..cut].to_vec());

            let verified = verify_on(Arc::new(memory.copied()), None).unwrap().unwrap();
            let (journal, opened) = Journal::open_on(Arc::new(memory.clone()), SMALL).unwrap();
            assert_eq!(
                opened.entries as usize,
                base + whole_pieces.saturating_sub(1),
                "cut at {cut} of `{segment}`"
            );
            assert_eq!(
                (verified.entries, verified.torn_tail_bytes),
                (opened.entries, opened.torn_tail_bytes)
            );
            assert_eq!(entries(&memory), whole[..opened.entries as usize]);
            append_rounds(&journal, opened.entries..opened.entries + 1);
            assert_eq!(entries(&memory), whole[..=opened.entries as usize]);
            for name in segments(&memory) {
                if name > *segment {
                    memory.remove(&name).unwrap();
                }
            }
        }
        memory.remove(segment).unwrap();
    }
}

#[test]
fn zeros_after_the_end_are_cut() {
    let (memory, head) = journal_of(3);
    let [segment] = segments(&memory).try_into().unwrap();
    let whole = memory.bytes(&segment).unwrap();
    for zeros in [1, 7, 8, 100, 5000] {
        memory.put(&segment, [whole.clone(), vec![0; zeros]].concat());
        let (journal, opened) = Journal::open_on(Arc::new(memory.clone()), SMALL).unwrap();
        assert_eq!(
            (opened.torn_tail_bytes, journal.head()),
            (zeros as u64, head)
        );
        assert_eq!(memory.bytes(&segment).unwrap(), whole);
    }
}

#[test]
fn after_a_failed_fsync_every_append_is_refused_with_the_first_cause() {
    let memory = Memory::default();
    let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
    let (journal, _) = Journal::open_on(breaking.clone(), SMALL).unwrap();
    let head = append_rounds(&journal, 0..2);
    breaking.break_next(Verb::Sync, 1, Break::Fail(ErrorKind::Other));
    breaking.break_next(Verb::Sync, 2, Break::Fail(ErrorKind::PermissionDenied));
    let syncs = breaking.count(Verb::Sync);
    for _ in 0..3 {
        match journal.append(1, "round.closed", b"{}") {
            Err(JournalError::Poisoned { seq: 2, cause }) => {
                assert!(
                    matches!(&*cause, JournalError::Storage { doing: "fsync", cause, .. } if cause.kind() == ErrorKind::Other),
                    "{cause}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        breaking.count(Verb::Sync),
        syncs + 1,
        "a failed fsync was tried again"
    );
    assert_eq!(journal.head(), head);
    assert_eq!(journal.entries().unwrap().count(), 2);
}

#[test]
fn what_a_failed_fsync_left_in_memory_only_is_durable_once_it_was_opened() {
    let memory = Memory::default();
    let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
    let (journal, _) = Journal::open_on(breaking.clone(), SMALL).unwrap();
    append_rounds(&journal, 0..2);
    breaking.break_next(Verb::Sync, 1, Break::Fail(ErrorKind::Other));
    assert!(journal.append(1, "round.closed", b"{}").is_err());
    memory.forget_unsynced();
    drop(journal);

    let head = open(&memory).unwrap().head();
    assert_eq!(head.seq, 3);
    for seed in 0..50 {
        assert_eq!(open(&memory.after_crash(seed)).unwrap().head(), head);
    }
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    for torn in [0, 1, 60, 79] {
        let memory = Memory::default();
        let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
        let (journal, _) = Journal::open_on(breaking.clone(), SMALL).unwrap();
        append_rounds(&journal, 0..3);
        breaking.break_next(
            Verb::Write,
            1,
            Break::Tear {
                bytes: torn,
                kind: ErrorKind::StorageFull,
            },
        );
        let error = journal.append(1, "round.closed", b"{}").unwrap_err();
        assert!(
            matches!(&error, JournalError::Poisoned { cause, .. } if matches!(**cause, JournalError::Full { .. }))
        );
        assert!(error.to_string().contains("the disk is full"), "{error}");
        drop(journal);

        let journal = open(&memory).unwrap();
        assert_eq!(journal.head().seq, 3);
        append_rounds(&journal, 3..9);
        assert_eq!(entries(&memory).len(), 9);
    }
}

#[test]
fn a_full_disk_while_a_segment_is_begun() {
    for verb in [Verb::Create, Verb::Write, Verb::Sync, Verb::SyncNames] {
        let memory = Memory::default();
        let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
        let (journal, _) = Journal::open_on(breaking.clone(), SMALL).unwrap();
        append_rounds(&journal, 0..4);
        breaking.break_next(
            verb,
            1,
            Break::Tear {
                bytes: 20,
                kind: ErrorKind::StorageFull,
            },
        );
        assert!(
            journal.append(1, "round.closed", b"{}").is_err(),
            "{verb:?}"
        );
        for seed in 0..20 {
            let after = memory.after_crash(seed);
            append_rounds(&open(&after).unwrap(), 4..9);
            assert_eq!(entries(&after).len(), 9, "{verb:?}, seed {seed}");
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Append {
        bytes: usize,
    },
    /// The `nth` next use of a verb fails.
    Break {
        verb: Verb,
        nth: u64,
        how: Break,
    },
    /// The process dies and is started again.
    Restart,
    /// As [`Event::Restart`], and the kernel has given up on pages it could not write.
    RestartForgetful,
    PowerLoss {
        seed: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let verb = prop::sample::select(vec![
        Verb::Write,
        Verb::Sync,
        Verb::Create,
        Verb::SyncNames,
        Verb::SetLen,
    ]);
    let how = prop_oneof![
        Just(Break::Fail(ErrorKind::Other)),
        (0..1500_usize).prop_map(|bytes| Break::Tear {
            bytes,
            kind: ErrorKind::StorageFull
        }),
    ];
    prop_oneof![
        12 => (0..1500_usize).prop_map(|bytes| Event::Append { bytes }),
        3 => (verb, 1..4_u64, how).prop_map(|(verb, nth, how)| Event::Break { verb, nth, how }),
        1 => Just(Event::Restart),
        1 => Just(Event::RestartForgetful),
        2 => any::<u64>().prop_map(|seed| Event::PowerLoss { seed }),
    ]
}

/// A process with a journal, and what it has been told about it.
struct Process {
    memory: Memory,
    breaking: Arc<Breaking>,
    journal: Option<Journal>,
    /// Payloads in order, the last of them perhaps not acknowledged.
    written: Vec<Vec<u8>>,
    acknowledged: usize,
}

impl Process {
    fn start(memory: Memory) -> Self {
        let breaking = Arc::new(Breaking::new(Arc::new(memory.clone())));
        Self {
            memory,
            breaking,
            journal: None,
            written: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Opens the journal (again, if a break made it fail) and compares it with what was acknowledged.
    fn journal(&mut self) -> &Journal {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                let journal = (0..10)
                    .find_map(|_| match Journal::open_on(self.breaking.clone(), SMALL) {
                        Ok((journal, _)) => Some(journal),
                        Err(JournalError::Damaged(damage)) => {
                            panic!("a crash was taken for tampering: {damage}")
                        }
                        Err(_) => None,
                    })
                    .expect("the journal does not open");
                let found: Vec<_> = entries(&self.memory)
                    .into_iter()
                    .map(|entry| entry.payload)
                    .collect();
                assert!(
                    found.len() >= self.acknowledged,
                    "{} of {} survived",
                    found.len(),
                    self.acknowledged
                );
                assert_eq!(found, self.written[..found.len()]);
                self.acknowledged = found.len();
                self.written = found;
                journal
            }
        };
        self.journal.insert(journal)
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Append { bytes } => {
                let seq = self.journal().head().seq;
                let payload = format!("\"{seq}{}\"", "x".repeat(bytes)).into_bytes();
                match self.journal().append(seq, "test", &payload) {
                    Ok(Appended { seq: given, .. }) => {
                        assert_eq!(given, seq);
                        self.written.push(payload);
                        self.acknowledged += 1;
                    }
                    Err(JournalError::Poisoned { .. })
                        if self.written.len() == self.acknowledged =>
                    {
                        self.written.push(payload);
                    }
                    Err(JournalError::Poisoned { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Event::Break { verb, nth, how } => self.breaking.break_next(verb, nth, how),
            Event::Restart => self.journal = None,
            Event::RestartForgetful => {
                self.journal = None;
                self.memory.forget_unsynced();
            }
            Event::PowerLoss { seed } => {
                self.journal = None;
                self.memory = self.memory.after_crash(seed);
                self.breaking = Arc::new(Breaking::new(Arc::new(self.memory.clone())));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_breaks_every_acknowledged_entry_survives(events in prop::collection::vec(event(), 1..40)) {
        let mut process = Process::start(Memory::default());
        for event in events {
            process.meet(event);
        }
        process.meet(Event::PowerLoss { seed: 1 });
        process.journal();
    }

    #[test]
    fn bytes_of_any_kind_are_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), after in any::<bool>(),
    ) {
        let (memory, _) = journal_of(2);
        let [segment] = segments(&memory).try_into().unwrap();
        let whole = if after { memory.bytes(&segment).unwrap() } else { Vec::new() };
        memory.put(&segment, [whole, bytes].concat());
        let _ = verify_on(Arc::new(memory.clone()), None);
        if let Ok(journal) = open(&memory) {
            prop_assert_eq!(journal.head().seq, if after { 2 } else { 0 });
        }
        prop_assert!(memory.names().is_ok());
    }
}
