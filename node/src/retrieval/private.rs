//! Levels 2 and 3: which patients' passages are told of, and what is told.

use std::collections::{HashMap, HashSet};

use consilium_privacy::Cost;
use consilium_privacy::ledger::Cohort;
use consilium_protocol::message::SearchAnswer;
use consilium_protocol::query::QueryError;
use consilium_protocol::search::merge::RECIPROCAL_RANK_CONSTANT;
use consilium_protocol::search::{RANK_DEPTH, Ranking, Search};
use consilium_protocol::{DatasetName, Digest, Millis, Refusal, RefusalCode};
use consilium_search::fusion::reciprocal_rank;
use consilium_search::lexical;
use consilium_search::vector::{Hit, RowId, RowSet, UnitVector};

use super::answer::{Eligible, Looking, REDACTOR, cohort};
use super::disclosure::{handle, told};
use super::eligible::eligible_rows;
use super::ranked::one_of_each;
use super::too_close::{TAIL, leads, withheld};
use crate::collections::OpenCollection;
use crate::gate::{Candidates, NotReleased, PrivateHit, Released, SearchFinding, WorkError};
use crate::query::{Condition, Population, in_ledger};

/// The patients of a collection, as those about whom exact answers are given.
struct OfCollection<'a> {
    open: &'a OpenCollection,
    now: Millis,
}

impl Population for OfCollection<'_> {
    type Question = Search;

    fn name(&self) -> &DatasetName {
        &self.open.declaration.name
    }

    fn version(&self) -> Digest {
        self.open.collection.version()
    }

    fn patient_count(&self) -> u32 {
        u32::try_from(self.open.collection.figures().patients).unwrap_or(u32::MAX)
    }

    fn read(&self, text: &[u8]) -> Result<Search, QueryError> {
        Search::parse(text)
    }

    fn text<'q>(&self, question: &'q Search) -> &'q str {
        question.text()
    }

    fn condition(&self, question: &Search) -> Condition {
        let document = question.document();
        let agreed_to = self.open.declaration.consent_column.as_ref();
        let purpose = agreed_to.map(|_| &document.purpose);
        Condition::new(document.filter.as_ref(), purpose)
    }

    fn cohort(&self, question: &Search) -> Option<Cohort> {
        let document = question.document();
        let filter = document.filter.as_ref();
        let rows = eligible_rows(self.open, filter, &document.purpose, self.now).ok()?;
        Some(cohort(&self.open.collection.patients_of(&rows)))
    }
}

