//! A site that was let in and lies. It holds true credentials and speaks the true protocol; its answers are not true.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use consilium_link::{
    Chunk, Connection, Credentials, Dialer, LinkError, LinkLimits, RequestStream,
};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{
    Admitted, Hello, Request, Response, TensorsAhead, Train, Update,
};
use consilium_protocol::model::{chunk_len, chunks_of};
use consilium_protocol::{Digest, Refusal, RefusalCode, wire};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::hostile_frames::Raw;
use crate::process::runtime;
use crate::world::{Consortium, HOSPITALS, Model, POLICY, Person, RunFile};

/// What the site does when it is asked for its update.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    /// No change, in the right form: what every lie below is made from.
    Nothing,
    /// A change whose first value is this.
    Value(f32),
    /// It says that it is shorter than the model, and is.
    TooShort,
    OtherRound,
    OtherRun,
    /// More records than it was admitted with.
    MoreRecords,
    /// The tensors are not those whose hash it gave.
    OtherHash,
    /// A loss that is no number.
    LossNotANumber,
    /// The true answer, twice.
    Twice,
    /// A chunk whose hash is not its own.
    ChunkOfOtherHash,
    /// A chunk that says it is longer than any may be.
    ChunkTooLong,
    FrameTooLong,
    FrameOfOtherVersion,
    Garbage,
    /// An answer to another question.
    Unasked,
    /// Half of a chunk, then nothing.
    HalfAChunkThenSilence,
    /// All chunks but the last, then nothing.
    AllButTheLastChunkThenSilence,
    Silence,
}

