//! One JSON object a line as a [`Source`].

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::cell::{Reason, Value, parse_cell};
use super::schema::Schema;
use super::source::{BadRow, RECORD_BYTES_MAX, Row, Source, SourceError, assemble, wrong_columns};

/// Reads line by line, never more of a line than a record may have.
pub(super) struct NdjsonSource<'a, R> {
    input: R,
    buffer: Vec<u8>,
    line: u64,
    saw_object: bool,
    schema: &'a Schema,
    path: PathBuf,
}

impl<'a, R: BufRead> NdjsonSource<'a, R> {
    pub(super) fn new(input: R, path: &Path, schema: &'a Schema) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            line: 0,
            saw_object: false,
            schema,
            path: path.to_owned(),
        }
    }

    /// Reads one line into the buffer; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, SourceError> {
        self.buffer.clear();
        self.line += 1;
        let limit = RECORD_BYTES_MAX as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|source| SourceError::Io {
            path: self.path.clone(),
            source,
        })?;
        if read > RECORD_BYTES_MAX {
            return Err(SourceError::RecordTooLong {
                path: self.path.clone(),
                line: self.line,
            });
        }
        Ok(read > 0)
    }

    fn row(&mut self, object: &Map<String, Json>) -> Result<Row, SourceError> {
        let columns = &self.schema.columns;
        let declared = |name: &String| columns.iter().any(|column| &column.name == name);
        if !object.keys().all(declared) {
            if !self.saw_object {
                let names: Vec<&str> = object.keys().map(String::as_str).collect();
                return Err(wrong_columns(&self.path, columns, &names));
            }
            return Ok(self.bad(Reason::UnexpectedField));
        }
        self.saw_object = true;
        Ok(assemble(self.line, columns, |_, column| {
            let missing = &self.schema.missing;
            match object.get(&column.name) {
                None | Some(Json::Null) => Ok(Value::Missing),
                Some(Json::String(text)) => parse_cell(column, missing, text),
                Some(Json::Bool(value)) => parse_cell(column, missing, &value.to_string()),
                Some(Json::Number(value)) => parse_cell(column, missing, &value.to_string()),
                Some(Json::Array(_) | Json::Object(_)) => Err(Reason::NotAScalar),
            }
        }))
    }

    fn bad(&self, reason: Reason) -> Row {
        Row::Bad(BadRow {
            line: self.line,
            column: None,
            reason,
        })
    }
}

impl<R: BufRead> Source for NdjsonSource<'_, R> {
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            // A blank line, as editors leave one at the end, is no row.
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let Ok(text) = std::str::from_utf8(&self.buffer) else {
            return Ok(Some(self.bad(Reason::InvalidUtf8)));
        };
        if text.contains('\0') {
            return Ok(Some(self.bad(Reason::Nul)));
        }
        match serde_json::from_str::<Json>(text) {
            Ok(Json::Object(object)) => self.row(&object).map(Some),
            Ok(_) => Ok(Some(self.bad(Reason::NotAnObject))),
            Err(_) => Ok(Some(self.bad(Reason::NotJson))),
        }
    }
}
