//! One collection in one place: what a search over all silos should find, by definition and not by the node's way.
//!
//! Every passage is looked at. A document is as near as its nearest passage; documents come by score, equal ones by id.
//! What joins both orders is the function that the coordinator uses, over lists that are far longer than any site's.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use consilium_node::collections::{Collections, OpenCollection};
use consilium_node::config::Config;
use consilium_node::retrieval::ranked::one_of_each;
use consilium_protocol::message::PassageHit;
use consilium_protocol::query::Filter;
use consilium_protocol::search::merge::passages;
use consilium_protocol::search::{RANK_DEPTH, Ranking};
use consilium_search::lexical;
use consilium_search::vector::{Effort, Hit, RowId, RowSet, UnitVector};

use super::measures::DEPTH;
use super::silos::{Holdings, SILOS};
use crate::story::StoryError;

/// Words' hits that are looked at: enough that every document of the first hundred, and every one as good as the last
/// of them, is among them.
const WORDS_DEEP: usize = 5_000;

/// Documents of each order that the joined order is made of.
const ORDER_DEEP: usize = 1_000;

/// A collection, opened by the story, which plays every part at once.
pub(super) struct Central {
    open: Arc<OpenCollection>,
    /// Rows of each silo, in the order of the silos.
    pub(super) of_silo: Vec<RowSet>,
}

/// One question as the collection scores it.
pub(super) struct Scored {
    /// Every allowed passage and its cosine, in no order; none where vectors were not asked for.
    pub(super) near: Vec<(RowId, f64)>,
    /// The best allowed passages by words.
    pub(super) words: Vec<(RowId, f64)>,
}

impl Central {
    /// Opens the collection in a node's folder.
    ///
    /// # Errors
    /// If it was not ingested there.
    pub(super) fn open(
        folder: &Path,
        name: &'static str,
        holdings: &Holdings,
    ) -> Result<Self, StoryError> {
        let config = Config::load(folder).map_err(StoryError::unexpected)?;
        let opened =
            Collections::new(&config, folder).get(&name.parse().map_err(StoryError::unexpected)?);
        let missing = || StoryError::unexpected(format!("node.toml declares no `{name}`"));
        let open = opened
            .ok_or_else(missing)?
            .map_err(StoryError::unexpected)?;
        let mut of_silo = vec![RowSet::new(); SILOS.len()];
        for row in open.collection.rows().iter() {
            let silo = open
                .collection
                .document_of(row)
                .and_then(|(id, _)| holdings.silo_of(id));
            if let Some(rows) = silo.and_then(|silo| of_silo.get_mut(silo)) {
                rows.insert(row);
            }
        }
        Ok(Self { open, of_silo })
    }

    /// Every row that can be found.
    pub(super) fn rows(&self) -> &RowSet {
        self.open.collection.rows()
    }

    /// The rows that a filter leaves.
    ///
    /// # Errors
    /// If it does not fit the columns.
    pub(super) fn rows_where(&self, filter: &Filter) -> Result<RowSet, StoryError> {
        self.open
            .collection
            .rows_where(Some(filter))
            .map_err(StoryError::unexpected)
    }

    /// The best documents for a text among `allowed` rows.
    ///
    /// # Errors
    /// A fault of the index or the encoder.
    pub(super) fn best(
        &self,
        text: &str,
        ranking: Ranking,
        allowed: &RowSet,
        hits: usize,
    ) -> Result<Vec<String>, StoryError> {
        let scored = self.scored(text, ranking, allowed)?;
        let near = self.documents(&scored.near);
        let words = self.documents(&scored.words);
        let central = "central".parse().map_err(StoryError::unexpected)?;
        let found = BTreeMap::from([(central, both(near, words))]);
        Ok(passages(found, ranking, hits)
            .into_iter()
            .map(|at| at.hit.document)
            .collect())
    }

