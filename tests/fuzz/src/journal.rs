//! Segment files, as a crash, an editor or a stranger left them.

use std::sync::Arc;

use consilium_journal::storage::{Memory, Storage};
use consilium_journal::{Entry, Head, Journal, Limits, VerifyError, read_on, verify_on};

use crate::Target;
use crate::draw::{Draw, edited};

/// Small, so that a few entries are several segments.
const LIMITS: Limits = Limits {
    segment_bytes_max: 400,
    entry_bytes_max: 1024,
    batch_bytes_max: 512,
};

/// Entries of a journal that is then edited.
const ENTRIES_MAX: u8 = 8;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "journal",
    holds,
    memory_bytes_max: 4 << 20,
    memory_per_byte_max: 64,
};

/// After an odd first byte the rest are segments from nowhere; after an even one, entries that are written and edits of
/// the files. Either way all readers agree, and of a written journal is found: itself, a beginning of it, or damage.
pub fn holds(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    if draw.byte() % 2 == 1 {
        readers_agree(&of_segments(&mut draw));
    } else {
        an_edit_is_found(&mut draw);
    }
}

/// Up to three segments, each under the name that the first entries of a journal have, or that its header claims.
fn of_segments(draw: &mut Draw<'_>) -> Memory {
    let memory = Memory::default();
    for at in 0..3 {
        let bytes = match at {
            0..2 => {
                let length = draw.pair();
                draw.bytes(length)
            }
            _ => draw.bytes(usize::MAX),
        };
        if at == 0 || !bytes.is_empty() {
            let mut header = Draw(bytes);
            header.bytes(12);
            let first_seq = u64::from_le_bytes(header.array());
            let seq = if at == 0 { 0 } else { first_seq };
            memory.put(&format!("{seq:020}.journal"), bytes.to_vec());
        }
    }
    memory
}

fn an_edit_is_found(draw: &mut Draw<'_>) {
    let (memory, written, head) = of_entries(draw);
    let names = sorted_names(&memory);
    let originals: Vec<Vec<u8>> = names.iter().map(|name| bytes_of(&memory, name)).collect();
    for (name, original) in names.iter().zip(&originals) {
        match draw.byte() % 8 {
            1 => put_back(&memory, name, &edited(original, &mut Draw(draw.bytes(9)))),
            2 => {
                let length = draw.pair() % original.len().max(1);
                put_back(&memory, name, original.get(..length).unwrap_or_default());
            }
            3 => remove(&memory, name),
            4 => {
                let longer = [original, draw.bytes(40)].concat();
                put_back(&memory, name, &longer);
            }
            5 => {
                let other = originals.get(draw.pair() % originals.len().max(1));
                put_back(&memory, name, other.map_or(&[][..], Vec::as_slice));
            }
            _ => {}
        }
    }
    let Some(found) = readers_agree(&memory) else {
        return;
    };
    assert!(
        found.len() <= written.len() && found.iter().zip(&written).all(|(f, w)| f == w),
        "the journal is whole and is not a beginning of what was written"
    );
    let against_head = verify_on(Arc::new(memory), Some(head));
    if found.len() < written.len() {
        assert!(matches!(
            against_head,
            Ok(None) | Err(VerifyError::Truncated { .. })
        ));
    } else {
        let is_same = match against_head {
            Ok(Some(verified)) => verified.head == head,
            // Nothing was written, and its one file is gone.
            Ok(None) => written.is_empty(),
            Err(_) => false,
        };
        assert!(is_same, "the whole journal is not the one with this head");
    }
}

/// A journal as it is written, its entries and its head.
fn of_entries(draw: &mut Draw<'_>) -> (Memory, Vec<Entry>, Head) {
    let memory = Memory::default();
    let opened = Journal::open_on(Arc::new(memory.clone()), LIMITS);
    assert!(opened.is_ok(), "an empty journal cannot be begun");
    let Ok((journal, _)) = opened else {
        return (memory, Vec::new(), Head::EMPTY);
    };
    for at in 0..draw.byte() % (ENTRIES_MAX + 1) {
        let length = usize::from(draw.byte());
        let payload = vec![b'0' + at; length + 1];
        let appended = journal.append(u64::from(at), "kind", &payload);
        assert!(appended.is_ok(), "{appended:?}");
    }
    let head = journal.head();
    drop(journal);
    (memory.clone(), entries(&memory).unwrap_or_default(), head)
}

/// Verifying, reading and opening find the same; what is opened goes on, and what is refused stays as it was.
/// The entries, where it is whole.
fn readers_agree(memory: &Memory) -> Option<Vec<Entry>> {
    let verified = verify_on(Arc::new(memory.clone()), None);
    let read = entries(memory);
    let before: Vec<_> = contents(memory);
    let opened = Journal::open_on(Arc::new(memory.copied()), LIMITS);
    let Ok(verified) = verified else {
        assert!(read.is_none(), "damage was verified and not read");
        let copy = memory.copied();
        assert!(Journal::open_on(Arc::new(copy.clone()), LIMITS).is_err());
        assert_eq!(contents(&copy), before, "a refused journal was changed");
        return None;
    };
    let read = read?;
    assert_eq!(verified.map_or(0, |v| v.entries), read.len() as u64);
    let last = read.last().map(|entry| Head {
        seq: entry.seq + 1,
        hash: entry.hash,
    });
    assert_eq!(
        verified.map(|v| v.head),
        verified.and(last.or(Some(Head::EMPTY)))
    );
    assert!(
        opened.is_ok(),
        "a whole journal is not opened: {:?}",
        opened.err()
    );
    goes_on(memory, &read);
    Some(read)
}

fn goes_on(memory: &Memory, read: &[Entry]) {
    let copy = memory.copied();
    let Ok((journal, opened)) = Journal::open_on(Arc::new(copy.clone()), LIMITS) else {
        return;
    };
    assert_eq!(opened.entries, read.len() as u64);
    let appended = journal.append(u64::MAX, "more", b"{}");
    assert!(appended.is_ok(), "{appended:?}");
    drop(journal);
    let verified = verify_on(Arc::new(copy.clone()), None);
    assert!(
        matches!(verified, Ok(Some(v)) if v.entries == opened.entries + 1 && v.torn_tail_bytes == 0),
        "{verified:?} after {opened:?} and an append"
    );
    let more = entries(&copy).unwrap_or_default();
    assert!(more.get(..read.len()) == Some(read));
}

/// `None` where reading ends in an error.
fn entries(memory: &Memory) -> Option<Vec<Entry>> {
    read_on(Arc::new(memory.clone()))
        .ok()?
        .collect::<Result<_, _>>()
        .ok()
}

fn contents(memory: &Memory) -> Vec<(String, Vec<u8>)> {
    let with_bytes = |name: String| (name.clone(), bytes_of(memory, &name));
    sorted_names(memory).into_iter().map(with_bytes).collect()
}

fn sorted_names(memory: &Memory) -> Vec<String> {
    let mut names = memory.names().unwrap_or_default();
    names.sort();
    names
}

fn bytes_of(memory: &Memory, name: &str) -> Vec<u8> {
    memory.bytes(name).unwrap_or_default()
}

fn put_back(memory: &Memory, name: &str, bytes: &[u8]) {
    remove(memory, name);
    memory.put(name, bytes.to_vec());
}

fn remove(memory: &Memory, name: &str) {
    let removed = memory.remove(name);
    assert!(removed.is_ok(), "{removed:?}");
}
