//! A table in memory: one typed vector a column, and its digests.

use consilium_protocol::Digest;
use sha2::{Digest as _, Sha256};

use super::cell::Value;
use super::schema::{ColumnSpec, ColumnType, Schema};

/// The cells of one column. Patient data: it has no `Debug`.
#[derive(Clone, PartialEq)]
pub enum Column {
    Integer(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Indices of the declared levels.
    Category(Vec<Option<u16>>),
    Text(Vec<Option<Box<str>>>),
    Boolean(Vec<Option<bool>>),
    /// Days since 1970-01-01.
    Date(Vec<Option<i32>>),
}

/// The complete rows of one file, by column. Patient data: it has no `Debug`.
#[derive(Clone, PartialEq)]
pub struct Table {
    columns: Vec<(ColumnSpec, Column)>,
    rows: usize,
}

impl Table {
    /// No rows yet.
    pub(super) fn new(schema: &Schema) -> Self {
        let columns = schema
            .columns
            .iter()
            .map(|spec| (spec.clone(), Column::new(spec.kind)));
        Self {
            columns: columns.collect(),
            rows: 0,
        }
    }

    /// Appends a row, whose values come in the schema's order and have its types.
    pub(super) fn push(&mut self, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.columns.len());
        for ((_, column), value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.rows += 1;
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A column and its declaration, by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<(&ColumnSpec, &Column)> {
        let (spec, column) = self.columns.iter().find(|(spec, _)| spec.name == name)?;
        Some((spec, column))
    }

    /// SHA-256 of the column names, types, levels and values: the same for a
    /// CSV and an NDJSON file of the same table.
    #[must_use]
    pub fn content_digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(b"consilium table v1\0");
        hasher.update((self.rows as u64).to_le_bytes());
        hasher.update((self.columns.len() as u64).to_le_bytes());
        for (spec, column) in &self.columns {
            hash_text(&mut hasher, &spec.name);
            hasher.update((spec.levels.len() as u64).to_le_bytes());
            for level in &spec.levels {
                hash_text(&mut hasher, level);
            }
            column.hash(&mut hasher);
        }
        Digest(hasher.finalize().into())
    }
}

impl Column {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Integer => Self::Integer(Vec::new()),
            ColumnType::Float => Self::Float(Vec::new()),
            ColumnType::Category => Self::Category(Vec::new()),
            ColumnType::Text => Self::Text(Vec::new()),
            ColumnType::Boolean => Self::Boolean(Vec::new()),
            ColumnType::Date => Self::Date(Vec::new()),
        }
    }

    /// A value of another type than the column's counts as missing; `parse_cell`
    /// makes none.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Integer(cells), Value::Integer(value)) => cells.push(Some(value)),
            (Self::Float(cells), Value::Float(value)) => cells.push(Some(value)),
            (Self::Category(cells), Value::Category(value)) => cells.push(Some(value)),
            (Self::Text(cells), Value::Text(value)) => cells.push(Some(value)),
            (Self::Boolean(cells), Value::Boolean(value)) => cells.push(Some(value)),
            (Self::Date(cells), Value::Date(value)) => cells.push(Some(value)),
            (Self::Integer(cells), _) => cells.push(None),
            (Self::Float(cells), _) => cells.push(None),
            (Self::Category(cells), _) => cells.push(None),
            (Self::Text(cells), _) => cells.push(None),
            (Self::Boolean(cells), _) => cells.push(None),
            (Self::Date(cells), _) => cells.push(None),
        }
    }

    fn hash(&self, hasher: &mut Sha256) {
        fn fixed<T: Copy, const N: usize>(
            hasher: &mut Sha256,
            kind: u8,
            cells: &[Option<T>],
            bytes: impl Fn(T) -> [u8; N],
        ) {
            hasher.update([kind]);
            for cell in cells {
                match cell {
                    None => hasher.update([0]),
                    Some(value) => {
                        hasher.update([1]);
                        hasher.update(bytes(*value));
                    }
                }
            }
        }
        match self {
            Self::Integer(cells) => fixed(hasher, 1, cells, i64::to_le_bytes),
            // Adding 0.0 makes -0.0 the same as 0.0.
            Self::Float(cells) => fixed(hasher, 2, cells, |value| (value + 0.0).to_le_bytes()),
            Self::Category(cells) => fixed(hasher, 3, cells, u16::to_le_bytes),
            Self::Boolean(cells) => fixed(hasher, 4, cells, |value| [u8::from(value)]),
            Self::Date(cells) => fixed(hasher, 5, cells, i32::to_le_bytes),
            Self::Text(cells) => {
                hasher.update([6]);
                for cell in cells {
                    hasher.update([u8::from(cell.is_some())]);
                    if let Some(text) = cell {
                        hash_text(hasher, text);
                    }
                }
            }
        }
    }
}

fn hash_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}
