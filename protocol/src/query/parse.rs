//! A filter from the text that a person types.
//!
//! ```text
//! condition  = all-of { "or" all-of }
//! all-of     = one { "and" one }
//! one        = "not" one | "(" condition ")" | term
//! term       = column ( relation value
//!                     | [ "not" ] "in" "(" value { "," value } ")"
//!                     | "between" value "and" value
//!                     | "is" [ "not" ] "missing" )
//! relation   = "=" | "!=" | "<" | "<=" | ">" | ">="
//! column     = a plain name | "anything in double quotes"
//! value      = number | 'text' | true | false
//! ```
//!
//! Words may be written in any case. A quote inside quotes is written twice. `between` includes both ends.

use super::QueryError;
use super::filter::{Comparison, Filter, Literal, Membership, Operator};
use super::limits::{
    COLUMN_BYTES_MAX, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, IN_VALUES_MAX,
    TEXT_BYTES_MAX,
};

const KEYWORDS: [&str; 9] = [
    "and", "or", "not", "is", "missing", "in", "between", "true", "false",
];

/// Why a text is no filter, and where: characters are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {what}")]
pub struct FilterError {
    pub at: usize,
    pub what: String,
}

/// Reads a filter as a person typed it.
///
/// # Errors
/// What is wrong, at which character.
pub fn filter(text: &str) -> Result<Filter, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(FilterError {
            at: 1,
            what: format!("a filter may be at most {FILTER_BYTES_MAX} bytes long"),
        });
    }
    let mut reader = Reader {
        characters: text.chars().collect(),
        at: 0,
        terms: 0,
    };
    let filter = reader.condition(0)?;
    match reader.peek_after_space() {
        None => match filter.check() {
            Ok(()) => Ok(filter),
            Err(QueryError::Invalid { problem, .. }) => Err(reader.error_at(0, problem)),
            Err(error) => Err(reader.error_at(0, error.to_string())),
        },
        Some(found) => {
            Err(reader.error(format!("expected `and`, `or` or the end, found `{found}`")))
        }
    }
}

/// Whether a column's name needs no quotes.
pub(super) fn is_plain_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(begins)
        && name.chars().all(in_name)
        && !KEYWORDS.contains(&name.to_ascii_lowercase().as_str())
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

struct Reader {
    characters: Vec<char>,
    at: usize,
    terms: usize,
}

