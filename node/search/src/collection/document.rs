//! A record of a source as the mapping reads it, and what a collection keeps of it.

use consilium_protocol::Digest;
use time::{Date, Month};

use super::limits::{
    ID_BYTES_MAX, NAMES_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX, WORD_BYTES_MAX, WORDS_MAX,
};
use super::mapping::{Kind, Mapping, Redaction};

/// A field of a record. Patient data: no `Debug`.
#[derive(Clone, PartialEq)]
pub(super) enum Field {
    Text(String),
    List(Vec<String>),
}

/// Why a record is left out. It never holds a value of the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    RecordTooLong,
    NotUtf8,
    NotJson,
    NotAnObject,
    /// It has another number of fields than the header.
    Fields,
    NoId,
    IdTooLong,
    /// An earlier record has the same id.
    IdTwice,
    NoPatient,
    NoText,
    TextTooLong,
    TitleTooLong,
    TooManyNames,
    NotAScalar {
        field: String,
    },
    NotANumber {
        field: String,
    },
    NotADate {
        field: String,
    },
    WordTooLong {
        field: String,
    },
    TooManyWords {
        field: String,
    },
    /// The encoder can make nothing of a passage of it.
    NotEncoded,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RecordTooLong => f.write_str("the record is too long"),
            Self::NotUtf8 => f.write_str("not valid UTF-8"),
            Self::NotJson => f.write_str("not valid JSON"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::Fields => f.write_str("has another number of fields than the header"),
            Self::NoId => f.write_str("has no id"),
            Self::IdTooLong => write!(
                f,
                "the id or the patient's is longer than {ID_BYTES_MAX} bytes"
            ),
            Self::IdTwice => f.write_str("an earlier record has the same id"),
            Self::NoPatient => f.write_str("names no patient"),
            Self::NoText => f.write_str("has no text"),
            Self::TextTooLong => write!(f, "the text is longer than {TEXT_BYTES_MAX} bytes"),
            Self::TitleTooLong => write!(f, "the title is longer than {TITLE_BYTES_MAX} bytes"),
            Self::TooManyNames => write!(f, "gives more than {NAMES_MAX} names to redact"),
            Self::NotAScalar { field } => write!(f, "field `{field}` is a list or an object"),
            Self::NotANumber { field } => write!(f, "field `{field}` is not a finite number"),
            Self::NotADate { field } => {
                write!(f, "field `{field}` is not a date written YYYY-MM-DD")
            }
            Self::WordTooLong { field } => {
                write!(
                    f,
                    "field `{field}` has a word of more than {WORD_BYTES_MAX} bytes"
                )
            }
            Self::TooManyWords { field } => {
                write!(f, "field `{field}` has more than {WORDS_MAX} words")
            }
            Self::NotEncoded => f.write_str("the encoder can make nothing of it"),
        }
    }
}

/// A date as it is kept: whole, or its year alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// Days since 1970-01-01.
    Day(i32),
    Year(i32),
}

/// What one document holds in one column.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Missing,
    Words(Vec<String>),
    Number(f64),
    Date(When),
}

/// A record that the mapping could read; nothing is redacted yet, and it is never stored. No `Debug`.
#[derive(Clone, PartialEq)]
pub(super) struct SourceDocument {
    pub(super) id: String,
    pub(super) patient: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) names: Vec<String>,
    pub(super) date: Option<When>,
    /// In the order of the mapping's columns.
    pub(super) values: Vec<Value>,
}

/// A passage as it is kept: redacted, with the row of its vector.
#[derive(Clone, PartialEq)]
pub(super) struct Passage {
    pub(super) row: u32,
    pub(super) text: String,
}

/// A document as it is kept. No `Debug`.
#[derive(Clone, PartialEq)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) patient: Vec<u8>,
    /// Of the record and all that decided what became of it.
    pub(super) digest: Digest,
    pub(super) title: String,
    pub(super) date: Option<When>,
    pub(super) values: Vec<Value>,
    pub(super) passages: Vec<Passage>,
}

