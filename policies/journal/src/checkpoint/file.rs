//! The file that a site keeps its checkpoints in: notes one after the other, beside the segments, for its own next
//! start and for whoever gets a copy of the folder.
//!
//! Each note is preceded by a line with its length and checksum and followed by an empty line, so that the file can
//! be read by eye too:
//!
//! ```text
//! checkpoint 412 9f02ab11
//! consilium/heart/cleveland
//! ...
//! ```
//!
//! What may be wrong and is no failure: a torn last note (cut when the file is opened for writing), no file at all
//! (begun). A note changed in the middle is reported, and the next ones go into a new file: nothing is lost or hidden
//! by writing over it. Whether the notes are genuine is asked of their signatures, not of this file.

use std::path::Path;
use std::sync::Arc;

use super::{NOTE_BYTES_MAX, SignedCheckpoint};
use crate::JournalError;
use crate::storage::{Disk, Storage};

/// The folder's name, inside the journal's.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

const EXTENSION: &str = ".checkpoints";
/// A file that would grow beyond this is closed and the next begun; it bounds what a reader holds in memory.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// `checkpoint`, a length, a checksum.
const LINE_BYTES_MAX: usize = 64;

/// The open file, and its one writer.
pub struct CheckpointFile {
    storage: Arc<dyn Storage>,
    number: u64,
    bytes: u64,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenedCheckpoints {
    /// The newest note, its signatures unchecked.
    pub newest: Option<SignedCheckpoint>,
    /// Bytes of a note that a crash cut short; they were cut off.
    pub torn_bytes: u64,
    /// Where notes were changed or are none: file and byte.
    pub damaged: Vec<String>,
}

impl CheckpointFile {
    /// Opens the newest file in `folder`, or begins one there.
    ///
    /// # Errors
    /// The storage fails.
    pub fn open(folder: &Path) -> Result<(Self, OpenedCheckpoints), JournalError> {
        Self::open_on(Arc::new(Disk::for_writing(folder)?))
    }

    /// As [`CheckpointFile::open`], on any storage.
    ///
    /// # Errors
    /// The storage fails.
    pub fn open_on(storage: Arc<dyn Storage>) -> Result<(Self, OpenedCheckpoints), JournalError> {
        let mut opened = OpenedCheckpoints::default();
        let numbers = numbers(&*storage)?;
        let mut file = None;
        for &number in numbers.iter().rev() {
            let name = file_name(number);
            let bytes = read_whole(&*storage, &name)?;
            let mut notes = Notes::of(&bytes);
            let newest = notes.by_ref().last();
            let end = notes.at as u64;
            match notes.rest() {
                Rest::Whole => {}
                Rest::Torn if file.is_none() => {
                    opened.torn_bytes = bytes.len() as u64 - end;
                    storage
                        .set_len(&name, end)
                        .map_err(JournalError::storage("cut", &name))?;
                    storage
                        .sync(&name)
                        .map_err(JournalError::storage("fsync", &name))?;
                }
                Rest::Torn | Rest::Damaged => {
                    opened.damaged.push(format!("{name}, byte {end}"));
                    file.get_or_insert((number + 1, 0));
                }
            }
            file.get_or_insert((number, end));
            if newest.is_some() {
                opened.newest = newest;
                break;
            }
        }
        let (number, bytes) = file.unwrap_or((1, 0));
        let file = Self {
            storage,
            number,
            bytes,
        };
        if !numbers.contains(&number) {
            file.create()?;
        }
        Ok((file, opened))
    }

    /// Keeps a note and returns when it is durable. After an error the note may or may not be found later.
    ///
    /// # Errors
    /// The storage fails.
    pub fn append(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), JournalError> {
        let note = checkpoint.to_string();
        let crc = crc32fast::hash(note.as_bytes());
        let record = format!("checkpoint {} {crc:08x}\n{note}\n", note.len());
        let bytes = record.len() as u64;
        if self.bytes > 0 && self.bytes + bytes > FILE_BYTES_MAX {
            let next = Self {
                storage: Arc::clone(&self.storage),
                number: self.number + 1,
                bytes: 0,
            };
            next.create()?;
            *self = next;
        }
        let name = file_name(self.number);
        self.storage
            .write_at(&name, self.bytes, record.as_bytes())
            .map_err(JournalError::storage("append to", &name))?;
        self.storage
            .sync(&name)
            .map_err(JournalError::storage("fsync", &name))?;
        self.bytes += bytes;
        Ok(())
    }

