//! A researcher's day, with a coordinator that restarts in the middle of it.

use std::fs;

use bytes::Bytes;
use consilium_link::{Chunk, Connection, RequestStream, verify_run_file, wall_clock};
use consilium_protocol::message::{
    Artefact, Fault, Request, Response, RunEvent, RunState, SignedRun,
};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Refusal, RefusalCode, Role};
use serde_json::json;

use crate::world::{Consortium, Typed, detail, events, hear, lose, say, say_last, summary};

impl Consortium {
    async fn run_file(&self) -> String {
        let path = self.path("heart.toml").display().to_string();
        let typed = self.ada(&format!("run new {path}")).await.unwrap();
        assert_eq!(typed.exit, 0, "{typed:?}");
        path
    }
}

/// Hears a submission.
async fn submission(connection: &Connection) -> (SignedRun, String, RequestStream) {
    match hear(connection).await {
        (Request::SubmitRun { run, token }, stream) => (run, token, stream),
        (other, _) => panic!("{other:?}"),
    }
}

/// Hears from which event on a run is to be followed.
async fn following(connection: &Connection) -> (u64, RequestStream) {
    match hear(connection).await {
        (Request::FollowRun { run_id, from_event }, stream) => {
            assert_eq!(run_id.as_str(), "r-1");
            (from_event, stream)
        }
        (other, _) => panic!("{other:?}"),
    }
}

/// Shows the run as it stands.
async fn shows(connection: &Connection, state: RunState, round: u32, events: &[RunEvent]) {
    let (request, stream) = hear(connection).await;
    assert_eq!(request, Request::ShowRun("r-1".parse().unwrap()));
    say_last(stream, detail(summary(state, round), events)).await;
}

async fn tells(stream: &mut RequestStream, events: &[RunEvent]) {
    for event in events {
        say(stream, Response::RunEvent(event.clone())).await;
    }
}

fn rounds(typed: &Typed) -> Vec<&str> {
    typed
        .err
        .lines()
        .filter(|line| line.starts_with("[ROUND"))
        .collect()
}

const FOUR_ROUNDS: [&str; 4] = [
    "[ROUND 1/4] loss 0.375 · accuracy 0.75 · 2 of 2 sites",
    "[ROUND 2/4] loss 0.375 · accuracy 0.75 · 2 of 2 sites",
    "[ROUND 3/4] loss 0.375 · accuracy 0.75 · 2 of 2 sites",
    "[ROUND 4/4] loss 0.375 · accuracy 0.75 · 2 of 2 sites",
];

#[tokio::test]
async fn a_run_is_signed_with_its_overrides_in_it() {
    let mut consortium = Consortium::new();
    let line = format!(
        "run submit {} --run-config rounds=5 training.learning-rate=0.1 --format json --token once",
        consortium.run_file().await
    );
    let typed = consortium.ada(&line);
    let connection = consortium.accept().await;
    let (run, token, stream) = submission(&connection).await;
    assert_eq!(token, "once");
    let signer = verify_run_file(
        &run.text,
        &run.signature,
        &run.certificate,
        &[Role::Researcher],
        consortium.authority.anchor(),
        wall_clock(),
    );
    assert_eq!(signer.unwrap().to_string(), "researcher ada");
    let spec = RunSpec::parse(&run.text).unwrap();
    assert_eq!(
        (
            spec.document().rounds,
            spec.document().training.learning_rate
        ),
        (5, 0.1)
    );
    let run_id = "r-1".parse().unwrap();
    say_last(
        stream,
        Response::Submitted {
            run_id,
            created: true,
        },
    )
    .await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    let data = &typed.envelope()["data"];
    assert_eq!(data["run_id"], "r-1");
    assert_eq!(data["run_file_sha256"], json!(Digest::of(&run.text)));
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_made_again_with_the_same_token() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada(&format!(
        "run submit {} --format json",
        consortium.run_file().await
    ));
    let first = consortium.accept().await;
    let (run, token, stream) = submission(&first).await;
    lose(first, stream).await;
    let second = consortium.accept().await;
    let (run_again, token_again, stream) = submission(&second).await;
    assert_eq!((run_again, token_again), (run, token));
    let run_id = "r-1".parse().unwrap();
    say_last(
        stream,
        Response::Submitted {
            run_id,
            created: false,
        },
    )
    .await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_eq!(typed.envelope()["data"]["created"], false);
}