impl SourceDocument {
    /// Reads a record by the mapping; `field` gives its fields by name.
    pub(super) fn read(
        mapping: &Mapping,
        field: &mut dyn FnMut(&str) -> Result<Option<Field>, Reason>,
    ) -> Result<Self, Reason> {
        let id = one_line(scalar(&mapping.id, field)?);
        if id.is_empty() {
            return Err(Reason::NoId);
        }
        if id.len() > ID_BYTES_MAX {
            return Err(Reason::IdTooLong);
        }
        let patient = match (&mapping.patient, &mapping.patient_until) {
            (Some(name), _) => one_line(scalar(name, field)?),
            (None, Some(until)) => id
                .split(until.as_str())
                .next()
                .unwrap_or_default()
                .to_owned(),
            (None, None) => id.clone(),
        };
        if patient.is_empty() {
            return Err(Reason::NoPatient);
        }
        if patient.len() > ID_BYTES_MAX {
            return Err(Reason::IdTooLong);
        }
        let title = joined(
            &mapping.title,
            " ",
            TITLE_BYTES_MAX,
            Reason::TitleTooLong,
            field,
        )?;
        let body = joined(
            &mapping.body,
            "\n",
            TEXT_BYTES_MAX,
            Reason::TextTooLong,
            field,
        )?;
        if body.trim().is_empty() {
            return Err(Reason::NoText);
        }
        let mut names = Vec::new();
        for name in &mapping.names {
            names.extend(words(field(name)?, None));
        }
        if names.len() > NAMES_MAX
            || names
                .iter()
                .any(|name| name.len() > NAMES_MAX * ID_BYTES_MAX)
        {
            return Err(Reason::TooManyNames);
        }
        let redaction = mapping.redaction;
        let date = match &mapping.date {
            Some(name) => when(name, &scalar(name, field)?, redaction)?,
            None => None,
        };
        let mut values = Vec::with_capacity(mapping.columns.len() + 1);
        for column in &mapping.columns {
            values.push(value(
                column.kind,
                &column.field,
                &column.separator,
                redaction,
                field,
            )?);
        }
        if mapping.date.is_some() {
            values.push(date.map_or(Value::Missing, Value::Date));
        }
        Ok(Self {
            id,
            patient,
            title,
            body,
            names,
            date,
            values,
        })
    }

    /// Changes with everything of the record that the mapping reads, and with `made_by`.
    pub(super) fn digest(&self, made_by: &Digest) -> Digest {
        let mut bytes = made_by.0.to_vec();
        for text in [&self.id, &self.patient, &self.title, &self.body]
            .into_iter()
            .chain(&self.names)
        {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        put_when(&mut bytes, self.date);
        for value in &self.values {
            put_value(&mut bytes, value);
        }
        Digest::of(&bytes)
    }
}

/// The id of a record that cannot be used, where it has one: it is there, and what was kept of it before stays.
pub(super) fn id_of(
    mapping: &Mapping,
    field: &mut dyn FnMut(&str) -> Result<Option<Field>, Reason>,
) -> Option<String> {
    let id = one_line(scalar(&mapping.id, field).ok()?);
    (!id.is_empty() && id.len() <= ID_BYTES_MAX).then_some(id)
}

impl When {
    /// As it is written: `2019-03-04`, or `2019`.
    pub(super) fn written(self) -> String {
        match self {
            Self::Year(year) => format!("{year:04}"),
            Self::Day(days) => match date_of(days) {
                Some(date) => format!(
                    "{:04}-{:02}-{:02}",
                    date.year(),
                    u8::from(date.month()),
                    date.day()
                ),
                None => String::new(),
            },
        }
    }

    /// For comparisons: a year counts as its first day.
    pub(super) fn days(self) -> i32 {
        match self {
            Self::Day(days) => days,
            Self::Year(year) => {
                Date::from_calendar_date(year, Month::January, 1).map_or(0, days_of)
            }
        }
    }
}

/// Days since 1970-01-01 of a day written `YYYY-MM-DD`, and nothing else.
pub(super) fn parse_day(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        let all_digits = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| part.parse::<i32>().ok()).flatten()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    Some(days_of(date))
}

fn days_of(date: Date) -> i32 {
    date.to_julian_day() - UNIX_EPOCH_JULIAN_DAY
}

fn date_of(days: i32) -> Option<Date> {
    Date::from_julian_day(days.checked_add(UNIX_EPOCH_JULIAN_DAY)?).ok()
}

/// 1970-01-01.
const UNIX_EPOCH_JULIAN_DAY: i32 = 2_440_588;

fn when(name: &str, text: &str, redaction: Redaction) -> Result<Option<When>, Reason> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // Systems write a time behind the day; the day is all that is kept.
    let day = text.get(..10).and_then(parse_day);
    let rest = text.get(10..).unwrap_or_default();
    match day {
        Some(days) if rest.is_empty() || rest.starts_with(['T', ' ']) => {
            Ok(Some(match redaction {
                Redaction::None => When::Day(days),
                Redaction::SafeHarbor => When::Year(date_of(days).map_or(0, Date::year)),
            }))
        }
        _ => Err(Reason::NotADate {
            field: name.to_owned(),
        }),
    }
}