    fn create(&self) -> Result<(), JournalError> {
        let name = file_name(self.number);
        self.storage
            .create(&name)
            .map_err(JournalError::storage("create", &name))?;
        self.storage
            .sync_names()
            .map_err(JournalError::storage("fsync the folder of", &name))
    }
}

/// Gives every note in `folder` to `visit`, oldest first, and returns where there is none though there should be one.
/// A folder that is not there holds no notes.
///
/// # Errors
/// The folder cannot be read.
pub fn read_checkpoints(
    folder: &Path,
    mut visit: impl FnMut(SignedCheckpoint),
) -> Result<Vec<String>, JournalError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let storage = Disk::for_reading(folder);
    let mut damaged = Vec::new();
    let numbers = numbers(&storage)?;
    for &number in &numbers {
        let name = file_name(number);
        let bytes = read_whole(&storage, &name)?;
        let mut notes = Notes::of(&bytes);
        notes.by_ref().for_each(&mut visit);
        let torn_at_the_end = Some(&number) == numbers.last() && notes.rest() == Rest::Torn;
        if notes.rest() != Rest::Whole && !torn_at_the_end {
            damaged.push(format!("{CHECKPOINTS_FOLDER}/{name}, byte {}", notes.at));
        }
    }
    Ok(damaged)
}

fn file_name(number: u64) -> String {
    format!("{number:06}{EXTENSION}")
}

/// The numbers of the files, ascending. Files of other names are not ours.
fn numbers(storage: &dyn Storage) -> Result<Vec<u64>, JournalError> {
    let names = storage
        .names()
        .map_err(JournalError::storage("list", CHECKPOINTS_FOLDER))?;
    let number = |name: &String| {
        let number = name.strip_suffix(EXTENSION)?.parse().ok()?;
        (file_name(number) == *name).then_some(number)
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file, as far as one of ours can be long.
fn read_whole(storage: &dyn Storage, name: &str) -> Result<Vec<u8>, JournalError> {
    let bytes = storage
        .len(name)
        .map_err(JournalError::storage("measure", name))?;
    let longest = FILE_BYTES_MAX + (NOTE_BYTES_MAX + LINE_BYTES_MAX) as u64;
    let mut held = vec![0; usize::try_from(bytes.min(longest)).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = held.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match storage
            .read_at(name, filled as u64, rest)
            .map_err(JournalError::storage("read", name))?
        {
            0 => break,
            read => filled += read,
        }
    }
    held.truncate(filled);
    Ok(held)
}

/// The notes of a file, as far as they are whole.
struct Notes<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What follows the last whole note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Whole,
    /// The beginning of a note, or bytes that were never written.
    Torn,
    /// Something else.
    Damaged,
}

impl<'a> Notes<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Asked when the iteration has ended.
    fn rest(&self) -> Rest {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Rest::Whole;
        }
        // A later note that is whole proves that this one had been, too.
        let later = (1..rest.len())
            .filter(|&at| {
                rest.get(at..)
                    .is_some_and(|r| r.starts_with(b"checkpoint "))
            })
            .any(|at| whole_note(rest.get(at..).unwrap_or_default()).is_some());
        let longer_than_a_note = rest.len() > NOTE_BYTES_MAX + LINE_BYTES_MAX;
        match later || longer_than_a_note {
            true => Rest::Damaged,
            false => Rest::Torn,
        }
    }
}

impl Iterator for Notes<'_> {
    type Item = SignedCheckpoint;

    fn next(&mut self) -> Option<SignedCheckpoint> {
        let (checkpoint, bytes) = whole_note(self.bytes.get(self.at..)?)?;
        self.at += bytes;
        Some(checkpoint)
    }
}

/// The note at the beginning of `bytes`, and how many bytes it takes.
fn whole_note(bytes: &[u8]) -> Option<(SignedCheckpoint, usize)> {
    let line_bytes = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(bytes.get(..line_bytes)?).ok()?;
    let (len, crc) = line.strip_prefix("checkpoint ")?.split_once(' ')?;
    let len: usize = len.parse().ok().filter(|&len| len <= NOTE_BYTES_MAX)?;
    let begins = line_bytes + 1;
    let note = bytes.get(begins..begins + len)?;
    if bytes.get(begins + len) != Some(&b'\n') || crc != format!("{:08x}", crc32fast::hash(note)) {
        return None;
    }
    Some((SignedCheckpoint::parse(note).ok()?, begins + len + 1))
}