impl Looking<'_> {
    /// Levels 2 and 3. It touches those whose passages it tells of, each for one disclosure.
    pub(super) fn private(&self) -> Result<Released<SearchAnswer>, NotReleased> {
        let level = self.search.document().wanted.level();
        let numbers = self.numbers()?;
        let mut facts = self.facts();
        facts.cost = Cost::Disclosure;
        let mut touches = self.touches();
        let found = match self.eligible() {
            Err(why) => {
                // What cannot be answered costs nothing; the work says why, once the policy has decided who may ask.
                facts.cost = Cost::None;
                facts.cohort_patients = facts.dataset_patients;
                Err(why)
            }
            Ok(eligible) => {
                facts.cohort_patients = Some(eligible.patients.len() as u64);
                let everyone = in_ledger(&cohort(&eligible.patients), &numbers);
                let gate = &self.node.gate;
                let candidates = gate.candidates(self.ask, &facts, &everyone, self.now);
                let found = self.found(&eligible, &candidates, &numbers);
                match &found {
                    Ok(hits) => {
                        let patients = hits.iter().filter_map(|hit| self.patient_of(hit.row));
                        let patients: Vec<u32> = patients.collect();
                        touches.patients = in_ledger(&cohort(&patients), &numbers);
                    }
                    Err(_) => facts.cost = Cost::None,
                }
                found
            }
        };
        self.node
            .gate
            .pass_touching(self.ask, &facts, &touches, self.now, |_, left| {
                let mut hits = found?;
                hits.retain(|hit| {
                    let patient = self.patient_of(hit.row);
                    let number = patient.and_then(|patient| numbers.get(patient as usize));
                    number.is_some_and(|number| left.contains(*number))
                });
                let never = match level {
                    3 => self.open.declaration.never_leaves(self.node.folder.root()),
                    _ => Ok(Vec::new()),
                };
                let never = never.map_err(WorkError::failed)?;
                let hits = hits
                    .into_iter()
                    .map(|hit| self.private_hit(hit, level, &never));
                Ok(SearchFinding::Private {
                    level,
                    hits: hits.collect::<Result<_, _>>()?,
                })
            })
    }

    /// The nearest of those who may be found; nobody where the policy refuses, or where no budget is left.
    fn found(
        &self,
        eligible: &Eligible,
        candidates: &Candidates,
        numbers: &[u32],
    ) -> Result<Vec<Hit>, WorkError> {
        if candidates.patients.is_empty() {
            return Ok(Vec::new());
        }
        let population = OfCollection {
            open: self.open,
            now: self.now,
        };
        let asked_about = cohort(&eligible.patients);
        let floor = candidates.floor_patients;
        // What is found among some and not among others tells of those between.
        self.node
            .exact_answers
            .enter(&population, self.search, &asked_about, floor)
            .map_err(WorkError::failed)?
            .map_err(|_| WorkError::Refused(too_few()))?;
        self.nearest_patients(&self.rows_left(eligible, &candidates.patients, numbers))
    }

    /// The nearest passages of different patients, but for those that are too near to be an answer.
    fn nearest_patients(&self, rows: &RowSet) -> Result<Vec<Hit>, WorkError> {
        let Some((wanted, ranking)) = self.search.document().wanted.hits() else {
            return Err(WorkError::failed("no hits were wanted"));
        };
        let vector = self.vector()?;
        let near = |k| self.by_vector(&vector, k, rows);
        let owner_of = |hit: &Hit| self.patient_of(hit.row);
        let mut nearest = one_of_each(wanted + TAIL + 1, owner_of, near)?;
        let question = &self.search.document().text;
        let by_words = |k| self.open.collection.words(question, k, rows);
        let owner_of = |hit: &lexical::Hit| self.patient_of(hit.row);
        let worded = one_of_each(RANK_DEPTH, owner_of, by_words).map_err(WorkError::failed)?;
        let similarities: Vec<f32> = nearest.iter().map(|hit| hit.similarity).collect();
        let mut too_near: Vec<u32> = nearest
            .drain(..withheld(&similarities))
            .filter_map(|hit| self.patient_of(hit.row))
            .collect();
        // Who copies a part of a record is far from its vector, and nowhere as near as to its words.
        let scores: Vec<f64> = worded.iter().map(|hit| hit.score).collect();
        let copied = worded.first().filter(|_| leads(&scores));
        too_near.extend(copied.and_then(|hit| self.patient_of(hit.row)));
        let mut told = match ranking {
            Ranking::Vectors => nearest,
            Ranking::Words | Ranking::Both => self.joined(&vector, &nearest, &worded, ranking)?,
        };
        told.retain(|hit| {
            let patient = self.patient_of(hit.row);
            patient.is_some_and(|patient| !too_near.contains(&patient))
        });
        told.truncate(wanted);
        Ok(told)
    }

    /// Both orders in one, each hit with its similarity: a BM25 score in sixteenths would say nothing.
    fn joined(
        &self,
        vector: &UnitVector,
        nearest: &[Hit],
        worded: &[lexical::Hit],
        ranking: Ranking,
    ) -> Result<Vec<Hit>, WorkError> {
        let near: Vec<RowId> = nearest.iter().map(|hit| hit.row).collect();
        // A patient has one place in each order, whichever of their passages gave it.
        let row_of: HashMap<Option<u32>, RowId> = nearest
            .iter()
            .map(|hit| (self.patient_of(hit.row), hit.row))
            .collect();
        let same = |row| row_of.get(&self.patient_of(row)).copied().unwrap_or(row);
        let words: Vec<RowId> = worded.iter().map(|hit| same(hit.row)).collect();
        let order: Vec<RowId> = match ranking {
            Ranking::Both => reciprocal_rank(&[&near, &words], RECIPROCAL_RANK_CONSTANT)
                .into_iter()
                .map(|(row, _)| row)
                .collect(),
            _ => words,
        };
        let mut seen = HashSet::new();
        let mut hits = Vec::with_capacity(order.len());
        for row in order {
            let found = self.open.collection.similarity(row, vector);
            if let Some(similarity) = found.map_err(WorkError::failed)?
                && seen.insert(self.patient_of(row))
            {
                hits.push(Hit { row, similarity });
            }
        }
        Ok(hits)
    }

    fn private_hit(&self, hit: Hit, level: u8, never: &[String]) -> Result<PrivateHit, WorkError> {
        let document = self.search.document();
        let passage = self.passage(hit.row)?;
        let secret = self.node.gate.handle_secret();
        Ok(PrivateHit {
            handle: handle(
                &secret,
                self.search.digest(),
                &passage.document,
                passage.number,
            ),
            similarity: hit.similarity,
            snippet: match level {
                3 => told(&REDACTOR, &passage.text, &document.text, never),
                _ => String::new(),
            },
        })
    }
}

fn too_few() -> Refusal {
    Refusal::new(
        RefusalCode::TooFewPatients,
        "the patients asked about differ from others by fewer than the floor",
        "ask about more patients",
    )
}
