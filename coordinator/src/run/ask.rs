//! Asking one site over its connection: a short exchange, or a round's state for an update.

use std::sync::Arc;
use std::time::Duration;

use consilium_link::{Connection, LinkError, RequestStream, StreamReceiver, StreamSender};
use consilium_protocol::message::{Fault, MessageError, Request, Response, Train, Update};
use consilium_protocol::model::{chunk_len, chunks_of};
use consilium_protocol::{Refusal, SiteName, wire};
use tokio::sync::mpsc;

use super::broadcast::Broadcast;
use crate::round::{AskNumber, RoundIn};
use crate::state::StateError;

/// Longest that a site may take over something that needs no training.
const EXCHANGE_WAIT_MS: u64 = 60_000;

/// An exchange that did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the answer is malformed: {0}")]
    Message(#[from] MessageError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("reading the state was interrupted")]
    Interrupted,
    #[error("the site answered something else than was asked")]
    Unexpected,
}

/// One request without tensors, one answer.
pub(super) async fn exchange(
    connection: &Connection,
    request: Request,
) -> Result<Response, AskError> {
    let wait = Duration::from_millis(EXCHANGE_WAIT_MS);
    let response: wire::Response = connection.ask(request).await?.receive_within(wait).await?;
    Ok(Response::try_from(response)?)
}

/// One request whose state follows, one answer.
pub(super) async fn exchange_with_state(
    connection: &Connection,
    request: Request,
    state: &Broadcast,
    wait: Duration,
) -> Result<Response, AskError> {
    let stream = connection.open_request().await?;
    let (mut sender, mut receiver) = stream.split();
    sender.send(&wire::Request::from(request)).await?;
    let response = answer_to_state(&mut sender, &mut receiver, state, wait).await?;
    Ok(Response::try_from(response)?)
}

/// What a round's ask needs.
pub(super) struct UpdateAsk {
    pub(super) site: SiteName,
    pub(super) ask: AskNumber,
    pub(super) train: Train,
    pub(super) state: Arc<Broadcast>,
    /// Longest that the site may train.
    pub(super) wait: Duration,
}

/// Asks a site for its update and hands on what comes, chunk by chunk, until the
/// update is whole, the site says no, or the stream breaks. The queue is bounded: a
/// coordinator that folds slowly slows the sites by QUIC's flow control.
pub(super) async fn ask_update(
    connection: Connection,
    ask: UpdateAsk,
    heard: mpsc::Sender<RoundIn>,
) {
    let (site, number) = (ask.site.clone(), ask.ask);
    let said = match update_of(&connection, ask, &heard).await {
        Ok(None) => return,
        Ok(Some(refusal)) => RoundIn::Refused {
            site,
            ask: number,
            refusal,
        },
        // The connection's end is told by itself.
        Err(AskError::Link(LinkError::Closed(_))) => return,
        Err(error) => RoundIn::Failed {
            site,
            ask: number,
            fault: Fault {
                what: error.to_string(),
                remedy: "look at that node's log".into(),
            },
        },
    };
    // The round may be over: then nobody wants to know.
    heard.send(said).await.ok();
}

/// `Some`: the site's refusal. `None`: everything was handed on.
async fn update_of(
    connection: &Connection,
    ask: UpdateAsk,
    heard: &mpsc::Sender<RoundIn>,
) -> Result<Option<Refusal>, AskError> {
    let from_chunk = ask.train.from_chunk;
    let stream: RequestStream = connection.open_request().await?;
    let (mut sender, mut receiver) = stream.split();
    sender
        .send(&wire::Request::from(Request::Train(ask.train.clone())))
        .await?;
    // A site that kept the update it began to send needs no state again.
    let mut response: wire::Response = match from_chunk {
        0 => answer_to_state(&mut sender, &mut receiver, &ask.state, ask.wait).await?,
        _ => receiver.receive_within(ask.wait).await?,
    };
    if matches!(response.kind, Some(wire::response::Kind::Done(_))) {
        response = answer_to_state(&mut sender, &mut receiver, &ask.state, ask.wait).await?;
    }
    let update = match Response::try_from(response)? {
        Response::Update(update) => update,
        Response::Refusal(refusal) => return Ok(Some(refusal)),
        Response::Fault(fault) => {
            let failed = RoundIn::Failed {
                site: ask.site,
                ask: ask.ask,
                fault,
            };
            heard.send(failed).await.ok();
            return Ok(None);
        }
        _ => return Err(AskError::Unexpected),
    };
    hand_on(&mut receiver, &ask, update, heard).await?;
    sender.finish().ok();
    Ok(None)
}

async fn hand_on(
    receiver: &mut StreamReceiver,
    ask: &UpdateAsk,
    update: Update,
    heard: &mpsc::Sender<RoundIn>,
) -> Result<(), AskError> {
    // Not the update's own word: a chunk is never longer than the round's update has room for.
    let bytes = ask.state.bytes();
    let announced = update.tensors.bytes;
    let header = RoundIn::Header {
        site: ask.site.clone(),
        ask: ask.ask,
        update,
    };
    if heard.send(header).await.is_err() || announced != bytes {
        return Ok(());
    }
    for index in ask.train.from_chunk..chunks_of(bytes) {
        // A place first, then the chunk: no site holds one that has nowhere to go.
        let Ok(place) = heard.reserve().await else {
            return Ok(());
        };
        let bytes = receiver.receive_chunk(chunk_len(bytes, index)).await?;
        place.send(RoundIn::Chunk {
            site: ask.site.clone(),
            ask: ask.ask,
            index,
            bytes,
        });
    }
    Ok(())
}

/// Sends the state and waits for the answer at the same time, for a site may
/// refuse before it has read everything.
async fn answer_to_state(
    sender: &mut StreamSender,
    receiver: &mut StreamReceiver,
    state: &Broadcast,
    wait: Duration,
) -> Result<wire::Response, AskError> {
    let sending = send_state(sender, state);
    let answering = receiver.receive_within::<wire::Response>(wait);
    tokio::pin!(sending, answering);
    tokio::select! {
        sent = &mut sending => match sent {
            // A site that stopped reading has an answer under way.
            Ok(()) | Err(AskError::Link(LinkError::GivenUp { .. })) => Ok(answering.await?),
            Err(error) => Err(error),
        },
        answer = &mut answering => Ok(answer?),
    }
}

async fn send_state(sender: &mut StreamSender, state: &Broadcast) -> Result<(), AskError> {
    for index in 0..state.count() {
        sender.send_chunk(&state.chunk(index).await?).await?;
    }
    Ok(())
}
