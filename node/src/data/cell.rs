//! One cell: from text to a typed value, or to the reason why not.

use std::fmt;

use super::schema::{ColumnSpec, ColumnType};

/// One field of one record.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;

/// A typed cell. Patient data: it has no `Debug`.
#[derive(Clone, PartialEq)]
pub enum Value {
    Missing,
    Integer(i64),
    Float(f64),
    /// Index of the level in the column's declaration.
    Category(u16),
    Text(Box<str>),
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
}

/// Why a row is bad. It never holds a value of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Missing,
    NotAnInteger,
    NotANumber,
    BelowMinimum,
    AboveMaximum,
    UnknownLevel,
    NotABoolean,
    NotADate,
    NotAScalar,
    FieldTooLong,
    InvalidUtf8,
    Nul,
    Fields { found: usize, declared: usize },
    RecordTooLong,
    NotJson,
    NotAnObject,
    UnexpectedField,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the value is missing",
            Self::NotAnInteger => "the value is not an integer",
            Self::NotANumber => "the value is not a finite number",
            Self::BelowMinimum => "the value is below the declared minimum",
            Self::AboveMaximum => "the value is above the declared maximum",
            Self::UnknownLevel => "the value is none of the declared levels",
            Self::NotABoolean => "the value is not true, false, 1 or 0",
            Self::NotADate => "the value is not a date written YYYY-MM-DD",
            Self::NotAScalar => "the value is a list or an object",
            Self::FieldTooLong => "the value is too long",
            Self::InvalidUtf8 => "not valid UTF-8",
            Self::Nul => "contains a NUL byte",
            Self::Fields { found, declared } => {
                return write!(f, "has {found} fields where the schema declares {declared}");
            }
            Self::RecordTooLong => "the record is too long",
            Self::NotJson => "not valid JSON",
            Self::NotAnObject => "not a JSON object",
            Self::UnexpectedField => "has a field that the schema does not declare",
        })
    }
}

/// Reads one cell of this column. `missing_tokens` are the spellings of a
/// missing value; an empty cell is always one.
pub(super) fn parse_cell(
    column: &ColumnSpec,
    missing_tokens: &[String],
    text: &str,
) -> Result<Value, Reason> {
    if text.len() > FIELD_BYTES_MAX {
        return Err(Reason::FieldTooLong);
    }
    if text.contains('\0') {
        return Err(Reason::Nul);
    }
    let text = text.trim();
    if text.is_empty() || missing_tokens.iter().any(|token| token == text) {
        return Ok(Value::Missing);
    }
    match column.kind {
        ColumnType::Integer => {
            let integer = parse_integer(text).ok_or(Reason::NotAnInteger)?;
            within(column, integer as f64)?;
            Ok(Value::Integer(integer))
        }
        ColumnType::Float => {
            let number = parse_number(text).ok_or(Reason::NotANumber)?;
            within(column, number)?;
            Ok(Value::Float(number))
        }
        ColumnType::Category => level_index(&column.levels, text)
            .map(Value::Category)
            .ok_or(Reason::UnknownLevel),
        ColumnType::Text => Ok(Value::Text(text.into())),
        ColumnType::Boolean => match text {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => match parse_number(text) {
                Some(1.0) => Ok(Value::Boolean(true)),
                Some(0.0) => Ok(Value::Boolean(false)),
                _ => Err(Reason::NotABoolean),
            },
        },
        ColumnType::Date => parse_date(text).map(Value::Date).ok_or(Reason::NotADate),
    }
}

/// The index of the level that this text spells; `4.0` spells the level `4`.
pub(super) fn level_index(levels: &[String], text: &str) -> Option<u16> {
    let same_text = levels.iter().position(|level| level == text);
    let at = same_text.or_else(|| {
        let number = parse_number(text)?;
        levels
            .iter()
            .position(|level| parse_number(level) == Some(number))
    })?;
    u16::try_from(at).ok()
}

fn within(column: &ColumnSpec, number: f64) -> Result<(), Reason> {
    if column.minimum.is_some_and(|minimum| number < minimum) {
        return Err(Reason::BelowMinimum);
    }
    if column.maximum.is_some_and(|maximum| number > maximum) {
        return Err(Reason::AboveMaximum);
    }
    Ok(())
}

/// Whole numbers, also written `63.0`: exports of tables with missing values do that.
fn parse_integer(text: &str) -> Option<i64> {
    /// Up to here every whole `f64` is the integer that was written.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    text.parse().ok().or_else(|| {
        let number = parse_number(text)?;
        (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
    })
}

/// Finite numbers only; `nan` and `inf` parse in Rust and are refused here.
fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar
/// (Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        let all_digits = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| part.parse::<i32>().ok()).flatten()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=month_days).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType) -> ColumnSpec {
        ColumnSpec {
            name: "c".into(),
            kind,
            unit: None,
            missing: Default::default(),
            levels: if kind == ColumnType::Category {
                vec!["1".into(), "2".into(), "high".into()]
            } else {
                Vec::new()
            },
            minimum: None,
            maximum: None,
        }
    }

    fn cell(kind: ColumnType, text: &str) -> Result<Value, Reason> {
        parse_cell(&column(kind), &["?".into(), "NA".into()], text)
    }

    #[test]
    fn values_and_their_spellings() {
        use ColumnType::*;
        for (kind, text, value) in [
            (Integer, " 63 ", Value::Integer(63)),
            (Integer, "63.0", Value::Integer(63)),
            (Integer, "9223372036854775807", Value::Integer(i64::MAX)),
            (Float, ".7", Value::Float(0.7)),
            (Category, "2.0", Value::Category(1)),
            (Category, "high", Value::Category(2)),
            (Boolean, "1.0", Value::Boolean(true)),
            (Boolean, "false", Value::Boolean(false)),
            (Date, "1970-01-01", Value::Date(0)),
            (Date, "2000-03-01", Value::Date(11_017)),
            (Date, "1969-12-31", Value::Date(-1)),
            (Text, "a b", Value::Text("a b".into())),
            (Float, "?", Value::Missing),
            (Text, "", Value::Missing),
        ] {
            assert!(cell(kind, text) == Ok(value), "{kind:?} `{text}`");
        }
    }

    #[test]
    fn what_is_not_a_value_says_why() {
        use ColumnType::*;
        for (kind, text, reason) in [
            (Integer, "63.5", Reason::NotAnInteger),
            (Integer, "1e30", Reason::NotAnInteger),
            (Float, "nan", Reason::NotANumber),
            (Float, "inf", Reason::NotANumber),
            (Float, "1e999", Reason::NotANumber),
            (Float, "1,5", Reason::NotANumber),
            (Category, "3", Reason::UnknownLevel),
            (Boolean, "2", Reason::NotABoolean),
            (Date, "2023-02-29", Reason::NotADate),
            (Date, "2024-13-01", Reason::NotADate),
            (Date, "+024-01-01", Reason::NotADate),
            (Text, "a\0b", Reason::Nul),
        ] {
            assert!(cell(kind, text) == Err(reason), "{kind:?} `{text}`");
        }
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        assert!(cell(Text, &long) == Err(Reason::FieldTooLong));
    }

    #[test]
    fn declared_bounds_hold() {
        let age = ColumnSpec {
            minimum: Some(0.0),
            maximum: Some(120.0),
            ..column(ColumnType::Integer)
        };
        assert!(parse_cell(&age, &[], "120") == Ok(Value::Integer(120)));
        assert!(parse_cell(&age, &[], "-1") == Err(Reason::BelowMinimum));
        assert!(parse_cell(&age, &[], "999") == Err(Reason::AboveMaximum));
    }
}
