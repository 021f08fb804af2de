//! Filters by semantic type: whether every hit has it, and whether it is what one place would find.

use consilium_protocol::query::parse;
use consilium_protocol::search::Ranking;
use serde_json::{Value, json};

use super::central::Central;
use super::collections::{ANSWERS, SEMANTIC_TYPE};
use super::desk::{Asked, ask_all};
use super::measures::{DEPTH, Times};
use super::silos::{Holdings, Row};
use crate::house::Member;
use crate::story::StoryError;

/// Types of the UMLS Semantic Network, from frequent to rare in MedQuAD.
const TYPES: [(&str, &str); 6] = [
    ("T047", "Disease or Syndrome"),
    ("T191", "Neoplastic Process"),
    ("T184", "Sign or Symptom"),
    ("T049", "Cell or Molecular Dysfunction"),
    ("T005", "Virus"),
    ("T028", "Gene or Genome"),
];

/// Questions that are asked under each filter.
const QUESTIONS: usize = 20;

/// What was found under one filter.
#[derive(Debug, Clone)]
pub(super) struct Filtered {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    /// Documents that have the type.
    pub(super) documents: usize,
    /// Their share of all.
    pub(super) share: f64,
    pub(super) questions: usize,
    pub(super) hits: usize,
    /// Hits that lack the type.
    pub(super) wrong: usize,
    /// Answers with fewer hits than there could be.
    pub(super) short: usize,
    /// Answers that are not the central ones.
    pub(super) mismatches: usize,
    pub(super) took: Times,
}

impl Filtered {
    pub(super) fn json(&self) -> Value {
        json!({
            "semantic_type": self.code,
            "name": self.name,
            "documents": self.documents,
            "share": self.share,
            "questions": self.questions,
            "hits": self.hits,
            "hits_without_it": self.wrong,
            "short": self.short,
            "mismatches": self.mismatches,
            "latency_side_by_side": self.took.json(),
        })
    }
}

/// Asks a few known items under each filter.
///
/// # Errors
/// A search that failed.
pub(super) fn measure(
    ada: &Member,
    central: &Central,
    holdings: &Holdings,
    items: &[&Row],
) -> Result<Vec<Filtered>, StoryError> {
    let of_type = |(code, name)| {
        one(
            ada,
            central,
            holdings,
            items.get(..QUESTIONS).unwrap_or(items),
            code,
            name,
        )
    };
    TYPES.into_iter().map(of_type).collect()
}

fn one(
    ada: &Member,
    central: &Central,
    holdings: &Holdings,
    items: &[&Row],
    code: &'static str,
    name: &'static str,
) -> Result<Filtered, StoryError> {
    let filter =
        parse::filter(&format!("{SEMANTIC_TYPE} = '{code}'")).map_err(StoryError::unexpected)?;
    let asked: Vec<Asked<'_>> = items
        .iter()
        .map(|item| Asked {
            filter: Some(filter.clone()),
            ..Asked::plainly(&item.question, ANSWERS, Ranking::Vectors, DEPTH as u16)
        })
        .collect();
    let answers = ask_all(ada.home(), "filtered searches", &asked)?;
    let has = |row: &Row| row.semantic_types.contains(code);
    let documents = holdings.rows().filter(|row| has(row)).count();
    let allowed = central.rows_where(&filter)?;
    let mut filtered = Filtered {
        code,
        name,
        documents,
        share: documents as f64 / holdings.rows().count().max(1) as f64,
        questions: items.len(),
        hits: 0,
        wrong: 0,
        short: 0,
        mismatches: 0,
        took: Times::of(answers.iter().map(|answer| answer.took).collect()),
    };
    for (item, answer) in items.iter().zip(&answers) {
        filtered.hits += answer.found.len();
        filtered.wrong += answer
            .found
            .iter()
            .filter(|id| !holdings.row(id).is_some_and(has))
            .count();
        filtered.short += usize::from(answer.found.len() < DEPTH.min(documents));
        let expected = central.best(&item.question, Ranking::Vectors, &allowed, DEPTH)?;
        filtered.mismatches += usize::from(answer.found != expected);
    }
    Ok(filtered)
}
