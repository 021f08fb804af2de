//! What a site declares of its texts: which field is what. One TOML file that the site writes and reviews.

use std::collections::BTreeSet;
use std::ops::Range;

use consilium_protocol::Digest;
use serde::{Deserialize, Serialize};

use super::limits::{COLUMNS_MAX, FIELDS_MAX, MAPPING_BYTES_MAX, NAME_BYTES_MAX, TITLE_WEIGHT_MAX};

/// The filter column that the field of the date makes.
pub(super) const DATE_COLUMN: &str = "date";

/// How a source is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// One JSON object a line.
    JsonLines,
    /// Delimited text with a header line, quoted as RFC 4180 says.
    Csv,
    /// A folder of text files, one note each; a note's id is its file's name.
    Notes,
}

/// What is taken out of a text before anything of it is kept or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redaction {
    /// The classes of 45 CFR 164.514(b)(2), as far as text has them; of dates the year stays.
    #[default]
    SafeHarbor,
    /// Nothing: for texts that are public already.
    None,
}

/// Which near-duplicates are dropped. Where nothing is written, what two documents share stays for each of them: a
/// count misses no patient, an erasure takes nothing of another document along, and sites together find what one pool
/// would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// A passage that nearly equals an earlier one of the same document is dropped.
    #[default]
    OfDocument,
    /// Also one of an earlier document of the same patient. What was dropped comes back when its own document is
    /// changed, not when the earlier one goes.
    OfPatient,
    /// Also one of any earlier document; with the same limit.
    OfCollection,
    Keep,
}

/// What a filter column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One word of the site's vocabulary.
    Word,
    /// Any number of them: a JSON list, or a CSV cell with a separator.
    Words,
    /// A finite number.
    Number,
    /// A calendar day, `YYYY-MM-DD`; of a redacted collection its year.
    Date,
}

impl Kind {
    /// What it holds, in a person's words.
    #[must_use]
    pub fn holds(self) -> &'static str {
        match self {
            Self::Word => "one word",
            Self::Words => "words",
            Self::Number => "numbers",
            Self::Date => "dates",
        }
    }
}

/// A filter column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ColumnMapping {
    pub name: String,
    pub field: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Between the words of one CSV cell.
    #[serde(default = "semicolon", skip_serializing_if = "is_semicolon")]
    pub separator: String,
}

/// A mapping that has been read and checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mapping {
    pub(super) format: SourceFormat,
    pub(super) id: String,
    pub(super) title: Vec<String>,
    pub(super) body: Vec<String>,
    pub(super) patient: Option<String>,
    pub(super) patient_until: Option<String>,
    pub(super) date: Option<String>,
    pub(super) names: Vec<String>,
    pub(super) redaction: Redaction,
    pub(super) duplicates: Duplicates,
    pub(super) title_weight: f64,
    pub(super) delimiter: u8,
    pub(super) bad_records_max_share: f64,
    pub(super) columns: Vec<ColumnMapping>,
}

/// What is wrong with a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("the mapping is longer than {MAPPING_BYTES_MAX} bytes")]
    TooLong,
    #[error("the mapping is not valid: {message}")]
    Syntax { message: String },
    #[error("line {line}: {what}")]
    Invalid { line: usize, what: String },
}

/// The file as it is written. Spans say where, for what serde does not check.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct MappingFile {
    format: SourceFormat,
    id: Option<toml::Spanned<String>>,
    #[serde(default)]
    title: Option<toml::Spanned<Vec<String>>>,
    #[serde(default)]
    body: Option<toml::Spanned<Vec<String>>>,
    patient: Option<toml::Spanned<String>>,
    patient_until: Option<toml::Spanned<String>>,
    date: Option<toml::Spanned<String>>,
    #[serde(default)]
    names: Option<toml::Spanned<Vec<String>>>,
    #[serde(default)]
    redaction: Redaction,
    #[serde(default)]
    duplicates: Duplicates,
    title_weight: Option<toml::Spanned<f64>>,
    delimiter: Option<toml::Spanned<String>>,
    bad_records_max_share: Option<toml::Spanned<f64>>,
    #[serde(default, rename = "column")]
    columns: Vec<toml::Spanned<ColumnMapping>>,
}

/// A title is short, and says what a text is about.
const TITLE_WEIGHT: f64 = 1.0;

/// More bad records than this, and the mapping does not fit the source.
const BAD_RECORDS_MAX_SHARE: f64 = 0.1;

/// The fields of a note's file.
pub(super) const NOTE_ID: &str = "file";
pub(super) const NOTE_TEXT: &str = "text";

