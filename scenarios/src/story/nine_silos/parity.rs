//! Whether the sites together find what one place would, and how well.

use consilium_protocol::search::Ranking;
use serde_json::{Value, json};

use super::central::Central;
use super::collections::{ANSWERS, SENTENCES};
use super::desk::{Answered, Asked, ask_all};
use super::measures::{DEPTH, Quality, Times, place_of};
use super::silos::{Row, SILOS};
use crate::house::Member;
use crate::story::StoryError;
use crate::story::told::Work;

/// A way of finding that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) name: &'static str,
    /// Under its bars.
    pub(super) short: &'static str,
    pub(super) collection: &'static str,
    pub(super) ranking: Ranking,
}

/// BM25, the built-in encoder, both of them.
pub(super) const WAYS: [Way; 3] = [
    Way {
        name: "words (BM25)",
        short: "words",
        collection: ANSWERS,
        ranking: Ranking::Words,
    },
    Way {
        name: "vectors (built-in encoder)",
        short: "vectors",
        collection: ANSWERS,
        ranking: Ranking::Vectors,
    },
    Way {
        name: "both",
        short: "both",
        collection: ANSWERS,
        ranking: Ranking::Both,
    },
];

/// The same with a sentence encoder.
pub(super) const SENTENCE_WAYS: [Way; 2] = [
    Way {
        name: "vectors (sentence encoder)",
        short: "sentences",
        collection: SENTENCES,
        ranking: Ranking::Vectors,
    },
    Way {
        name: "both, with it",
        short: "both, with it",
        collection: SENTENCES,
        ranking: Ranking::Both,
    },
];

/// What one way found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) way: Way,
    pub(super) federated: Quality,
    pub(super) central: Quality,
    /// Questions whose first ten are not the central first ten, id for id.
    pub(super) mismatches: usize,
    /// Answers that some site is missing from.
    pub(super) incomplete: usize,
    /// Of searches a few side by side.
    pub(super) took: Times,
    /// Documents, best first, by question.
    pub(super) rankings: Vec<(String, Vec<String>)>,
}

impl Found {
    pub(super) fn json(&self) -> Value {
        json!({
            "way": self.way.name,
            "federated": self.federated.json(),
            "central": self.central.json(),
            "mismatches": self.mismatches,
            "incomplete": self.incomplete,
            "latency_side_by_side": self.took.json(),
        })
    }
}

/// Asks every known item by one way, of all sites and of one place.
///
/// # Errors
/// A search that failed.
pub(super) fn compare(
    ada: &Member,
    central: &Central,
    way: Way,
    items: &[&Row],
) -> Result<Found, StoryError> {
    let asked: Vec<Asked<'_>> = items
        .iter()
        .map(|item| Asked::plainly(&item.question, way.collection, way.ranking, DEPTH as u16))
        .collect();
    let answers = ask_all(ada.home(), way.name, &asked)?;
    let mut found = Found {
        way,
        federated: Quality::default(),
        central: Quality::default(),
        mismatches: 0,
        incomplete: 0,
        took: Times::of(answers.iter().map(|answer| answer.took).collect()),
        rankings: Vec::new(),
    };
    let mut work = Work::of("answers compared with those of one place", items.len());
    for (item, answer) in items.iter().zip(answers) {
        let expected = central.best(&item.question, way.ranking, central.rows(), DEPTH)?;
        found.federated.add(place_of(&item.id, &answer.found));
        found.central.add(place_of(&item.id, &expected));
        found.incomplete += usize::from(!is_whole(&answer));
        found.mismatches += usize::from(answer.found != expected);
        found.rankings.push((item.id.clone(), answer.found));
        work.advance();
    }
    Ok(found)
}

fn is_whole(answer: &Answered) -> bool {
    answer.sites == SILOS.len() && answer.missing.is_empty()
}