    /// Every score that a ranking needs.
    ///
    /// # Errors
    /// A fault of the index or the encoder.
    pub(super) fn scored(
        &self,
        text: &str,
        ranking: Ranking,
        allowed: &RowSet,
    ) -> Result<Scored, StoryError> {
        let mut near = Vec::new();
        if ranking != Ranking::Words {
            self.open
                .collection
                .scan(&self.vector(text)?, allowed, &mut |row, similarity| {
                    near.push((row, f64::from(similarity)))
                })
                .map_err(StoryError::unexpected)?;
        }
        let mut words = Vec::new();
        if ranking != Ranking::Vectors {
            let best = self
                .open
                .collection
                .words(text, WORDS_DEEP, allowed)
                .map_err(StoryError::unexpected)?;
            words.extend(best.into_iter().map(|hit| (hit.row, hit.score)));
        }
        Ok(Scored { near, words })
    }

    /// What a node does between a question and its best passages, without policy, journal and network: the best few by
    /// each order that is wanted.
    ///
    /// # Errors
    /// A fault of the index or the encoder.
    pub(super) fn search_alone(&self, text: &str, ranking: Ranking) -> Result<usize, StoryError> {
        let collection = &self.open.collection;
        let owner_of = |row| collection.document_of(row).map(|(document, _)| document);
        let depth = match ranking {
            Ranking::Both => RANK_DEPTH,
            Ranking::Vectors | Ranking::Words => DEPTH,
        };
        let mut found = 0;
        if ranking != Ranking::Words {
            let vector = self.vector(text)?;
            let near = |k| collection.nearest(&vector, k, collection.rows(), Effort::Exact);
            let near = one_of_each(depth, |hit: &Hit| owner_of(hit.row), near);
            found += near.map_err(StoryError::unexpected)?.len();
        }
        if ranking != Ranking::Vectors {
            let words = |k| collection.words(text, k, collection.rows());
            let words = one_of_each(depth, |hit: &lexical::Hit| owner_of(hit.row), words);
            found += words.map_err(StoryError::unexpected)?.len();
        }
        Ok(found)
    }

    /// The text's vector, as a node makes it.
    ///
    /// # Errors
    /// A fault of the encoder.
    fn vector(&self, text: &str) -> Result<UnitVector, StoryError> {
        let vectors = self
            .open
            .encoder
            .encode(&[text])
            .map_err(StoryError::unexpected)?;
        let vector = vectors.into_iter().next().unwrap_or_default();
        UnitVector::parse(&vector).map_err(StoryError::unexpected)
    }

    /// The document of a row.
    pub(super) fn document(&self, row: RowId) -> &str {
        self.open
            .collection
            .document_of(row)
            .map_or("", |(document, _)| document)
    }

    /// The best documents by their best passages; equal ones by id.
    fn documents(&self, scored: &[(RowId, f64)]) -> Vec<(String, u32, f64)> {
        let mut best: HashMap<&str, (u32, f64)> = HashMap::new();
        for (row, score) in scored {
            let Some((document, passage)) = self.open.collection.document_of(*row) else {
                continue;
            };
            let known = best.entry(document).or_insert((passage, *score));
            if *score > known.1 || (*score == known.1 && passage < known.0) {
                *known = (passage, *score);
            }
        }
        let mut documents: Vec<(&str, u32, f64)> = best
            .into_iter()
            .map(|(document, (passage, score))| (document, passage, score))
            .collect();
        documents.sort_by(|one, other| other.2.total_cmp(&one.2).then_with(|| one.0.cmp(other.0)));
        documents.truncate(ORDER_DEEP);
        documents
            .into_iter()
            .map(|(document, passage, score)| (document.to_owned(), passage, score))
            .collect()
    }
}

/// One hit for each document, with its score in each order that it is in.
pub(super) fn both(
    near: Vec<(String, u32, f64)>,
    words: Vec<(String, u32, f64)>,
) -> Vec<PassageHit> {
    let mut hits: BTreeMap<String, PassageHit> = BTreeMap::new();
    let hit = |document: String, passage| PassageHit {
        document,
        passage,
        title: String::new(),
        text: String::new(),
        similarity: None,
        words: None,
    };
    for (document, passage, similarity) in near {
        let known = hits
            .entry(document.clone())
            .or_insert_with(|| hit(document, passage));
        // A cosine of 32 bits, which was made wider and is itself again.
        known.similarity = Some(similarity as f32);
    }
    for (document, passage, score) in words {
        let known = hits
            .entry(document.clone())
            .or_insert_with(|| hit(document, passage));
        known.words = Some(score);
    }
    hits.into_values().collect()
}
