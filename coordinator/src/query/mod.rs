//! Queries: one signed question to many sites, and one result.
//!
//! | file | subject |
//! |---|---|
//! | [`fanout`] | who answers, who refuses, who is missing: a machine (pure) |
//! | [`merge`] | answers into figures (pure) |
//! | `gather` | asks many sites at once, over their connections |
//! | `distinct` | distinct patients: two requests to each site, one sum |
//! | `occupancy` | how many patients so many ones mean (pure) |
//! | `search` | searches: sealed answers carried, public ones merged |
//! | [`holders`] | which sites a search asks (pure) |
//! | `budgets` | the other question: what a project has left |
//! | `mod` | their driver: who may ask, the connections, the journal |
//!
//! The journal keeps the query's digest and who was asked and answered; neither its text nor a figure.

mod budgets;
mod distinct;
pub mod fanout;
mod gather;
pub mod holders;
pub mod merge;
mod occupancy;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_link::verify_query;
use consilium_protocol::message::{
    AnsweredBy, Missing, Noise, QueryResult, Request, Response, SignedQuery, SiteAnswer,
};
use consilium_protocol::query::{Query, Statistic};
use consilium_protocol::{Digest, MemberName, Refusal, RefusalCode, Role, SiteName};

use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::session::Caller;
pub use budgets::left;
use fanout::Coverage;
use gather::gather;
pub use search::search;

/// Queries that one researcher may have open at one time: each keeps every site busy.
pub const QUERIES_PER_RESEARCHER_MAX: u32 = 4;

/// Queries that are open, by researcher.
#[derive(Default)]
pub struct OpenQueries(Mutex<BTreeMap<MemberName, u32>>);

/// One open query; dropped, it is not.
struct Place<'a> {
    open: &'a OpenQueries,
    researcher: MemberName,
}

impl OpenQueries {
    fn take(&self, researcher: &MemberName) -> Result<Place<'_>, Refusal> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(researcher.clone()).or_default();
        if *count >= QUERIES_PER_RESEARCHER_MAX {
            return Err(Refusal::new(
                RefusalCode::Busy,
                format!("you have {QUERIES_PER_RESEARCHER_MAX} queries open already"),
                "wait for one of them",
            ));
        }
        *count += 1;
        Ok(Place {
            open: self,
            researcher: researcher.clone(),
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.researcher) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.researcher);
            }
        }
    }
}

