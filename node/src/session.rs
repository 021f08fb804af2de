//! One request of the coordinator, one answer.

use std::sync::Arc;
use std::time::Duration;

use consilium_link::{
    Chunk, LinkError, RequestStream, StreamReceiver, StreamSender, seal, wall_clock,
};
use consilium_protocol::message::{
    Fault, Request, Response, SearchAnswer, SignedRun, SignedSearch, TensorsAhead, Train,
};
use consilium_protocol::model::{append_from_le_bytes, chunk_len, chunks_of};
use consilium_protocol::search::Wanted;
use consilium_protocol::{Refusal, RefusalCode, RunId, wire};

use crate::budget;
use crate::gate::NotReleased;
use crate::node::{Node, ReleasedUpdate};
use crate::query;
use crate::retrieval::{self, Searched, timing::held_for};
use crate::round::{Plan, RoundIn, RoundOut};
use crate::run_store;
use crate::witness;
use crate::work;

/// How long the coordinator may take to say its request once its stream is open.
const REQUEST_WAIT_MS: u64 = 30_000;

/// How long the coordinator may take to say whether it took an update that has gone.
const VERDICT_WAIT_MS: u64 = 30_000;

/// How long a request waits for the first comparison of the journal with what was witnessed of it.
const COMPARED_WAIT_MS: u64 = 20_000;

/// Why a request has no ordinary answer.
enum NoAnswer {
    Refused(Refusal),
    Failed(Fault),
    Link(LinkError),
}

