//! Runs as researchers know them: submitted once, followed, stopped, taken up again, fetched.

use std::fs;

use consilium_link::{Credentials, Dialer, LinkLimits};
use consilium_protocol::message::{Request, Response, SignedRun};
use consilium_protocol::{Refusal, RefusalCode, wire};

use crate::process::{eventually, runtime, types};
use crate::world::{Consortium, Person, RunFile};

/// Signs a text and hands it in past the command line's own checks.
fn hands_in(consortium: &Consortium, person: &Person, text: &str) -> Refusal {
    let credentials = Credentials::load(&person.home).unwrap();
    let run = SignedRun {
        text: text.into(),
        certificate: credentials.certificate().to_vec(),
        signature: credentials.sign_run_file(text.as_bytes()).unwrap(),
    };
    answer_to(consortium, credentials, run)
}

fn answer_to(consortium: &Consortium, credentials: Credentials, run: SignedRun) -> Refusal {
    runtime().block_on(async {
        let dialer = Dialer::member(credentials, LinkLimits::default());
        let connection = dialer.dial(&consortium.address()).await.unwrap();
        let mut stream = connection.open_request().await.unwrap();
        let request = Request::SubmitRun {
            run,
            token: "past-the-command-line".into(),
        };
        stream.send(&wire::Request::from(request)).await.unwrap();
        stream.finish().unwrap();
        let answer: wire::Response = stream.receive().await.unwrap();
        match Response::try_from(answer).unwrap() {
            Response::Refusal(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn a_run_that_is_none_is_refused_where_it_is_typed_and_where_it_arrives() {
    let consortium = Consortium::found();
    let _site = consortium.site("cleveland");
    let ada = consortium.researcher("ada");
    let good = RunFile::of(&["cleveland"]).text();
    for (text, says) in [
        (
            good.replace("\"logistic\"", "\"transformer\""),
            "transformer",
        ),
        (good.replace("\"FedAvg\"", "\"FedMagic\""), "FedMagic"),
        (good.replace("rounds = 3", "rounds = 0"), "`rounds` is 0"),
        (good.replace("rounds = 3", "rounds = "), "rounds"),
        (good.replace("[training]", "[training"), "training"),
        ("\u{0}".repeat(100), "run file"),
    ] {
        let file = consortium.path("bad.toml");
        fs::write(&file, &text).unwrap();
        let typed = ada.types(&format!("run submit {}", file.display()));
        let (exit, code, message) = typed.error();
        assert_eq!((exit, code.as_str()), (1, "bad-run-file"), "{message}");
        assert!(message.contains(says), "{message}");
        let refusal = hands_in(&consortium, &ada, &text);
        assert_eq!(refusal.code, RefusalCode::InvalidRun, "{refusal}");
        assert!(refusal.reason.contains(says), "{refusal}");
    }
    let (exit, code, message) = ada
        .submits_with(&RunFile::of(&["cleveland", "atlantis"]), "")
        .error();
    assert_eq!((exit, code.as_str()), (1, "unknown-site"));
    assert!(message.contains("`atlantis`"), "{message}");
    assert!(consortium.happened("run-submitted").is_empty());
}

#[test]
fn a_run_is_its_signers_own() {
    let consortium = Consortium::found();
    let _site = consortium.site("cleveland");
    let (ada, eve) = (consortium.researcher("ada"), consortium.researcher("eve"));
    let text = RunFile::of(&["cleveland"]).text();
    let (of_ada, of_eve) = (
        Credentials::load(&ada.home).unwrap(),
        Credentials::load(&eve.home).unwrap(),
    );
    let signed = |by: &Credentials, what: &str| SignedRun {
        text: text.clone().into(),
        certificate: by.certificate().to_vec(),
        signature: by.sign_run_file(what.as_bytes()).unwrap(),
    };
    for run in [
        // Somebody else's run, handed in by her.
        signed(&of_ada, &text),
        // Her own, changed after it was signed.
        signed(&of_eve, &text.replace("rounds = 3", "rounds = 30")),
        // Her name, and no signature.
        SignedRun {
            signature: vec![0; 64],
            ..signed(&of_eve, &text)
        },
    ] {
        let refusal = answer_to(&consortium, of_eve.clone(), run);
        assert_eq!(refusal.code, RefusalCode::BadSignature, "{refusal}");
    }
    assert!(consortium.happened("run-submitted").is_empty());
}

#[test]
fn one_token_is_one_run() {
    let consortium = Consortium::found();
    let _site = consortium.site("cleveland");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["cleveland"]);
    let first = ada.submits_with(&run, "--token monday").data();
    let again = ada.submits_with(&run, "--token monday").data();
    assert_eq!(
        (&first["created"], &again["created"]),
        (&true.into(), &false.into())
    );
    assert_eq!(first["run_id"], again["run_id"]);
    let other = run.clone().with("rounds", "4");
    let (exit, code, message) = ada.submits_with(&other, "--token monday").error();
    assert_eq!((exit, code.as_str()), (1, "wrong-state"));
    assert!(message.contains("another text"), "{message}");
    // Two people may choose the same word.
    let grace = consortium.researcher("grace");
    let hers = grace.submits_with(&run, "--token monday").data();
    assert_ne!(hers["run_id"], first["run_id"]);
    assert_eq!(consortium.happened("run-submitted").len(), 2);
}

#[test]
fn a_run_is_stopped_by_its_researcher_alone_and_goes_on_from_where_it_was() {
    let consortium = Consortium::found();
    let _site = consortium.running_site("cleveland");
    let (ada, eve) = (consortium.researcher("ada"), consortium.researcher("eve"));
    let run = RunFile::of(&["cleveland"])
        .with("rounds", "400")
        .with_local_steps(400);
    let undisturbed = ada.gets_model_of(&ada.submits(&run));
    let run_id = ada.submits(&run);
    consortium.reaches_round(&run_id, 2);
    let (exit, code, _) = eve.types(&format!("run stop {run_id}")).error();
    assert_eq!((exit, code.as_str()), (1, "wrong-role"));
    ada.types(&format!("run stop {run_id}")).data();
    let (exit, code, message) = ada.waits_for(&run_id).error();
    assert_eq!((exit, code.as_str()), (1, "run-stopped"), "{message}");
    assert!(message.contains("stopped by `ada`"), "{message}");
    let (exit, code, _) = eve.types(&format!("run resume {run_id}")).error();
    assert_eq!((exit, code.as_str()), (1, "wrong-role"));
    let rounds = consortium.rounds_of(&run_id).len();
    assert!((2..400).contains(&rounds), "{rounds}");
    let (exit, code, _) = ada.types(&format!("run stop {run_id}")).error();
    assert_eq!((exit, code.as_str()), (1, "wrong-state"));
    let to = consortium.path("nothing");
    let line = format!("run download {run_id} --to {}", to.display());
    let (exit, code, _) = ada.types(&line).error();
    assert_eq!((exit, code.as_str()), (1, "wrong-state"));
    assert!(!to.join("model.safetensors").exists());

    ada.types(&format!("run resume {run_id}")).data();
    let model = ada.gets_model_of(&run_id);
    assert_eq!(model.tensors_sha256, undisturbed.tensors_sha256);
    let (exit, code, _) = ada.types(&format!("run resume {run_id}")).error();
    assert_eq!((exit, code.as_str()), (1, "wrong-state"));
}

#[test]
fn every_answer_is_one_envelope_and_every_end_has_its_exit_code() {
    let consortium = Consortium::found();
    let _site = consortium.running_site("cleveland");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["cleveland"]);
    let run_id = ada
        .submits_with(&run, "--run-config rounds=2 seed=7")
        .data()["run_id"]
        .take();
    let run_id = run_id.as_str().unwrap();
    let model = ada.gets_model_of(run_id);
    assert_eq!(model.card["run"]["rounds"], 2);

    let runs = ada.types("run list").data()["runs"].take();
    assert_eq!(runs[0]["run_id"], run_id);
    assert_eq!(runs[0]["state"], "finished");
    let shown = ada.types(&format!("run show {run_id}")).data();
    assert!(
        shown["run_file"].as_str().unwrap().contains("seed = 7"),
        "{shown}"
    );
    for line in ["run log", "run log --stream"] {
        let log = ada.types(&format!("{line} {run_id}")).data();
        let events = log["events"].as_array().unwrap();
        let kinds: Vec<&str> = events
            .iter()
            .map(|e| e["event"]["kind"].as_str().unwrap())
            .collect();
        let expected = [
            "run-submitted",
            "site-admitted",
            "run-started",
            "round-closed",
            "round-closed",
            "run-evaluated",
            "run-ended",
        ];
        assert_eq!(kinds, expected);
    }
    for line in [
        "run show r-000000000000",
        "run log r-000000000000",
        "run stop r-000000000000",
    ] {
        let (exit, code, _) = ada.types(line).error();
        assert_eq!((exit, code.as_str()), (1, "unknown-run"), "{line}");
    }
    // A run that waits for a site that is never there: out of time is 3, and the run goes on.
    consortium.site("basel");
    let waiting = ada.submits(&RunFile::of(&["basel"]));
    let (exit, code, _) = ada
        .types(&format!("run wait {waiting} --timeout 1"))
        .error();
    assert_eq!((exit, code.as_str()), (3, "out-of-time"));
    let (exit, code, _) = ada.types("run submit").error();
    assert_eq!((exit, code.as_str()), (64, "usage"));
    let nobody = Person {
        home: consortium.path("nobody"),
    };
    let (exit, code, _) = nobody.types("run list").error();
    assert_eq!((exit, code.as_str()), (2, "not-enrolled"));
}

#[test]
fn a_run_waits_for_its_sites_and_says_who_never_came() {
    let consortium =
        Consortium::found_with(&[("admission-deadline-s = 86_400", "admission-deadline-s = 15")]);
    let _cleveland = consortium.running_site("cleveland");
    consortium.site("va");
    let ada = consortium.researcher("ada");
    let both = RunFile::of(&["cleveland", "va"]);
    let why = ada.hears_why_it_failed(&ada.submits(&both));
    assert!(why.contains("`va` (not connected)"), "{why}");
    // With a quorum of one it trains with who is there.
    let model = ada.gets_model_of(&ada.submits(&both.with("quorum", "1")));
    assert_eq!(model.card["sites"].as_object().unwrap().len(), 1);
    let started = &consortium.happened("run-started")[0];
    assert_eq!(started["missing"]["va"], "not connected");
}

#[test]
fn two_coordinators_do_not_share_a_port() {
    let mut consortium = Consortium::found();
    let folder = consortium.path("second");
    let at = folder.to_str().unwrap();
    let address = consortium.address();
    let line = [
        "init", "--folder", at, "--name", "second", "--listen", &address,
    ];
    assert_eq!(types("coordinator", line).exit, 0);
    let typed = types("coordinator", ["run", "--folder", at]);
    assert_eq!(typed.exit, 1);
    let port = consortium.port().to_string();
    assert!(
        typed.err.contains(&port) && typed.err.contains("in use"),
        "{typed:?}"
    );
    // Nor one folder: its journal has one writer.
    let at = consortium.coordinator.folder().to_str().unwrap().to_owned();
    let typed = types("coordinator", ["run", "--folder", &at]);
    assert_eq!(typed.exit, 1);
    consortium.is_up();
    // Free again, it is the second's.
    consortium.coordinator.kill_9();
    let mut second = crate::process::Process::new("coordinator", &folder);
    second.start();
    eventually("the second listens", || {
        second.log().contains("listening").then_some(())
    });
}