fn value(
    kind: Kind,
    name: &str,
    separator: &str,
    redaction: Redaction,
    field: &mut dyn FnMut(&str) -> Result<Option<Field>, Reason>,
) -> Result<Value, Reason> {
    let words = match kind {
        Kind::Words => words(field(name)?, Some(separator)),
        Kind::Word => words(Some(Field::Text(scalar(name, field)?)), None),
        Kind::Number => {
            let text = scalar(name, field)?;
            return match text.trim() {
                "" => Ok(Value::Missing),
                text => match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => Ok(Value::Number(number)),
                    _ => Err(Reason::NotANumber {
                        field: name.to_owned(),
                    }),
                },
            };
        }
        Kind::Date => {
            let when = when(name, &scalar(name, field)?, redaction)?;
            return Ok(when.map_or(Value::Missing, Value::Date));
        }
    };
    if words.len() > WORDS_MAX {
        return Err(Reason::TooManyWords {
            field: name.to_owned(),
        });
    }
    if words.iter().any(|word| word.len() > WORD_BYTES_MAX) {
        return Err(Reason::WordTooLong {
            field: name.to_owned(),
        });
    }
    Ok(match words.is_empty() {
        true => Value::Missing,
        false => Value::Words(words),
    })
}

/// The words of a field, each once, in their order.
fn words(field: Option<Field>, separator: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut put = |text: &str| {
        let text = text.trim();
        if !text.is_empty() && words.len() <= WORDS_MAX && !words.iter().any(|word| word == text) {
            words.push(text.to_owned());
        }
    };
    match (field, separator) {
        (None, _) => {}
        (Some(Field::List(list)), _) => list.iter().for_each(|text| put(text)),
        (Some(Field::Text(text)), Some(separator)) => text.split(separator).for_each(put),
        (Some(Field::Text(text)), None) => put(&text),
    }
    words
}

fn scalar(
    name: &str,
    field: &mut dyn FnMut(&str) -> Result<Option<Field>, Reason>,
) -> Result<String, Reason> {
    match field(name)? {
        None => Ok(String::new()),
        Some(Field::Text(text)) => Ok(text),
        Some(Field::List(_)) => Err(Reason::NotAScalar {
            field: name.to_owned(),
        }),
    }
}

fn joined(
    names: &[String],
    between: &str,
    bytes_max: usize,
    too_long: Reason,
    field: &mut dyn FnMut(&str) -> Result<Option<Field>, Reason>,
) -> Result<String, Reason> {
    let mut whole = String::new();
    for name in names {
        let parts = match field(name)? {
            None => Vec::new(),
            Some(Field::Text(text)) => vec![text],
            Some(Field::List(list)) => list,
        };
        for part in parts {
            if part.trim().is_empty() {
                continue;
            }
            if whole.len() + part.len() + between.len() > bytes_max {
                return Err(too_long);
            }
            if !whole.is_empty() {
                whole.push_str(between);
            }
            whole.push_str(&part);
        }
    }
    Ok(whole)
}

fn one_line(text: String) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The bytes of a date in a file and in a digest.
pub(super) fn put_when(bytes: &mut Vec<u8>, when: Option<When>) {
    let (kind, number) = match when {
        None => (0, 0),
        Some(When::Day(days)) => (1, days),
        Some(When::Year(year)) => (2, year),
    };
    bytes.push(kind);
    bytes.extend(number.to_le_bytes());
}

/// The bytes of a value in a file and in a digest.
pub(super) fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Missing => bytes.push(0),
        Value::Words(words) => {
            bytes.push(1);
            bytes.extend((words.len() as u16).to_le_bytes());
            for word in words {
                bytes.extend((word.len() as u16).to_le_bytes());
                bytes.extend(word.as_bytes());
            }
        }
        Value::Number(number) => {
            bytes.push(2);
            bytes.extend(number.to_bits().to_le_bytes());
        }
        Value::Date(when) => {
            bytes.push(3);
            put_when(bytes, Some(*when));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_calendar_days_and_nothing_else() {
        assert_eq!(parse_day("1970-01-01"), Some(0));
        assert_eq!(parse_day("2000-02-29"), Some(11_016));
        for wrong in [
            "2001-02-29",
            "2001-2-09",
            "01-02-2009",
            "2001-02-09Z",
            "+001-02-03",
            "",
        ] {
            assert_eq!(parse_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn of_a_redacted_date_the_year_is_kept() {
        let kept = |redaction| {
            when("seen", "2019-03-04T11:00", redaction)
                .unwrap()
                .unwrap()
        };
        assert_eq!(kept(Redaction::SafeHarbor).written(), "2019");
        assert_eq!(
            kept(Redaction::SafeHarbor).days(),
            parse_day("2019-01-01").unwrap()
        );
        assert_eq!(kept(Redaction::None).written(), "2019-03-04");
        assert!(when("seen", "March 2019", Redaction::None).is_err());
    }

    proptest! {
        #[test]
        fn a_day_is_written_as_it_was_read(days in -100_000i32..100_000) {
            prop_assert_eq!(parse_day(&When::Day(days).written()), Some(days));
        }
    }
}
