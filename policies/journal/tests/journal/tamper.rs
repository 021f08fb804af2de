//! Whatever is done to a journal behind its back is found, named, and left as it is.

use std::sync::Arc;

use crate::world::{append_rounds, journal_of, open, pieces, segments};
use consilium_journal::storage::{Memory, Storage};
use consilium_journal::{
    Damage, Fault, Head, Journal, JournalError, Limits, VerifyError, verify_on,
};

/// What `verify` and `open` both say about a journal that neither may accept nor change.
fn damage(memory: &Memory) -> Damage {
    let before = memory.copied();
    let found = match verify_on(Arc::new(memory.clone()), None) {
        Err(VerifyError::Damaged(damage)) => damage,
        other => panic!("verify: {other:?}"),
    };
    match open(memory) {
        Err(JournalError::Damaged(damage)) => assert_eq!(damage, found),
        other => panic!("open: {other:?}"),
    }
    assert_eq!(segments(memory), segments(&before));
    for name in segments(memory) {
        assert_eq!(
            memory.bytes(&name).unwrap(),
            before.bytes(&name).unwrap(),
            "`{name}` was changed by opening it"
        );
    }
    found
}

/// A journal of 12 entries in 3 segments, and their names.
fn three_segments() -> (Memory, Head, [String; 3]) {
    let (memory, head) = journal_of(12);
    let names = segments(&memory).try_into().unwrap();
    (memory, head, names)
}

fn change(memory: &Memory, segment: &str, how: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut pieces = pieces(memory, segment);
    how(&mut pieces);
    memory.put(segment, pieces.concat());
}

#[test]
fn an_untouched_journal_verifies() {
    let (memory, head, _) = three_segments();
    let verified = verify_on(Arc::new(memory), Some(head)).unwrap().unwrap();
    assert_eq!(
        (
            verified.entries,
            verified.segments,
            verified.torn_tail_bytes
        ),
        (12, 3, 0)
    );
    assert_eq!(verified.head, head);
}

#[test]
fn every_changed_byte_is_found() {
    let (memory, _, names) = three_segments();
    for name in names {
        let bytes = memory.bytes(&name).unwrap();
        for at in 0..bytes.len() {
            for value in [bytes[at] ^ 1, bytes[at] ^ 0x80, !bytes[at], 0] {
                let tampered = memory.copied();
                let mut changed = bytes.clone();
                changed[at] = value;
                if changed == bytes {
                    continue;
                }
                tampered.put(&name, changed);
                let found = damage(&tampered);
                assert_eq!(found.segment, name, "byte {at} set to {value}");
                assert!(
                    found.offset <= at as u64,
                    "byte {at} set to {value} was reported as {found}"
                );
            }
        }
    }
}

#[test]
fn two_entries_swapped() {
    let (memory, _, [_, second, _]) = three_segments();
    change(&memory, &second, |pieces| pieces.swap(2, 3));
    let found = damage(&memory);
    assert_eq!((found.seq, found.fault), (5, Fault::Reordered { found: 6 }));
}

#[test]
fn an_entry_said_twice() {
    let (memory, _, [_, _, third]) = three_segments();
    change(&memory, &third, |pieces| pieces.push(pieces[4].clone()));
    assert_eq!(damage(&memory).fault, Fault::Reordered { found: 11 });
}

#[test]
fn an_entry_deleted_at_any_place_but_the_end() {
    for seq in 0..11 {
        let (memory, _, names) = three_segments();
        change(&memory, &names[seq / 4], |pieces| {
            drop(pieces.remove(1 + seq % 4))
        });
        let found = damage(&memory);
        assert_eq!(
            (found.seq, found.fault),
            (
                seq as u64,
                Fault::Missing {
                    found: seq as u64 + 1
                }
            )
        );
    }
}

#[test]
fn a_segment_deleted() {
    for (deleted, seq) in [(0, 0), (1, 4)] {
        let (memory, _, names) = three_segments();
        memory.remove(&names[deleted]).unwrap();
        let found = damage(&memory);
        assert_eq!(
            (found.seq, found.fault),
            (seq, Fault::Missing { found: seq + 4 })
        );
        assert_eq!(found.segment, names[deleted + 1]);
    }
}

#[test]
fn a_segment_cut_or_emptied_before_others() {
    for bytes in [0, 10, 56, 57, 300] {
        let (memory, _, [first, _, _]) = three_segments();
        let kept = memory.bytes(&first).unwrap()[..bytes].to_vec();
        memory.put(&first, kept);
        let fault = damage(&memory).fault;
        assert!(
            matches!(fault, Fault::Cut | Fault::Missing { .. }),
            "cut to {bytes}: {fault:?}"
        );
    }
}

#[test]
fn segments_that_change_places() {
    let (memory, _, [_, second, third]) = three_segments();
    let (b, c) = (
        memory.bytes(&second).unwrap(),
        memory.bytes(&third).unwrap(),
    );
    memory.put(&second, c);
    memory.put(&third, b);
    let found = damage(&memory);
    assert_eq!((found.seq, found.fault), (4, Fault::Reordered { found: 8 }));
}

