//! A small journal in memory, and hands to tamper with it.

use std::sync::Arc;

use consilium_journal::storage::{Memory, Storage};
use consilium_journal::{Entry, Head, Journal, JournalError, Limits, read_on};

/// Room for four of the entries of [`append_rounds`].
pub(crate) const SMALL: Limits = Limits {
    segment_bytes_max: 520,
    entry_bytes_max: 10_000,
    batch_bytes_max: 10_000,
};

pub(crate) fn open(memory: &Memory) -> Result<Journal, JournalError> {
    Journal::open_on(Arc::new(memory.clone()), SMALL).map(|(journal, _)| journal)
}

/// Appends an entry for each of `rounds`, each in its own batch.
pub(crate) fn append_rounds(journal: &Journal, rounds: std::ops::Range<u64>) -> Head {
    for round in rounds {
        let payload = format!(r#"{{"round":{round},"sites":["cleveland"]}}"#);
        journal
            .append(
                1_700_000_000_000 + round,
                "round.closed",
                payload.as_bytes(),
            )
            .unwrap();
    }
    journal.head()
}

/// A closed journal of `rounds` entries.
pub(crate) fn journal_of(rounds: u64) -> (Memory, Head) {
    let memory = Memory::default();
    let head = append_rounds(&open(&memory).unwrap(), 0..rounds);
    (memory, head)
}

pub(crate) fn entries(memory: &Memory) -> Vec<Entry> {
    read_on(Arc::new(memory.clone()))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub(crate) fn segments(memory: &Memory) -> Vec<String> {
    memory.names().unwrap()
}

/// A segment taken apart: its header, then its frames.
pub(crate) fn pieces(memory: &Memory, segment: &str) -> Vec<Vec<u8>> {
    let bytes = memory.bytes(segment).unwrap();
    let (header, mut rest) = bytes.split_at(56);
    let mut pieces = vec![header.to_vec()];
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (frame, after) = rest.split_at((8 + len) / 8 * 8 + 8);
        pieces.push(frame.to_vec());
        rest = after;
    }
    pieces
}