/// A site that lies, answering from a thread of its own until it is dropped.
struct Mallory {
    answer: Arc<Mutex<Answer>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mallory {
    fn joins(consortium: &Consortium, name: &str) -> Self {
        let token = consortium.invites("--site", name);
        consortium.enrols(name, &token).data();
        let identity = consortium.path(name).join("identity");
        let credentials = Credentials::load(&identity).unwrap();
        let address = consortium.address();
        let answer = Arc::new(Mutex::new(Answer::Nothing));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let answer = answer.clone();
            move || {
                runtime().block_on(async {
                    let dialer = Dialer::member(credentials, LinkLimits::default());
                    let connection = dialer.dial(&address).await.unwrap();
                    says_hello(&connection).await;
                    tokio::select! {
                        _ = stopped => {}
                        () = serve(&connection, answer) => {}
                    }
                });
            }
        });
        consortium.knows_as_connected(&[name]);
        Self {
            answer,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn will(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

impl Drop for Mallory {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// From now on it is asked.
async fn says_hello(connection: &Connection) {
    let hello = Request::Hello(Hello {
        software_version: "0".into(),
        datasets: Vec::new(),
    });
    let mut stream = connection.ask(hello).await.unwrap();
    stream.receive::<wire::Response>().await.unwrap();
}

async fn serve(connection: &Connection, answer: Arc<Mutex<Answer>>) {
    while let Ok(stream) = connection.accept_request().await {
        let answer = *answer.lock().unwrap();
        // A coordinator that hangs up on a liar is what is wanted.
        tokio::spawn(async move { respond(stream, answer).await.ok() });
    }
}

async fn respond(mut stream: RequestStream, answer: Answer) -> Result<(), LinkError> {
    let request: wire::Request = stream.receive().await?;
    let response = match Request::try_from(request).unwrap() {
        Request::Review { .. } => Response::Admitted(Admitted {
            records: 100,
            dataset_version: Digest([1; 32]),
            bundle: Digest([2; 32]),
        }),
        Request::Train(train) => return give(stream, train, answer).await,
        Request::Evaluate(_) => {
            Response::Refusal(Refusal::new(RefusalCode::NotPermitted, "no", ""))
        }
        _ => Response::Done,
    };
    stream.send(&wire::Response::from(response)).await?;
    stream.finish()
}

/// Answers a round's ask.
async fn give(mut stream: RequestStream, train: Train, answer: Answer) -> Result<(), LinkError> {
    for index in 0..chunks_of(train.state.bytes) {
        stream
            .receive_chunk(chunk_len(train.state.bytes, index))
            .await?;
    }
    let mut tensors = vec![0; usize::try_from(train.state.bytes).unwrap()];
    match answer {
        Answer::Value(value) => tensors[..4].copy_from_slice(&value.to_le_bytes()),
        Answer::TooShort => tensors.truncate(tensors.len() / 2),
        _ => {}
    }
    let update = wire::Response::from(Response::Update(update_of(&train, &tensors, answer)));
    let chunks = || {
        tensors
            .chunks(CHUNK_BYTES_MAX)
            .map(|c| Chunk::new(Bytes::copy_from_slice(c)).unwrap())
    };
    let done = wire::Response::from(Response::Done);
    let framed = |header: &[u8]| Raw::after(&done, header);
    match answer {
        Answer::Silence => return silence(stream).await,
        Answer::Unasked => {
            stream
                .send(&wire::Response::from(Response::Runs(Vec::new())))
                .await?
        }
        Answer::FrameTooLong => stream.send(&framed(b"CS\x01\x00\xff\xff\xff\xff")).await?,
        Answer::FrameOfOtherVersion => stream.send(&framed(b"CS\x02\x00\0\0\0\0")).await?,
        Answer::Garbage => stream.send(&framed(b"GET / HTTP/1.1\r\n\r\n")).await?,
        Answer::ChunkOfOtherHash => {
            let length = u32::try_from(tensors.len()).unwrap().to_le_bytes();
            let chunk = [&length[..], &[0; 32], &tensors].concat();
            stream.send(&Raw::after(&update, &chunk)).await?;
        }
        Answer::ChunkTooLong => {
            let chunk = [&u32::MAX.to_le_bytes()[..], &[0; 32], &tensors].concat();
            stream.send(&Raw::after(&update, &chunk)).await?;
        }
        Answer::HalfAChunkThenSilence => {
            let first = tensors.chunks(CHUNK_BYTES_MAX).next().unwrap();
            let length = u32::try_from(first.len()).unwrap().to_le_bytes();
            let hash = blake3::hash(first);
            let chunk = [&length[..], hash.as_bytes(), &first[..first.len() / 2]].concat();
            stream.send(&Raw::after(&update, &chunk)).await?;
            return silence(stream).await;
        }
        Answer::AllButTheLastChunkThenSilence => {
            stream.send(&update).await?;
            let all = chunks().count();
            assert!(all > 1);
            for chunk in chunks().take(all - 1) {
                stream.send_chunk(&chunk).await?;
            }
            return silence(stream).await;
        }
        _ => {
            let times = if answer == Answer::Twice { 2 } else { 1 };
            for _ in 0..times {
                stream.send(&update).await?;
                for chunk in chunks() {
                    stream.send_chunk(&chunk).await?;
                }
            }
        }
    }
    stream.finish()
}

fn update_of(train: &Train, tensors: &[u8], answer: Answer) -> Update {
    let mut update = Update {
        tensors: TensorsAhead {
            bytes: tensors.len() as u64,
            blake3: *blake3::hash(tensors).as_bytes(),
            ..train.state.clone()
        },
        records: 100,
        training_loss: None,
        held_out: None,
        metrics_withheld: true,
        bundle: Digest([2; 32]),
    };
    match answer {
        Answer::OtherRound => update.tensors.round += 1,
        Answer::OtherRun => update.tensors.run_id = "r-ffffffffffff".parse().unwrap(),
        Answer::MoreRecords => update.records = 1_000_000,
        Answer::OtherHash => update.tensors.blake3 = [3; 32],
        Answer::LossNotANumber => update.training_loss = Some(f64::NAN),
        _ => {}
    }
    update
}

/// Keeps the stream open and says nothing, until the other side has enough.
async fn silence(mut stream: RequestStream) -> Result<(), LinkError> {
    stream.receive::<wire::Request>().await.map(drop)?;
    std::future::pending().await
}

/// One round with three honest hospitals and Mallory: the round as it closed, and the model.
fn one_round(consortium: &Consortium, ada: &Person, run: &RunFile) -> (Value, Model) {
    let run_id = ada.submits(run);
    let model = ada.gets_model_of(&run_id);
    let mut rounds = consortium.rounds_of(&run_id);
    assert_eq!(rounds.len(), 1);
    (rounds.remove(0), model)
}

fn with_mallory() -> Vec<&'static str> {
    HOSPITALS[..3].iter().copied().chain(["mallory"]).collect()
}

#[test]
fn a_site_that_lies_is_left_out_and_named_and_the_others_model_is_right() {
    let consortium = Consortium::found();
    let _honest: Vec<_> = HOSPITALS[..3]
        .iter()
        .map(|name| consortium.running_site(name))
        .collect();
    let mallory = Mallory::joins(&consortium, "mallory");
    let ada = consortium.researcher("ada");
    let run = |sites: &[&str]| RunFile::of(sites).with("rounds", "1").with("quorum", "3");
    let honest = ada.gets_model_of(&ada.submits(&run(&HOSPITALS[..3])));
    // Long enough for the honest, on a busy machine as well. Only whoever says nothing makes a round last so long.
    let run = run(&with_mallory()).with("round-deadline-s", "15");
    for (answer, cause, says) in [
        (Answer::Value(f32::NAN), "bad-update", "not a number"),
        (Answer::Value(f32::INFINITY), "bad-update", "infinite"),
        (Answer::Value(f32::MAX), "bad-update", "beyond"),
        (Answer::TooShort, "bad-update", "bytes long"),
        (Answer::OtherRound, "bad-update", "round 2"),
        (Answer::OtherRun, "bad-update", "r-ffffffffffff"),
        (Answer::MoreRecords, "bad-update", "1000000 records"),
        (Answer::OtherHash, "bad-update", "hash"),
        (Answer::LossNotANumber, "failed", "training_loss"),
        (Answer::ChunkOfOtherHash, "failed", "hash"),
        (Answer::ChunkTooLong, "failed", "4294967295"),
        (Answer::FrameTooLong, "failed", "over the limit"),
        (Answer::FrameOfOtherVersion, "failed", "version 2"),
        (Answer::Garbage, "failed", "does not speak"),
        (Answer::Unasked, "failed", "something else"),
        (Answer::HalfAChunkThenSilence, "late", ""),
        (Answer::Silence, "late", ""),
    ] {
        mallory.will(answer);
        let (round, model) = one_round(&consortium, &ada, &run);
        let missing = &round["missing"]["mallory"];
        assert_eq!(missing["cause"], cause, "{answer:?}: {round}");
        assert!(missing.to_string().contains(says), "{answer:?}: {missing}");
        assert_eq!(round["sites"].as_object().unwrap().len(), 3, "{answer:?}");
        assert_eq!(
            round["missing"].as_object().unwrap().len(),
            1,
            "{answer:?}: {round}"
        );
        // Up to the rounding of weights, which are shares of all four's records here and of three's there.
        let distance = model.distance(&honest);
        assert!(distance < 1e-6, "{answer:?}: {distance}");
    }
    assert!(!consortium.coordinator.log().contains("panicked"));
}

#[test]
fn an_update_that_is_sent_twice_counts_once() {
    let consortium = Consortium::found();
    let _honest: Vec<_> = HOSPITALS[..3]
        .iter()
        .map(|name| consortium.running_site(name))
        .collect();
    let mallory = Mallory::joins(&consortium, "mallory");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&with_mallory()).with("rounds", "1");
    let (_, once) = one_round(&consortium, &ada, &run);
    mallory.will(Answer::Twice);
    let (round, twice) = one_round(&consortium, &ada, &run);
    assert_eq!(round["sites"].as_object().unwrap().len(), 4, "{round}");
    assert_eq!(twice.tensors_sha256, once.tensors_sha256);
}

#[test]
fn an_upload_that_stops_half_way_leaves_nothing_in_the_model() {
    let consortium = Consortium::found();
    let honest: Vec<_> = HOSPITALS[..3]
        .iter()
        .map(|name| consortium.running_site(name))
        .collect();
    for site in &honest {
        site.writes_policy(&POLICY.replace("-per-record = 0.6", "-per-record = 100000.0"));
    }
    let mallory = Mallory::joins(&consortium, "mallory");
    let ada = consortium.researcher("ada");
    // Two chunks: the first is in the sum when the second does not come.
    let run = |sites: &[&str]| {
        let run = RunFile::of(sites).with("model", r#"{ kind = "mlp", hidden = [20000] }"#);
        let run = run
            .with("rounds", "1")
            .with("quorum", "3")
            .with_local_steps(2);
        run.with("round-deadline-s", "20")
    };
    let three = ada.gets_model_of(&ada.submits(&run(&HOSPITALS[..3])));
    mallory.will(Answer::AllButTheLastChunkThenSilence);
    let (round, model) = one_round(&consortium, &ada, &run(&with_mallory()));
    assert_eq!(round["restarts"], 1, "{round}");
    assert!(round["missing"].get("mallory").is_some(), "{round}");
    let distance = model.distance(&three);
    assert!(distance < 1e-6, "{distance}");
}

/// More than the coordinator has places for chunks that arrive: each of them begins one and never ends it.
#[test]
fn sites_that_stall_within_a_chunk_hold_no_other_site_back() {
    const STALLED: usize = 20;
    let consortium = Consortium::found();
    let names: Vec<String> = (0..STALLED).map(|at| format!("mallory-{at}")).collect();
    let stalled: Vec<Mallory> = names
        .iter()
        .map(|name| Mallory::joins(&consortium, name))
        .collect();
    for mallory in &stalled {
        mallory.will(Answer::HalfAChunkThenSilence);
    }
    let honest: Vec<_> = HOSPITALS[..3]
        .iter()
        .map(|name| consortium.running_site(name))
        .collect();
    for site in &honest {
        site.writes_policy(&POLICY.replace("-per-record = 0.6", "-per-record = 100000.0"));
    }
    let ada = consortium.researcher("ada");
    let mut sites = HOSPITALS[..3].to_vec();
    sites.extend(names.iter().map(String::as_str));
    // Shorter than the coordinator waits for a stream that stalls.
    let run = RunFile::of(&sites)
        .with("model", r#"{ kind = "mlp", hidden = [40000] }"#)
        .with("rounds", "1")
        .with("quorum", "3")
        .with("round-deadline-s", "25")
        .with_local_steps(1);
    let (round, _) = one_round(&consortium, &ada, &run);
    assert_eq!(round["sites"].as_object().unwrap().len(), 3, "{round}");
    for name in &names {
        assert_eq!(round["missing"][name]["cause"], "late", "{round}");
    }
}