impl Mapping {
    /// Reads and checks a mapping.
    ///
    /// # Errors
    /// If it is too long, no TOML of this shape, or contradicts itself; by line.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAPPING_BYTES_MAX {
            return Err(MappingError::TooLong);
        }
        let file: MappingFile = toml::from_str(text).map_err(|error| MappingError::Syntax {
            message: error.to_string().trim_end().to_owned(),
        })?;
        let check = Check { text };
        let mapping = match file.format {
            SourceFormat::Notes => check.notes(file)?,
            SourceFormat::JsonLines | SourceFormat::Csv => check.records(file)?,
        };
        Ok(mapping)
    }

    /// Names all that decides how a record becomes a document.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // A value of strings and finite numbers always has a JSON text.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    #[must_use]
    pub fn format(&self) -> SourceFormat {
        self.format
    }

    #[must_use]
    pub fn redaction(&self) -> Redaction {
        self.redaction
    }

    /// The filter columns with what they hold, that of the date last.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, Kind)> {
        let declared = self.columns.iter();
        let mut columns: Vec<(String, Kind)> = declared
            .map(|column| (column.name.clone(), column.kind))
            .collect();
        if self.date.is_some() {
            columns.push((DATE_COLUMN.to_owned(), Kind::Date));
        }
        columns
    }
}

