//! From a signed search to what the gate releases.

use consilium_link::{IdentityError, verify_search};
use consilium_policies::{Action, Ask, Facts, FilterFacts, Researcher};
use consilium_privacy::ledger::Cohort;
use consilium_protocol::message::{Disclosed, PassageHit, SearchAnswer, SignedSearch};
use consilium_protocol::query::QueryError;
use consilium_protocol::search::merge::could_be_told;
use consilium_protocol::search::{RANK_DEPTH, Ranking, Search, Wanted};
use consilium_protocol::{Digest, Millis, Refusal, RefusalCode};
use consilium_search::collection::PassageText;
use consilium_search::lexical;
use consilium_search::redaction::Redactor;
use consilium_search::vector::{Effort, Hit, RowId, RowSet, UnitVector};

use super::eligible::eligible_rows;
use super::ranked::one_of_each;
use super::tallied::Nearest;
use crate::collections::OpenCollection;
use crate::gate::{
    GateFault, NotReleased, Released, SearchFinding, Touches, WorkError, count_price,
};
use crate::node::Node;
use crate::query::in_ledger;

/// How far ahead a search may say that it expires: what is older is not answered, however it came here.
const VALID_FOR_MS_MAX: u64 = 15 * 60 * 1000;

/// Up to so many passages every one is looked at: a site's answer is then exact, and so is what sites find together.
const EXACT_ROWS_MAX: usize = 65_536;

/// What came of a search.
#[must_use = "the one who searched is waiting"]
pub enum Searched {
    Released(Released<SearchAnswer>),
    /// Too few patients stand behind it. Outside it looks like nothing found.
    Nothing(Disclosed),
}

/// A search that this site cannot take for what it claims to be.
#[derive(Debug, thiserror::Error)]
enum UnprovenSearch {
    #[error(transparent)]
    Signature(#[from] IdentityError),
    #[error(transparent)]
    Search(#[from] QueryError),
}

/// The search, and what it asks of this site's gate.
///
/// # Errors
/// It is not what it claims to be, has expired, or does not name this site.
pub fn prove(node: &Node, signed: &SignedSearch, now: Millis) -> Result<(Search, Ask), Refusal> {
    let proven = || -> Result<(Search, Researcher), UnprovenSearch> {
        let identity = verify_search(signed, node.credentials().anchor(), now)?;
        let researcher = Researcher {
            name: identity.name,
            role: identity.role,
        };
        Ok((Search::parse(&signed.text)?, researcher))
    };
    let (search, researcher) = proven().map_err(not_proven)?;
    let expires = Millis(signed.expires_at_ms);
    if expires < now || expires.since_ms(now) > VALID_FOR_MS_MAX {
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            "the search has expired, or says that it never will",
            "search again; if it is refused again, the clocks here and there differ by minutes",
        ));
    }
    let document = search.document();
    if !document.sites.is_empty() && !document.sites.contains(&node.site) {
        return Err(Refusal::new(
            RefusalCode::NotNamed,
            format!("the search does not name site `{}`", node.site),
            "name it with --sites",
        ));
    }
    // What is public may be asked in batches: nothing in it is to be taken apart.
    if document.wanted.level() < 4 {
        node.search_pace()
            .count(&document.project, now)
            .inspect_err(|refusal| tracing::warn!(%refusal, "too many searches"))?;
    }
    let ask = Ask {
        project: document.project.clone(),
        researcher,
        purpose: document.purpose.clone(),
        dataset: document.collection.clone(),
        run: None,
        run_digest: search.digest(),
        action: Action::Search {
            level: document.wanted.level(),
        },
    };
    Ok((search, ask))
}

