//! A filter as a value: which records a statistic is about.
//!
//! Two-valued on purpose: a comparison with a missing value is false, and its `not` is true. So `not (age >= 60)` holds
//! of a record without an age, and `age < 60` does not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::QueryError;
use super::limits::{
    COLUMN_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, IN_VALUES_MAX, TEXT_BYTES_MAX,
};

/// A condition on one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Filter {
    /// All of these hold.
    And(Vec<Self>),
    /// At least one of these holds.
    Or(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The column's value stands in this relation to a constant.
    Compare(Comparison),
    /// The column's value is one of these.
    In(Membership),
    /// The record has no value in this column.
    Missing(String),
}

/// `column operator value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Comparison {
    pub column: String,
    pub operator: Operator,
    pub value: Literal,
}

/// `column in (values)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Membership {
    pub column: String,
    pub values: Vec<Literal>,
}

/// A relation between a column's value and a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    AtLeast,
}

/// A constant. A number is compared with numbers, with categories that spell it, and with booleans as 0 and 1; a text
/// with categories, texts and, written `2020-12-31`, with dates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    Boolean(bool),
    Number(f64),
    Text(String),
}

impl Filter {
    /// The one form that all spellings of a condition share as far as order, repetition, nesting and double negation
    /// go. Equal forms mean equal conditions; the reverse does not hold.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::And(parts) => gathered(parts, Joint::And),
            Self::Or(parts) => gathered(parts, Joint::Or),
            Self::Not(inner) => inner.negated(),
            Self::Compare(Comparison {
                column,
                operator,
                value,
            }) => Self::Compare(Comparison {
                column,
                operator,
                value: value.canonical(),
            }),
            Self::In(Membership { column, values }) => {
                let mut values: Vec<Literal> = values.into_iter().map(Literal::canonical).collect();
                values.sort_by_key(Literal::to_string);
                values.dedup();
                match <[Literal; 1]>::try_from(values) {
                    Ok([value]) => Self::Compare(Comparison {
                        column,
                        operator: Operator::Equal,
                        value,
                    }),
                    Err(values) => Self::In(Membership { column, values }),
                }
            }
            Self::Missing(column) => Self::Missing(column),
        }
    }

    /// The canonical form of `not self`, by De Morgan's laws: what is negated is a single term.
    fn negated(self) -> Self {
        let negate = |parts: Vec<Self>| parts.into_iter().map(|part| Self::Not(Box::new(part)));
        match self {
            Self::Not(inner) => inner.canonical(),
            Self::And(parts) => gathered(negate(parts).collect(), Joint::Or),
            Self::Or(parts) => gathered(negate(parts).collect(), Joint::And),
            term => Self::Not(Box::new(term.canonical())),
        }
    }

    /// Whether it stays within the limits, and every constant is a value.
    ///
    /// # Errors
    /// Which limit it breaks.
    pub fn check(&self) -> Result<(), QueryError> {
        let mut terms = 0;
        self.check_below(0, &mut terms)
    }

    /// The columns that its conditions are about, one for each condition, however they are joined.
    #[must_use]
    pub fn conditions(&self) -> Vec<&str> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::conditions).collect(),
            Self::Not(inner) => inner.conditions(),
            Self::Compare(Comparison { column, .. })
            | Self::In(Membership { column, .. })
            | Self::Missing(column) => vec![column],
        }
    }

    fn check_below(&self, depth: usize, terms: &mut usize) -> Result<(), QueryError> {
        *terms += 1;
        if depth > FILTER_DEPTH_MAX {
            return Err(QueryError::TooDeep);
        }
        if *terms > FILTER_TERMS_MAX {
            return Err(QueryError::TooManyTerms);
        }
        match self {
            Self::And(parts) | Self::Or(parts) => {
                if parts.is_empty() {
                    return Err(QueryError::invalid(
                        "filter",
                        "`and` and `or` join conditions",
                    ));
                }
                parts
                    .iter()
                    .try_for_each(|part| part.check_below(depth + 1, terms))
            }
            Self::Not(inner) => inner.check_below(depth + 1, terms),
            Self::Compare(comparison) => {
                check_column(&comparison.column)?;
                comparison.value.check(&comparison.column)?;
                if comparison.operator.is_order() && matches!(comparison.value, Literal::Boolean(_))
                {
                    return Err(QueryError::invalid(
                        "filter",
                        format!(
                            "`{}`: true and false have no order",
                            bounded(&comparison.column)
                        ),
                    ));
                }
                Ok(())
            }
            Self::In(Membership { column, values }) => {
                check_column(column)?;
                if values.is_empty() {
                    return Err(QueryError::invalid(
                        "filter",
                        "`in` needs at least one value",
                    ));
                }
                if values.len() > IN_VALUES_MAX {
                    return Err(QueryError::TooManyValues);
                }
                values.iter().try_for_each(|value| value.check(column))
            }
            Self::Missing(column) => check_column(column),
        }
    }
}

