//! One writer, any number of readers, on a real disk.

use std::fs;
use std::sync::Arc;

use crate::world::{SMALL, append_rounds};
use consilium_journal::storage::Memory;
use consilium_journal::{Head, Journal, JournalError, Limits, VerifyError, read, verify};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RoundClosed {
    round: u64,
    sites: Vec<String>,
}

#[test]
fn a_second_writer_is_told_that_the_journal_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, opened) = Journal::open(folder.path(), Limits::default()).unwrap();
    assert!(opened.created);
    match Journal::open(folder.path(), Limits::default()) {
        Err(JournalError::Locked { folder: named }) => assert_eq!(named, folder.path()),
        other => panic!("{other:?}"),
    }
    let head = append_rounds(&journal, 0..3);
    assert_eq!(
        read(folder.path()).unwrap().count(),
        3,
        "a reader needs no lock"
    );
    assert_eq!(verify(folder.path(), Some(head)).unwrap().entries, 3);
    drop(journal);
    let (journal, opened) = Journal::open(folder.path(), Limits::default()).unwrap();
    assert!(!opened.created);
    assert_eq!(journal.head(), head);
}

#[test]
fn a_thousand_entries_over_many_openings_are_one_chain() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("site").join("journal");
    for opening in 0..10 {
        let (journal, opened) = Journal::open(
            &folder,
            Limits {
                segment_bytes_max: 20_000,
                ..SMALL
            },
        )
        .unwrap();
        assert_eq!(
            (opened.entries, opened.created, opened.torn_tail_bytes),
            (opening * 100, opening == 0, 0)
        );
        let threads = 4;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| append_rounds(&journal, 0..100 / threads));
            }
        });
    }
    let verified = verify(&folder, None).unwrap();
    assert_eq!(verified.entries, 1000);
    assert!(verified.segments > 5, "{} segments", verified.segments);
    let entries: Vec<_> = read(&folder).unwrap().map(Result::unwrap).collect();
    assert!(entries.iter().map(|entry| entry.seq).eq(0..1000));
    assert_eq!(entries.last().unwrap().hash, verified.head.hash);
}

#[test]
fn a_reader_beside_the_writer_sees_whole_entries_in_order_and_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), SMALL).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| append_rounds(&journal, 0..400));
        let mut seen = 0;
        while seen < 400 {
            let finished = writer.is_finished();
            let acknowledged = journal.head().seq;
            let read: Vec<_> = read(folder.path()).unwrap().map(Result::unwrap).collect();
            assert!(read.iter().map(|entry| entry.seq).eq(0..read.len() as u64));
            assert!(
                read.len() as u64 >= acknowledged,
                "an acknowledged entry was not read"
            );
            assert!(!finished || read.len() == 400);
            seen = read.len();
        }
    });
}

#[test]
fn what_was_written_as_json_is_read_as_json() {
    let (journal, _) = Journal::open_on(Arc::new(Memory::default()), Limits::default()).unwrap();
    let closed = RoundClosed {
        round: 3,
        sites: vec!["cleveland".to_owned()],
    };
    let appended = journal.append_json(7, "round.closed", &closed).unwrap();
    let entry = journal.entries().unwrap().next().unwrap().unwrap();
    assert_eq!((entry.seq, entry.hash), (appended.seq, appended.hash));
    assert_eq!(entry.parse::<RoundClosed>().unwrap(), closed);
    assert!(matches!(
        entry.parse::<Vec<u8>>(),
        Err(JournalError::NotReadable { seq: 0, .. })
    ));
}

#[test]
fn neither_debug_nor_errors_repeat_a_payload() {
    let (journal, _) = Journal::open_on(Arc::new(Memory::default()), Limits::default()).unwrap();
    journal.append(7, "test", br#"{"round":"SECRET"}"#).unwrap();
    let entry = journal.entries().unwrap().next().unwrap().unwrap();
    let said = format!("{entry:?} {}", entry.parse::<RoundClosed>().unwrap_err());
    assert!(!said.contains("SECRET"), "{said}");
}

#[test]
fn the_latest_time_outlives_a_clock_set_back_and_a_restart() {
    let memory = Memory::default();
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), Limits::default()).unwrap();
    for at_ms in [10, 500, 20] {
        journal.append(at_ms, "test", b"{}").unwrap();
        assert_eq!(
            journal.latest_ms(),
            at_ms.max(if at_ms == 10 { 10 } else { 500 })
        );
    }
    drop(journal);
    assert_eq!(crate::world::open(&memory).unwrap().latest_ms(), 500);
}

