//! Searches: one signed search to the sites that hold the collection, and what they found in one order.
//!
//! What is sealed is carried as it came: the asker opens and merges it. What is public is merged here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consilium_link::verify_search;
use consilium_protocol::message::{
    AnsweredBy, Found, Missing, Noise, PassageHit, Request, Response, SealedAnswer, SearchAnswer,
    SearchResult, SignedSearch, SiteAnswer,
};
use consilium_protocol::query::Statistic;
use consilium_protocol::search::merge::passages;
use consilium_protocol::search::{HITS_MAX, Search, Wanted};
use consilium_protocol::{Digest, Refusal, RefusalCode, SiteName};

use super::fanout::Coverage;
use super::holders::SITES_ASKED_MAX;
use super::{answered_event, are_enrolled, gather, merge, sites_of};
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::session::Caller;

/// Asks the sites that hold the collection, until all have answered or time is up.
///
/// # Errors
/// The disk fails. The inner refusal says what is wrong with the search.
pub async fn search(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    signed: SignedSearch,
    timeout_ms: u64,
) -> Result<Result<SearchResult, Refusal>, CoordinatorError> {
    let _place = match coordinator.open_queries.take(&caller.name) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let search = match check(coordinator, caller, &signed) {
        Ok(search) => search,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let document = search.document();
    let enrolled = sites_of(coordinator, &BTreeSet::new());
    let sites = coordinator.with_holders(|holders| {
        holders.choose(
            &document.collection,
            &document.sites,
            &enrolled,
            SITES_ASKED_MAX,
        )
    });
    if sites.is_empty() {
        return Ok(Err(Refusal::new(
            RefusalCode::UnknownDataset,
            format!(
                "no site says that it holds the collection `{}`",
                document.collection
            ),
            "check the name; a site says what it holds when it connects",
        )));
    }
    let asked = Event::QueryAsked {
        query: search.digest(),
        researcher: caller.name.clone(),
        project: document.project.clone(),
        purpose: document.purpose.clone(),
        dataset: document.collection.clone(),
        statistic: document.wanted.name().to_owned(),
        sites: sites.clone(),
    };
    coordinator.record(asked).await?;
    let request = |_: &SiteName| Request::AnswerSearch(signed.clone());
    let answer = |response| answer_to(&search, response);
    let coverage = gather(coordinator, sites, timeout_ms, request, answer).await;
    let result = result_of(coordinator, &search, coverage);
    let answered = answered_event(
        search.digest(),
        caller,
        &result.answered,
        &result.refused,
        &result.missing,
    );
    coordinator.record(answered).await?;
    Ok(Ok(result))
}

/// Whether the search is what it says, by whom it says, of sites that exist.
fn check(
    coordinator: &Coordinator,
    caller: &Caller,
    signed: &SignedSearch,
) -> Result<Search, Refusal> {
    let remedy = "search with `consilium search` and your own credentials";
    let wrong = |code, reason: String| Refusal::new(code, reason, remedy);
    let signer = verify_search(signed, coordinator.authority.anchor(), coordinator.now())
        .map_err(|error| wrong(RefusalCode::BadSignature, error.to_string()))?;
    if signer.name != caller.name {
        return Err(wrong(
            RefusalCode::BadSignature,
            format!(
                "the search is signed by {signer} and asked by researcher `{}`",
                caller.name
            ),
        ));
    }
    let search = Search::parse(&signed.text)
        .map_err(|error| wrong(RefusalCode::InvalidQuery, error.to_string()))?;
    are_enrolled(coordinator, &search.document().sites)?;
    Ok(search)
}

/// What a site's response says, if it is an answer to this search at its level.
fn answer_to(search: &Search, response: Response) -> Option<SearchAnswer> {
    let Response::SearchAnswer(answer) = response else {
        return None;
    };
    let fits = match (&answer, &search.document().wanted) {
        (SearchAnswer::Counts(counts), wanted) => statistic_of(wanted).is_some_and(|statistic| {
            counts.noise != Noise::None && merge::fits(&statistic, counts)
        }),
        (SearchAnswer::Sealed(_), Wanted::Handles { .. } | Wanted::Snippets { .. })
        | (SearchAnswer::Passages(_), Wanted::Passages { .. }) => true,
        _ => false,
    };
    fits.then_some(answer)
}

/// The table that an answer of level 0 or 1 is.
fn statistic_of(wanted: &Wanted) -> Option<Statistic> {
    match wanted {
        Wanted::Count { .. } => Some(Statistic::Count),
        Wanted::Votes {
            column, candidates, ..
        } => Some(Statistic::Top {
            column: column.clone(),
            k: u32::try_from(candidates.len()).unwrap_or(u32::MAX),
            candidates: candidates.clone(),
        }),
        Wanted::Handles { .. } | Wanted::Snippets { .. } | Wanted::Passages { .. } => None,
    }
}

fn result_of(
    coordinator: &Coordinator,
    search: &Search,
    coverage: Coverage<SearchAnswer>,
) -> SearchResult {
    let Coverage {
        answered,
        refused,
        mut missing,
    } = coverage;
    let mut by = Vec::new();
    let (mut counts, mut sealed, mut found) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    let encoder = most_common_encoder(answered.values());
    for (site, answer) in answered {
        let (noise, bundle) = match &answer {
            SearchAnswer::Counts(counts) => (counts.noise, counts.bundle),
            SearchAnswer::Passages(found) => (Noise::None, found.bundle),
            // Under its seal.
            SearchAnswer::Sealed(_) | SearchAnswer::Disclosed(_) => (Noise::None, Digest([0; 32])),
        };
        match answer {
            SearchAnswer::Counts(answer) => drop(counts.insert(site.clone(), answer)),
            SearchAnswer::Sealed(answer) => sealed.push((site.clone(), answer)),
            SearchAnswer::Passages(answer) if Some(&answer.encoder) == encoder.as_ref() => {
                found.insert(site.clone(), answer.hits);
            }
            // Scores of another encoder do not compare; a mixed order would be wrong without a sign of it.
            SearchAnswer::Passages(_) | SearchAnswer::Disclosed(_) => {
                tracing::warn!(%site, "a site's collection has another encoder than the others'");
                missing.insert(site, Missing::Faulty);
                continue;
            }
        }
        by.push(AnsweredBy {
            site,
            noise,
            bundle,
        });
    }
    SearchResult {
        search: search.digest(),
        found: merged(coordinator, search, counts, sealed, found),
        answered: by,
        refused: refused.into_iter().collect(),
        missing: missing.into_iter().collect(),
    }
}

fn merged(
    coordinator: &Coordinator,
    search: &Search,
    counts: BTreeMap<SiteName, SiteAnswer>,
    sealed: Vec<(SiteName, SealedAnswer)>,
    found: BTreeMap<SiteName, Vec<PassageHit>>,
) -> Found {
    let document = search.document();
    if let Some(statistic) = statistic_of(&document.wanted) {
        return Found::Figures(merge::merge(&statistic, &counts));
    }
    let Wanted::Passages { hits, ranking } = document.wanted else {
        return Found::Sealed(sealed);
    };
    let asked: Vec<SiteName> = found.keys().cloned().collect();
    let merged = passages(found, ranking, usize::from(hits).min(HITS_MAX));
    let share = |site: &SiteName| {
        let of_site = merged.iter().filter(|at| at.site == *site).count();
        of_site as f64 / merged.len().max(1) as f64
    };
    let shares = asked
        .iter()
        .map(|site| (site.clone(), share(site)))
        .collect();
    coordinator.with_holders(|holders| holders.gave(&document.collection, &shares));
    Found::Passages(merged)
}

/// The encoder of most sites; of equally many, the first by name.
fn most_common_encoder<'a>(answers: impl Iterator<Item = &'a SearchAnswer>) -> Option<String> {
    let mut sites: BTreeMap<&String, usize> = BTreeMap::new();
    for answer in answers {
        if let SearchAnswer::Passages(found) = answer {
            *sites.entry(&found.encoder).or_default() += 1;
        }
    }
    let most = sites.values().max().copied()?;
    let first = sites.into_iter().find(|(_, count)| *count == most);
    first.map(|(encoder, _)| encoder.clone())
}
