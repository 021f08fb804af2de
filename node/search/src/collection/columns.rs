//! The filter columns of a collection in memory: for each word the documents that have it, for each document its number
//! or day.

use std::collections::BTreeMap;

use super::block::Columns;
use super::document::Value;
use super::error::Misfit;
use super::mapping::Kind;

/// The columns, in order.
pub(super) struct Tables(Vec<(String, Kind, Table)>);

/// What documents hold in one column, by their numbers.
pub(super) enum Table {
    Words {
        /// Ascending documents of each word.
        documents: BTreeMap<Box<str>, Vec<u32>>,
        /// Whether a document has any.
        has: Vec<bool>,
    },
    Numbers(Vec<Option<f64>>),
    /// Days since 1970-01-01; a year counts as its first day.
    Days(Vec<Option<i32>>),
}

impl Tables {
    pub(super) fn new(columns: &Columns) -> Self {
        let tables = columns.iter().map(|(name, kind)| {
            let table = match kind {
                Kind::Word | Kind::Words => Table::Words {
                    documents: BTreeMap::new(),
                    has: Vec::new(),
                },
                Kind::Number => Table::Numbers(Vec::new()),
                Kind::Date => Table::Days(Vec::new()),
            };
            (name.clone(), *kind, table)
        });
        Self(tables.collect())
    }

    /// Appends a document with its values, in the order of the columns; documents are numbered as they come.
    pub(super) fn push(&mut self, document: u32, values: Vec<Value>) {
        let mut values = values.into_iter();
        for (_, _, table) in &mut self.0 {
            let value = values.next().unwrap_or(Value::Missing);
            match table {
                Table::Words { documents, has } => {
                    let words = match value {
                        Value::Words(words) => words,
                        Value::Missing | Value::Number(_) | Value::Date(_) => Vec::new(),
                    };
                    has.push(!words.is_empty());
                    for word in words {
                        documents.entry(word.into()).or_default().push(document);
                    }
                }
                Table::Numbers(cells) => cells.push(match value {
                    Value::Number(number) => Some(number),
                    Value::Missing | Value::Words(_) | Value::Date(_) => None,
                }),
                Table::Days(cells) => cells.push(match value {
                    Value::Date(when) => Some(when.days()),
                    Value::Missing | Value::Words(_) | Value::Number(_) => None,
                }),
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.0.iter().map(|(name, kind, _)| (name.as_str(), *kind))
    }

    /// A column that queries may look at.
    pub(super) fn column(&self, name: &str) -> Result<(Kind, &Table), Misfit> {
        let column = self.0.iter().find(|(known, ..)| known == name);
        let column = column.ok_or_else(|| Misfit::UnknownColumn {
            column: name.to_owned(),
        })?;
        Ok((column.1, &column.2))
    }
}
