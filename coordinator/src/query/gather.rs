//! The shell of [`Fanout`]: asks many sites at once, over the connections that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consilium_link::{Connection, LinkError};
use consilium_protocol::message::{MessageError, Request, Response};
use consilium_protocol::{Machine, Role, SiteName, wire};
use tokio::task::JoinSet;

use super::fanout::{Coverage, Fanout, FanoutIn, FanoutOut, Presence};
use crate::coordinator::Coordinator;

/// Steps the machine until it settles: `request` is what each site is asked, `answer` what its response says, `None` if
/// it is no answer to that.
pub(super) async fn gather<A>(
    coordinator: &Arc<Coordinator>,
    sites: BTreeSet<SiteName>,
    timeout_ms: u64,
    request: impl Fn(&SiteName) -> Request,
    answer: impl Fn(Response) -> Option<A>,
) -> Coverage<A> {
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
                        let request = request(&site);
                        asking.spawn(async move {
                            let said = exchange(&connection, request, wait).await;
                            (site, said)
                        });
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
            Some(heard) = asking.join_next() => match heard {
                Ok((site, said)) => heard_of(site, said, &answer),
                Err(_) => FanoutIn::Tick,
            },
            () = tokio::time::sleep(Duration::from_millis(left_ms.max(1))) => FanoutIn::Tick,
        };
    }
}

/// What came of asking one site.
fn heard_of<A>(
    site: SiteName,
    said: Result<Response, NoExchange>,
    answer: impl Fn(Response) -> Option<A>,
) -> FanoutIn<A> {
    match said {
        Ok(Response::Refusal(refusal)) => FanoutIn::Refused { site, refusal },
        Ok(Response::Fault(fault)) => {
            tracing::warn!(%site, fault = fault.what, "a site failed to answer a query");
            FanoutIn::Failed { site }
        }
        Ok(response) => match answer(response) {
            Some(answer) => FanoutIn::Answered { site, answer },
            None => {
                tracing::warn!(%site, "a site answered a query with something else");
                FanoutIn::Failed { site }
            }
        },
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