/// Answers one search from this site's collection, through the gate.
///
/// # Errors
/// The policy's refusal, or that of a search that does not fit; or a fault.
pub fn answer(
    node: &Node,
    search: &Search,
    ask: &Ask,
    now: Millis,
) -> Result<Searched, NotReleased> {
    let document = search.document();
    let open = match node.collection(&document.collection) {
        None => return refused_without(node, ask, Facts::default(), now, None),
        Some(Ok(open)) => open,
        Some(Err(error)) => {
            let facts = Facts {
                dataset_records: Some(0),
                ..Facts::default()
            };
            let why = Some(WorkError::failed(error));
            return refused_without(node, ask, facts, now, why);
        }
    };
    let looking = Looking {
        node,
        search,
        ask,
        open: &open,
        now,
    };
    let outcome = match document.wanted {
        Wanted::Count { .. } | Wanted::Votes { .. } => looking.counted(),
        Wanted::Handles { .. } | Wanted::Snippets { .. } => looking.private(),
        Wanted::Passages { .. } => looking.public(),
    };
    match outcome {
        Ok(released) => Ok(Searched::Released(released)),
        // That too few patients fit is itself about them: it looks like nothing found.
        Err(NotReleased::Refused(refusal))
            if refusal.code == RefusalCode::TooFewPatients
                && matches!(document.wanted.level(), 2 | 3) =>
        {
            Ok(Searched::Nothing(Disclosed {
                hits: Vec::new(),
                bundle: node.gate.bundle_in_force(now).unwrap_or(Digest([0; 32])),
            }))
        }
        Err(other) => Err(other),
    }
}

/// Of a collection that is not there or cannot be read: the policy says who may know.
fn refused_without(
    node: &Node,
    ask: &Ask,
    facts: Facts,
    now: Millis,
    why: Option<WorkError>,
) -> Result<Searched, NotReleased> {
    let why = why.unwrap_or_else(|| WorkError::failed("no such collection"));
    let released =
        node.gate
            .pass_touching::<SearchFinding>(ask, &facts, &nothing(), now, |_, _| Err(why))?;
    Ok(Searched::Released(released))
}

fn nothing() -> Touches {
    Touches {
        dataset_version: Digest([0; 32]),
        state: None,
        patients: Cohort::default(),
    }
}

/// One search being looked into.
pub(super) struct Looking<'a> {
    pub(super) node: &'a Node,
    pub(super) search: &'a Search,
    pub(super) ask: &'a Ask,
    pub(super) open: &'a OpenCollection,
    pub(super) now: Millis,
}

/// Rows that may be candidates, and their patients.
pub(super) struct Eligible {
    pub(super) rows: RowSet,
    /// By their numbers in the collection, ascending.
    pub(super) patients: Vec<u32>,
}

