//! This site's part in a count of distinct patients over several sites.
//!
//! Two requests of the coordinator: first for a key, which costs nothing and is refused here already where policy or
//! budget would refuse; then, with the keys of all sites, for the sketch under masks. In the sketch a patient occupies
//! one cell, which the linkage key and the query decide, so that she occupies the same one at every site.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_link::{LinkageKey, MaskError, MaskKey, QueryLinkage, SiteKeys};
use consilium_policies::{Ask, Facts};
use consilium_privacy::ledger::Cohort;
use consilium_protocol::message::{MaskedSketch, SignedQuery, SketchKey};
use consilium_protocol::query::{Query, Statistic};
use consilium_protocol::{Digest, Millis, Refusal, RefusalCode};

use super::answer::{Touched, asked, known_of, misfit, no_price, touched};
use super::patients::in_dataset;
use crate::data::{Column, DataError, DataSet};
use crate::gate::{
    GateFault, NoisySketch, NotReleased, OccupiedCells, Released, Touches, WorkError, sketch_price,
};
use crate::node::Node;

/// Keys that wait for their query's second request. One beyond makes the oldest useless, and its query is asked again.
const MASK_KEYS_MAX: usize = 64;

/// Keys that were handed out and not used yet, each with its query, oldest first.
#[derive(Default)]
pub struct MaskKeys(Mutex<VecDeque<(Digest, MaskKey)>>);

impl MaskKeys {
    /// A new key for a query takes the place of the one before.
    fn put(&self, query: Digest, key: MaskKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|(other, _)| *other != query);
        if keys.len() >= MASK_KEYS_MAX {
            keys.pop_front();
        }
        keys.push_back((query, key));
    }

    /// The key, once.
    fn take(&self, query: Digest) -> Option<MaskKey> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = keys.iter().position(|(other, _)| *other == query)?;
        keys.remove(at).map(|(_, key)| key)
    }
}

/// A key for the masks of this query, if this site would take part.
///
/// # Errors
/// The policy's refusal, or that of a query that is none or does not fit; or a fault.
pub fn sketch_key(
    node: &Node,
    signed: &SignedQuery,
    now: Millis,
) -> Result<SketchKey, NotReleased> {
    let (query, ask) = asked(node, signed, now)?;
    let dataset = node.dataset(&query.document().dataset);
    let question = Question::new(node, dataset.as_ref(), &query, now)?;
    node.gate
        .would_pass(&ask, &question.facts, &question.touches, now)?;
    // Who may not ask hears that, and nothing of how the data set is declared.
    let looked = question.looked.map_err(|error| match error {
        WorkError::Refused(refusal) => NotReleased::Refused(refusal),
        WorkError::Failed(cause) => NotReleased::Failed(GateFault::Work { cause }),
    })?;
    let failed = |error: consilium_link::IdentityError| GateFault::Work {
        cause: Box::new(error),
    };
    let key = MaskKey::generate(query.digest()).map_err(failed)?;
    let said = key
        .signed(&node.credentials(), looked.key)
        .map_err(failed)?;
    node.mask_keys.put(query.digest(), key);
    Ok(said)
}

/// This site's sketch for this query, under masks.
///
/// # Errors
/// As [`sketch_key`]; or the keys are not one of each site that the query names.
pub fn masked_sketch(
    node: &Node,
    signed: &SignedQuery,
    keys: &[SketchKey],
    now: Millis,
) -> Result<Released<MaskedSketch>, NotReleased> {
    let (query, ask) = asked(node, signed, now)?;
    let linkage = node.linkage.as_ref().ok_or_else(no_linkage_key)?;
    let own = node
        .mask_keys
        .take(query.digest())
        .ok_or_else(no_mask_key)?;
    // Before anything is charged: can it be masked at all?
    let sites = query.document().sites.iter().cloned();
    let credentials = node.credentials();
    let keys = SiteKeys::prove(query.digest(), sites, keys, credentials.anchor(), now)
        .map_err(not_masked)?;
    keys.fit(&own, &node.site, linkage).map_err(not_masked)?;
    let released = noisy_sketch(node, &query, &ask, now)?;
    let masked = released.masked(own, &node.site, &keys, linkage);
    masked.map_err(not_masked)
}

fn noisy_sketch(
    node: &Node,
    query: &Query,
    ask: &Ask,
    now: Millis,
) -> Result<Released<NoisySketch>, NotReleased> {
    let dataset = node.dataset(&query.document().dataset);
    let question = Question::new(node, dataset.as_ref(), query, now)?;
    let (facts, touches) = (&question.facts, &question.touches);
    node.gate
        .pass_touching(ask, facts, touches, now, |_, left| {
            let looked = question.looked?;
            let touched = &looked.touched;
            let patients = in_dataset(&touched.patients, left, &touched.numbers);
            let linked = Linked {
                dataset: touched.dataset,
                rows: &touched.rows,
                column: looked.column,
            };
            Ok(OccupiedCells {
                cells: linked.occupied(
                    &patients,
                    looked.cells,
                    &looked.key.for_query(query.digest()),
                ),
                accuracy: query.document().accuracy,
            })
        })
}