#[test]
fn an_entry_or_kind_beyond_its_limit_is_refused_and_stops_nothing() {
    let (journal, _) = Journal::open_on(Arc::new(Memory::default()), SMALL).unwrap();
    let largest = vec![b'1'; SMALL.entry_bytes_max];
    journal.append(0, "test", &largest).unwrap();
    match journal.append(0, "test", &[largest, b"1".to_vec()].concat()) {
        Err(JournalError::EntryTooLarge {
            bytes: 10_001,
            bytes_max: 10_000,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let long = "k".repeat(65);
    for kind in ["", "two words", "ronde_fermée", "line\n", &long] {
        assert!(
            matches!(
                journal.append(0, kind, b"{}"),
                Err(JournalError::KindInvalid { .. })
            ),
            "`{kind}`"
        );
    }
    journal.append(0, &long[1..], b"").unwrap();
    assert_eq!(journal.head().seq, 2);
}

#[test]
fn limits_no_reader_would_believe_are_refused() {
    for limits in [
        Limits {
            entry_bytes_max: 0,
            ..SMALL
        },
        Limits {
            entry_bytes_max: (16 << 20) + 1,
            ..SMALL
        },
        Limits {
            batch_bytes_max: usize::MAX,
            ..SMALL
        },
    ] {
        let opened = Journal::open_on(Arc::new(Memory::default()), limits);
        assert!(
            matches!(opened, Err(JournalError::LimitOutOfRange { .. })),
            "{limits:?}"
        );
    }
}

#[test]
fn a_folder_without_a_journal_is_said_to_have_none() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [folder.path().to_owned(), folder.path().join("absent")] {
        assert!(matches!(read(&folder), Err(JournalError::NoJournal { .. })));
        assert!(matches!(
            verify(&folder, None),
            Err(VerifyError::NoJournal { .. })
        ));
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::open(&file.join("journal"), Limits::default()).unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("journal");
    let _journal = Journal::open(&folder, Limits::default()).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[cfg(unix)]
#[test]
fn the_bytes_on_disk_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    append_rounds(&Journal::open(folder.path(), SMALL).unwrap().0, 0..9);
    let (memory, _) = crate::world::journal_of(9);
    for name in crate::world::segments(&memory) {
        assert_eq!(
            fs::read(folder.path().join(&name)).unwrap(),
            memory.bytes(&name).unwrap()
        );
    }
}

/// Over several segments: what comes after any head that the journal had, and of no other.
#[test]
fn entries_after_a_head_are_those_that_came_after_it() {
    let (memory, _) = crate::world::journal_of(11);
    let journal = crate::world::open(&memory).unwrap();
    let all = crate::world::entries(&memory);
    let after = |head| {
        let entries = journal.entries_after(head).unwrap()?;
        Some(
            entries
                .map(|entry| entry.unwrap().seq)
                .collect::<Vec<u64>>(),
        )
    };
    assert_eq!(after(Head::EMPTY), Some((0..11).collect()));
    for entry in &all {
        let head = Head {
            seq: entry.seq + 1,
            hash: entry.hash,
        };
        assert_eq!(after(head), Some((head.seq..11).collect()));
        // Another place, another hash, another journal.
        let elsewhere = Head {
            seq: entry.seq + 2,
            ..head
        };
        assert_eq!(after(elsewhere), None);
    }
    let ahead = Head {
        seq: 12,
        hash: all[10].hash,
    };
    assert_eq!(after(ahead), None);
    let empty_with_a_hash = Head {
        seq: 0,
        hash: all[3].hash,
    };
    assert_eq!(after(empty_with_a_hash), None);
}