#[tokio::test]
async fn a_bad_run_file_is_refused_at_home() {
    let consortium = Consortium::new();
    let file = consortium.run_file().await;
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("rounds = 15", "rounds = 0");
    fs::write(&file, text).unwrap();
    let typed = consortium.ada(&format!("run submit {file}")).await.unwrap();
    assert_eq!(typed.exit, 1);
    assert!(
        typed.err.contains("heart.toml`, line 18: `rounds` is 0"),
        "{}",
        typed.err
    );
    let typed = consortium
        .ada(&format!("run submit {file} --run-config rounds=x"))
        .await
        .unwrap();
    assert_eq!(typed.exit, 1);
    let typed = consortium
        .ada(&format!("run submit {file} --run-config rounds"))
        .await
        .unwrap();
    assert_eq!(typed.exit, 64);
    let typed = consortium.ada("run submit nowhere.toml").await.unwrap();
    assert_eq!(typed.exit, 1);
}

#[tokio::test]
async fn a_refusal_is_one_and_explains_itself() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada(&format!(
        "run submit {} --format json",
        consortium.run_file().await
    ));
    let refusal = Refusal::new(
        RefusalCode::UnknownSite,
        "no site `va` is enrolled",
        "see consilium members",
    );
    consortium.answers(|_| Response::Refusal(refusal)).await;
    assert_eq!(
        typed.await.unwrap().envelope(),
        json!({
            "schema_version": 1,
            "status": "error",
            "exit_code": 1,
            "error": {
                "code": "unknown-site",
                "message": "refused: no site `va` is enrolled",
                "remedy": "see consilium members",
            },
        })
    );
}

#[tokio::test]
async fn a_fault_is_the_coordinators_and_not_the_callers() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run list --format json");
    let fault = Fault {
        what: "its disk is full".into(),
        remedy: "ask its operator".into(),
    };
    consortium.answers(|_| Response::Fault(fault)).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 1);
    assert_eq!(typed.envelope()["error"]["code"], "coordinator-fault");
    assert_eq!(typed.envelope()["error"]["remedy"], "ask its operator");
}

#[tokio::test]
async fn an_answer_to_another_question_is_not_taken_for_one() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run list --format json");
    consortium.answers(|_| Response::Done).await;
    let typed = typed.await.unwrap();
    assert_eq!(
        (typed.exit, &typed.envelope()["error"]["code"]),
        (2, &json!("bad-answer"))
    );
}

#[tokio::test]
async fn runs_are_listed_newest_first() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run list");
    let mut newer = summary(RunState::Running, 2);
    newer.run_id = "r-2".parse().unwrap();
    newer.name = "hostile\x1b[2J".into();
    newer.submitted_at_ms += 86_400_000;
    let runs = vec![summary(RunState::Finished, 4), newer];
    consortium.answers(|_| Response::Runs(runs)).await;
    assert_eq!(
        typed.await.unwrap().out,
        "run  name           state     round  researcher  submitted\n\
         r-2  hostile [2J    running   2/4    ada         2026-11-25 13:26:16 UTC\n\
         r-1  heart-disease  finished  4/4    ada         2026-11-24 13:26:16 UTC\n"
    );
}

#[tokio::test]
async fn a_submission_is_followed_through_a_restart_to_its_end() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada(&format!(
        "run submit {} --stream --format json",
        consortium.run_file().await
    ));
    let all = events(RunState::Finished, "");

    let connection = consortium.accept().await;
    let (_, _, stream) = submission(&connection).await;
    let run_id = "r-1".parse().unwrap();
    say_last(
        stream,
        Response::Submitted {
            run_id,
            created: true,
        },
    )
    .await;
    shows(&connection, RunState::Waiting, 0, &all[..1]).await;
    let (from, mut stream) = following(&connection).await;
    assert_eq!(from, 0);
    // Round 2 is closed, then the coordinator goes down.
    tells(&mut stream, &all[..4]).await;
    lose(connection, stream).await;

    let connection = consortium.accept().await;
    let (from, mut stream) = following(&connection).await;
    assert_eq!(from, 4, "nothing is missed and nothing asked for twice");
    // An older coordinator may repeat itself.
    tells(&mut stream, &all[3..]).await;
    say_last(stream, Response::Done).await;
    shows(&connection, RunState::Finished, 4, &all).await;
    connection.closed().await;

    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_eq!(rounds(&typed), FOUR_ROUNDS);
    assert!(typed.err.contains("looking for it again"), "{}", typed.err);
    assert_eq!(typed.envelope()["data"]["run"]["state"], "finished");
}

