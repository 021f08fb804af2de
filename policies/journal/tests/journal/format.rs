//! The bytes on disk: written today as they were first, and read for ever.

use std::sync::Arc;

use consilium_journal::storage::{Memory, Storage};
use consilium_journal::{Fault, Journal, JournalError, Limits, verify_on};

const SEGMENT: &str = "00000000000000000000.journal";
/// Computed by a program that shares no code with this crate, after `src/frame.rs`.
const GOLDEN: &str = include_str!("golden/two_entries_v1.hex");
const GOLDEN_HEAD: &str = "19f7eaaacd36eac6a11426acd5918ff3ed10b3f5055359cfd8f488500f9924f9";

fn golden() -> Vec<u8> {
    let digits: Vec<u8> = GOLDEN
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn two_entries_are_written_as_the_golden_bytes() {
    let memory = Memory::default();
    let (journal, _) = Journal::open_on(Arc::new(memory.clone()), Limits::default()).unwrap();
    journal
        .append(
            1_700_000_000_000,
            "run.started",
            br#"{"run":"heart-disease"}"#,
        )
        .unwrap();
    journal
        .append(1_700_000_000_250, "round.closed", br#"{"round":1}"#)
        .unwrap();
    assert_eq!(memory.names().unwrap(), [SEGMENT]);
    assert_eq!(memory.bytes(SEGMENT).unwrap(), golden());
    assert_eq!(journal.head().hash.to_string(), GOLDEN_HEAD);
}

#[test]
fn the_golden_bytes_are_read() {
    let memory = Memory::default();
    memory.put(SEGMENT, golden());
    let entries = crate::world::entries(&memory);
    let [started, closed] = entries.as_slice() else {
        panic!("{} entries", entries.len())
    };
    assert_eq!(
        (started.seq, started.at_ms, started.kind.as_str()),
        (0, 1_700_000_000_000, "run.started")
    );
    assert_eq!(started.payload, br#"{"run":"heart-disease"}"#);
    assert_eq!(
        (closed.seq, closed.at_ms, closed.kind.as_str()),
        (1, 1_700_000_000_250, "round.closed")
    );
    let verified = verify_on(Arc::new(memory), None).unwrap().unwrap();
    assert_eq!(
        (
            verified.entries,
            verified.segments,
            verified.torn_tail_bytes
        ),
        (2, 1, 0)
    );
    assert_eq!(verified.head.hash.to_string(), GOLDEN_HEAD);
}

#[test]
fn a_later_format_is_named_and_left_alone() {
    let memory = Memory::default();
    let mut bytes = golden();
    bytes[8] = 2;
    memory.put(SEGMENT, bytes.clone());
    match crate::world::open(&memory) {
        Err(JournalError::Damaged(damage)) => assert_eq!(damage.fault, Fault::Version(2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(memory.bytes(SEGMENT).unwrap(), bytes);
}
