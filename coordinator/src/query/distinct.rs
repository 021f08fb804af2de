//! Distinct patients over several sites: first each site's key for its masks, then each site's sketch under them.
//!
//! Every site counts: while one is missing, the others' masks stay on and the sum is noise. So a site that refuses or
//! is away ends the query, before any site has paid where the key already shows it. What arrives here says nothing of
//! one site; the sum over all of them is all that there is to see.

use std::sync::Arc;

use consilium_protocol::SiteName;
use consilium_protocol::message::{
    AnsweredBy, MaskedSketch, Noise, QueryResult, Request, Response, SignedQuery, SketchKey,
};
use consilium_protocol::query::Query;

use super::fanout::Coverage;
use super::gather::gather;
use super::occupancy;
use crate::coordinator::Coordinator;

/// Asks the sites that the query names, and counts if all of them answer.
pub(super) async fn count(
    coordinator: &Arc<Coordinator>,
    query: &Query,
    cells: u32,
    signed: SignedQuery,
    timeout_ms: u64,
) -> QueryResult {
    let sites = &query.document().sites;
    let deadline = coordinator.now().plus_ms(timeout_ms);
    let left_ms = || deadline.since_ms(coordinator.now()).max(1);
    let ask = |_: &SiteName| Request::SketchKey(signed.clone());
    let keys = gather(coordinator, sites.clone(), left_ms(), ask, key_of).await;
    if keys.answered.len() < sites.len() {
        return without_figures(query, keys);
    }
    let keys: Vec<SketchKey> = keys.answered.into_values().collect();
    let ask = |_: &SiteName| Request::AnswerMasked {
        query: signed.clone(),
        keys: keys.clone(),
    };
    let fits = |response| sketch_of(response, cells);
    let sketches = gather(coordinator, sites.clone(), left_ms(), ask, fits).await;
    if sketches.answered.len() < sites.len() {
        return without_figures(query, sketches);
    }
    let flips = sketches.answered.values().map(|sketch| sketch.flip);
    let ones = ones_in_sum(sketches.answered.values());
    let figure = occupancy::distinct(ones, cells, flips);
    let answered = sketches.answered.into_iter();
    QueryResult {
        query: query.digest(),
        figures: vec![figure],
        answered: answered
            .map(|(site, sketch)| AnsweredBy {
                site,
                noise: Noise::Coins,
                bundle: sketch.bundle,
            })
            .collect(),
        refused: Vec::new(),
        missing: Vec::new(),
    }
}

/// Nothing can be said. Who stands in the way is named; the others have not answered anything that is of use.
fn without_figures<A>(query: &Query, coverage: Coverage<A>) -> QueryResult {
    QueryResult {
        query: query.digest(),
        figures: Vec::new(),
        answered: Vec::new(),
        refused: coverage.refused.into_iter().collect(),
        missing: coverage.missing.into_iter().collect(),
    }
}

fn key_of(response: Response) -> Option<SketchKey> {
    match response {
        Response::SketchKey(key) => Some(key),
        _ => None,
    }
}

fn sketch_of(response: Response, cells: u32) -> Option<MaskedSketch> {
    match response {
        Response::MaskedSketch(sketch) if sketch.bits.len() == cells as usize / 8 => Some(sketch),
        _ => None,
    }
}

/// Ones in the sum modulo 2. All sketches have the same length.
fn ones_in_sum<'a>(sketches: impl Iterator<Item = &'a MaskedSketch>) -> u64 {
    let mut sum: Vec<u8> = Vec::new();
    for sketch in sketches {
        sum.resize(sketch.bits.len(), 0);
        sum.iter_mut()
            .zip(&sketch.bits)
            .for_each(|(sum, bits)| *sum ^= bits);
    }
    sum.iter().map(|byte| u64::from(byte.count_ones())).sum()
}
