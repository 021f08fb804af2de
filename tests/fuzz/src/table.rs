//! Schemas, CSV and NDJSON, as hospitals export them.

use std::fs;

use serde_json::{Map, Number, Value};

use crate::Target;
use crate::data::{
    BAD_ROWS_LISTED_MAX, Column, ColumnSpec, DataSet, Format, ReadReport, Schema, Table, read,
};
use crate::draw::halves;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "table",
    holds,
    memory_bytes_max: 2 << 20,
    memory_per_byte_max: 256,
};

/// A schema before the first NUL, a file behind it: rows are good, bad or incomplete and none is lost, and the table
/// that is read is the same when it is written as NDJSON and read again.
pub fn holds(bytes: &[u8]) {
    let (schema, file) = halves(bytes);
    let Ok(text) = std::str::from_utf8(schema) else {
        return;
    };
    let schema = match Schema::parse(text) {
        Ok(schema) => schema,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let Some((table, report)) = read_bytes(file, &schema) else {
        return;
    };
    rows_are_counted(&schema, &table, &report);
    reads_back(&schema, &table);
    rows_are_divided(schema, table, report);
}

fn read_bytes(bytes: &[u8], schema: &Schema) -> Option<(Table, ReadReport)> {
    let file = tempfile::NamedTempFile::new();
    assert!(file.is_ok(), "no temporary file: {file:?}");
    let file = file.ok()?;
    let written = fs::write(file.path(), bytes);
    assert!(written.is_ok(), "{written:?}");
    match read(file.path(), schema) {
        Ok(read) => Some(read),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn rows_are_counted(schema: &Schema, table: &Table, report: &ReadReport) {
    let good = table.rows() as u64;
    assert!(good > 0);
    assert_eq!(report.rows, good + report.bad_rows + report.incomplete_rows);
    let listed = report.bad.len() as u64;
    assert_eq!(listed, report.bad_rows.min(BAD_ROWS_LISTED_MAX as u64));
    assert!(report.bad.iter().all(|bad| bad.line > 0));
    for spec in schema.columns() {
        let cells = table
            .column(&spec.name)
            .map(|(_, column)| cells(spec, column));
        assert_eq!(cells.map(|cells| cells.len()), Some(table.rows()));
    }
}

/// Not where words stand for missing values: a number may be written as one of them.
fn reads_back(schema: &Schema, table: &Table) {
    let declared = serde_json::to_value(schema).unwrap_or_default();
    if declared.get("missing") != Some(&Value::Array(Vec::new())) {
        return;
    }
    let columns: Vec<(&str, Vec<Value>)> = schema
        .columns()
        .iter()
        .filter_map(|spec| {
            let (_, column) = table.column(&spec.name)?;
            Some((spec.name.as_str(), cells(spec, column)))
        })
        .collect();
    let mut lines = Vec::new();
    for row in 0..table.rows() {
        let fields = columns
            .iter()
            .filter_map(|(name, cells)| Some(((*name).to_owned(), cells.get(row)?.clone())));
        let object: Map<String, Value> = fields.collect();
        lines.extend(serde_json::to_vec(&object).unwrap_or_default());
        lines.push(b'\n');
    }
    let again = read_bytes(&lines, &schema.clone().with_format(Format::Ndjson));
    let digest = again.map(|(table, _)| table.content_digest());
    assert!(
        digest == Some(table.content_digest()),
        "the table is another one as NDJSON"
    );
}

fn rows_are_divided(schema: Schema, table: Table, report: ReadReport) {
    let rows = table.rows();
    let Ok(name) = "heart-disease".parse() else {
        return;
    };
    let Ok(set) = DataSet::new(name, &schema, table, report) else {
        return;
    };
    let mut all: Vec<u32> = [set.train_rows(), set.test_rows()].concat();
    all.sort_unstable();
    assert!(!set.train_rows().is_empty());
    assert!(all.iter().copied().eq(0..all.len() as u32) && all.len() == rows);
    let patients = |rows: &[u32]| -> std::collections::BTreeSet<u32> {
        let of = |row: &u32| set.patients().get(*row as usize).copied();
        rows.iter().filter_map(of).collect()
    };
    let trained = patients(set.train_rows());
    assert!(
        patients(set.test_rows()).is_disjoint(&trained),
        "a patient is trained on and tested with"
    );
}

/// A column as JSON values: what its cells say, in one spelling.
fn cells(spec: &ColumnSpec, column: &Column) -> Vec<Value> {
    fn values<T>(cells: &[Option<T>], value: impl Fn(&T) -> Value) -> Vec<Value> {
        let written = |cell: &Option<T>| cell.as_ref().map_or(Value::Null, &value);
        cells.iter().map(written).collect()
    }
    match column {
        Column::Integer(cells) => values(cells, |integer| Value::from(*integer)),
        Column::Float(cells) => values(cells, |float| {
            Number::from_f64(*float).map_or(Value::Null, Value::Number)
        }),
        Column::Category(cells) => values(cells, |level| {
            let level = spec.levels.get(usize::from(*level));
            level.map_or(Value::Null, |level| Value::from(level.as_str()))
        }),
        Column::Text(cells) => values(cells, |text| Value::from(&**text)),
        Column::Boolean(cells) => values(cells, |boolean| Value::from(*boolean)),
        Column::Date(cells) => values(cells, |days| Value::from(written_day(*days))),
    }
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms",
/// civil_from_days).
fn written_day(days: i32) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
