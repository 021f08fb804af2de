//! Queries: one signed question to many sites, and one result.
//!
//! | file | subject |
//! |---|---|
//! | [`fanout`] | who answers, who refuses, who is missing: a machine (pure) |
//! | [`merge`] | answers into figures (pure) |
//! | `mod` | their driver: who may ask, the connections, the journal |
//!
//! The journal keeps the query's digest and who was asked and answered; neither its text nor a figure.

pub mod fanout;
pub mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consilium_link::{Connection, LinkError, verify_query};
use consilium_protocol::message::{
    AnsweredBy, MessageError, Noise, QueryResult, Request, Response, SignedQuery, SiteAnswer,
};
use consilium_protocol::query::Query;
use consilium_protocol::{Machine, MemberName, Refusal, RefusalCode, Role, SiteName, wire};
use tokio::task::JoinSet;

use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::session::Caller;
use fanout::{Coverage, Fanout, FanoutIn, FanoutOut, Presence};

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
    let sites = sites_of(coordinator, &query);
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
    let coverage = gather(coordinator, &query, signed, sites, timeout_ms).await;
    let answered = Event::QueryAnswered {
        query: query.digest(),
        researcher: caller.name.clone(),
        answered: coverage.answered.keys().cloned().collect(),
        refused: coverage
            .refused
            .iter()
            .map(|(site, refusal)| (site.clone(), refusal.code))
            .collect(),
        missing: coverage.missing.clone(),
    };
    coordinator.record(answered).await?;
    Ok(Ok(result_of(&query, coverage)))
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
    let is_enrolled = |site: &&SiteName| {
        let member: MemberName = (*site).clone().into();
        coordinator.with_members(|members| members.is_enrolled(Role::Site, &member))
    };
    match query
        .document()
        .sites
        .iter()
        .find(|site| !is_enrolled(site))
    {
        None => Ok(query),
        Some(site) => Err(Refusal::new(
            RefusalCode::UnknownSite,
            format!("the query names `{site}`, and no site of this name is enrolled"),
            "see which there are: consilium members",
        )),
    }
}

/// The sites that the query names; of none, every one that is enrolled.
fn sites_of(coordinator: &Coordinator, query: &Query) -> BTreeSet<SiteName> {
    let named = &query.document().sites;
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

/// Steps the machine until it settles.
async fn gather(
    coordinator: &Arc<Coordinator>,
    query: &Query,
    signed: SignedQuery,
    sites: BTreeSet<SiteName>,
    timeout_ms: u64,
) -> Coverage<SiteAnswer> {
    let connections: BTreeMap<SiteName, Connection> = sites
        .iter()
        .filter_map(|site| {
            let connection = coordinator.connection(Role::Site, &site.clone().into())?;
            Some((site.clone(), connection))
        })
        .collect();
    let presence = |site: SiteName| match connections.contains_key(&site) {
        true => (site, Presence::Connected),
        false => (site, Presence::Absent),
    };
    let wait = Duration::from_millis(timeout_ms);
    let mut fanout = Fanout::new(
        sites.into_iter().map(presence).collect(),
        coordinator.now().plus_ms(timeout_ms),
    );
    let mut asking = JoinSet::new();
    let mut input = FanoutIn::Begin;
    loop {
        let mut settled = None;
        for out in fanout.step(coordinator.now(), input) {
            match out {
                FanoutOut::Ask(site) => {
                    if let Some(connection) = connections.get(&site).cloned() {
                        let request = Request::Answer(signed.clone());
                        asking.spawn(ask_one(site, connection, request, query.clone(), wait));
                    }
                }
                FanoutOut::Settled(coverage) => settled = Some(coverage),
            }
        }
        if let Some(coverage) = settled {
            return coverage;
        }
        let left_ms = fanout
            .wake_at()
            .map_or(0, |at| at.since_ms(coordinator.now()));
        input = tokio::select! {
            // Where nobody is asked any more, time alone goes on.
            Some(heard) = asking.join_next() => heard.unwrap_or(FanoutIn::Tick),
            () = tokio::time::sleep(Duration::from_millis(left_ms.max(1))) => FanoutIn::Tick,
        };
    }
}

/// Asks one site over its connection, and says what came of it.
async fn ask_one(
    site: SiteName,
    connection: Connection,
    request: Request,
    query: Query,
    wait: Duration,
) -> FanoutIn<SiteAnswer> {
    match exchange(&connection, request, wait).await {
        Ok(Response::SiteAnswer(answer))
            if merge::fits(&query.document().statistic, &answer)
                && query.document().accuracy.is_noisy() == (answer.noise != Noise::None) =>
        {
            FanoutIn::Answered { site, answer }
        }
        Ok(Response::Refusal(refusal)) => FanoutIn::Refused { site, refusal },
        Ok(Response::Fault(fault)) => {
            tracing::warn!(%site, fault = fault.what, "a site failed to answer a query");
            FanoutIn::Failed { site }
        }
        Ok(_) => {
            tracing::warn!(%site, "a site answered a query with something else");
            FanoutIn::Failed { site }
        }
        Err(NoExchange::Link(LinkError::Closed(_) | LinkError::Ended)) => FanoutIn::Lost { site },
        // The machine's own clock says that it is late.
        Err(NoExchange::Link(LinkError::NoAnswer { .. })) => FanoutIn::Tick,
        Err(error) => {
            tracing::warn!(%site, %error, "a site could not be asked");
            FanoutIn::Failed { site }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum NoExchange {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the answer is malformed: {0}")]
    Message(#[from] MessageError),
}

async fn exchange(
    connection: &Connection,
    request: Request,
    wait: Duration,
) -> Result<Response, NoExchange> {
    let response: wire::Response = connection.ask(request).await?.receive_within(wait).await?;
    Ok(Response::try_from(response)?)
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
