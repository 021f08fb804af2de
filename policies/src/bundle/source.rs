//! The text of a policy, and the words and numbers in it by position.

use std::ops::Range;

use toml::Spanned;

use super::*;

pub(super) type Words = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetDocument {
    epsilon: f64,
    delta: f64,
}

/// The text that positions are counted in.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) toml: &'a str,
}

impl Source<'_> {
    pub(super) fn id(&self, field: &str, written: &Spanned<String>) -> Result<RuleId, BundleError> {
        let text = written.get_ref();
        text.parse().map_err(|cause| {
            self.at(
                written.span(),
                field,
                Problem::Id {
                    text: text.clone(),
                    cause,
                },
            )
        })
    }

    pub(super) fn named<T>(&self, field: &str, written: &Words) -> Result<Named<T>, BundleError>
    where
        T: Ord + FromStr<Err = consilium_protocol::ids::NameError>,
    {
        let any = written.get_ref().iter().find(|word| word.get_ref() == ANY);
        match any {
            None => Ok(Named::These(self.words(field, written, name)?)),
            Some(_) if written.get_ref().len() == 1 => Ok(Named::Any),
            Some(word) => Err(self.at(word.span(), field, Problem::AnyAmongNames)),
        }
    }

    pub(super) fn words<T: Ord>(
        &self,
        field: &str,
        written: &Words,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<BTreeSet<T>, BundleError> {
        let words = written.get_ref();
        if words.is_empty() {
            return Err(self.at(written.span(), field, Problem::Empty));
        }
        if words.len() > NAMES_MAX {
            return Err(self.at(written.span(), field, Problem::TooManyNames));
        }
        words
            .iter()
            .map(|word| {
                parse(word.get_ref()).map_err(|problem| self.at(word.span(), field, problem))
            })
            .collect()
    }

    /// A whole number from 1 to `maximum`.
    pub(super) fn whole<T>(
        &self,
        field: &str,
        written: &Spanned<i64>,
        maximum: T,
    ) -> Result<T, BundleError>
    where
        T: TryFrom<i64> + PartialOrd + From<u8> + fmt::Display,
    {
        let value = *written.get_ref();
        match T::try_from(value) {
            Ok(number) if number >= T::from(1) && number <= maximum => Ok(number),
            _ => Err(self.at(
                written.span(),
                field,
                Problem::OutOfRange {
                    value: value.to_string(),
                    allowed: format!("from 1 to {maximum}"),
                },
            )),
        }
    }

    /// One out of a closed list of numbers.
    pub(super) fn step(
        &self,
        field: &str,
        written: &Spanned<i64>,
        steps: &[u32],
    ) -> Result<u32, BundleError> {
        let value = *written.get_ref();
        let found = steps.iter().find(|step| i64::from(**step) == value);
        found.copied().ok_or_else(|| {
            let words: Vec<String> = steps.iter().map(ToString::to_string).collect();
            let allowed = words.join(", ");
            self.at(written.span(), field, Problem::NotAStep { value, allowed })
        })
    }

    pub(super) fn word<T>(
        &self,
        field: &str,
        written: &Spanned<String>,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<T, BundleError> {
        parse(written.get_ref()).map_err(|problem| self.at(written.span(), field, problem))
    }

    pub(super) fn day(&self, field: &str, written: &Spanned<String>) -> Result<Day, BundleError> {
        self.word(field, written, |text| {
            text.parse().map_err(|DayError| Problem::NotADay {
                text: text.to_owned(),
            })
        })
    }

    pub(super) fn budget(
        &self,
        field: &str,
        written: &Spanned<BudgetDocument>,
    ) -> Result<Budget, BundleError> {
        let BudgetDocument { epsilon, delta } = written.get_ref();
        Budget::new(*epsilon, *delta).map_err(|error| {
            let cause = error.to_string();
            self.at(written.span(), field, Problem::Budget { cause })
        })
    }

    pub(super) fn share(&self, written: &Spanned<f64>) -> Result<f64, BundleError> {
        let value = *written.get_ref();
        // Not finite fails both comparisons or the upper one.
        if value > 0.0 && value <= PARAMETERS_PER_RECORD_MAX {
            return Ok(value);
        }
        Err(self.at(
            written.span(),
            "maximum-parameters-per-record",
            Problem::OutOfRange {
                value: value.to_string(),
                allowed: format!("above 0 and up to {PARAMETERS_PER_RECORD_MAX}"),
            },
        ))
    }

    pub(super) fn at(&self, span: Range<usize>, field: &str, problem: Problem) -> BundleError {
        BundleError {
            file: self.file.to_owned(),
            line: Some(self.line(span.start)),
            field: Some(field.to_owned()),
            problem,
        }
    }

    pub(super) fn syntax(&self, error: &toml::de::Error) -> BundleError {
        let start = error.span().map(|span| span.start);
        BundleError {
            file: self.file.to_owned(),
            line: start.map(|start| self.line(start)),
            field: start.and_then(|start| self.field(start)),
            problem: Problem::Syntax {
                message: plain(error.message()),
            },
        }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.toml.get(..offset).unwrap_or(self.toml);
        before.matches('\n').count() + 1
    }

    /// The field whose line this is, if it looks like one.
    fn field(&self, offset: usize) -> Option<String> {
        let line = self.toml.lines().nth(self.line(offset) - 1)?;
        let (key, _) = line.split_once('=')?;
        let key = key.trim();
        let looks_like_one = !key.is_empty()
            && key.len() <= NAME_BYTES_MAX
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        looks_like_one.then(|| key.to_owned())
    }
}

pub(super) fn name<T: FromStr<Err = consilium_protocol::ids::NameError>>(
    text: &str,
) -> Result<T, Problem> {
    text.parse().map_err(|cause| Problem::Name {
        text: text.to_owned(),
        cause,
    })
}

pub(super) fn one_of<T: Copy>(
    text: &str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
    known: &'static str,
) -> Result<T, Problem> {
    let found = all.iter().copied().find(|one| word(*one) == text);
    found.ok_or_else(|| Problem::UnknownWord {
        text: text.to_owned(),
        known,
    })
}

/// The reader's message without the names of Rust types.
fn plain(message: &str) -> String {
    let mut plain = message.trim_end().replace('\n', ", ");
    for (rust, words) in [
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list in [ ]"),
        ("expected a string", "expected text in quotes"),
        ("invalid type: ", "found "),
        ("struct PermitDocument", "a permit's fields"),
        ("struct DatasetDocument", "a data set's terms"),
        ("struct BudgetDocument", "{ epsilon = …, delta = … }"),
        ("struct Document", "a policy's fields"),
    ] {
        plain = plain.replace(rust, words);
    }
    plain
}
