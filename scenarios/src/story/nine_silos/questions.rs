//! Questions: known items with a seed, a file of anybody's own, and what was found for each.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use consilium_protocol::Digest;
use consilium_protocol::search::{SEARCH_TEXT_BYTES_MAX, SEARCH_WORDS_MAX};
use serde_json::{Map, Value, json};

use super::silos::{Holdings, Row, without_mark};
use crate::story::StoryError;

/// A file of questions.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Questions of one file.
const QUESTIONS_MAX: usize = 100_000;

/// With which known items are drawn.
pub(super) const SEED: u64 = 42;

/// How many known items are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    All,
    /// So many, drawn with a seed.
    Some(usize),
}

impl Sample {
    /// No more than so many; the smaller sample is a part of the larger.
    #[must_use]
    pub(super) fn at_most(self, most: usize) -> Self {
        match self {
            Self::All => Self::Some(most),
            Self::Some(wanted) => Self::Some(wanted.min(most)),
        }
    }
}

/// A question of somebody's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) qid: String,
    pub(super) text: String,
}

/// Known items: rows whose own answer is what their question should find. Every row has the same chance, and a larger
/// sample holds the smaller one.
#[must_use]
pub(super) fn known_items(holdings: &Holdings, sample: Sample) -> Vec<&Row> {
    let mut drawn: Vec<(Digest, &Row)> = holdings
        .rows()
        .map(|row| (Digest::of(format!("{SEED} {}", row.id).as_bytes()), row))
        .collect();
    if let Sample::Some(wanted) = sample {
        drawn.sort_by_key(|(lot, _)| lot.0);
        drawn.truncate(wanted);
    }
    drawn.into_iter().map(|(_, row)| row).collect()
}

/// Reads a file of questions.
///
/// # Errors
/// What is wrong with it, and what it should be.
pub(super) fn read(path: &Path) -> Result<Vec<Question>, StoryError> {
    let wrong = |what: String| StoryError::NotUsable {
        path: path.to_owned(),
        what,
        remedy: "a file of questions is a JSON list, as [{\"qid\": \"q1\", \"text\": \"what causes gout?\"}]",
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    parsed(&text).map_err(wrong)
}

fn parsed(text: &str) -> Result<Vec<Question>, String> {
    let json: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Array(list) = json else {
        return Err("it is no list".to_owned());
    };
    if list.is_empty() || list.len() > QUESTIONS_MAX {
        return Err(format!(
            "it has {} questions, and may have 1 to {QUESTIONS_MAX}",
            list.len()
        ));
    }
    let mut seen = BTreeSet::new();
    let mut questions = Vec::with_capacity(list.len());
    for (number, entry) in (1..).zip(&list) {
        let said = |field: &str| match entry.get(field) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) if field == "qid" => Some(number.to_string()),
            _ => None,
        };
        let Some(qid) = said("qid") else {
            return Err(format!("its question {number} has no `qid`"));
        };
        let Some(text) = said("text") else {
            return Err(format!("its question {number} (`{qid}`) has no `text`"));
        };
        let words = text.split_whitespace().count();
        if words == 0 || words > SEARCH_WORDS_MAX || text.len() > SEARCH_TEXT_BYTES_MAX {
            return Err(format!(
                "the text of its question {number} (`{qid}`) has {words} words in {} bytes, and may have 1 to \
                 {SEARCH_WORDS_MAX} in {SEARCH_TEXT_BYTES_MAX}",
                text.len()
            ));
        }
        if !seen.insert(qid.clone()) {
            return Err(format!("two of its questions have the qid `{qid}`"));
        }
        questions.push(Question { qid, text });
    }
    Ok(questions)
}

/// What was found, best first, by question: an object whose keys are qids and whose values are lists of documents' ids
/// as MedQuAD has them.
#[must_use]
pub(super) fn run_file(found: &[(String, Vec<String>)]) -> Value {
    let ids = |ids: &[String]| {
        let mut seen = BTreeSet::new();
        let own = ids
            .iter()
            .map(|id| without_mark(id))
            .filter(|id| seen.insert(*id));
        json!(own.collect::<Vec<_>>())
    };
    let entries = found.iter().map(|(qid, found)| (qid.clone(), ids(found)));
    Value::Object(entries.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_same_each_time_and_a_larger_one_holds_it() {
        let holdings = Holdings::read(Some(40)).unwrap();
        let ids = |sample| {
            known_items(&holdings, sample)
                .iter()
                .map(|row| row.id.clone())
                .collect::<BTreeSet<_>>()
        };
        let (some, more) = (ids(Sample::Some(20)), ids(Sample::Some(60)));
        assert_eq!(
            (some.len(), more.len(), ids(Sample::All).len()),
            (20, 60, 360)
        );
        assert!(some.is_subset(&more));
        assert_eq!(some, ids(Sample::Some(20)));
    }

    #[test]
    fn what_is_no_list_of_questions_is_said_with_its_place() {
        for (text, says) in [
            ("{\"qid\": 1}", "it is no list"),
            (
                "[",
                "it is no JSON: EOF while parsing a list at line 1 column 1",
            ),
            ("[]", "it has 0 questions"),
            ("[{\"text\": \"gout\"}]", "its question 1 has no `qid`"),
            ("[{\"qid\": \"a\"}]", "its question 1 (`a`) has no `text`"),
            ("[{\"qid\": \"a\", \"text\": \" \"}]", "has 0 words"),
            (
                "[{\"qid\": \"a\", \"text\": \"b\"}, {\"qid\": \"a\", \"text\": \"c\"}]",
                "two of its questions",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let numbered = parsed("[{\"qid\": 7, \"text\": \"gout\"}]").unwrap();
        assert_eq!(
            numbered,
            [Question {
                qid: "7".into(),
                text: "gout".into()
            }]
        );
    }

    #[test]
    fn a_run_names_documents_as_their_publisher_does() {
        let found = vec![(
            "q1".to_owned(),
            vec!["a-1~2".to_owned(), "b-1".to_owned(), "a-1".to_owned()],
        )];
        assert_eq!(run_file(&found), json!({ "q1": ["a-1", "b-1"] }));
    }
}
