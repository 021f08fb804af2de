//! From a signed query to what the gate releases.

use std::sync::Arc;

use consilium_link::{IdentityError, verify_query};
use consilium_policies::{Action, Ask, Facts, FilterFacts, Researcher, StatisticKind};
use consilium_privacy::ledger::Cohort;
use consilium_protocol::message::{SignedQuery, SiteAnswer};
use consilium_protocol::query::{Query, QueryError, Statistic};
use consilium_protocol::{Digest, Millis, Refusal, RefusalCode};

use super::filter::{Misfit, rows_where};
use super::overlap::Overlap;
use super::patients::{in_dataset, in_ledger};
use super::tally::{patients_of, tally};
use crate::data::{DataError, DataSet};
use crate::gate::{
    GateFault, NotReleased, PriceError, Released, StatisticsAnswer, Touches, WorkError, price,
};
use crate::node::Node;

/// A query that this site cannot take for what it claims to be.
#[derive(Debug, thiserror::Error)]
enum UnprovenQuery {
    #[error(transparent)]
    Signature(#[from] IdentityError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// The patients and rows that a query is about.
pub(super) struct Touched<'a> {
    pub(super) dataset: &'a DataSet,
    pub(super) rows: Vec<bool>,
    /// By their numbers in the data set.
    pub(super) patients: Cohort,
    /// For each of those numbers the ledger's.
    pub(super) numbers: Arc<Vec<u32>>,
}

/// Answers one query from this site's records, through the gate.
///
/// # Errors
/// The policy's refusal, or that of a query that is none or does not fit; or a fault.
pub fn answer(
    node: &Node,
    signed: &SignedQuery,
    now: Millis,
) -> Result<Released<SiteAnswer>, NotReleased> {
    let (query, ask) = asked(node, signed, now)?;
    let document = query.document();
    if matches!(document.statistic, Statistic::Distinct { .. }) {
        return Err(NotReleased::Refused(Refusal::new(
            RefusalCode::InvalidQuery,
            "distinct patients are counted from masked sketches alone",
            "use the same version on both sides",
        )));
    }
    let dataset = node.dataset(&document.dataset);
    let touched = match &dataset {
        None => Err(WorkError::failed("no such data set")),
        // Declared, and unusable: the policy still decides first, by no records at all.
        Some(Err(error)) => Err(WorkError::failed(error.to_string())),
        Some(Ok(dataset)) => touched(node, dataset, &query, now)?.map_err(misfit),
    };
    let priced = price(&document.statistic, document.accuracy).map_err(no_price);
    let (mut facts, touches) = known_of(&query, dataset.as_ref(), touched.as_ref().ok());
    match (&touched, &priced) {
        (Ok(touched), Ok(_)) if !document.accuracy.is_noisy() => {
            facts.cohort_patients = Some(touched.patients.len());
        }
        // A noisy answer depends on nothing exact, and neither does whether there is one: its cohort stays unknown.
        (Ok(_), Ok(cost)) => facts.cost = cost.clone(),
        // What cannot be answered costs nothing and touches nobody: once the policy has decided who may ask, the
        // work says why not before it has looked at a record.
        _ => facts.cohort_patients = facts.dataset_patients,
    }
    node.gate
        .pass_touching(&ask, &facts, &touches, now, |permit, left| {
            priced?;
            let touched = touched?;
            if !document.accuracy.is_noisy() {
                enter(node, &touched, &query, permit.terms().floor_patients)?;
            }
            let patients = in_dataset(&touched.patients, left, &touched.numbers);
            let statistic = document.statistic.clone();
            Ok(StatisticsAnswer {
                tally: tally(touched.dataset, &statistic, &touched.rows, &patients)
                    .map_err(misfit)?,
                statistic,
                accuracy: document.accuracy,
                cohort_patients: patients.len(),
            })
        })
}

/// The query, and what it asks of this site's gate.
///
/// # Errors
/// It is not what it claims to be, or does not name this site.
pub(super) fn asked(
    node: &Node,
    signed: &SignedQuery,
    now: Millis,
) -> Result<(Query, Ask), NotReleased> {
    let (query, researcher) = prove(node, signed, now).map_err(not_proven)?;
    let sites = &query.document().sites;
    if !sites.is_empty() && !sites.contains(&node.site) {
        return Err(NotReleased::Refused(Refusal::new(
            RefusalCode::NotNamed,
            format!("the query does not name site `{}`", node.site),
            "name it with --sites",
        )));
    }
    let ask = ask_of(&query, researcher);
    Ok((query, ask))
}

/// What the policy and the ledger need to know, but for what the answer costs.
pub(super) fn known_of(
    query: &Query,
    dataset: Option<&Result<Arc<DataSet>, &DataError>>,
    touched: Option<&Touched<'_>>,
) -> (Facts, Touches) {
    let mut facts = Facts::default();
    let mut touches = Touches {
        dataset_version: Digest([0; 32]),
        state: None,
        patients: Cohort::default(),
    };
    match dataset {
        None => {}
        Some(Err(_)) => facts.dataset_records = Some(0),
        Some(Ok(dataset)) => {
            facts.dataset_records = Some(dataset.table().rows() as u64);
            facts.dataset_patients = Some(dataset.patient_count().into());
            facts.filter = FilterFacts::of(query.document().filter.as_ref(), |name| {
                dataset.table().column(name).is_some()
            });
            touches.dataset_version = dataset.version();
        }
    }
    if let Some(touched) = touched {
        touches.patients = in_ledger(&touched.patients, &touched.numbers);
    }
    (facts, touches)
}

/// Writes down that an exact answer is given, where it may be.
fn enter(
    node: &Node,
    touched: &Touched<'_>,
    query: &Query,
    floor_patients: u32,
) -> Result<(), WorkError> {
    node.exact_answers
        .enter(touched.dataset, query, &touched.patients, floor_patients)
        .map_err(WorkError::failed)?
        .map_err(|overlap| overlapping(overlap, floor_patients))
}

fn prove(
    node: &Node,
    signed: &SignedQuery,
    now: Millis,
) -> Result<(Query, Researcher), UnprovenQuery> {
    let credentials = node.credentials();
    let identity = verify_query(
        &signed.text,
        &signed.signature,
        &signed.certificate,
        credentials.anchor(),
        now,
    )?;
    let researcher = Researcher {
        name: identity.name,
        role: identity.role,
    };
    Ok((Query::parse(&signed.text)?, researcher))
}

/// What a query asks of the gate.
fn ask_of(query: &Query, researcher: Researcher) -> Ask {
    let document = query.document();
    Ask {
        project: document.project.clone(),
        researcher,
        purpose: document.purpose.clone(),
        dataset: document.dataset.clone(),
        run: None,
        run_digest: query.digest(),
        action: Action::Statistic {
            statistic: match document.statistic {
                Statistic::Count => StatisticKind::Count,
                Statistic::Histogram { .. } => StatisticKind::Histogram,
                Statistic::Mean { .. } => StatisticKind::Mean,
                Statistic::Quantile { .. } => StatisticKind::Quantile,
                Statistic::Top { .. } => StatisticKind::Top,
                Statistic::Distinct { .. } => StatisticKind::Distinct,
            },
            noisy: document.accuracy.is_noisy(),
        },
    }
}

/// Reading local data is no release: only what a permit lets through the gate is. Whether the statistic fits is seen
/// over no patients at all, so that what does not fit costs nothing.
pub(super) fn touched<'a>(
    node: &Node,
    dataset: &'a DataSet,
    query: &Query,
    now: Millis,
) -> Result<Result<Touched<'a>, Misfit>, GateFault> {
    let document = query.document();
    let rows = match rows_where(dataset, document.filter.as_ref()) {
        Ok(rows) => rows,
        Err(misfit) => return Ok(Err(misfit)),
    };
    if let Err(misfit) = tally(dataset, &document.statistic, &[], &Cohort::default()) {
        return Ok(Err(misfit));
    }
    Ok(Ok(Touched {
        numbers: node.patient_numbers.of(&node.gate, dataset, now)?,
        patients: patients_of(dataset, &rows),
        dataset,
        rows,
    }))
}