/// Checks what a file says, knowing where it says so.
struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn notes(&self, file: MappingFile) -> Result<Mapping, MappingError> {
        let spans = [
            file.id.as_ref().map(toml::Spanned::span),
            file.title.as_ref().map(toml::Spanned::span),
            file.body.as_ref().map(toml::Spanned::span),
            file.patient.as_ref().map(toml::Spanned::span),
            file.date.as_ref().map(toml::Spanned::span),
            file.names.as_ref().map(toml::Spanned::span),
            file.columns.first().map(toml::Spanned::span),
        ];
        if let Some(span) = spans.into_iter().flatten().next() {
            return Err(self.at(
                span,
                "a note has no fields; its id is its file's name and its body the text",
            ));
        }
        self.records(MappingFile {
            id: Some(toml::Spanned::new(0..0, NOTE_ID.to_owned())),
            body: Some(toml::Spanned::new(0..0, vec![NOTE_TEXT.to_owned()])),
            ..file
        })
    }

    fn records(&self, file: MappingFile) -> Result<Mapping, MappingError> {
        let Some(id) = self.field(file.id)? else {
            return Err(self.at(0..0, "`id` must name the field of a record's id"));
        };
        let title = self.fields(file.title)?;
        let body = self.fields(file.body)?;
        if body.is_empty() {
            return Err(self.at(0..0, "`body` must list at least one field of text"));
        }
        let patient_until = match (file.patient_until, file.format) {
            (Some(until), SourceFormat::Notes) if !until.get_ref().is_empty() => {
                Some(until.into_inner())
            }
            (Some(until), _) => {
                let what =
                    "`patient-until` is for notes: the patient is a file's name up to this text";
                return Err(self.at(until.span(), what));
            }
            (None, _) => None,
        };
        let patient = self.field(file.patient)?;
        let names = self.fields(file.names)?;
        let date = self.field(file.date)?;
        let title_weight = self.number(
            file.title_weight,
            TITLE_WEIGHT,
            0.0..TITLE_WEIGHT_MAX,
            "title-weight",
        )?;
        let bad_records_max_share = self.number(
            file.bad_records_max_share,
            BAD_RECORDS_MAX_SHARE,
            0.0..1.0,
            "bad-records-max-share",
        )?;
        let delimiter = self.delimiter(file.delimiter, file.format)?;
        let hidden = patient.iter().chain(&names).map(String::as_str);
        let columns = self.columns(file.columns, &hidden.collect(), date.is_some())?;
        Ok(Mapping {
            format: file.format,
            id,
            title,
            body,
            patient,
            patient_until,
            date,
            names,
            redaction: file.redaction,
            duplicates: file.duplicates,
            title_weight,
            delimiter,
            bad_records_max_share,
            columns,
        })
    }

    fn columns(
        &self,
        columns: Vec<toml::Spanned<ColumnMapping>>,
        hidden: &BTreeSet<&str>,
        has_date: bool,
    ) -> Result<Vec<ColumnMapping>, MappingError> {
        if let Some(beyond) = columns.get(COLUMNS_MAX) {
            return Err(self.at(beyond.span(), &format!("at most {COLUMNS_MAX} columns")));
        }
        let mut names = BTreeSet::new();
        if has_date {
            names.insert(DATE_COLUMN.to_owned());
        }
        let mut checked = Vec::new();
        for column in columns {
            let span = column.span();
            let column = column.into_inner();
            if !is_name(&column.name) || !is_name(&column.field) {
                return Err(self.at(
                    span,
                    &format!("a column and its field have names of 1 to {NAME_BYTES_MAX} bytes"),
                ));
            }
            if !names.insert(column.name.clone()) {
                let what = format!(
                    "column `{}` is there twice (`date` makes one of that name)",
                    column.name
                );
                return Err(self.at(span, &what));
            }
            if hidden.contains(column.field.as_str()) {
                let what = format!(
                    "field `{}` tells patients apart or holds names, and no query may look at it",
                    column.field
                );
                return Err(self.at(span, &what));
            }
            if column.separator.is_empty() || column.separator.len() > NAME_BYTES_MAX {
                return Err(self.at(span, "a separator must be some text"));
            }
            checked.push(column);
        }
        Ok(checked)
    }

    fn delimiter(
        &self,
        delimiter: Option<toml::Spanned<String>>,
        format: SourceFormat,
    ) -> Result<u8, MappingError> {
        let Some(delimiter) = delimiter else {
            return Ok(b',');
        };
        match (delimiter.get_ref().as_bytes(), format) {
            ([byte], SourceFormat::Csv) if byte.is_ascii() && !b"\"\r\n\0".contains(byte) => {
                Ok(*byte)
            }
            _ => Err(self.at(
                delimiter.span(),
                "`delimiter` is one ASCII character between the fields of a CSV",
            )),
        }
    }

    fn number(
        &self,
        number: Option<toml::Spanned<f64>>,
        unless_written: f64,
        range: Range<f64>,
        name: &str,
    ) -> Result<f64, MappingError> {
        match number {
            None => Ok(unless_written),
            Some(number) if (range.start..=range.end).contains(number.get_ref()) => {
                Ok(number.into_inner())
            }
            Some(number) => {
                let what = format!("`{name}` must be from {} to {}", range.start, range.end);
                Err(self.at(number.span(), &what))
            }
        }
    }

    fn field(&self, field: Option<toml::Spanned<String>>) -> Result<Option<String>, MappingError> {
        match field {
            Some(field) if !is_name(field.get_ref()) => Err(self.at(
                field.span(),
                &format!("a field's name has 1 to {NAME_BYTES_MAX} bytes"),
            )),
            field => Ok(field.map(toml::Spanned::into_inner)),
        }
    }

    fn fields(
        &self,
        fields: Option<toml::Spanned<Vec<String>>>,
    ) -> Result<Vec<String>, MappingError> {
        let Some(fields) = fields else {
            return Ok(Vec::new());
        };
        if fields.get_ref().len() > FIELDS_MAX || !fields.get_ref().iter().all(|name| is_name(name))
        {
            let what =
                format!("at most {FIELDS_MAX} fields, with names of 1 to {NAME_BYTES_MAX} bytes");
            return Err(self.at(fields.span(), &what));
        }
        Ok(fields.into_inner())
    }

    fn at(&self, span: Range<usize>, what: &str) -> MappingError {
        let before = self.text.get(..span.start).unwrap_or_default();
        MappingError::Invalid {
            line: before.matches('\n').count() + 1,
            what: what.to_owned(),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn semicolon() -> String {
    ";".to_owned()
}

fn is_semicolon(separator: &str) -> bool {
    separator == ";"
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLINIC: &str = r#"
format = "json-lines"
id = "note"
title = ["heading"]
body = ["text"]
patient = "mrn"
date = "seen"
names = ["patient_name", "doctor_name"]

[[column]]
name = "code"
field = "icd10"
type = "words"
"#;

    #[test]
    fn a_mapping_says_which_field_is_what() {
        let mapping = Mapping::parse(CLINIC).unwrap();
        assert_eq!(mapping.redaction(), Redaction::SafeHarbor);
        assert_eq!(
            mapping.columns(),
            [
                ("code".to_owned(), Kind::Words),
                ("date".to_owned(), Kind::Date)
            ]
        );
        let other = Mapping::parse(&CLINIC.replace("icd10", "icd9")).unwrap();
        assert_ne!(mapping.digest(), other.digest());
    }

    #[test]
    fn notes_need_no_more_than_their_format() {
        let mapping = Mapping::parse("format = \"notes\"\npatient-until = \"-\"").unwrap();
        assert_eq!((mapping.id.as_str(), mapping.body.len()), (NOTE_ID, 1));
        let refused = Mapping::parse("format = \"notes\"\n\nbody = [\"text\"]").unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("line 3: a note has no fields"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("type = \"words\"", "type = \"colour\"", "line 13"),
            (
                "name = \"code\"",
                "name = \"date\"",
                "line 10: column `date` is there twice",
            ),
            (
                "field = \"icd10\"",
                "field = \"mrn\"",
                "line 10: field `mrn` tells patients apart",
            ),
            ("id = \"note\"", "id = \"\"", "line 3: a field's name"),
            ("body = [\"text\"]", "body = []", "`body` must list"),
            ("id = \"note\"", "title-weight = 99", "`id` must name"),
            (
                "date = \"seen\"",
                "title-weight = nan",
                "line 7: `title-weight` must be from 0 to 10",
            ),
            (
                "date = \"seen\"",
                "delimiter = \"|\"",
                "line 7: `delimiter`",
            ),
            ("date = \"seen\"", "colour = 1", "line 7"),
        ];
        for (found, replaced, expected) in cases {
            let error = Mapping::parse(&CLINIC.replace(found, replaced))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{replaced}: {error}");
        }
        assert_eq!(
            Mapping::parse(&" ".repeat(MAPPING_BYTES_MAX + 1)),
            Err(MappingError::TooLong)
        );
    }
}
