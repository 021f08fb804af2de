//! A data set as a site declares it: one file, its schema, and the rows that no
//! training may touch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use consilium_protocol::{DatasetName, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::permutation::{Purpose, permutation};
use super::schema::{SCHEMA_BYTES_MAX, Schema, SchemaError, TestRows};
use super::source::{self, ReadReport, SourceError};
use super::table::{Column, Table};

/// A data set in the node's configuration. Paths are relative to the
/// configuration file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Declaration {
    pub name: DatasetName,
    /// The CSV or NDJSON file.
    pub path: PathBuf,
    /// The schema file, which sites with the same table can share.
    pub schema: PathBuf,
    /// Row numbers of the test rows, separated by white space; replaces the
    /// schema's own `[test]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_rows: Option<PathBuf>,
    /// The column that names a patient alike at every site, such as an insurance number: text or whole numbers. With
    /// it, patients of several sites can be counted once; nothing else may look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkage_column: Option<String>,
}

/// A data set that has been read. Patient data: it has no `Debug`.
pub struct DataSet {
    name: DatasetName,
    table: Table,
    report: ReadReport,
    /// For each row the number of its patient, counted from 0.
    patients: Vec<u32>,
    patient_count: u32,
    patient_key: Option<String>,
    linkage: Option<String>,
    train_rows: Vec<u32>,
    test_rows: Vec<u32>,
    version: Digest,
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("`{}` cannot be read: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("schema `{}`: {source}", path.display())]
    Schema { path: PathBuf, source: SchemaError },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("data set `{dataset}`: the test rows {what}")]
    TestRows { dataset: DatasetName, what: String },
    #[error(
        "data set `{dataset}`: the linkage column `{column}` {what}; correct `linkage-column` in node.toml"
    )]
    Linkage {
        dataset: DatasetName,
        column: String,
        what: &'static str,
    },
}

impl Declaration {
    /// Reads the data set that is declared.
    ///
    /// # Errors
    /// If a file is missing or not what it is declared to be.
    pub fn open(&self, folder: &Path) -> Result<DataSet, DataError> {
        let schema_path = folder.join(&self.schema);
        let text = read_text(&schema_path)?;
        let mut schema = Schema::parse(&text).map_err(|source| DataError::Schema {
            path: schema_path,
            source,
        })?;
        if let Some(path) = &self.test_rows {
            let text = read_text(&folder.join(path))?;
            schema.test = Some(TestRows::Listed(self.listed_rows(&text)?));
        }
        let (table, report) = source::read(&folder.join(&self.path), &schema)?;
        let dataset = DataSet::new(self.name.clone(), &schema, table, report)?;
        match &self.linkage_column {
            None => Ok(dataset),
            Some(column) => dataset.with_linkage(column),
        }
    }

    /// Row numbers as text; `#` begins a comment.
    fn listed_rows(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let words = lines.flat_map(str::split_whitespace).map(str::parse);
        words
            .collect::<Result<_, _>>()
            .map_err(|_| DataError::TestRows {
                dataset: self.name.clone(),
                what: "must be row numbers from 0, separated by white space".to_owned(),
            })
    }
}

impl DataSet {
    /// A data set from its table.
    ///
    /// # Errors
    /// If the declared test rows do not fit the table.
    pub fn new(
        name: DatasetName,
        schema: &Schema,
        table: Table,
        report: ReadReport,
    ) -> Result<Self, DataError> {
        let wrong = |what: String| DataError::TestRows {
            dataset: name.clone(),
            what,
        };
        let patients = patients(schema, &table);
        let is_test = match &schema.test {
            None => vec![false; table.rows()],
            Some(TestRows::Listed(_)) if report.bad_rows > 0 => {
                let what =
                    "are listed by number, and bad rows would shift them; correct the bad rows";
                return Err(wrong(what.to_owned()));
            }
            Some(TestRows::Listed(rows)) => listed(rows, &patients).map_err(wrong)?,
            Some(TestRows::Drawn { fraction, seed }) => drawn(*fraction, *seed, &patients),
        };
        let rows_where = |wanted: bool| {
            let rows = (0_u32..).zip(&is_test).filter(|(_, test)| **test == wanted);
            rows.map(|(row, _)| row).collect::<Vec<u32>>()
        };
        let (train_rows, test_rows) = (rows_where(false), rows_where(true));
        if train_rows.is_empty() {
            return Err(wrong("leave no row for training".to_owned()));
        }
        let version = version(schema, &table);
        Ok(Self {
            name,
            table,
            report,
            patient_count: patients.iter().max().map_or(0, |last| last + 1),
            patient_key: schema.patient_key.clone(),
            linkage: None,
            patients,
            train_rows,
            test_rows,
            version,
        })
    }

    /// With a column that names patients alike at every site.
    ///
    /// # Errors
    /// There is none of this name, or it does not hold text or whole numbers.
    pub fn with_linkage(mut self, column: &str) -> Result<Self, DataError> {
        let what = match self.table.column(column) {
            Some((_, Column::Text(_) | Column::Integer(_))) => {
                self.linkage = Some(column.to_owned());
                return Ok(self);
            }
            Some(_) => "holds neither text nor whole numbers",
            None => "is not in the schema",
        };
        Err(DataError::Linkage {
            dataset: self.name.clone(),
            column: column.to_owned(),
            what,
        })
    }

    #[must_use]
    pub fn name(&self) -> &DatasetName {
        &self.name
    }

    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What reading the file found.
    #[must_use]
    pub fn report(&self) -> &ReadReport {
        &self.report
    }