/// What the gate has to know, and what the work needs or why it cannot be done.
struct Question<'a> {
    facts: Facts,
    touches: Touches,
    looked: Result<Looked<'a>, WorkError>,
}

struct Looked<'a> {
    touched: Touched<'a>,
    /// What names patients alike at every site.
    column: &'a Column,
    key: &'a LinkageKey,
    cells: u32,
}

impl<'a> Question<'a> {
    fn new(
        node: &'a Node,
        dataset: Option<&'a Result<Arc<DataSet>, &DataError>>,
        query: &Query,
        now: Millis,
    ) -> Result<Self, GateFault> {
        let looked = match dataset {
            None => Err(WorkError::failed("no such data set")),
            Some(Err(error)) => Err(WorkError::failed(error.to_string())),
            Some(Ok(dataset)) => looked(node, dataset, query, now)?,
        };
        let price = sketch_price(query.document().accuracy).map_err(no_price);
        let (mut facts, mut touches) = known_of(
            query,
            dataset,
            looked.as_ref().ok().map(|looked| &looked.touched),
        );
        let looked = match (looked, price) {
            (Ok(looked), Ok(cost)) => {
                facts.cost = cost;
                touches.state = Some(state_of(looked.key, dataset));
                Ok(looked)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        Ok(Self {
            facts,
            touches,
            looked,
        })
    }
}

/// The sketch depends on the linkage key and column too: with another one it is another question.
fn state_of(key: &LinkageKey, dataset: Option<&Result<Arc<DataSet>, &DataError>>) -> Digest {
    let column = match dataset {
        Some(Ok(dataset)) => dataset.linkage().unwrap_or_default(),
        _ => "",
    };
    Digest::of(&[key.id().as_slice(), column.as_bytes()].concat())
}

fn looked<'a>(
    node: &'a Node,
    dataset: &'a DataSet,
    query: &Query,
    now: Millis,
) -> Result<Result<Looked<'a>, WorkError>, GateFault> {
    let Statistic::Distinct { cells } = query.document().statistic else {
        let refusal = Refusal::new(
            RefusalCode::InvalidQuery,
            "only distinct patients are counted from sketches",
            "use the same version on both sides",
        );
        return Ok(Err(WorkError::Refused(refusal)));
    };
    let Some(key) = &node.linkage else {
        return Ok(Err(WorkError::Refused(no_linkage())));
    };
    let column = dataset
        .linkage()
        .and_then(|name| dataset.table().column(name));
    let Some((_, column)) = column else {
        return Ok(Err(WorkError::Refused(Refusal::new(
            RefusalCode::InvalidQuery,
            "this site has declared no column of the data set that names patients alike at every site",
            "ask its operator for a `linkage-column` in node.toml, or leave the site out: --sites",
        ))));
    };
    let touched = match touched(node, dataset, query, now)? {
        Ok(touched) => touched,
        Err(error) => return Ok(Err(misfit(error))),
    };
    Ok(Ok(Looked {
        touched,
        column,
        key,
        cells,
    }))
}

/// Rows, and what names their patients.
struct Linked<'a> {
    dataset: &'a DataSet,
    rows: &'a [bool],
    column: &'a Column,
}

impl Linked<'_> {
    /// Which of so many cells these patients occupy: each the cell of the first of her rows that names her. Who has no
    /// name is in none.
    fn occupied(&self, patients: &Cohort, cells: u32, linkage: &QueryLinkage) -> Vec<bool> {
        let mut occupied = vec![false; cells as usize];
        let mut is_named = vec![false; self.dataset.patient_count() as usize];
        let rows = self.rows.iter().zip(self.dataset.patients()).enumerate();
        for (row, (_, &patient)) in rows.filter(|(_, (is_in, _))| **is_in) {
            let Some(is_named) = is_named.get_mut(patient as usize) else {
                continue;
            };
            if *is_named || !patients.contains(patient) {
                continue;
            }
            let Some(identifier) = identifier(self.column, row) else {
                continue;
            };
            *is_named = true;
            // A power of two: the remainder of 64 bits is as even as they are.
            let cell = linkage.hash(identifier.as_bytes()) % u64::from(cells);
            if let Some(cell) = occupied.get_mut(cell as usize) {
                *cell = true;
            }
        }
        occupied
    }
}