fn not_proven(error: UnprovenQuery) -> NotReleased {
    NotReleased::Refused(match error {
        UnprovenQuery::Signature(error) => Refusal::new(
            RefusalCode::BadSignature,
            error.to_string(),
            "ask with the credentials of a researcher of this consortium",
        ),
        UnprovenQuery::Query(error) => Refusal::new(
            RefusalCode::InvalidQuery,
            error.to_string(),
            "let `consilium stats` write the query",
        ),
    })
}

pub(super) fn misfit(misfit: Misfit) -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::InvalidQuery,
        misfit.to_string(),
        "use columns and values that this site's data set has",
    ))
}

pub(super) fn no_price(error: PriceError) -> WorkError {
    WorkError::Refused(Refusal::new(
        RefusalCode::InvalidQuery,
        error.to_string(),
        "ask with another epsilon",
    ))
}

fn overlapping(overlap: Overlap, floor_patients: u32) -> WorkError {
    WorkError::Refused(match overlap {
        Overlap::TooClose => Refusal::new(
            RefusalCode::TooFewPatients,
            format!(
                "the patients differ by fewer than {floor_patients} from those of an earlier exact answer, or from all: \
                 the two answers would tell of few patients"
            ),
            "ask with noise: --epsilon",
        ),
        Overlap::TooMany => Refusal::new(
            RefusalCode::BudgetExhausted,
            "this site has given as many exact answers about this data set as it gives",
            "ask with noise: --epsilon",
        ),
    })
}