#[tokio::test]
async fn whoever_waits_is_told_what_is_new_and_how_it_ended() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run wait r-1");
    let all = events(RunState::Failed, "round 4: 1 of 2 sites, quorum 2");
    let connection = consortium.accept().await;
    shows(&connection, RunState::Running, 3, &all[..5]).await;
    let (_, mut stream) = following(&connection).await;
    tells(&mut stream, &all).await;
    say_last(stream, Response::Done).await;
    let mut failed = summary(RunState::Failed, 3);
    failed.cause = "round 4: 1 of 2 sites, quorum 2".into();
    let (_, stream) = hear(&connection).await;
    say_last(stream, detail(failed, &all)).await;
    let typed = typed.await.unwrap();
    assert_eq!((typed.exit, typed.out.as_str()), (1, ""));
    assert_eq!(rounds(&typed), FOUR_ROUNDS[3..]);
    assert!(
        typed
            .err
            .contains("run `r-1` (heart-disease) is running, round 3 of 4\n")
    );
    assert!(
        typed.err.ends_with(
            "failed: round 4: 1 of 2 sites, quorum 2\n\
         error: run `r-1` failed after round 3 of 4: round 4: 1 of 2 sites, quorum 2\n\
         help: once the cause is gone: consilium run resume r-1\n"
        ),
        "{}",
        typed.err
    );
}

#[tokio::test]
async fn a_coordinator_that_has_no_more_to_say_is_asked_again_until_the_run_is_over() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run wait r-1 --format json");
    let all = events(RunState::Finished, "");
    let connection = consortium.accept().await;
    shows(&connection, RunState::Running, 0, &all[..2]).await;
    let (_, mut stream) = following(&connection).await;
    tells(&mut stream, &all[..3]).await;
    say_last(stream, Response::Done).await;
    shows(&connection, RunState::Running, 1, &all[..3]).await;
    let (from, mut stream) = following(&connection).await;
    assert_eq!(from, 3);
    tells(&mut stream, &all[3..]).await;
    say_last(stream, Response::Done).await;
    shows(&connection, RunState::Finished, 4, &all).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_eq!(rounds(&typed), FOUR_ROUNDS);
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_three() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run wait r-1 --timeout 1 --format json");
    let connection = consortium.accept().await;
    shows(&connection, RunState::Running, 0, &[]).await;
    let (_, _stream) = following(&connection).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 3);
    assert_eq!(typed.envelope()["error"]["code"], "out-of-time");
}

#[tokio::test]
async fn a_log_is_the_whole_history_even_where_the_detail_holds_its_end_only() {
    let mut consortium = Consortium::new();
    let all = events(RunState::Finished, "");
    for format in ["text", "json"] {
        let typed = consortium.ada(&format!("run log r-1 --format {format}"));
        let connection = consortium.accept().await;
        shows(&connection, RunState::Running, 4, &all[5..6]).await;
        let (from, mut stream) = following(&connection).await;
        assert_eq!(from, 0);
        // The run goes on; whoever does not stream leaves after what there was.
        tells(&mut stream, &all[..6]).await;
        connection.closed().await;
        let typed = typed.await.unwrap();
        assert_eq!(typed.exit, 0, "{typed:?}");
        match format {
            "json" => {
                let envelope = typed.envelope();
                let logged = envelope["data"]["events"].as_array().unwrap();
                assert_eq!(logged.len(), 6);
                assert_eq!(logged[5]["event"]["round"], 4);
            }
            _ => {
                assert_eq!(typed.out.lines().count(), 6);
                assert!(
                    typed
                        .out
                        .contains("2026-11-24 13:26:18 UTC  [ROUND 1/4] loss 0.375")
                );
            }
        }
    }
}