/// What names a row's patient, spelt alike however a file spells it: without blanks around it, in capitals.
fn identifier(column: &Column, row: usize) -> Option<String> {
    let text = match column {
        Column::Text(cells) => cells.get(row)?.as_ref()?.trim().to_uppercase(),
        Column::Integer(cells) => cells.get(row).copied().flatten()?.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn no_linkage() -> Refusal {
    Refusal::new(
        RefusalCode::InvalidQuery,
        "this site has no linkage key, and takes part in no count of distinct patients",
        "ask its operator for the sites' key, or leave the site out: --sites",
    )
}

fn no_linkage_key() -> NotReleased {
    NotReleased::Refused(no_linkage())
}

fn no_mask_key() -> NotReleased {
    NotReleased::Refused(Refusal::new(
        RefusalCode::WrongState,
        "this site has no key for the masks of this query (any more)",
        "ask again; what was paid for is not paid for twice",
    ))
}

fn not_masked(error: MaskError) -> NotReleased {
    NotReleased::Refused(Refusal::new(
        RefusalCode::BadSignature,
        format!("this site does not mask with the keys that it was shown: {error}"),
        "have the sites' operators compare their linkage keys; if they are the same, tell the administrator",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patients_identifier_is_the_same_however_it_is_spelt() {
        let texts = ["ab 1 ", " AB 1", "", "  "].map(|text| Some(text.into()));
        let column = Column::Text(texts.into_iter().chain([None]).collect());
        let of = |row| identifier(&column, row);
        assert_eq!(of(0), of(1));
        assert_eq!(of(0).as_deref(), Some("AB 1"));
        assert_eq!((of(2), of(3), of(4), of(9)), (None, None, None, None));
        assert_eq!(
            identifier(&Column::Integer(vec![Some(42)]), 0).as_deref(),
            Some("42")
        );
    }

    /// A site whose desk writes these rows.
    fn ward(rows: &str) -> DataSet {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ward.csv", &format!("who,insured\n{rows}"));
        write(
            "ward.toml",
            "format = \"csv\"\npatient_key = \"who\"\ncolumns = [{ name = \"who\", type = \"text\" },\
             { name = \"insured\", type = \"text\", missing = \"allow\" }]",
        );
        let declared = crate::data::Declaration {
            name: "ward".parse().unwrap(),
            path: "ward.csv".into(),
            schema: "ward.toml".into(),
            test_rows: None,
            linkage_column: Some("insured".into()),
        };
        declared.open(folder.path()).unwrap()
    }

    fn cells_of(dataset: &DataSet, key: &LinkageKey) -> Vec<bool> {
        let rows = vec![true; dataset.table().rows()];
        let (_, column) = dataset.table().column("insured").unwrap();
        let linked = Linked {
            dataset,
            rows: &rows,
            column,
        };
        let everybody = Cohort::first(dataset.patient_count()).unwrap();
        linked.occupied(&everybody, 1 << 16, &key.for_query(Digest::of(b"query")))
    }

    #[test]
    fn a_patient_has_one_cell_the_same_at_every_site() {
        let key = LinkageKey::generate().unwrap();
        let here = cells_of(&ward("ann,CH-1\nann,CH-1\nbob,CH-2\ncid,\n"), &key);
        let there = cells_of(&ward("p7,ch-2\np8,ch-3\n"), &key);
        let count = |cells: &[bool]| cells.iter().filter(|cell| **cell).count();
        // Ann and Bob; Cid has no number.
        assert_eq!((count(&here), count(&there)), (2, 2));
        let both: Vec<bool> = here.iter().zip(&there).map(|(a, b)| a & b).collect();
        assert_eq!(count(&both), 1);
        // Whoever comes or goes, with as many rows and numbers as she likes, changes one cell: what is priced.
        let more = cells_of(
            &ward("ann,CH-1\nann,CH-1\nbob,CH-2\ncid,\ndan,CH-4\ndan,CH-5\ndan,CH-6\n"),
            &key,
        );
        let changed: Vec<bool> = here.iter().zip(&more).map(|(a, b)| a ^ b).collect();
        assert_eq!(count(&changed), 1);
    }

    #[test]
    fn a_key_is_taken_once_and_only_so_many_wait() {
        let keys = MaskKeys::default();
        let query = |n: usize| Digest::of(&n.to_le_bytes());
        for n in 0..=MASK_KEYS_MAX {
            keys.put(query(n), MaskKey::generate(query(n)).unwrap());
        }
        assert!(keys.take(query(0)).is_none());
        let newer = MaskKey::generate(query(1)).unwrap();
        let public = newer.public();
        keys.put(query(1), newer);
        assert_eq!(keys.take(query(1)).unwrap().public(), public);
        assert!(keys.take(query(1)).is_none());
    }
}
