//! Records of a source, one after another. The source is hostile: whatever it holds, a record is read, or left out with
//! a reason, or the reading ends with an error; and no more than one record is in memory.

mod csv;
mod json_lines;
mod notes;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::document::{Reason, SourceDocument};
use super::error::CollectionError;
use super::mapping::{Mapping, SourceFormat};

/// One record, and where it begins.
pub(super) struct Record {
    /// Of the source, from 1; of a folder of notes the note's number in the order of names.
    pub(super) line: u64,
    pub(super) read: Result<SourceDocument, Unusable>,
}

/// A record that is left out.
pub(super) struct Unusable {
    pub(super) reason: Reason,
    /// Its id, where it could be read: the record is there, though it cannot be used.
    pub(super) id: Option<String>,
}

/// A stream of records.
pub(super) trait Records {
    /// The next record; `None` at the end.
    fn next_record(&mut self) -> Result<Option<Record>, CollectionError>;
}

/// How far a source is read, in bytes or in notes.
#[derive(Clone, Default)]
pub(super) struct Position {
    done: Rc<Cell<u64>>,
    pub(super) total: u64,
}

impl Position {
    pub(super) fn done(&self) -> u64 {
        self.done.get()
    }

    fn advance(&self, by: u64) {
        self.done.set(self.done.get().saturating_add(by));
    }
}

/// Opens the source that the mapping describes; a compressed one (gzip) is unpacked on the way.
pub(super) fn open(
    path: &Path,
    mapping: &Mapping,
) -> Result<(Box<dyn Records>, Position), CollectionError> {
    if mapping.format == SourceFormat::Notes {
        let notes = notes::Notes::open(path, mapping)?;
        let position = notes.position();
        return Ok((Box::new(notes), position));
    }
    let failed = |source| CollectionError::Source {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let position = Position {
        total: file.metadata().map_err(failed)?.len(),
        ..Position::default()
    };
    let input = unpacked(Counted {
        inner: file,
        position: position.clone(),
    })
    .map_err(failed)?;
    let records: Box<dyn Records> = match mapping.format {
        SourceFormat::Csv => Box::new(csv::CsvRecords::new(input, path, mapping.clone())?),
        SourceFormat::JsonLines | SourceFormat::Notes => {
            Box::new(json_lines::JsonLines::new(input, path, mapping.clone()))
        }
    };
    Ok((records, position))
}

/// Records of bytes that are in memory, for tests and the fuzzer; `None` for a folder's format.
pub(super) fn of_bytes(
    bytes: Vec<u8>,
    mapping: &Mapping,
) -> Result<Option<Box<dyn Records>>, CollectionError> {
    let path = PathBuf::from("bytes");
    let failed = |source| CollectionError::Source {
        path: path.clone(),
        source,
    };
    let input = unpacked(io::Cursor::new(bytes)).map_err(failed)?;
    Ok(match mapping.format {
        SourceFormat::Csv => Some(Box::new(csv::CsvRecords::new(
            input,
            &path,
            mapping.clone(),
        )?)),
        SourceFormat::JsonLines => Some(Box::new(json_lines::JsonLines::new(
            input,
            &path,
            mapping.clone(),
        ))),
        SourceFormat::Notes => None,
    })
}

/// What reading a source finds, without keeping anything of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    pub records: u64,
    /// Records that would be left out, by reason.
    pub skipped: BTreeMap<Reason, u64>,
}

/// Reads a source in memory to its end, as an ingest would, and keeps nothing. A folder's format has no such source and
/// gives no record.
///
/// # Errors
/// If it cannot be read on, or is not what the mapping says.
pub fn inspect(bytes: Vec<u8>, mapping: &Mapping) -> Result<Inspected, CollectionError> {
    let mut inspected = Inspected::default();
    let Some(mut records) = of_bytes(bytes, mapping)? else {
        return Ok(inspected);
    };
    while let Some(record) = records.next_record()? {
        inspected.records += 1;
        if let Err(unusable) = record.read {
            *inspected.skipped.entry(unusable.reason).or_default() += 1;
        }
    }
    Ok(inspected)
}

/// What comes out of gzip, or the bytes themselves; a byte order mark is skipped.
fn unpacked(input: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let is_packed = input.fill_buf()?.starts_with(b"\x1f\x8b");
    let mut input: Box<dyn BufRead> = match is_packed {
        true => Box::new(BufReader::with_capacity(
            1 << 16,
            MultiGzDecoder::new(input),
        )),
        false => Box::new(input),
    };
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(input)
}

struct Counted<R> {
    inner: R,
    position: Position,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.advance(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