impl Operator {
    /// Whether the relation needs an order and not only equality.
    #[must_use]
    pub fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The relation as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl Literal {
    fn canonical(self) -> Self {
        match self {
            // Adding 0.0 makes -0.0 the same as 0.0.
            Self::Number(number) => Self::Number(number + 0.0),
            other => other,
        }
    }

    fn check(&self, column: &str) -> Result<(), QueryError> {
        match self {
            Self::Number(number) if !number.is_finite() => Err(QueryError::invalid(
                "filter",
                format!("`{}`: a number must be finite", bounded(column)),
            )),
            Self::Text(text) if text.len() > TEXT_BYTES_MAX => Err(QueryError::TextTooLong),
            _ => Ok(()),
        }
    }
}

/// A column's name, as far as a query can know it.
pub(super) fn check_column(column: &str) -> Result<(), QueryError> {
    if column.is_empty() || column.len() > COLUMN_BYTES_MAX {
        return Err(QueryError::invalid(
            "column",
            format!("a column's name has 1 to {COLUMN_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

fn bounded(column: &str) -> String {
    column.chars().take(COLUMN_BYTES_MAX).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    And,
    Or,
}

/// The parts in canonical form, those of the same joint taken in, each once, in the order of their text.
fn gathered(parts: Vec<Filter>, joint: Joint) -> Filter {
    let mut flat = Vec::new();
    for part in parts {
        match (part.canonical(), joint) {
            (Filter::And(inner), Joint::And) | (Filter::Or(inner), Joint::Or) => flat.extend(inner),
            (other, _) => flat.push(other),
        }
    }
    flat.sort_by_cached_key(Filter::to_string);
    flat.dedup();
    match <[Filter; 1]>::try_from(flat) {
        Ok([only]) => only,
        Err(flat) if joint == Joint::And => Filter::And(flat),
        Err(flat) => Filter::Or(flat),
    }
}

impl fmt::Display for Filter {
    /// As a person writes it; reads back as the same condition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => joined(f, parts, " and "),
            Self::Or(parts) => joined(f, parts, " or "),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Compare(Comparison {
                column,
                operator,
                value,
            }) => write!(f, "{} {} {value}", Name(column), operator.as_str()),
            Self::In(Membership { column, values }) => {
                write!(f, "{} in (", Name(column))?;
                for (at, value) in values.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str(")")
            }
            Self::Missing(column) => write!(f, "{} is missing", Name(column)),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Filter], joint: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(joint)?;
        }
        match part {
            Filter::And(_) | Filter::Or(_) => write!(f, "({part})")?,
            term => write!(f, "{term}")?,
        }
    }
    Ok(())
}

/// A column's name as a filter writes it: plain where it can be, else in double quotes.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if super::parse::is_plain_name(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            // Beyond this a number in plain digits is longer than a person can read.
            Self::Number(number) if number.abs() >= 1e15 => write!(f, "{number:e}"),
            Self::Number(number) if *number != 0.0 && number.abs() < 1e-6 => {
                write!(f, "{number:e}")
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}