#[test]
fn a_segment_of_another_journal() {
    let (memory, _, [_, second, _]) = three_segments();
    let other = Memory::default();
    let journal = open(&other).unwrap();
    journal
        .append(
            1_700_000_000_000,
            "round.closed",
            br#"{"round":0,"sites":["hungarian"]}"#,
        )
        .unwrap();
    append_rounds(&journal, 1..12);
    memory.put(&second, other.bytes(&second).unwrap());
    let found = damage(&memory);
    assert_eq!(
        (found.seq, found.segment, found.fault),
        (4, second, Fault::Unchained)
    );
    assert_eq!(found.offset, 0, "the header already shows it");
}

#[test]
fn files_that_are_no_segments() {
    let (memory, _, [first, ..]) = three_segments();
    for name in ["notes.journal", "7.journal", "99999999999999999999.journal"] {
        let tampered = memory.copied();
        tampered.put(name, b"x".to_vec());
        assert_eq!(damage(&tampered).fault, Fault::Foreign, "`{name}`");
    }
    memory.put("notes.txt", b"x".to_vec());
    assert!(verify_on(Arc::new(memory.clone()), None).is_ok());
    memory.put(&first, vec![b'x'; 4096]);
    assert_eq!(damage(&memory).fault, Fault::Foreign);
}

#[test]
fn an_edit_with_its_checksum_mended_breaks_the_chain() {
    let (memory, _, [_, second, _]) = three_segments();
    change(&memory, &second, |pieces| {
        let frame = &mut pieces[2];
        let at = frame
            .windows(9)
            .position(|window| window == b"cleveland")
            .unwrap();
        frame[at..at + 9].copy_from_slice(b"hungarian");
        let len = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
        let crc = crc32fast::hash(&[&frame[..4], &frame[8..8 + len]].concat());
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
    });
    let found = damage(&memory);
    assert_eq!((found.seq, found.fault), (6, Fault::Unchained));
}

#[test]
fn a_wiped_entry_before_a_later_batch_is_not_taken_for_a_crash() {
    let (memory, _, [_, _, third]) = three_segments();
    change(&memory, &third, |pieces| pieces[3].fill(0));
    let found = damage(&memory);
    assert_eq!((found.seq, found.fault), (10, Fault::Edited));
}

#[test]
fn a_lost_sector_before_a_later_batch_is_not_taken_for_a_crash() {
    let memory = Memory::default();
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), Limits::default()).unwrap();
    append_rounds(&journal, 0..20);
    let [segment] = segments(&memory).try_into().unwrap();
    let mut bytes = memory.bytes(&segment).unwrap();
    bytes[512..1024].fill(0);
    memory.put(&segment, bytes);
    let found = damage(&memory);
    assert_eq!(
        (found.seq, found.offset, found.fault),
        (4, 504, Fault::Edited)
    );
}

#[test]
fn a_cut_is_found_by_a_head_recorded_elsewhere() {
    let (memory, head, [_, second, third]) = three_segments();
    let last_gone = memory.copied();
    change(&last_gone, &third, |pieces| drop(pieces.pop()));
    let segment_gone = memory.copied();
    segment_gone.remove(&third).unwrap();
    let torn = memory.copied();
    let bytes = memory.bytes(&third).unwrap();
    torn.put(&third, bytes[..bytes.len() - 1].to_vec());
    let all_but_one = memory.copied();
    all_but_one.remove(&second).unwrap();
    all_but_one.remove(&third).unwrap();

    for (cut, entries) in [
        (last_gone, 11),
        (segment_gone, 8),
        (torn, 11),
        (all_but_one, 4),
    ] {
        assert!(
            verify_on(Arc::new(cut.clone()), None).is_ok(),
            "the chain alone cannot show a cut"
        );
        match verify_on(Arc::new(cut), Some(head)) {
            Err(VerifyError::Truncated {
                expected,
                found_entries,
                ..
            }) => {
                assert_eq!((expected, found_entries), (head, entries));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rewritten_journal_is_found_by_a_head_recorded_elsewhere() {
    let (_, head, _) = three_segments();
    let forged = Memory::default();
    let journal = open(&forged).unwrap();
    append_rounds(&journal, 0..11);
    journal
        .append(1_700_000_000_011, "round.closed", b"{}")
        .unwrap();
    append_rounds(&journal, 12..14);
    match verify_on(Arc::new(forged.clone()), Some(head)) {
        Err(VerifyError::Rewritten { expected, found }) => {
            assert_eq!(expected, head);
            assert_eq!(found, crate::world::entries(&forged)[11].hash);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_recorded_earlier_still_fits_a_journal_that_went_on() {
    let (memory, head) = journal_of(5);
    let later = append_rounds(&open(&memory).unwrap(), 5..9);
    let verified = verify_on(Arc::new(memory.clone()), Some(head))
        .unwrap()
        .unwrap();
    assert_eq!(verified.head, later);
    assert!(verify_on(Arc::new(memory), Some(Head::EMPTY)).is_ok());
}

#[test]
fn a_report_says_where() {
    let (memory, _, [_, second, _]) = three_segments();
    change(&memory, &second, |pieces| drop(pieces.remove(2)));
    let text = damage(&memory).to_string();
    for said in [
        second.as_str(),
        "byte 168",
        "1 entry is missing from entry 5 on",
    ] {
        assert!(text.contains(said), "`{text}` does not say `{said}`");
    }
}
