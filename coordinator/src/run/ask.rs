//! Asking one site over its connection: a short exchange, or a round's state for an update.

use std::sync::Arc;
use std::time::Duration;

use consilium_link::{Connection, LinkError, RequestStream, StreamReceiver, StreamSender};
use consilium_protocol::message::{Fault, MessageError, Request, Response, Train, Update};
use consilium_protocol::model::{chunk_len, chunks_of};
use consilium_protocol::{Refusal, SiteName, wire};
use tokio::sync::{mpsc, oneshot};

use super::broadcast::Broadcast;
use super::places::{Pace, Place, Places};
use crate::round::{AskNumber, RoundIn};
use crate::state::StateError;

/// Longest that a site may take over something that needs no training.
const EXCHANGE_WAIT_MS: u64 = 60_000;

/// What a site sees of a stream that is ended with a refusal.
const REFUSED: u32 = 3;

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
    let response = answer_while(send_state(&mut sender, state), &mut receiver, wait).await?;
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

/// What a site said in a round, and the place of its chunk: free again once this was heard.
pub(super) struct Heard {
    pub(super) input: RoundIn,
    pub(super) place: Option<Place>,
}

impl From<RoundIn> for Heard {
    fn from(input: RoundIn) -> Self {
        Self { input, place: None }
    }
}

/// Where what sites say goes.
#[derive(Clone)]
pub(super) struct Ear {
    pub(super) heard: mpsc::Sender<Heard>,
    pub(super) places: Places,
}

/// The stream of one ask.
struct Exchange {
    sender: StreamSender,
    receiver: StreamReceiver,
    /// No part of a message or chunk is on its way: a word more would be understood.
    may_speak: bool,
}

/// Asks a site for its update and hands on what comes, chunk by chunk, until the update is whole, the site says no, or
/// the stream breaks. Then the stream's end says that the update was taken; if the round refuses it, at whatever
/// moment, `refused` says why, and the site is told.
pub(super) async fn ask_update(
    connection: Connection,
    ask: UpdateAsk,
    ear: Ear,
    mut refused: oneshot::Receiver<Refusal>,
) {
    let (site, number) = (ask.site.clone(), ask.ask);
    let mut exchange = None;
    let ended = tokio::select! {
        ended = update_of(&connection, &mut exchange, ask, &ear) => ended,
        // Where the round has nothing to say any more, the update is in or nobody wants to know.
        Ok(refusal) = &mut refused => {
            if let Some(exchange) = exchange {
                exchange.tell(refusal).await;
            }
            return;
        }
    };
    let said = match ended {
        Ok(None) => {
            let Some(mut exchange) = exchange else { return };
            match refused.await {
                Ok(refusal) => exchange.tell(refusal).await,
                Err(_) => drop(exchange.sender.finish()),
            }
            return;
        }
        Ok(Some(said)) => said,
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
    ear.heard.send(said.into()).await.ok();
}

impl Exchange {
    /// Sends the state, and notes whether all of it went.
    async fn answer_to_state(&mut self, ask: &UpdateAsk) -> Result<wire::Response, AskError> {
        let Self {
            sender,
            receiver,
            may_speak,
        } = self;
        let sending = async {
            let sent = send_state(sender, &ask.state).await;
            *may_speak = sent.is_ok();
            sent
        };
        answer_while(sending, receiver, ask.wait).await
    }

    /// Ends the stream with this refusal.
    async fn tell(mut self, refusal: Refusal) {
        self.receiver.stop(REFUSED);
        if !self.may_speak {
            return self.sender.abandon(REFUSED);
        }
        let refusal = wire::Response::from(Response::Refusal(refusal));
        // A site that is gone is told by its own log.
        if self.sender.send(&refusal).await.is_ok() && self.sender.finish().is_ok() {
            self.sender.delivered().await.ok();
        }
    }
}

/// `Some`: what the site said in place of an update. `None`: everything was handed on.
async fn update_of(
    connection: &Connection,
    opened: &mut Option<Exchange>,
    ask: UpdateAsk,
    ear: &Ear,
) -> Result<Option<RoundIn>, AskError> {
    let from_chunk = ask.train.from_chunk;
    let stream: RequestStream = connection.open_request().await?;
    let (sender, receiver) = stream.split();
    let exchange = opened.insert(Exchange {
        sender,
        receiver,
        may_speak: false,
    });
    let train = wire::Request::from(Request::Train(ask.train.clone()));
    exchange.sender.send(&train).await?;
    // A site that kept the update it began to send needs no state again.
    exchange.may_speak = from_chunk > 0;
    let mut response: wire::Response = match from_chunk {
        0 => exchange.answer_to_state(&ask).await?,
        _ => exchange.receiver.receive_within(ask.wait).await?,
    };
    if matches!(response.kind, Some(wire::response::Kind::Done(_))) {
        exchange.may_speak = false;
        response = exchange.answer_to_state(&ask).await?;
    }
    let (site, number) = (ask.site.clone(), ask.ask);
    let update = match Response::try_from(response)? {
        Response::Update(update) => update,
        Response::Refusal(refusal) => {
            return Ok(Some(RoundIn::Refused {
                site,
                ask: number,
                refusal,
            }));
        }
        Response::Fault(fault) => {
            return Ok(Some(RoundIn::Failed {
                site,
                ask: number,
                fault,
            }));
        }
        _ => return Err(AskError::Unexpected),
    };
    hand_on(&mut exchange.receiver, &ask, update, ear).await?;
    Ok(None)
}

async fn hand_on(
    receiver: &mut StreamReceiver,
    ask: &UpdateAsk,
    update: Update,
    ear: &Ear,
) -> Result<(), AskError> {
    // Not the update's own word: a chunk is never longer than the round's update has room for.
    let bytes = ask.state.bytes();
    let announced = update.tensors.bytes;
    let header = RoundIn::Header {
        site: ask.site.clone(),
        ask: ask.ask,
        update,
    };
    if ear.heard.send(header.into()).await.is_err() || announced != bytes {
        return Ok(());
    }
    let mut pace = Pace::default();
    for index in ask.train.from_chunk..chunks_of(bytes) {
        let chunk = receiver.receive_chunk(chunk_len(bytes, index));
        let (bytes, place) = ear.places.receive(&mut pace, chunk).await?;
        let input = RoundIn::Chunk {
            site: ask.site.clone(),
            ask: ask.ask,
            index,
            bytes,
        };
        let place = Some(place);
        if ear.heard.send(Heard { input, place }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for the answer while the state is being sent, for a site may refuse before it has read everything.
async fn answer_while(
    sending: impl Future<Output = Result<(), AskError>>,
    receiver: &mut StreamReceiver,
    wait: Duration,
) -> Result<wire::Response, AskError> {
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
