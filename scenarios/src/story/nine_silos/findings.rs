//! Everything that the story found, and its JSON. Pure.

use serde_json::{Map, Value, json};

use super::filters::Filtered;
use super::ingest::Ingested;
use super::latency::Latency;
use super::outage::Outage;
use super::parity::Found;
use super::questions::SEED;
use super::stages::{Cost, RANKINGS, ROWS};

/// What the story found.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) rows: usize,
    /// Rows whose id an earlier one has.
    pub(super) marked: usize,
    /// By site, then by collection.
    pub(super) ingested: Vec<(&'static str, Vec<(&'static str, Ingested)>)>,
    pub(super) known_items: usize,
    pub(super) found: Vec<Found>,
    pub(super) filtered: Vec<Filtered>,
    pub(super) latency: Vec<Latency>,
    pub(super) outage: Outage,
    /// By ranking, then by row of the table.
    pub(super) costs: Vec<Vec<Cost>>,
    /// How many of somebody's own questions were answered.
    pub(super) own_questions: usize,
    /// Ranked documents of each question that the run file is about.
    pub(super) run: Vec<(String, Vec<String>)>,
    /// What `consilium audit verify` said of each journal.
    pub(super) journals: Vec<(String, Value)>,
    pub(super) took_ms: u64,
}

impl Findings {
    /// Answers that are not those of one place, of all that were compared.
    #[must_use]
    pub(super) fn mismatches(&self) -> (usize, usize) {
        let of_ways = self
            .found
            .iter()
            .map(|found| (found.mismatches, found.federated.questions()));
        let of_filters = self
            .filtered
            .iter()
            .map(|filtered| (filtered.mismatches, filtered.questions));
        let of_outage = [(self.outage.mismatches, self.outage.after)];
        of_ways
            .chain(of_filters)
            .chain(of_outage)
            .fold((0, 0), |(wrong, all), (more, of)| (wrong + more, all + of))
    }

    /// What all sites hold of one collection.
    #[must_use]
    pub(super) fn total(&self, collection: &str) -> Ingested {
        let mut total = Ingested::default();
        let sites = self
            .ingested
            .iter()
            .filter(|(site, _)| *site != super::CENTRE);
        for (_, of_site) in sites
            .flat_map(|(_, collections)| collections)
            .filter(|(name, _)| *name == collection)
        {
            total.add(of_site);
        }
        total
    }

    /// What lies in one place of one collection.
    #[must_use]
    pub(super) fn central(&self, collection: &str) -> Ingested {
        let centre = self
            .ingested
            .iter()
            .find(|(site, _)| *site == super::CENTRE);
        let found = centre
            .and_then(|(_, collections)| collections.iter().find(|(name, _)| *name == collection));
        found
            .map(|(_, ingested)| ingested.clone())
            .unwrap_or_default()
    }

    /// Everything, for programs.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        let (mismatches, compared) = self.mismatches();
        let ingested = self.ingested.iter();
        let ingested = ingested.map(|(site, of)| ((*site).to_owned(), ingested_json(of)));
        json!({
            "story": "nine-silos",
            "seed": SEED,
            "rows": self.rows,
            "rows_with_a_marked_id": self.marked,
            "ingested": ingested.collect::<Map<_, _>>(),
            "known_items": self.known_items,
            "ways": self.found.iter().map(Found::json).collect::<Vec<_>>(),
            "federated_equals_central": { "compared": compared, "mismatches": mismatches },
            "filters": self.filtered.iter().map(Filtered::json).collect::<Vec<_>>(),
            "latency": self.latency.iter().map(Latency::json).collect::<Vec<_>>(),
            "outage": self.outage.json(),
            "stages": self.stages_json(),
            "own_questions": self.own_questions,
            "journals": self.journals.iter().cloned().collect::<Map<_, _>>(),
            "took_ms": self.took_ms,
        })
    }

    fn stages_json(&self) -> Value {
        let mut rows = Vec::new();
        for (ranking, costs) in RANKINGS.iter().zip(&self.costs) {
            for ((name, _), cost) in ROWS.iter().zip(costs) {
                rows.push(json!({
                    "ranking": ranking,
                    "stages": name,
                    "own_answer": cost.answer.json(),
                    "own_patient": cost.patient.json(),
                    "own_answer_withheld": cost.withheld,
                    "own_patient_withheld": cost.patient_withheld,
                }));
            }
        }
        rows.into()
    }
}

fn ingested_json(collections: &[(&'static str, Ingested)]) -> Value {
    let one = |(name, ingested): &(&'static str, Ingested)| {
        let figures = json!({
            "documents": ingested.documents,
            "passages": ingested.passages,
            "duplicates_dropped": ingested.duplicates,
            "records_skipped": ingested.skipped,
            "redactions": ingested.redacted,
            "took_ms": ingested.took_ms,
        });
        ((*name).to_owned(), figures)
    };
    collections.iter().map(one).collect::<Map<_, _>>().into()
}