    /// Rows that training may use.
    #[must_use]
    pub fn train_rows(&self) -> &[u32] {
        &self.train_rows
    }

    /// Rows held out of all training.
    #[must_use]
    pub fn test_rows(&self) -> &[u32] {
        &self.test_rows
    }

    /// For each row its patient; every row is one of its own where the schema
    /// names no patient key.
    #[must_use]
    pub fn patients(&self) -> &[u32] {
        &self.patients
    }

    /// How many patients; as many as rows where the schema names no patient key.
    #[must_use]
    pub fn patient_count(&self) -> u32 {
        self.patient_count
    }

    /// The column that names patients alike at every site, where one is declared.
    #[must_use]
    pub fn linkage(&self) -> Option<&str> {
        self.linkage.as_deref()
    }

    /// Whether a column tells who a patient is: no query and no model may look at it.
    #[must_use]
    pub fn identifies(&self, column: &str) -> bool {
        [&self.patient_key, &self.linkage]
            .into_iter()
            .any(|name| name.as_deref() == Some(column))
    }

    /// The column that tells patients apart, where the schema names one.
    #[must_use]
    pub fn patient_key(&self) -> Option<&str> {
        self.patient_key.as_deref()
    }

    /// For each patient what tells them apart, in bytes: the value of the patient key, or the row's place where there
    /// is
    /// none. Rows that are added to a table without a key belong at its end, or its patients change places.
    #[must_use]
    pub fn patient_identities(&self) -> Vec<Vec<u8>> {
        let key = self.patient_key.as_ref();
        let cells = key.and_then(|name| self.table.column(name));
        let mut identities = vec![Vec::new(); self.patient_count as usize];
        for (row, patient) in self.patients.iter().enumerate() {
            let Some(identity) = identities.get_mut(*patient as usize) else {
                continue;
            };
            if identity.is_empty() {
                *identity = match cells {
                    Some((_, Column::Text(cells))) => cells
                        .get(row)
                        .and_then(Option::as_deref)
                        .map(|text| format!("key {text}")),
                    Some((_, Column::Integer(cells))) => cells
                        .get(row)
                        .copied()
                        .flatten()
                        .map(|number| format!("key {number}")),
                    _ => None,
                }
                .unwrap_or_else(|| format!("row {row}"))
                .into_bytes();
            }
        }
        identities
    }

    /// SHA-256 over schema and content: changes whenever either does.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.version
    }
}

fn read_text(path: &Path) -> Result<String, DataError> {
    use std::io::Read as _;
    let read = |text: &mut String| {
        let file = std::fs::File::open(path)?;
        file.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_string(text)
    };
    let mut text = String::new();
    read(&mut text).map_err(|source| DataError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

/// Numbers the patients in order of appearance.
fn patients(schema: &Schema, table: &Table) -> Vec<u32> {
    let rows = u32::try_from(table.rows()).unwrap_or(u32::MAX);
    let key = schema
        .patient_key
        .as_ref()
        .and_then(|name| table.column(name));
    match key {
        Some((_, Column::Text(cells))) => numbered(cells.iter()),
        Some((_, Column::Integer(cells))) => numbered(cells.iter()),
        _ => (0..rows).collect(),
    }
}

fn numbered<T: std::hash::Hash + Eq>(cells: impl Iterator<Item = T>) -> Vec<u32> {
    let mut numbers = HashMap::new();
    let number = |cell| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(cell).or_insert(next)
    };
    cells.map(number).collect()
}

fn listed(rows: &[u32], patients: &[u32]) -> Result<Vec<bool>, String> {
    let mut is_test = vec![false; patients.len()];
    for &row in rows {
        match is_test.get_mut(row as usize) {
            None => {
                return Err(format!(
                    "name row {row}, and the last row is {}",
                    patients.len() - 1
                ));
            }
            Some(true) => return Err(format!("name row {row} twice")),
            Some(place) => *place = true,
        }
    }
    let mut side_of = HashMap::new();
    for (patient, &test) in patients.iter().zip(&is_test) {
        if *side_of.entry(patient).or_insert(test) != test {
            return Err("hold some rows of a patient whose other rows are trained on".to_owned());
        }
    }
    Ok(is_test)
}

/// Draws whole patients; at least one stays on each side where there are two.
fn drawn(fraction: f64, seed: u64, patients: &[u32]) -> Vec<bool> {
    let count = patients.iter().max().map_or(0, |last| last + 1);
    let wanted = (fraction * f64::from(count)).round() as usize;
    let wanted = wanted.max(1).min(count.saturating_sub(1) as usize);
    let mut is_test = vec![false; count as usize];
    for patient in permutation(Purpose::TestRows, seed, 0, count)
        .into_iter()
        .take(wanted)
    {
        if let Some(place) = is_test.get_mut(patient as usize) {
            *place = true;
        }
    }
    let test = |patient: &u32| is_test.get(*patient as usize).copied().unwrap_or(false);
    patients.iter().map(test).collect()
}

fn version(schema: &Schema, table: &Table) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"consilium data set v1\0");
    // A struct of strings and finite numbers: its JSON never fails and is always the same.
    let schema_json = serde_json::to_vec(schema).unwrap_or_default();
    hasher.update((schema_json.len() as u64).to_le_bytes());
    hasher.update(&schema_json);
    hasher.update(table.content_digest().0);
    Digest(hasher.finalize().into())
}
