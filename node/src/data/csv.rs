//! Delimited text as a [`Source`].

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::ByteRecord;

use super::cell::{Reason, parse_cell};
use super::schema::Schema;
use super::source::{BadRow, RecordLimit, Row, Source, SourceError, assemble, wrong_columns};

/// Reads records with the `csv` crate, whose own buffers have no limit; the
/// reader under it stops at a record that never ends.
pub(super) struct CsvSource<'a, R> {
    reader: csv::Reader<RecordLimit<R>>,
    record_bytes: Rc<Cell<usize>>,
    record: ByteRecord,
    /// For each declared column, where it stands in a record.
    order: Vec<usize>,
    schema: &'a Schema,
    path: PathBuf,
}

impl<'a, R: Read> CsvSource<'a, R> {
    pub(super) fn new(input: R, path: &Path, schema: &'a Schema) -> Result<Self, SourceError> {
        let record_bytes = Rc::new(Cell::new(0));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(schema.delimiter)
            .from_reader(RecordLimit {
                inner: input,
                bytes: Rc::clone(&record_bytes),
            });
        let mut source = Self {
            reader,
            record_bytes,
            record: ByteRecord::new(),
            order: (0..schema.columns.len()).collect(),
            schema,
            path: path.to_owned(),
        };
        if schema.has_header {
            source.read_header()?;
        }
        Ok(source)
    }

    fn read_header(&mut self) -> Result<(), SourceError> {
        self.read_record()?;
        let names: Result<Vec<&str>, _> = self.record.iter().map(std::str::from_utf8).collect();
        let Ok(names) = names else {
            return Err(SourceError::HeaderNotText {
                path: self.path.clone(),
                line: 1,
            });
        };
        let names: Vec<&str> = names.into_iter().map(str::trim).collect();
        let columns = &self.schema.columns;
        let place = |name: &str| names.iter().position(|found| *found == name);
        let order: Option<Vec<usize>> = columns.iter().map(|column| place(&column.name)).collect();
        match order {
            Some(order) if names.len() == columns.len() => self.order = order,
            _ => return Err(wrong_columns(&self.path, columns, &names)),
        }
        Ok(())
    }

    /// False at the end of the file.
    fn read_record(&mut self) -> Result<bool, SourceError> {
        self.record_bytes.set(0);
        self.reader
            .read_byte_record(&mut self.record)
            .map_err(|error| {
                let path = self.path.clone();
                let line = self.reader.position().line();
                let source = match error.into_kind() {
                    csv::ErrorKind::Io(source) => source,
                    _ => io::Error::from(io::ErrorKind::InvalidData),
                };
                match source.kind() {
                    io::ErrorKind::FileTooLarge => SourceError::RecordTooLong { path, line },
                    _ => SourceError::Io { path, source },
                }
            })
    }
}

impl<R: Read> Source for CsvSource<'_, R> {
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        if !self.read_record()? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let columns = &self.schema.columns;
        if self.record.len() != columns.len() {
            return Ok(Some(Row::Bad(BadRow {
                line,
                column: None,
                reason: Reason::Fields {
                    found: self.record.len(),
                    declared: columns.len(),
                },
            })));
        }
        let row = assemble(line, columns, |at, column| {
            let field = self.order.get(at).and_then(|&place| self.record.get(place));
            let text = std::str::from_utf8(field.unwrap_or_default());
            parse_cell(
                column,
                &self.schema.missing,
                text.map_err(|_| Reason::InvalidUtf8)?,
            )
        });
        Ok(Some(row))
    }
}
