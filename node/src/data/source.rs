//! Reading a file into a table: what every format shares.
//!
//! What may fail: the file as a whole (missing, empty, compressed, another
//! table than declared), which refuses it; and single rows, which are counted
//! and listed, and refuse the file only beyond the declared share. A row with a
//! missing value in a `drop-row` column is neither: it is incomplete.
//!
//! A message names lines and columns and never a value.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::cell::{Reason, Value};
use super::csv::CsvSource;
use super::ndjson::NdjsonSource;
use super::schema::{ColumnSpec, Format, Missing, Schema};
use super::table::Table;

/// Rows of one table.
pub const ROWS_MAX: usize = 10_000_000;
/// Cells of one table: about 1.6 GB in memory.
pub const CELLS_MAX: usize = 100_000_000;
/// Bytes of text that one table may hold.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// One record: a CSV record over several lines, or a line of NDJSON.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bad rows that are listed; all of them are counted.
pub const BAD_ROWS_LISTED_MAX: usize = 100;
/// Column names that one message lists.
const NAMES_LISTED_MAX: usize = 20;

/// A stream of typed rows.
pub trait Source {
    /// The next row, bad or good; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read on, or is not the declared table.
    fn next_row(&mut self) -> Result<Option<Row>, SourceError>;
}

/// One row of a [`Source`].
pub enum Row {
    /// Values in the schema's order.
    Good(Vec<Value>),
    /// A value is missing that must not be, and the schema says to leave the row out.
    Incomplete,
    Bad(BadRow),
}

/// A row that is not what the schema declares, without any of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Line of the file on which the row begins, counted from 1.
    pub line: u64,
    /// The first column that is wrong, where it is one.
    pub column: Option<String>,
    pub reason: Reason,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "line {}, column `{column}`: {}", self.line, self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}

/// What reading a file found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows in the file.
    pub rows: u64,
    /// Rows left out because a `drop-row` value is missing.
    pub incomplete_rows: u64,
    /// Rows left out because they are bad.
    pub bad_rows: u64,
    /// The first [`BAD_ROWS_LISTED_MAX`] bad rows.
    pub bad: Vec<BadRow>,
}

/// Why a file was refused. Messages name the file, lines and columns, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("`{}` does not exist; correct the data set's `path`", path.display())]
    NotFound { path: PathBuf },
    #[error("`{}` cannot be read: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is empty", path.display())]
    Empty { path: PathBuf },
    #[error("`{}` holds no complete row", path.display())]
    NoRows { path: PathBuf },
    #[error("`{}` is compressed; unpack it first", path.display())]
    Compressed { path: PathBuf },
    #[error("`{}` does not have the declared columns: {what}", path.display())]
    WrongColumns { path: PathBuf, what: String },
    #[error("`{}`, line {line}: the header is not valid UTF-8", path.display())]
    HeaderNotText { path: PathBuf, line: u64 },
    #[error("`{}`, line {line}: a record is longer than {RECORD_BYTES_MAX} bytes; is a quote left open?", path.display())]
    RecordTooLong { path: PathBuf, line: u64 },
    #[error("`{}` holds more than {limit}; split it", path.display())]
    TooLarge { path: PathBuf, limit: String },
    #[error("`{}`: {} of {} rows are bad, more than the declared share of {share}; the first is {}",
        path.display(), report.bad_rows, report.rows,
        report.bad.first().map_or_else(String::new, BadRow::to_string))]
    TooManyBadRows {
        path: PathBuf,
        report: ReadReport,
        share: f64,
    },
}