impl From<LinkError> for NoAnswer {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NotReleased> for NoAnswer {
    fn from(not: NotReleased) -> Self {
        match not {
            NotReleased::Refused(refusal) => Self::Refused(refusal),
            NotReleased::Failed(fault) => {
                tracing::error!(%fault, "a pass failed");
                Self::Failed(fault.told_outside())
            }
        }
    }
}

/// What the site could not do, for its own log; the coordinator hears that something broke.
fn failed(error: &impl std::fmt::Display) -> NoAnswer {
    tracing::error!(%error, "a request failed");
    NoAnswer::Failed(Fault {
        what: "the site could not do its part".into(),
        remedy: "its operator finds the cause in the node's log".into(),
    })
}

/// Reads one request and answers it.
pub async fn attend(node: Arc<Node>, mut stream: RequestStream) {
    let wait = Duration::from_millis(REQUEST_WAIT_MS);
    let request = match stream.receive_within::<wire::Request>(wait).await {
        Ok(wire) => Request::try_from(wire),
        Err(error) => {
            tracing::warn!(%error, "a request could not be read");
            return stream.stop(1);
        }
    };
    let (mut sender, mut receiver) = stream.split();
    let trains = match &request {
        Ok(Request::Train(train)) => Some(train.state.clone()),
        _ => None,
    };
    let answered = match request {
        Err(error) => Err(NoAnswer::Refused(Refusal::new(
            RefusalCode::BadRequest,
            error.to_string(),
            "use the same version on both sides",
        ))),
        Ok(request) => answer(&node, request, &mut sender, &mut receiver).await,
    };
    let may_be_judged = matches!(answered, Ok(()) | Err(NoAnswer::Link(_)));
    let sent = match answered {
        Ok(()) => Ok(()),
        Err(NoAnswer::Refused(refusal)) => {
            tracing::info!(%refusal, "refused");
            send(&mut sender, Response::Refusal(refusal)).await
        }
        Err(NoAnswer::Failed(fault)) => send(&mut sender, Response::Fault(fault)).await,
        Err(NoAnswer::Link(error)) => Err(error),
    };
    match sent {
        Ok(()) => {
            if sender.finish().is_ok() {
                sender.delivered().await.ok();
            }
        }
        Err(error) => {
            tracing::warn!(%error, "an answer did not arrive");
            sender.abandon(2);
        }
    }
    if let Some(asked) = trains.filter(|_| may_be_judged) {
        hear_verdict(&asked, &mut receiver).await;
    }
}

/// The coordinator ends its half of the stream once it has the update, or says why it does not take it: the operator
/// of this site should know.
async fn hear_verdict(asked: &TensorsAhead, receiver: &mut StreamReceiver) {
    let wait = Duration::from_millis(VERDICT_WAIT_MS);
    let verdict = receiver.receive_within::<wire::Response>(wait).await;
    // An end without a word, and one that cannot be understood, refuse nothing.
    if let Ok(Ok(Response::Refusal(refusal))) = verdict.map(Response::try_from) {
        let Refusal {
            code,
            reason,
            remedy,
            ..
        } = refusal;
        let (run_id, round) = (&asked.run_id, asked.round);
        tracing::warn!(
            %run_id, round, code = code.as_str(), %reason, %remedy,
            "the coordinator does not take this site's update"
        );
    }
}

async fn answer(
    node: &Arc<Node>,
    request: Request,
    sender: &mut StreamSender,
    receiver: &mut StreamReceiver,
) -> Result<(), NoAnswer> {
    // Before anything is answered: is this journal the one that was witnessed? That a run ended is no question.
    let witnessed = node.testimony.witnessed();
    match request {
        Request::EndRun { .. } => {}
        // Two nodes that start at once are each other's witnesses.
        Request::WitnessPeer { .. } => witnessed.is_not_set_back()?,
        _ => {
            witnessed.compared(COMPARED_WAIT_MS).await;
            witnessed.stands()?;
        }
    }
    match request {
        Request::WitnessPeer { site, cosign } => {
            let looking = {
                let node = node.clone();
                tokio::task::spawn_blocking(move || witness::cosign(&node, &site, &cosign))
            };
            let looked = looking.await.map_err(|error| failed(&error))?;
            let cosigned = looked.map_err(|error| failed(&error))??;
            Ok(send(sender, Response::Cosigned(cosigned)).await?)
        }
        Request::Review { run_id, run } => {
            let response = review(node, run_id, run).await?;
            Ok(send(sender, response).await?)
        }
        Request::Train(train) => {
            let lock = node.run_lock(&train.state.run_id);
            let _turn = lock.lock().await;
            train_round(node, train, sender, receiver).await
        }
        Request::Evaluate(state) => {
            let lock = node.run_lock(&state.run_id);
            let _turn = lock.lock().await;
            evaluate(node, state, sender, receiver).await
        }
        Request::EndRun { run_id, outcome } => {
            let lock = node.run_lock(&run_id);
            let _turn = lock.lock().await;
            tracing::info!(%run_id, outcome, "a run ended");
            carry_out(node, node.step(RoundIn::Ended { run_id })).await?;
            Ok(send(sender, Response::Done).await?)
        }
        question @ (Request::Answer(_)
        | Request::AnswerSearch(_)
        | Request::SketchKey(_)
        | Request::AnswerMasked { .. }
        | Request::TellBudget(_)) => {
            let response = answer_question(node, question).await?;
            Ok(send(sender, response).await?)
        }
        other => Err(not_for_a_node(&other)),
    }
}

fn not_for_a_node(request: &Request) -> NoAnswer {
    Refusal::new(
        RefusalCode::BadRequest,
        format!("a node does not answer `{}`", request.name()),
        "ask the coordinator",
    )
    .into()
}

/// Answers what a researcher asks of this site.
async fn answer_question(node: &Arc<Node>, question: Request) -> Result<Response, NoAnswer> {
    match question {
        Request::Answer(query) => {
            let text = query.text.clone();
            let answering = {
                let node = node.clone();
                tokio::task::spawn_blocking(move || query::answer(&node, &query, wall_clock()))
            };
            let answer = answering.await.map_err(|error| failed(&error))?;
            let answer = laid_before_officers(node, &text, answer)?;
            Ok(Response::SiteAnswer(answer.into_inner()))
        }
        Request::AnswerSearch(search) => search_answered(node, search).await,
        Request::SketchKey(query) => {
            let text = query.text.clone();
            let looking = {
                let node = node.clone();
                tokio::task::spawn_blocking(move || query::sketch_key(&node, &query, wall_clock()))
            };
            let key = looking.await.map_err(|error| failed(&error))?;
            let key = laid_before_officers(node, &text, key)?;
            Ok(Response::SketchKey(key))
        }
        Request::AnswerMasked { query, keys } => {
            let text = query.text.clone();
            let answering = {
                let node = node.clone();
                tokio::task::spawn_blocking(move || {
                    query::masked_sketch(&node, &query, &keys, wall_clock())
                })
            };
            let sketch = answering.await.map_err(|error| failed(&error))?;
            let sketch = laid_before_officers(node, &text, sketch)?;
            Ok(Response::MaskedSketch(sketch.into_inner()))
        }
        Request::TellBudget(question) => {
            let looking = {
                let node = node.clone();
                tokio::task::spawn_blocking(move || budget::tell(&node, &question, wall_clock()))
            };
            let told = looking.await.map_err(|error| failed(&error))?;
            Ok(Response::SiteBudget(told?))
        }
        other => Err(not_for_a_node(&other)),
    }
}

/// Answers a search. What is about patients leaves under a seal, and at a time that tells nothing of them.
async fn search_answered(node: &Arc<Node>, signed: SignedSearch) -> Result<Response, NoAnswer> {
    let began = tokio::time::Instant::now();
    let (search, ask) = retrieval::prove(node, &signed, wall_clock())?;
    let answering = {
        let (node, search) = (node.clone(), search.clone());
        tokio::task::spawn_blocking(move || retrieval::answer(&node, &search, &ask, wall_clock()))
    };
    let searched = answering.await.map_err(|error| failed(&error))?;
    let searched = laid_before_officers(node, &signed.text, searched);
    let is_about_patients = !matches!(search.document().wanted, Wanted::Passages { .. });
    let response = match searched {
        Ok(searched) => {
            let answer = match searched {
                Searched::Released(released) => released.into_inner(),
                Searched::Nothing(nothing) => SearchAnswer::Disclosed(nothing),
            };
            match answer {
                SearchAnswer::Disclosed(disclosed) => {
                    let sealed = seal(&node.credentials(), &signed, &search, &disclosed);
                    sealed
                        .map(SearchAnswer::Sealed)
                        .map_err(|error| failed(&error))
                }
                open => Ok(open),
            }
        }
        Err(not) => Err(not.into()),
    };
    if is_about_patients {
        tokio::time::sleep(held_for(began.elapsed())).await;
    }
    Ok(Response::SearchAnswer(response?))
}

/// Lays a signed text before the site's officers where one of them has to approve it first.
fn laid_before_officers<T>(
    node: &Node,
    text: &[u8],
    outcome: Result<T, NotReleased>,
) -> Result<T, NotReleased> {
    if let Err(NotReleased::Refused(refusal)) = &outcome
        && refusal.code == RefusalCode::NeedsApproval
        && let Err(error) = node.gate.lay_before_officers(text)
    {
        tracing::error!(%error, "what waits for an officer could not be laid before her");
    }
    outcome
}

async fn review(node: &Arc<Node>, run_id: RunId, signed: SignedRun) -> Result<Response, NoAnswer> {
    let (spec, researcher) = node.prove(&signed, wall_clock()).map_err(|error| {
        Refusal::new(
            RefusalCode::BadSignature,
            error.to_string(),
            "submit the run with the credentials of a researcher of this consortium",
        )
    })?;
    if !spec.document().participants.contains(&node.site) {
        return Err(Refusal::new(
            RefusalCode::NotNamed,
            format!("the run does not name site `{}`", node.site),
            "name it in `participants`",
        )
        .into());
    }
    node.participant().has_room(&run_id)?;
    let admitting = {
        let (node, run_id, spec, researcher) = (
            node.clone(),
            run_id.clone(),
            spec.clone(),
            researcher.clone(),
        );
        tokio::task::spawn_blocking(move || work::admit(&node, &run_id, &spec, &researcher))
    };
    let admitted = admitting.await.map_err(|error| failed(&error))?;
    let admitted = laid_before_officers(node, &signed.text, admitted)?;
    let saving = {
        let (folder, run_id) = (node.folder.clone(), run_id.clone());
        tokio::task::spawn_blocking(move || run_store::save_run(&folder, &run_id, &signed))
    };
    saving
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    tracing::info!(%run_id, project = %spec.document().project, researcher = %researcher.name, "admits a run");
    carry_out(
        node,
        node.step(RoundIn::Admitted {
            run_id,
            spec: Box::new(spec),
            researcher,
            local: Default::default(),
        }),
    )
    .await?;
    Ok(Response::Admitted(admitted.into_inner()))
}

async fn train_round(
    node: &Arc<Node>,
    train: Train,
    sender: &mut StreamSender,
    receiver: &mut StreamReceiver,
) -> Result<(), NoAnswer> {
    let (run_id, round) = (train.state.run_id.clone(), train.state.round);
    let from_chunk = train.from_chunk;
    let plan = match node.step(RoundIn::Train(train.clone())).pop() {
        Some(RoundOut::Send(update)) => return send_update(&update, from_chunk, sender).await,
        Some(RoundOut::Train(plan)) => plan,
        Some(RoundOut::Refuse(refusal)) => return Err(refusal.into()),
        _ => return Err(failed(&"a round's ask led to nothing")),
    };
    if from_chunk > 0 {
        // The update that was begun is gone with the process that made it: make it anew.
        send(sender, Response::Done).await?;
    }
    let received = receive_state(&train.state, receiver).await?;
    let slot = node.training.clone().acquire_owned().await;
    let working = {
        let (node, state) = (node.clone(), train.state.clone());
        tokio::task::spawn_blocking(move || work::train(&node, &state, &plan, received))
    };
    let (update, local) = working.await.map_err(|error| failed(&error))??;
    drop(slot);
    let released = RoundIn::Released {
        train,
        local,
        update: Arc::new(update),
    };
    let outs = node.step(released);
    let mut to_send = None;
    let mut rest = Vec::new();
    for out in outs {
        match out {
            RoundOut::Send(update) => to_send = Some(update),
            other => rest.push(other),
        }
    }
    if let Err(not_persisted) = carry_out(node, rest).await {
        drop(node.step(RoundIn::NotPersisted { run_id, round }));
        return Err(not_persisted);
    }
    match to_send {
        Some(update) => send_update(&update, from_chunk, sender).await,
        None => Err(failed(&"the run ended while it was trained")),
    }
}

async fn send_update(
    update: &Arc<ReleasedUpdate>,
    from_chunk: u64,
    sender: &mut StreamSender,
) -> Result<(), NoAnswer> {
    let message = update.wire().message().clone();
    send(sender, Response::Update(message)).await?;
    for index in from_chunk..update.wire().chunks() {
        let Some(bytes) = update.wire().chunk(index) else {
            break;
        };
        sender.send_chunk(&Chunk::new(bytes)?).await?;
    }
    Ok(())
}

async fn evaluate(
    node: &Arc<Node>,
    state: TensorsAhead,
    sender: &mut StreamSender,
    receiver: &mut StreamReceiver,
) -> Result<(), NoAnswer> {
    let input = RoundIn::Evaluate {
        run_id: state.run_id.clone(),
        bytes: state.bytes,
    };
    let plan: Box<Plan> = match node.step(input).pop() {
        Some(RoundOut::Evaluate(plan)) => plan,
        Some(RoundOut::Refuse(refusal)) => return Err(refusal.into()),
        _ => return Err(failed(&"an evaluation led to nothing")),
    };
    let received = receive_state(&state, receiver).await?;
    let working = {
        let node = node.clone();
        tokio::task::spawn_blocking(move || work::evaluate(&node, &state, &plan, &received))
    };
    let evaluated = working.await.map_err(|error| failed(&error))??;
    Ok(send(sender, Response::Evaluated(evaluated.into_inner())).await?)
}

/// Takes a state in. Its length was checked against the run before; its hash is now.
async fn receive_state(
    state: &TensorsAhead,
    receiver: &mut StreamReceiver,
) -> Result<Vec<f32>, NoAnswer> {
    let values = usize::try_from(state.bytes / 4).unwrap_or(usize::MAX);
    let mut received = Vec::with_capacity(values);
    let mut hasher = blake3::Hasher::new();
    for index in 0..chunks_of(state.bytes) {
        let wanted = chunk_len(state.bytes, index);
        let chunk = receiver.receive_chunk(wanted).await?;
        if chunk.len() != wanted {
            return Err(bad_state("a chunk has another length than was announced"));
        }
        hasher.update(&chunk);
        append_from_le_bytes(&chunk, &mut received);
    }
    if *hasher.finalize().as_bytes() != state.blake3 {
        return Err(bad_state("the state is not the one that was announced"));
    }
    if !received
        .iter()
        .fold(true, |all, value| all & value.is_finite())
    {
        return Err(bad_state(
            "the state holds values that are no finite numbers",
        ));
    }
    Ok(received)
}

fn bad_state(reason: &str) -> NoAnswer {
    Refusal::new(RefusalCode::BadRequest, reason, "ask again").into()
}

/// Does what the machine wants done on disk.
async fn carry_out(node: &Arc<Node>, outs: Vec<RoundOut<ReleasedUpdate>>) -> Result<(), NoAnswer> {
    for out in outs {
        let folder = node.folder.clone();
        let task = match out {
            RoundOut::Persist {
                run_id,
                round,
                local,
                forget_before,
            } => tokio::task::spawn_blocking(move || {
                run_store::save_local(&folder, &run_id, round, &local, forget_before)
            }),
            RoundOut::Forget { run_id } => {
                node.forget_prepared(&run_id);
                tokio::task::spawn_blocking(move || run_store::forget_run(&folder, &run_id))
            }
            _ => continue,
        };
        task.await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}

async fn send(sender: &mut StreamSender, response: Response) -> Result<(), LinkError> {
    sender.send(&wire::Response::from(response)).await
}
