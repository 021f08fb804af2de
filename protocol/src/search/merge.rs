//! What several sites found, in one order: as if all of it lay in one place.
//!
//! With one encoder and one table of word frequencies for all sites, scores of different sites compare, so the best of
//! the union are the best of each site's best (retrieval.md's merge by exact score). An order that joins two is made
//! here from both, and never from sites' own joined orders: a rank at one site says nothing at another.

use std::collections::BTreeMap;

use super::{RANK_DEPTH, Ranking};
use crate::ids::SiteName;
use crate::message::{DisclosedHit, PassageHit};

/// What a rank counts less by the later it is: 1 / (60 + rank), as Cormack, Clarke and Büttcher (SIGIR 2009) found it.
pub const RECIPROCAL_RANK_CONSTANT: f64 = 60.0;

/// A hit with the site that has it.
#[derive(Debug, Clone, PartialEq)]
pub struct At<H> {
    pub site: SiteName,
    pub hit: H,
    /// By what it is ranked: a cosine, a BM25 score, a sum of reciprocal ranks, or a bucket.
    pub score: f64,
}

/// The best passages of all sites, best first. Equal ones come by document, then by site: an order that does not depend
/// on who answered first.
#[must_use]
pub fn passages(
    found: BTreeMap<SiteName, Vec<PassageHit>>,
    ranking: Ranking,
    hits: usize,
) -> Vec<At<PassageHit>> {
    let mut all: Vec<At<PassageHit>> = found
        .into_iter()
        .flat_map(|(site, found)| {
            found.into_iter().map(move |hit| At {
                site: site.clone(),
                hit,
                score: 0.0,
            })
        })
        .collect();
    let similarity = |at: &At<PassageHit>| at.hit.similarity.map(f64::from);
    let words = |at: &At<PassageHit>| at.hit.words;
    match ranking {
        Ranking::Vectors => score_by(&mut all, similarity),
        Ranking::Words => score_by(&mut all, words),
        Ranking::Both => {
            add_reciprocal_ranks(&mut all, similarity);
            add_reciprocal_ranks(&mut all, words);
        }
    }
    all.retain(|at| at.score > f64::NEG_INFINITY && (ranking != Ranking::Both || at.score > 0.0));
    all.sort_by(in_order);
    all.truncate(hits);
    all
}

/// Which of one site's hits could be among the best `hits` of it and any other sites; the rest need no text. A hit with
/// `hits` others of its site before it, in each order in which it stands, comes after them whatever else is found.
#[must_use]
pub fn could_be_told(found: &[PassageHit], ranking: Ranking, hits: usize) -> Vec<bool> {
    let is_before = |one: &PassageHit, other: &PassageHit| {
        let before = |score: Option<f64>, other_score: Option<f64>| match (score, other_score) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(score), Some(other_score)) => other_score
                .total_cmp(&score)
                .then_with(|| one.document.cmp(&other.document))
                .is_lt(),
        };
        let by_vector = |hit: &PassageHit| hit.similarity.map(f64::from);
        let near = ranking == Ranking::Words || before(by_vector(one), by_vector(other));
        let worded = ranking == Ranking::Vectors || before(one.words, other.words);
        near && worded
    };
    let is_far = |hit: &PassageHit| {
        let before = found.iter().filter(|other| is_before(other, hit));
        before.take(hits).count() == hits
    };
    found.iter().map(|hit| !is_far(hit)).collect()
}

/// The nearest of what several sites disclosed: by bucket, within it by each site's own order. `RANK` of a site says
/// nothing at another, so equal buckets take turns.
#[must_use]
pub fn disclosed(
    found: BTreeMap<SiteName, Vec<DisclosedHit>>,
    hits: usize,
) -> Vec<At<DisclosedHit>> {
    let mut all: Vec<(u8, usize, At<DisclosedHit>)> = found
        .into_iter()
        .flat_map(|(site, found)| {
            found.into_iter().enumerate().map(move |(rank, hit)| {
                let score = f64::from(hit.bucket);
                let site = site.clone();
                (hit.bucket, rank, At { site, hit, score })
            })
        })
        .collect();
    all.sort_by(|(bucket, rank, at), (other_bucket, other_rank, other)| {
        other_bucket
            .cmp(bucket)
            .then(rank.cmp(other_rank))
            .then_with(|| at.site.cmp(&other.site))
    });
    all.truncate(hits);
    all.into_iter().map(|(_, _, at)| at).collect()
}

fn score_by(all: &mut [At<PassageHit>], score: impl Fn(&At<PassageHit>) -> Option<f64>) {
    for at in all {
        at.score = score(at).unwrap_or(f64::NEG_INFINITY);
    }
}

fn add_reciprocal_ranks(
    all: &mut [At<PassageHit>],
    score: impl Fn(&At<PassageHit>) -> Option<f64>,
) {
    let mut ranked: Vec<(usize, f64)> = all
        .iter()
        .enumerate()
        .filter_map(|(place, at)| Some((place, score(at)?)))
        .collect();
    ranked.sort_by(|(place, score), (other_place, other)| {
        other
            .total_cmp(score)
            .then_with(|| match (all.get(*place), all.get(*other_place)) {
                (Some(one), Some(another)) => by_document(one, another),
                _ => place.cmp(other_place),
            })
    });
    for (rank, (place, _)) in ranked.into_iter().take(RANK_DEPTH).enumerate() {
        if let Some(at) = all.get_mut(place) {
            at.score += 1.0 / (RECIPROCAL_RANK_CONSTANT + (rank + 1) as f64);
        }
    }
}

fn in_order(one: &At<PassageHit>, other: &At<PassageHit>) -> std::cmp::Ordering {
    other
        .score
        .total_cmp(&one.score)
        .then_with(|| by_document(one, other))
}

fn by_document(one: &At<PassageHit>, other: &At<PassageHit>) -> std::cmp::Ordering {
    one.hit
        .document
        .cmp(&other.hit.document)
        .then_with(|| one.site.cmp(&other.site))
}