/// Reads the file that this schema declares.
///
/// # Errors
/// As [`SourceError`] lists them; a file is read whole or refused whole.
pub fn read(path: &Path, schema: &Schema) -> Result<(Table, ReadReport), SourceError> {
    let file = open(path)?;
    let mut source: Box<dyn Source> = match schema.format {
        Format::Csv => Box::new(CsvSource::new(file, path, schema)?),
        Format::Ndjson => Box::new(NdjsonSource::new(file, path, schema)),
    };
    let too_large = |limit: String| SourceError::TooLarge {
        path: path.to_owned(),
        limit,
    };
    let mut table = Table::new(schema);
    let mut report = ReadReport::default();
    let mut text_bytes = 0_usize;
    while let Some(row) = source.next_row()? {
        report.rows += 1;
        if report.rows > ROWS_MAX as u64 {
            return Err(too_large(format!("{ROWS_MAX} rows")));
        }
        match row {
            Row::Good(values) => {
                if (table.rows() + 1) * schema.columns.len() > CELLS_MAX {
                    return Err(too_large(format!("{CELLS_MAX} cells")));
                }
                text_bytes += values.iter().map(Value::text_bytes).sum::<usize>();
                if text_bytes > TEXT_BYTES_MAX {
                    return Err(too_large(format!("{TEXT_BYTES_MAX} bytes of text")));
                }
                table.push(values);
            }
            Row::Incomplete => report.incomplete_rows += 1,
            Row::Bad(bad) => {
                report.bad_rows += 1;
                if report.bad.len() < BAD_ROWS_LISTED_MAX {
                    report.bad.push(bad);
                }
            }
        }
    }
    if report.bad_rows as f64 > schema.bad_rows_max_share * report.rows as f64 {
        return Err(SourceError::TooManyBadRows {
            path: path.to_owned(),
            report,
            share: schema.bad_rows_max_share,
        });
    }
    if table.rows() == 0 {
        return Err(SourceError::NoRows {
            path: path.to_owned(),
        });
    }
    Ok((table, report))
}

/// A file ready to be read as text: not empty, not compressed, its byte order mark skipped.
fn open(path: &Path) -> Result<BufReader<File>, SourceError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SourceError::NotFound {
            path: path.to_owned(),
        },
        _ => SourceError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let start = file.fill_buf().map_err(failed)?;
    if start.is_empty() {
        return Err(SourceError::Empty {
            path: path.to_owned(),
        });
    }
    // gzip, zip, zstd, xz
    let magics: [&[u8]; 4] = [b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ"];
    if magics.iter().any(|magic| start.starts_with(magic)) {
        return Err(SourceError::Compressed {
            path: path.to_owned(),
        });
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        file.consume(3);
    }
    Ok(file)
}

/// Applies the column's rule about missing values, and builds the row.
pub(super) fn assemble<'a>(
    line: u64,
    columns: &'a [ColumnSpec],
    mut cell: impl FnMut(usize, &'a ColumnSpec) -> Result<Value, Reason>,
) -> Row {
    let mut values = Vec::with_capacity(columns.len());
    let mut is_incomplete = false;
    for (at, column) in columns.iter().enumerate() {
        let value = cell(at, column).and_then(|value| match (&value, column.missing) {
            (Value::Missing, Missing::RefuseRow) => Err(Reason::Missing),
            (Value::Missing, Missing::DropRow) => {
                is_incomplete = true;
                Ok(value)
            }
            _ => Ok(value),
        });
        match value {
            Ok(value) => values.push(value),
            Err(reason) => {
                return Row::Bad(BadRow {
                    line,
                    column: Some(column.name.clone()),
                    reason,
                });
            }
        }
    }
    if is_incomplete {
        Row::Incomplete
    } else {
        Row::Good(values)
    }
}

/// Says which column names differ. Where not one declared name is there, the
/// names found are not listed: without its header, a file begins with a patient.
pub(super) fn wrong_columns(path: &Path, columns: &[ColumnSpec], found: &[&str]) -> SourceError {
    let missing: Vec<&str> = columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| !found.contains(name))
        .collect();
    let what = if missing.len() == columns.len() {
        "none of them is there; is the header line missing?".to_owned()
    } else {
        let unexpected: Vec<&str> = found
            .iter()
            .copied()
            .filter(|name| columns.iter().all(|column| column.name != *name))
            .collect();
        let parts = [("missing", missing), ("not declared", unexpected)];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", listed(names)))
            .collect();
        if parts.is_empty() {
            "a name is there twice".to_owned()
        } else {
            parts.join("; ")
        }
    };
    SourceError::WrongColumns {
        path: path.to_owned(),
        what,
    }
}

fn listed(names: &[&str]) -> String {
    let quoted = names.iter().take(NAMES_LISTED_MAX).map(|name| {
        let short: String = name.chars().take(64).collect();
        format!("`{}`", short.escape_debug())
    });
    let mut text = quoted.collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_LISTED_MAX));
    }
    text
}

impl Value {
    fn text_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// Errors once more bytes were read for one record than it may have.
pub(super) struct RecordLimit<R> {
    pub(super) inner: R,
    pub(super) bytes: std::rc::Rc<std::cell::Cell<usize>>,
}

impl<R: Read> Read for RecordLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.get() > RECORD_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get().saturating_add(read));
        Ok(read)
    }
}
