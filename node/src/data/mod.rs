//! A site's data, from a file to a model's inputs.
//!
//! | file | what |
//! |---|---|
//! | `schema` | the declared shape of a table |
//! | `source`, `csv`, `ndjson`, `cell` | files into typed rows, bad rows named |
//! | `table` | the rows in memory, by column, and their digest |
//! | `dataset` | a declared data set: table, patients, test rows, version |
//! | `features` | a run's columns, encoded and standardised |
//! | `permutation` | random orders from a seed |

mod cell;
mod csv;
mod dataset;
mod features;
mod ndjson;
pub mod permutation;
mod schema;
mod source;
mod table;

pub use cell::{FIELD_BYTES_MAX, Reason, Value};
pub use dataset::{DataError, DataSet, Declaration};
pub use features::{Batchable, Encoded, FeatureError, Prepared, encode, prepare};
pub use schema::{
    COLUMNS_MAX, ColumnSpec, ColumnType, Format, LEVELS_MAX, MISSING_TOKENS_MAX, Missing,
    SCHEMA_BYTES_MAX, Schema, SchemaError, TestRows, WORD_BYTES_MAX,
};
pub use source::{
    BAD_ROWS_LISTED_MAX, BadRow, CELLS_MAX, RECORD_BYTES_MAX, ROWS_MAX, ReadReport, Row, Source,
    SourceError, TEXT_BYTES_MAX, read,
};
pub use table::{Column, Table};

#[cfg(test)]
pub(crate) mod tests;
