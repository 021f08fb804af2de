//! A run's events as they happen, each once and in order, across lost connections.

use std::time::Duration;

use consilium_link::{Backoff, LinkError};
use consilium_protocol::RunId;
use consilium_protocol::message::{Request, Response, RunDetail, RunEvent};

use crate::ending::{CliError, NoAnswer};
use crate::session::{Session, hear, is_lost};

/// A round may take its time, and the connection's own keep-alive finds out whether anybody is
/// there; after this long the run is asked for anew all the same.
const SILENCE_S: u64 = 3600;

/// What a follower hears.
pub(crate) enum Told<'a> {
    Event(&'a RunEvent),
    /// Something about the connection.
    Notice(&'a str),
}

/// Follows a run from event `next` on until it is over; returns it as it is then.
pub(crate) async fn follow(
    session: &mut Session,
    run_id: &RunId,
    mut next: u64,
    told: &mut dyn FnMut(Told<'_>),
) -> Result<RunDetail, NoAnswer> {
    // A coordinator that has just returned may not have taken the run up yet.
    let mut backoff = Backoff::new(next);
    loop {
        match follow_once(session, run_id, &mut next, told).await {
            Ok(Some(detail)) => return Ok(detail),
            Ok(None) => tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await,
            Err(NoAnswer::Failed(CliError::Link(error))) if is_lost(&error) => {
                session
                    .find_again(&mut |line| told(Told::Notice(line)))
                    .await?;
                told(Told::Notice("the coordinator is back"));
                backoff.reset();
            }
            Err(no_answer) => return Err(no_answer),
        }
    }
}

/// Follows until the coordinator has no more to say; the run, if it is over.
async fn follow_once(
    session: &Session,
    run_id: &RunId,
    next: &mut u64,
    told: &mut dyn FnMut(Told<'_>),
) -> Result<Option<RunDetail>, NoAnswer> {
    let request = Request::FollowRun {
        run_id: run_id.clone(),
        from_event: *next,
    };
    let mut stream = session.open(request).await?;
    loop {
        match hear(
            stream
                .receive_within(Duration::from_secs(SILENCE_S))
                .await?,
        )? {
            // Said before, by a connection that was lost.
            Response::RunEvent(event) if event.number < *next => {}
            Response::RunEvent(event) => {
                *next = event.number.saturating_add(1);
                told(Told::Event(&event));
            }
            Response::Done => break,
            _ => {
                return Err(CliError::Unexpected {
                    asked: "follow-run",
                }
                .into());
            }
        }
    }
    let detail = show(session, run_id).await?;
    let all_told = detail.events.last().is_none_or(|last| last.number < *next);
    Ok((detail.summary.state.is_over() && all_told).then_some(detail))
}

/// The run as it is now.
pub(crate) async fn show(session: &Session, run_id: &RunId) -> Result<RunDetail, NoAnswer> {
    match session.ask(Request::ShowRun(run_id.clone())).await? {
        Response::RunDetail(detail) => Ok(detail),
        _ => Err(CliError::Unexpected { asked: "show-run" }.into()),
    }
}

/// The history up to now, from its first event.
pub(crate) async fn history(
    session: &Session,
    detail: RunDetail,
    told: &mut dyn FnMut(Told<'_>),
) -> Result<(), NoAnswer> {
    let Some(last) = detail.events.last().map(|event| event.number) else {
        return Ok(());
    };
    if detail.events.first().is_some_and(|first| first.number == 0) {
        detail
            .events
            .iter()
            .for_each(|event| told(Told::Event(event)));
        return Ok(());
    }
    let run_id = detail.summary.run_id;
    let mut stream = session
        .open(Request::FollowRun {
            run_id,
            from_event: 0,
        })
        .await?;
    loop {
        match hear(stream.receive().await?)? {
            Response::RunEvent(event) => {
                told(Told::Event(&event));
                if event.number >= last {
                    stream.stop(0);
                    return Ok(());
                }
            }
            Response::Done => return Ok(()),
            _ => {
                return Err(CliError::Unexpected {
                    asked: "follow-run",
                }
                .into());
            }
        }
    }
}

/// Whether a request that may have been half done can be made again.
pub(crate) fn was_lost(no_answer: &NoAnswer) -> bool {
    matches!(no_answer, NoAnswer::Failed(CliError::Link(error)) if lost_on_the_way(error))
}

fn lost_on_the_way(error: &LinkError) -> bool {
    is_lost(error) && !matches!(error, LinkError::NoAnswer { .. })
}
