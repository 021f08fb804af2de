//! The declared schema of a data set: what a file must look like to be read.
//!
//! A schema is one TOML file that the site writes and reviews. Nothing about
//! the data is guessed from the data.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::cell::{Value, level_index, parse_cell};

/// A schema file, as text.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Columns of one table.
pub const COLUMNS_MAX: usize = 4096;
/// Levels of one category.
pub const LEVELS_MAX: usize = 4096;
/// Spellings of a missing value.
pub const MISSING_TOKENS_MAX: usize = 64;
/// A column name, a level, a unit or a missing-value token.
pub const WORD_BYTES_MAX: usize = 256;

/// How the file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Delimited text, quoted as RFC 4180 says.
    Csv,
    /// One JSON object a line; an absent field is a missing value.
    Ndjson,
}

/// What the cells of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    Integer,
    Float,
    /// One of the declared levels. A level that is a number matches every
    /// spelling of it: `4` and `4.0` are one level.
    Category,
    Text,
    /// `true`, `false`, `1` or `0`.
    Boolean,
    /// A calendar day, `YYYY-MM-DD`.
    Date,
}

/// What a missing value in a column means for its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The row is kept.
    Allow,
    /// The row is incomplete: left out and counted, not an error.
    DropRow,
    /// The row is bad. The default, since nobody declared that it may happen.
    #[default]
    RefuseRow,
}

/// One declared column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Unit of measure, for people and for run files that ask for it.
    pub unit: Option<String>,
    #[serde(default)]
    pub missing: Missing,
    /// Levels of a category; empty for every other type.
    #[serde(default)]
    pub levels: Vec<String>,
    /// Smallest value of an integer or float that is not a bad row.
    pub minimum: Option<f64>,
    /// Largest value of an integer or float that is not a bad row.
    pub maximum: Option<f64>,
}

/// Which rows are held out of all training, as the site declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TestRows {
    /// These rows, counted from 0 after incomplete rows were left out.
    Listed(Vec<u32>),
    /// This share of the patients (of the rows, without a patient key), drawn by the seed.
    Drawn { fraction: f64, seed: u64 },
}

/// A schema that has been read and checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schema {
    pub(super) format: Format,
    pub(super) has_header: bool,
    pub(super) delimiter: u8,
    pub(super) missing: Vec<String>,
    pub(super) bad_rows_max_share: f64,
    pub(super) patient_key: Option<String>,
    pub(super) columns: Vec<ColumnSpec>,
    pub(super) test: Option<TestRows>,
}

/// What is wrong with a schema file.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the schema is longer than {SCHEMA_BYTES_MAX} bytes")]
    TooLong,
    #[error("the schema is not valid: {0}")]
    Toml(#[from] toml::de::Error),
    #[error("the schema {0}")]
    Invalid(String),
    #[error("column `{column}` {what}")]
    Column { column: String, what: String },
}

impl Schema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// If it is too long, no TOML of this shape, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLong);
        }
        let file: SchemaFile = toml::from_str(text)?;
        let delimiter = match (u8::try_from(file.delimiter), file.format) {
            (Ok(byte), _) if byte.is_ascii() && !b"\"\r\n\0".contains(&byte) => byte,
            _ => return Err(invalid("needs a delimiter that is one ASCII character")),
        };
        let schema = Self {
            format: file.format,
            has_header: file.has_header,
            delimiter,
            missing: file.missing,
            bad_rows_max_share: file.bad_rows_max_share,
            patient_key: file.patient_key,
            columns: file.columns,
            test: file.test.map(TestFile::rows).transpose()?,
        };
        schema.check()?;
        Ok(schema)
    }

    /// The columns, in file order.
    #[must_use]
    pub fn columns(&self) -> &[ColumnSpec] {
        &self.columns
    }

    /// The same schema for a file of another format.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    fn check(&self) -> Result<(), SchemaError> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(invalid(&format!("needs 1 to {COLUMNS_MAX} columns")));
        }
        if !(0.0..1.0).contains(&self.bad_rows_max_share) {
            return Err(invalid("needs a `bad_rows_max_share` from 0 to below 1"));
        }
        if self.missing.len() > MISSING_TOKENS_MAX
            || self.missing.iter().any(|word| word.len() > WORD_BYTES_MAX)
        {
            return Err(invalid(&format!(
                "may name {MISSING_TOKENS_MAX} `missing` tokens of {WORD_BYTES_MAX} bytes each"
            )));
        }
        let mut names = HashSet::new();
        for column in &self.columns {
            column.check()?;
            if !names.insert(column.name.as_str()) {
                return Err(column.wrong("is declared twice"));
            }
        }
        let Some(key) = &self.patient_key else {
            return Ok(());
        };
        let Some(column) = self.columns.iter().find(|column| &column.name == key) else {
            return Err(invalid(&format!(
                "names the patient key `{key}`, which is no column of it"
            )));
        };
        if !matches!(column.kind, ColumnType::Integer | ColumnType::Text) {
            return Err(column.wrong("is the patient key and must be of type integer or text"));
        }
        if column.missing == Missing::Allow {
            return Err(column.wrong("is the patient key and may not allow missing values"));
        }
        Ok(())
    }
}

impl ColumnSpec {
    /// The value that a text spells in this column; `None` where it spells none.
    #[must_use]
    pub fn value_of(&self, text: &str) -> Option<Value> {
        match parse_cell(self, &[], text) {
            Ok(Value::Missing) | Err(_) => None,
            Ok(value) => Some(value),
        }
    }