impl Looking<'_> {
    /// Levels 0 and 1. It touches everyone who could be counted: whether someone is depends on their texts.
    fn counted(&self) -> Result<Released<SearchAnswer>, NotReleased> {
        let (nearness, accuracy) = match self.search.document().wanted {
            Wanted::Count { nearness, accuracy } => (nearness, accuracy),
            Wanted::Votes {
                nearness, accuracy, ..
            } => (nearness, accuracy),
            _ => return Err(wrong_level()),
        };
        let level = self.search.document().wanted.level();
        let eligible = self.eligible();
        let priced = count_price(accuracy).map_err(|error| misfit(error.to_string()));
        let mut facts = self.facts();
        let mut touches = self.touches();
        let numbers = self.numbers()?;
        match (&eligible, &priced) {
            (Ok(eligible), Ok(cost)) => {
                facts.cost = cost.clone();
                touches.patients = in_ledger(&cohort(&eligible.patients), &numbers);
            }
            // What cannot be answered costs nothing; the work says why, once the policy has decided who may ask.
            _ => facts.cohort_patients = facts.dataset_patients,
        }
        self.node
            .gate
            .pass_touching(self.ask, &facts, &touches, self.now, |_, left| {
                priced?;
                let eligible = eligible?;
                let rows = self.rows_left(&eligible, left, &numbers);
                let vector = self.vector()?;
                let collection = &self.open.collection;
                let mut nearest = Nearest::of(nearness);
                collection
                    .scan(&vector, &rows, &mut |row, similarity| {
                        if let Some(patient) = collection.patient_of(row) {
                            nearest.see(patient, row, similarity);
                        }
                    })
                    .map_err(WorkError::failed)?;
                let counts = match &self.search.document().wanted {
                    Wanted::Votes {
                        column, candidates, ..
                    } => self.votes(&nearest, column, candidates)?,
                    _ => vec![nearest.patients()],
                };
                Ok(SearchFinding::Counted {
                    level,
                    counts,
                    accuracy,
                })
            })
    }

    fn votes(
        &self,
        nearest: &Nearest,
        column: &str,
        candidates: &[String],
    ) -> Result<Vec<u64>, WorkError> {
        let words = self
            .open
            .collection
            .column_words(column)
            .map_err(|error| misfit(error.to_string()))?;
        let of_word: std::collections::BTreeMap<&str, &RowSet> =
            words.iter().map(|(word, rows)| (*word, rows)).collect();
        let rows: Vec<Option<&RowSet>> = candidates
            .iter()
            .map(|candidate| of_word.get(candidate.as_str()).copied())
            .collect();
        Ok(nearest.votes(candidates.len(), |candidate, row| {
            let bearing = rows.get(candidate).copied().flatten();
            bearing.is_some_and(|rows| rows.contains(row))
        }))
    }

    /// Level 4: the best documents in each order that is wanted, each with its passage.
    fn public(&self) -> Result<Released<SearchAnswer>, NotReleased> {
        let facts = self.facts();
        self.node
            .gate
            .pass_touching(self.ask, &facts, &self.touches(), self.now, |_, _| {
                let eligible = self.eligible()?;
                Ok(SearchFinding::Public {
                    hits: self.documents(&eligible.rows)?,
                    encoder: self.open.encoder.id(),
                })
            })
    }

    fn documents(&self, rows: &RowSet) -> Result<Vec<PassageHit>, WorkError> {
        let document = self.search.document();
        let Some((wanted, ranking)) = document.wanted.hits() else {
            return Err(WorkError::failed("no hits were wanted"));
        };
        let depth = match ranking {
            Ranking::Both => RANK_DEPTH.max(wanted),
            Ranking::Vectors | Ranking::Words => wanted,
        };
        let collection = &self.open.collection;
        let document_of = |row| collection.document_of(row).map(|(document, _)| document);
        let mut ranked: Vec<(RowId, PassageHit)> = Vec::new();
        if ranking != Ranking::Words {
            let vector = self.vector()?;
            let near = |k| self.by_vector(&vector, k, rows);
            for hit in one_of_each(depth, |hit: &Hit| document_of(hit.row), near)? {
                let similarity = Some(hit.similarity);
                let place = self.place_of(hit.row)?;
                ranked.push((
                    hit.row,
                    PassageHit {
                        similarity,
                        ..place
                    },
                ));
            }
        }
        if ranking != Ranking::Vectors {
            let by_words = |k| collection.words(&document.text, k, rows);
            let owner_of = |hit: &lexical::Hit| document_of(hit.row);
            let worded = one_of_each(depth, owner_of, by_words).map_err(WorkError::failed)?;
            for hit in worded {
                let words = Some(hit.score);
                let place = self.place_of(hit.row)?;
                match ranked
                    .iter_mut()
                    .find(|(_, known)| known.document == place.document)
                {
                    Some((_, known)) => known.words = words,
                    None => ranked.push((hit.row, PassageHit { words, ..place })),
                }
            }
        }
        self.with_texts(ranked, ranking, wanted)
    }

    /// Where a passage stands, without what it says.
    fn place_of(&self, row: RowId) -> Result<PassageHit, WorkError> {
        let place = self.open.collection.document_of(row);
        let (document, passage) =
            place.ok_or_else(|| WorkError::failed("a passage that was found is not there"))?;
        Ok(PassageHit {
            document: document.to_owned(),
            passage,
            title: String::new(),
            text: String::new(),
            similarity: None,
            words: None,
        })
    }

    /// The texts of those that could be among the best of all sites; the others are there for their ranks.
    fn with_texts(
        &self,
        ranked: Vec<(RowId, PassageHit)>,
        ranking: Ranking,
        wanted: usize,
    ) -> Result<Vec<PassageHit>, WorkError> {
        let (rows, mut hits): (Vec<RowId>, Vec<PassageHit>) = ranked.into_iter().unzip();
        let told = could_be_told(&hits, ranking, wanted);
        for ((row, hit), is_told) in rows.into_iter().zip(&mut hits).zip(told) {
            if is_told {
                let passage = self.passage(row)?;
                hit.title = passage.title;
                hit.text = passage.text;
            }
        }
        Ok(hits)
    }

    pub(super) fn passage(&self, row: RowId) -> Result<PassageText, WorkError> {
        let passage = self.open.collection.passage(row);
        passage
            .map_err(WorkError::failed)?
            .ok_or_else(|| WorkError::failed("a passage that was found is not there"))
    }

    pub(super) fn patient_of(&self, row: RowId) -> Option<u32> {
        self.open.collection.patient_of(row)
    }

    pub(super) fn by_vector(
        &self,
        vector: &UnitVector,
        k: usize,
        rows: &RowSet,
    ) -> Result<Vec<Hit>, WorkError> {
        let effort = match self.open.collection.figures().passages as usize <= EXACT_ROWS_MAX {
            true => Effort::Exact,
            false => Effort::default(),
        };
        self.open
            .collection
            .nearest(vector, k, rows, effort)
            .map_err(WorkError::failed)
    }

    /// The question's vector, redacted as the passages are: a name in it would find nothing but itself.
    pub(super) fn vector(&self) -> Result<UnitVector, WorkError> {
        let document = self.search.document();
        let text = match document.wanted {
            Wanted::Passages { .. } => document.text.clone(),
            _ => REDACTOR.redact(&document.text).text,
        };
        let encoded = self.open.encoder.encode(&[&text]);
        let vector = encoded
            .map_err(WorkError::Failed)?
            .pop()
            .ok_or_else(|| WorkError::failed("the encoder gave no vector"))?;
        UnitVector::parse(&vector).map_err(WorkError::failed)
    }

    pub(super) fn eligible(&self) -> Result<Eligible, WorkError> {
        let document = self.search.document();
        let filter = document.filter.as_ref();
        let rows = eligible_rows(self.open, filter, &document.purpose, self.now)
            .map_err(|error| misfit(error.to_string()))?;
        let patients = self.open.collection.patients_of(&rows);
        Ok(Eligible { rows, patients })
    }

    /// The rows of those patients whom the ledger leaves.
    pub(super) fn rows_left(&self, eligible: &Eligible, left: &Cohort, numbers: &[u32]) -> RowSet {
        let leaves: Vec<bool> = numbers
            .iter()
            .map(|number| left.contains(*number))
            .collect();
        let of_them = self.open.collection.rows_of_patients(&leaves);
        let rows = eligible.rows.iter();
        rows.filter(|row| of_them.contains(*row)).collect()
    }

    pub(super) fn facts(&self) -> Facts {
        let collection = &self.open.collection;
        let figures = collection.figures();
        Facts {
            dataset_records: Some(figures.documents),
            dataset_patients: Some(figures.patients),
            filter: FilterFacts::of(self.search.document().filter.as_ref(), |name| {
                collection.columns().any(|(column, _)| column == name)
            }),
            ..Facts::default()
        }
    }

    pub(super) fn touches(&self) -> Touches {
        Touches {
            dataset_version: self.open.collection.version(),
            ..nothing()
        }
    }

    pub(super) fn numbers(&self) -> Result<std::sync::Arc<Vec<u32>>, GateFault> {
        let collection = &self.open.collection;
        self.node.patient_numbers.of_identities(
            &self.node.gate,
            &self.search.document().collection,
            collection.version(),
            || collection.patient_identities(),
            self.now,
        )
    }
}

pub(super) static REDACTOR: std::sync::LazyLock<Redactor> = std::sync::LazyLock::new(Redactor::new);

/// Patients of a collection; there are never more than a cohort can hold, or the ledger has refused to number them.
pub(super) fn cohort(patients: &[u32]) -> Cohort {
    Cohort::of(patients.iter().copied()).unwrap_or_default()
}

fn misfit(reason: String) -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::InvalidQuery,
        reason,
        "use columns and values that this site's collection has",
    ))
}

fn wrong_level() -> NotReleased {
    NotReleased::Refused(Refusal::new(
        RefusalCode::InvalidQuery,
        "nothing is counted at this level",
        "let `consilium search` write the search",
    ))
}

fn not_proven(error: UnprovenSearch) -> Refusal {
    match error {
        UnprovenSearch::Signature(error) => Refusal::new(
            RefusalCode::BadSignature,
            error.to_string(),
            "search with the credentials of a researcher of this consortium",
        ),
        UnprovenSearch::Search(error) => Refusal::new(
            RefusalCode::InvalidQuery,
            error.to_string(),
            "let `consilium search` write the search",
        ),
    }
}
