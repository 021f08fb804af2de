//! Taking out of a text what names a person: the identifiers of HIPAA's Safe Harbor, 45 CFR 164.514(b)(2)(i).

mod lists;
mod names;
mod rules;
mod snippet;
mod span;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use snippet::{shared_identifier_run, snippet};
use span::{Span, apart};

/// The eighteen classes of Safe Harbor as far as text has them; (Q), photographs, it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// (A) Names.
    Name,
    /// (B) What is smaller than a state; of a ZIP code the first three digits stay where more than 20,000 people live.
    Place,
    /// (C) Dates, but for the year.
    Date,
    /// (C) Ages over 89, which become 90+.
    Age,
    /// (D) Telephone numbers.
    Phone,
    /// (E) Fax numbers.
    Fax,
    /// (F) Email addresses.
    Email,
    /// (G) Social security numbers.
    SocialSecurity,
    /// (H) Medical record numbers.
    RecordNumber,
    /// (I) Health plan beneficiary numbers.
    PlanNumber,
    /// (J) Account numbers.
    Account,
    /// (K) Certificate and licence numbers.
    Licence,
    /// (L) Vehicles, with their plates.
    Vehicle,
    /// (M) Devices and their serial numbers.
    Device,
    /// (N) Web addresses.
    Url,
    /// (O) Internet protocol addresses.
    IpAddress,
    /// (P) Finger and voice prints.
    Biometric,
    /// (R) Any other unique number or code.
    Other,
}

/// A text without what was found in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted {
    pub text: String,
    /// How many of each class were replaced.
    pub found: BTreeMap<Class, u32>,
}

/// Takes out of texts what the rules and lists know, and the names that a site gives.
///
/// It misses some: see node/search/README.md for how many. A text that it has redacted may still name a person.
#[derive(Default)]
pub struct Redactor {
    known: BTreeSet<String>,
}

/// Rounds over one text. What one replaces may lay bare what the next finds; the last changes nothing.
const ROUNDS_MAX: usize = 6;

impl Redactor {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With names that the site knows to stand in a text, such as those of the record's patient and doctors. Each word
    /// of them is a name wherever it stands, but for words of which no sentence does without.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        for name in names {
            let words = name.split(|char: char| {
                !char.is_alphabetic() && !matches!(char, '-' | '\'' | '\u{2019}')
            });
            let words = words.map(|word| {
                word.trim_matches(|char: char| !char.is_alphabetic())
                    .to_lowercase()
            });
            self.known.extend(words.filter(|word| word.len() > 1));
        }
        self
    }

    /// The text with each identifier replaced by its class in brackets, such as `[name]` and `[date 2019]`. Redacting
    /// again changes nothing. Takes time in proportion to the text.
    #[must_use]
    pub fn redact(&self, text: &str) -> Redacted {
        let mut redacted = Redacted {
            text: text.to_owned(),
            found: BTreeMap::new(),
        };
        for _ in 0..ROUNDS_MAX {
            let spans = self.spans(&redacted.text);
            if spans.iter().all(|span| span.class.is_none()) {
                break;
            }
            redacted = replaced(redacted, &spans);
        }
        redacted
    }

    /// Names the rules and lists, for whoever keeps what was made from redacted text: with other rules it is made anew.
    #[must_use]
    pub fn version() -> &'static str {
        VERSION
    }

    fn spans(&self, text: &str) -> Vec<Span> {
        let mut spans = placeholders(text);
        spans.extend(rules::find(text));
        let mut spans = apart(spans, text.len());
        spans.extend(names::find(text, &spans, &self.known));
        spans.sort_by_key(|span| span.start);
        spans
    }
}

/// Changes with every change of a rule or a list.
const VERSION: &str = "safe-harbor-1";

static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\[(?:name|place|zip \d{3}|date(?: \d{4})?|age 90\+|phone|fax|email|social security|record number|plan number|account|licence|vehicle|device|url|ip address|biometric|number)\]",
    )
    .ok()
});

/// What an earlier redaction left; it stays.
fn placeholders(text: &str) -> Vec<Span> {
    let found = PLACEHOLDER.as_ref().map(|pattern| pattern.find_iter(text));
    let spans = found.into_iter().flatten().map(|found| Span {
        start: found.start(),
        end: found.end(),
        class: None,
        becomes: String::new(),
    });
    spans.collect()
}

/// The text with the spans, ascending and apart, replaced and counted.
fn replaced(before: Redacted, spans: &[Span]) -> Redacted {
    let mut after = Redacted {
        text: String::with_capacity(before.text.len()),
        found: before.found,
    };
    let mut done = 0;
    for span in spans {
        let Some(class) = span.class else { continue };
        after
            .text
            .push_str(before.text.get(done..span.start).unwrap_or_default());
        after.text.push_str(&span.becomes);
        *after.found.entry(class).or_default() += 1;
        done = span.end;
    }
    after
        .text
        .push_str(before.text.get(done..).unwrap_or_default());
    after
}