    fn check(&self) -> Result<(), SchemaError> {
        let words = self.levels.iter().chain(&self.unit).chain([&self.name]);
        if self.name.is_empty() || words.into_iter().any(|word| word.len() > WORD_BYTES_MAX) {
            return Err(self.wrong(&format!(
                "needs a name, a unit and levels of at most {WORD_BYTES_MAX} bytes"
            )));
        }
        let is_category = self.kind == ColumnType::Category;
        if is_category == self.levels.is_empty() || self.levels.len() > LEVELS_MAX {
            return Err(self.wrong(&format!(
                "needs 1 to {LEVELS_MAX} levels if it is a category, and none otherwise"
            )));
        }
        let ordered = matches!(self.kind, ColumnType::Integer | ColumnType::Float);
        let bounds = [self.minimum, self.maximum];
        if bounds
            .iter()
            .flatten()
            .any(|bound| !ordered || !bound.is_finite())
        {
            return Err(self.wrong("may have finite bounds only if it is an integer or a float"));
        }
        if let [Some(low), Some(high)] = bounds
            && low > high
        {
            return Err(self.wrong("has a minimum above its maximum"));
        }
        for (at, level) in self.levels.iter().enumerate() {
            // The number that a level spells counts too, so each is looked for among those before.
            let earlier = self.levels.get(..at).unwrap_or_default();
            let is_new = level_index(earlier, level).is_none();
            match parse_cell(self, &[], level) {
                Ok(Value::Category(found)) if usize::from(found) == at && is_new => {}
                _ => return Err(self.wrong("has a level that is empty or given twice")),
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> SchemaError {
        SchemaError::Column {
            column: self.name.chars().take(WORD_BYTES_MAX).collect(),
            what: what.to_owned(),
        }
    }
}

fn invalid(what: &str) -> SchemaError {
    SchemaError::Invalid(what.to_owned())
}

/// The file as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    format: Format,
    #[serde(default = "yes")]
    has_header: bool,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default)]
    missing: Vec<String>,
    /// None by default: a file with one bad row is refused until the site says otherwise.
    #[serde(default)]
    bad_rows_max_share: f64,
    patient_key: Option<String>,
    columns: Vec<ColumnSpec>,
    test: Option<TestFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    rows: Option<Vec<u32>>,
    fraction: Option<f64>,
    seed: Option<u64>,
}

impl TestFile {
    fn rows(self) -> Result<TestRows, SchemaError> {
        match (self.rows, self.fraction, self.seed) {
            (Some(rows), None, None) => Ok(TestRows::Listed(rows)),
            (None, Some(fraction), Some(seed)) if fraction > 0.0 && fraction < 1.0 => {
                Ok(TestRows::Drawn { fraction, seed })
            }
            _ => Err(invalid(
                "needs in `[test]` either `rows`, or a `fraction` between 0 and 1 with a `seed`",
            )),
        }
    }
}

fn yes() -> bool {
    true
}

fn comma() -> char {
    ','
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &str) -> Result<Schema, SchemaError> {
        Schema::parse(&format!("format = \"csv\"\n{columns}"))
    }

    fn complaint(columns: &str) -> String {
        schema(columns).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_full_schema_is_read() {
        let schema = Schema::parse(
            r#"
            format = "ndjson"
            missing = ["?"]
            bad_rows_max_share = 0.05
            patient_key = "id"
            columns = [
                { name = "id", type = "text" },
                { name = "age", type = "integer", unit = "years", minimum = 0, maximum = 120 },
                { name = "cp", type = "category", levels = ["1", "2"], missing = "drop-row" },
            ]
            test = { fraction = 0.3, seed = 7 }
            "#,
        )
        .unwrap();
        assert_eq!(schema.columns().len(), 3);
        assert_eq!(schema.columns()[0].missing, Missing::RefuseRow);
        assert_eq!(
            schema.test,
            Some(TestRows::Drawn {
                fraction: 0.3,
                seed: 7
            })
        );
    }

    #[test]
    fn contradictions_are_named() {
        let age = "[[columns]]\nname = \"age\"\ntype = \"integer\"\n";
        for (columns, part) in [
            (String::new(), "missing field `columns`"),
            (format!("{age}{age}"), "`age` is declared twice"),
            (
                format!("{age}minimum = 3\nmaximum = 2"),
                "minimum above its maximum",
            ),
            (
                format!("{age}levels = [\"a\"]"),
                "levels if it is a category",
            ),
            (format!("{age}typo = 1"), "unknown field `typo`"),
            (format!("patient_key = \"id\"\n{age}"), "patient key `id`"),
            (
                format!("patient_key = \"age\"\n{age}missing = \"allow\""),
                "may not allow missing",
            ),
            (
                format!("bad_rows_max_share = 1.0\n{age}"),
                "`bad_rows_max_share` from 0",
            ),
            (format!("delimiter = \"é\"\n{age}"), "one ASCII character"),
            (
                format!("test = {{ fraction = 0.5 }}\n{age}"),
                "`fraction` between 0 and 1",
            ),
            (
                "columns = [{ name = \"c\", type = \"category\", levels = [\"4\", \"4.0\"] }]"
                    .into(),
                "given twice",
            ),
            (
                "columns = [{ name = \"c\", type = \"text\", minimum = 1 }]".into(),
                "finite bounds only",
            ),
        ] {
            let complaint = complaint(&columns);
            assert!(complaint.contains(part), "`{part}` not in `{complaint}`");
        }
    }
}