impl Reader {
    fn condition(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.joined("or", Filter::Or, |reader| {
            reader.joined("and", Filter::And, |reader| reader.one(depth))
        })
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Filter>) -> Filter,
        part: impl Fn(&mut Self) -> Result<Filter, FilterError>,
    ) -> Result<Filter, FilterError> {
        let first = part(self)?;
        let mut parts = Vec::new();
        while self.takes_word(word) {
            parts.push(part(self)?);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        Ok(join(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(self.error(format!(
                "conditions may stand inside each other {FILTER_DEPTH_MAX} deep"
            )));
        }
        // No term: what is written with brackets is no longer than without.
        if self.takes('(') {
            let inside = self.condition(depth + 1)?;
            self.expect(')')?;
            return Ok(inside);
        }
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return Err(self.error(format!(
                "a filter may have at most {FILTER_TERMS_MAX} conditions"
            )));
        }
        if self.takes_word("not") {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        self.term()
    }

    fn term(&mut self) -> Result<Filter, FilterError> {
        let column = self.column()?;
        if self.takes_word("is") {
            let is_negated = self.takes_word("not");
            if !self.takes_word("missing") {
                return Err(self.error("expected `missing` or `not missing` after `is`"));
            }
            return Ok(negated_if(is_negated, Filter::Missing(column)));
        }
        if self.takes_word("between") {
            let low = self.value()?;
            if !self.takes_word("and") {
                return Err(self.error("expected `and` between the two ends"));
            }
            let high = self.value()?;
            let end = |operator, value| {
                Filter::Compare(Comparison {
                    column: column.clone(),
                    operator,
                    value,
                })
            };
            return Ok(Filter::And(vec![
                end(Operator::AtLeast, low),
                end(Operator::AtMost, high),
            ]));
        }
        let is_negated = self.takes_word("not");
        if self.takes_word("in") {
            let values = self.values()?;
            return Ok(negated_if(
                is_negated,
                Filter::In(Membership { column, values }),
            ));
        }
        if is_negated {
            return Err(self.error("expected `in` after `not`"));
        }
        let operator = self.operator()?;
        let value = self.value()?;
        Ok(Filter::Compare(Comparison {
            column,
            operator,
            value,
        }))
    }

    fn column(&mut self) -> Result<String, FilterError> {
        match self.peek_after_space() {
            Some('"') => self.quoted('"', COLUMN_BYTES_MAX),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let began = self.at;
                let word = self.word();
                if KEYWORDS.contains(&word.to_ascii_lowercase().as_str()) {
                    return Err(self.error_at(
                        began,
                        format!("expected a column, found the word `{word}`; a column of that name is written \"{word}\""),
                    ));
                }
                Ok(word)
            }
            Some(c) => Err(self.error(format!("expected a column, found `{c}`"))),
            None => Err(self.error("expected a column, and the filter ends here")),
        }
    }

    fn operator(&mut self) -> Result<Operator, FilterError> {
        self.peek_after_space();
        for operator in [
            Operator::NotEqual,
            Operator::AtMost,
            Operator::AtLeast,
            Operator::Equal,
            Operator::Less,
            Operator::Greater,
        ] {
            let written = operator.as_str();
            let here = self.characters.iter().skip(self.at);
            if here.take(written.len()).copied().eq(written.chars()) {
                self.at += written.len();
                return Ok(operator);
            }
        }
        Err(self.error("expected =, !=, <, <=, >, >=, `in`, `between` or `is missing`"))
    }

    fn values(&mut self) -> Result<Vec<Literal>, FilterError> {
        self.expect('(')?;
        let mut values = vec![self.value()?];
        while self.takes(',') {
            if values.len() >= IN_VALUES_MAX {
                return Err(self.error(format!("`in` takes at most {IN_VALUES_MAX} values")));
            }
            values.push(self.value()?);
        }
        self.expect(')')?;
        Ok(values)
    }

    fn value(&mut self) -> Result<Literal, FilterError> {
        let expected = "a number, a text in single quotes, true or false";
        match self.peek_after_space() {
            Some('\'') => Ok(Literal::Text(self.quoted('\'', TEXT_BYTES_MAX)?)),
            Some(c) if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            Some(c) if c.is_ascii_alphabetic() => {
                let began = self.at;
                let word = self.word();
                match word.to_ascii_lowercase().as_str() {
                    "true" => Ok(Literal::Boolean(true)),
                    "false" => Ok(Literal::Boolean(false)),
                    _ => Err(self.error_at(
                        began,
                        format!("expected {expected}, found `{word}`; a text is written '{word}'"),
                    )),
                }
            }
            Some(c) => Err(self.error(format!("expected {expected}, found `{c}`"))),
            None => Err(self.error(format!("expected {expected}, and the filter ends here"))),
        }
    }

    fn number(&mut self) -> Result<Literal, FilterError> {
        let began = self.at;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let after_exponent = text.ends_with(['e', 'E']);
            let belongs = c.is_ascii_digit()
                || c == '.'
                || "eE".contains(c)
                || ("+-".contains(c) && (text.is_empty() || after_exponent));
            if !belongs {
                break;
            }
            text.push(c);
            self.at += 1;
        }
        let number: Option<f64> = text.parse().ok();
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Literal::Number(number)),
            None => Err(self.error_at(began, format!("`{text}` is not a number"))),
        }
    }

    /// What stands in quotes of this kind; the reader is on the opening one.
    fn quoted(&mut self, quote: char, bytes_max: usize) -> Result<String, FilterError> {
        let began = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(self.error_at(began, "the quote is never closed")),
                Some(c) if c == quote => {
                    self.at += 1;
                    if self.peek() != Some(quote) {
                        return Ok(text);
                    }
                    text.push(quote);
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
            if text.len() > bytes_max {
                let what = format!("what stands in quotes may have {bytes_max} bytes");
                return Err(self.error_at(began, what));
            }
        }
    }

    /// The word that begins here.
    fn word(&mut self) -> String {
        let rest = self.characters.iter().skip(self.at);
        let word: String = rest.take_while(|c| in_name(**c)).collect();
        self.at += word.len();
        word
    }

    /// Takes this word if it comes next.
    fn takes_word(&mut self, wanted: &str) -> bool {
        self.peek_after_space();
        let began = self.at;
        if self.word().eq_ignore_ascii_case(wanted) {
            return true;
        }
        self.at = began;
        false
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek_after_space() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), FilterError> {
        if self.takes(wanted) {
            return Ok(());
        }
        let found = match self.peek() {
            Some(c) => format!("found `{c}`"),
            None => "and the filter ends here".to_owned(),
        };
        Err(self.error(format!("expected `{wanted}`, {found}")))
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn peek_after_space(&mut self) -> Option<char> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek()
    }

    fn error(&self, what: impl Into<String>) -> FilterError {
        self.error_at(self.at, what)
    }

    fn error_at(&self, at: usize, what: impl Into<String>) -> FilterError {
        FilterError {
            at: at + 1,
            what: what.into(),
        }
    }
}

fn negated_if(is_negated: bool, filter: Filter) -> Filter {
    match is_negated {
        true => Filter::Not(Box::new(filter)),
        false => filter,
    }
}
