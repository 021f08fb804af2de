//! `policy.toml` into a [`Bundle`]: text first into a document with positions, then field by field into types
//! that cannot hold anything else.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    name: Spanned<String>,
    version: Spanned<i64>,
    #[serde(default)]
    permit: Vec<PermitDocument>,
}

type Words = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PermitDocument {
    id: Spanned<String>,
    researchers: Words,
    projects: Words,
    purposes: Words,
    actions: Words,
    dataset: Spanned<String>,
    until: Spanned<String>,
    minimum_records: Spanned<i64>,
    maximum_parameters_per_record: Spanned<f64>,
    maximum_rounds: Spanned<i64>,
    release: Words,
}

pub(super) fn bundle(file: &str, text: &[u8]) -> Result<Bundle, BundleError> {
    let whole_file = |problem| BundleError {
        file: file.to_owned(),
        line: None,
        field: None,
        problem,
    };
    if text.len() > BUNDLE_BYTES_MAX {
        return Err(whole_file(Problem::TooLong));
    }
    let toml = std::str::from_utf8(text).map_err(|_| whole_file(Problem::NotText))?;
    let source = Source { file, toml };
    let document: Document = toml::from_str(toml).map_err(|error| source.syntax(&error))?;
    if let Some(first_too_many) = document.permit.get(PERMITS_MAX) {
        return Err(source.at(first_too_many.id.span(), "id", Problem::TooManyPermits));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(document.permit.len());
    for permit in &document.permit {
        let rule = source.rule(permit)?;
        if rules.iter().any(|other| other.id == rule.id) {
            let id = rule.id.to_string();
            return Err(source.at(permit.id.span(), "id", Problem::IdTwice { id }));
        }
        rules.push(rule);
    }
    let name: RuleId = source.id("name", &document.name)?;
    Ok(Bundle {
        name: name.into(),
        version: source.whole("version", &document.version, u32::MAX)?,
        rules,
        digest: Digest::of(text),
    })
}

/// The text that positions are counted in.
struct Source<'a> {
    file: &'a str,
    toml: &'a str,
}

impl Source<'_> {
    fn rule(&self, permit: &PermitDocument) -> Result<Rule, BundleError> {
        Ok(Rule {
            id: self.id("id", &permit.id)?,
            researchers: self.named("researchers", &permit.researchers)?,
            projects: self.named("projects", &permit.projects)?,
            purposes: self.words("purposes", &permit.purposes, |text| match text {
                ANY => Err(Problem::AnyPurpose),
                _ if !PURPOSES.contains(&text.to_ascii_uppercase().as_str()) => {
                    Err(Problem::NotAPurpose {
                        text: text.to_owned(),
                    })
                }
                _ => name(text),
            })?,
            actions: self.words("actions", &permit.actions, |text| {
                one_of(text, &[Activity::Train], Activity::as_str, "train")
            })?,
            dataset: match permit.dataset.get_ref().as_str() {
                ANY => Named::Any,
                text => Named::These(BTreeSet::from([name(text)
                    .map_err(|problem| self.at(permit.dataset.span(), "dataset", problem))?])),
            },
            until: permit.until.get_ref().parse().map_err(|DayError| {
                let text = permit.until.get_ref().clone();
                self.at(permit.until.span(), "until", Problem::NotADay { text })
            })?,
            minimum_records: self.whole("minimum-records", &permit.minimum_records, RECORDS_MAX)?,
            maximum_parameters_per_record: self.share(&permit.maximum_parameters_per_record)?,
            maximum_rounds: self.whole("maximum-rounds", &permit.maximum_rounds, ROUNDS_MAX)?,
            release: self.words("release", &permit.release, |text| {
                let all = [Release::Update, Release::Metrics];
                one_of(text, &all, Release::as_str, "update, metrics")
            })?,
        })
    }

    fn id(&self, field: &str, written: &Spanned<String>) -> Result<RuleId, BundleError> {
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

    fn named<T>(&self, field: &str, written: &Words) -> Result<Named<T>, BundleError>
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

    fn words<T: Ord>(
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
    fn whole<T>(&self, field: &str, written: &Spanned<i64>, maximum: T) -> Result<T, BundleError>
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

    fn share(&self, written: &Spanned<f64>) -> Result<f64, BundleError> {
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

    fn at(&self, span: Range<usize>, field: &str, problem: Problem) -> BundleError {
        BundleError {
            file: self.file.to_owned(),
            line: Some(self.line(span.start)),
            field: Some(field.to_owned()),
            problem,
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> BundleError {
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

    fn line(&self, offset: usize) -> usize {
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

fn name<T: FromStr<Err = consilium_protocol::ids::NameError>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|cause| Problem::Name {
        text: text.to_owned(),
        cause,
    })
}

fn one_of<T: Copy>(
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
        ("struct Document", "a policy's fields"),
    ] {
        plain = plain.replace(rust, words);
    }
    plain
}