#[tokio::test]
async fn a_run_is_shown_with_its_file() {
    let mut consortium = Consortium::new();
    let all = events(RunState::Finished, "");
    let typed = consortium.ada("run show r-1");
    let shown = detail(summary(RunState::Finished, 4), &all);
    consortium.answers(|_| shown).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    for told in [
        "is finished, round 4 of 4",
        "  name = \"heart-disease\"",
        "[ROUND 4/4]",
        "SHA-256",
    ] {
        assert!(typed.out.contains(told), "{told}: {}", typed.out);
    }

    let typed = consortium.ada("run show r-1 --format json");
    consortium
        .answers(|_| match detail(summary(RunState::Finished, 4), &[]) {
            Response::RunDetail(mut detail) => {
                detail.text.push(b'#');
                Response::RunDetail(detail)
            }
            other => other,
        })
        .await;
    assert_eq!(
        typed.await.unwrap().envelope()["error"]["code"],
        "untrustworthy-coordinator"
    );
}

#[tokio::test]
async fn a_run_is_stopped_and_resumed() {
    let mut consortium = Consortium::new();
    for (line, wanted) in [
        ("run stop r-1", Request::StopRun("r-1".parse().unwrap())),
        ("run resume r-1", Request::ResumeRun("r-1".parse().unwrap())),
    ] {
        let typed = consortium.ada(line);
        consortium
            .answers(|request| {
                assert_eq!(request, wanted);
                Response::Done
            })
            .await;
        assert_eq!(typed.await.unwrap().exit, 0);
    }
}

/// Sends a model of these chunks under this digest.
async fn sends_model(connection: &Connection, chunks: &[&[u8]], sha256: Digest) {
    let (request, mut stream) = hear(connection).await;
    assert_eq!(request, Request::DownloadRun("r-1".parse().unwrap()));
    let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let model_card_json = "{\"card_version\":1}".to_owned();
    say(
        &mut stream,
        Response::Artefact(Artefact {
            model_card_json,
            bytes,
            sha256,
        }),
    )
    .await;
    for chunk in chunks {
        stream
            .send_chunk(&Chunk::new(Bytes::from(chunk.to_vec())).unwrap())
            .await
            .unwrap();
    }
    stream.finish().unwrap();
}

#[tokio::test]
async fn a_model_is_put_in_its_place_once_its_digest_is_right() {
    let mut consortium = Consortium::new();
    let to = consortium.path("models/heart");
    let line = format!("run download r-1 --to {}", to.display());
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };

    let typed = consortium.ada(&format!("{line} --format json"));
    let connection = consortium.accept().await;
    sends_model(
        &connection,
        &[b"first ", b"forged"],
        Digest::of(b"first second"),
    )
    .await;
    let typed = typed.await.unwrap();
    assert_eq!(
        (typed.exit, &typed.envelope()["error"]["code"]),
        (1, &json!("model-digest"))
    );
    assert_eq!(names(), Vec::<String>::new());

    let typed = consortium.ada(&line);
    let connection = consortium.accept().await;
    sends_model(
        &connection,
        &[b"first ", b"second"],
        Digest::of(b"first second"),
    )
    .await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_eq!(names(), ["model-card.json", "model.safetensors"]);
    assert_eq!(
        fs::read(to.join("model.safetensors")).unwrap(),
        b"first second"
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_nothing() {
    let mut consortium = Consortium::new();
    let to = consortium.path("models");
    let typed = consortium.ada(&format!(
        "run download r-1 --to {} --format json",
        to.display()
    ));
    let connection = consortium.accept().await;
    let (_, mut stream) = hear(&connection).await;
    let artefact = Artefact {
        model_card_json: "{}".into(),
        bytes: 100,
        sha256: Digest::of(b""),
    };
    say(&mut stream, Response::Artefact(artefact)).await;
    stream
        .send_chunk(&Chunk::new(Bytes::from_static(b"half")).unwrap())
        .await
        .unwrap();
    lose(connection, stream).await;
    let typed = typed.await.unwrap();
    assert_eq!(
        (typed.exit, &typed.envelope()["error"]["code"]),
        (2, &json!("connection-lost"))
    );
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[tokio::test]
async fn a_model_larger_than_any_may_be_is_not_begun() {
    let mut consortium = Consortium::new();
    let to = consortium.path("models");
    let typed = consortium.ada(&format!("run download r-1 --to {}", to.display()));
    let artefact = Artefact {
        model_card_json: "{}".into(),
        bytes: u64::MAX,
        sha256: Digest::of(b""),
    };
    consortium.answers(|_| Response::Artefact(artefact)).await;
    assert_eq!(typed.await.unwrap().exit, 1);
    assert!(!to.exists());
}
