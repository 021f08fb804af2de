//! Delimited text with a header line.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::ByteRecord;

use super::super::document::{Field, Reason, SourceDocument, id_of};
use super::super::error::CollectionError;
use super::super::limits::RECORD_BYTES_MAX;
use super::super::mapping::Mapping;
use super::{Record, Records, Unusable};

/// Reads records with the `csv` crate, whose own buffers have no limit; the reader under it stops at a record that
/// never ends.
pub(super) struct CsvRecords {
    reader: csv::Reader<RecordLimit>,
    record_bytes: Rc<Cell<usize>>,
    record: ByteRecord,
    places: BTreeMap<String, usize>,
    fields: usize,
    mapping: Mapping,
    path: PathBuf,
}

impl CsvRecords {
    pub(super) fn new(
        input: Box<dyn BufRead>,
        path: &Path,
        mapping: Mapping,
    ) -> Result<Self, CollectionError> {
        let record_bytes = Rc::new(Cell::new(0));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(mapping.delimiter)
            .from_reader(RecordLimit {
                inner: input,
                bytes: Rc::clone(&record_bytes),
            });
        let mut records = Self {
            reader,
            record_bytes,
            record: ByteRecord::new(),
            places: BTreeMap::new(),
            fields: 0,
            mapping,
            path: path.to_owned(),
        };
        records.read_header()?;
        Ok(records)
    }

    /// An empty file has no header and no record.
    fn read_header(&mut self) -> Result<(), CollectionError> {
        if !self.read()? {
            return Ok(());
        }
        self.fields = self.record.len();
        for (at, name) in self.record.iter().enumerate() {
            if let Ok(name) = std::str::from_utf8(name) {
                self.places.entry(name.trim().to_owned()).or_insert(at);
            }
        }
        let mapping = &self.mapping;
        let lists = [&mapping.title, &mapping.body, &mapping.names];
        let columns = mapping.columns.iter().map(|column| &column.field);
        let mut wanted = lists
            .into_iter()
            .flatten()
            .chain([&mapping.id])
            .chain(mapping.patient.iter().chain(&mapping.date))
            .chain(columns);
        // Without its header a file begins with a patient, so what is there is not said.
        match wanted.find(|name| !self.places.contains_key(*name)) {
            Some(name) => Err(self.shape(
                1,
                format!("the header has no field `{name}`, which the mapping names"),
            )),
            None => Ok(()),
        }
    }

    /// False at the end of the file.
    fn read(&mut self) -> Result<bool, CollectionError> {
        self.record_bytes.set(0);
        self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let line = self.reader.position().line();
            match error.into_kind() {
                csv::ErrorKind::Io(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                    let what = format!("a record is longer than {RECORD_BYTES_MAX} bytes; is a quote left open?");
                    self.shape(line, what)
                }
                csv::ErrorKind::Io(source) => CollectionError::Source {
                    path: self.path.clone(),
                    source,
                },
                _ => self.shape(line, "not a CSV".to_owned()),
            }
        })
    }

    fn shape(&self, line: u64, what: String) -> CollectionError {
        CollectionError::SourceShape {
            path: self.path.clone(),
            line,
            what,
        }
    }

    fn document(&self) -> Result<SourceDocument, Unusable> {
        let mut field = |name: &str| -> Result<Option<Field>, Reason> {
            let cell = self.places.get(name).and_then(|at| self.record.get(*at));
            let text =
                std::str::from_utf8(cell.unwrap_or_default()).map_err(|_| Reason::NotUtf8)?;
            Ok(Some(Field::Text(text.to_owned())))
        };
        let id = match self.record.len() == self.fields {
            true => id_of(&self.mapping, &mut field),
            false => None,
        };
        let read = match self.record.len() == self.fields {
            true => SourceDocument::read(&self.mapping, &mut field),
            false => Err(Reason::Fields),
        };
        read.map_err(|reason| Unusable { reason, id })
    }
}

impl Records for CsvRecords {
    fn next_record(&mut self) -> Result<Option<Record>, CollectionError> {
        if !self.read()? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        Ok(Some(Record {
            line,
            read: self.document(),
        }))
    }
}

/// Errors once more bytes were read for one record than it may have.
struct RecordLimit {
    inner: Box<dyn BufRead>,
    bytes: Rc<Cell<usize>>,
}

impl Read for RecordLimit {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.get() > RECORD_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get().saturating_add(read));
        Ok(read)
    }
}