/// Asks the sites that a query names, until all have answered or time is up.
///
/// # Errors
/// The disk fails. The inner refusal says what is wrong with the query.
pub async fn ask(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    signed: SignedQuery,
    timeout_ms: u64,
) -> Result<Result<QueryResult, Refusal>, CoordinatorError> {
    let _place = match coordinator.open_queries.take(&caller.name) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let query = match check(coordinator, caller, &signed) {
        Ok(query) => query,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let sites = sites_of(coordinator, &query.document().sites);
    let document = query.document();
    let asked = Event::QueryAsked {
        query: query.digest(),
        researcher: caller.name.clone(),
        project: document.project.clone(),
        purpose: document.purpose.clone(),
        dataset: document.dataset.clone(),
        statistic: document.statistic.name().to_owned(),
        sites: sites.clone(),
    };
    coordinator.record(asked).await?;
    let result = match document.statistic {
        Statistic::Distinct { cells } => {
            distinct::count(coordinator, &query, cells, signed, timeout_ms).await
        }
        _ => {
            let request = |_: &SiteName| Request::Answer(signed.clone());
            let answer = |response| site_answer(&query, response);
            let coverage = gather(coordinator, sites, timeout_ms, request, answer).await;
            result_of(&query, coverage)
        }
    };
    let answered = answered_event(
        query.digest(),
        caller,
        &result.answered,
        &result.refused,
        &result.missing,
    );
    coordinator.record(answered).await?;
    Ok(Ok(result))
}

/// What the journal keeps of a question's end.
fn answered_event(
    query: Digest,
    caller: &Caller,
    answered: &[AnsweredBy],
    refused: &[(SiteName, Refusal)],
    missing: &[(SiteName, Missing)],
) -> Event {
    Event::QueryAnswered {
        query,
        researcher: caller.name.clone(),
        answered: answered.iter().map(|by| by.site.clone()).collect(),
        refused: refused
            .iter()
            .map(|(site, refusal)| (site.clone(), refusal.code))
            .collect(),
        missing: missing.iter().cloned().collect(),
    }
}

/// A site's table, if it is one to this query.
fn site_answer(query: &Query, response: Response) -> Option<SiteAnswer> {
    let document = query.document();
    match response {
        Response::SiteAnswer(answer)
            if merge::fits(&document.statistic, &answer)
                && document.accuracy.is_noisy() == (answer.noise != Noise::None) =>
        {
            Some(answer)
        }
        _ => None,
    }
}

/// Whether the query is what it says, by whom it says, of sites that exist.
fn check(
    coordinator: &Coordinator,
    caller: &Caller,
    signed: &SignedQuery,
) -> Result<Query, Refusal> {
    let bad_signature = |reason: String| {
        Refusal::new(
            RefusalCode::BadSignature,
            reason,
            "ask with your own credentials",
        )
    };
    let signer = verify_query(
        &signed.text,
        &signed.signature,
        &signed.certificate,
        coordinator.authority.anchor(),
        coordinator.now(),
    )
    .map_err(|error| bad_signature(error.to_string()))?;
    if signer.name != caller.name {
        return Err(bad_signature(format!(
            "the query is signed by {signer} and asked by researcher `{}`",
            caller.name
        )));
    }
    let query = Query::parse(&signed.text).map_err(|error| {
        Refusal::new(
            RefusalCode::InvalidQuery,
            error.to_string(),
            "let `consilium stats` write it",
        )
    })?;
    are_enrolled(coordinator, &query.document().sites)?;
    Ok(query)
}

fn are_enrolled(coordinator: &Coordinator, sites: &BTreeSet<SiteName>) -> Result<(), Refusal> {
    let is_enrolled = |site: &&SiteName| {
        let member: MemberName = (*site).clone().into();
        coordinator.with_members(|members| members.is_enrolled(Role::Site, &member))
    };
    match sites.iter().find(|site| !is_enrolled(site)) {
        None => Ok(()),
        Some(site) => Err(Refusal::new(
            RefusalCode::UnknownSite,
            format!("`{site}` is named, and no site of this name is enrolled"),
            "see which there are: consilium members",
        )),
    }
}

/// The sites that are named; of none, every one that is enrolled.
fn sites_of(coordinator: &Coordinator, named: &BTreeSet<SiteName>) -> BTreeSet<SiteName> {
    if !named.is_empty() {
        return named.clone();
    }
    let members = coordinator.list_members();
    let sites = members.into_iter().filter(|member| {
        member.role == Role::Site
            && coordinator.with_members(|members| members.is_enrolled(Role::Site, &member.name))
    });
    sites.map(|member| member.name.into()).collect()
}

fn result_of(query: &Query, coverage: Coverage<SiteAnswer>) -> QueryResult {
    let figures = merge::merge(&query.document().statistic, &coverage.answered);
    let answered = coverage.answered.into_iter();
    QueryResult {
        query: query.digest(),
        figures,
        answered: answered
            .map(|(site, answer)| AnsweredBy {
                site,
                noise: answer.noise,
                bundle: answer.bundle,
            })
            .collect(),
        refused: coverage.refused.into_iter().collect(),
        missing: coverage.missing.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_researcher_has_so_many_queries_open_and_no_more() {
        let open = OpenQueries::default();
        let ada: MemberName = "ada".parse().unwrap();
        let grace: MemberName = "grace".parse().unwrap();
        let mut places: Vec<Place<'_>> = (0..QUERIES_PER_RESEARCHER_MAX)
            .map(|_| open.take(&ada).unwrap())
            .collect();
        let refused = open.take(&ada).err().unwrap();
        assert_eq!(refused.code, RefusalCode::Busy);
        assert!(open.take(&grace).is_ok());
        places.pop();
        assert!(open.take(&ada).is_ok());
        drop(places);
        assert!(open.0.lock().unwrap().is_empty());
    }
}
