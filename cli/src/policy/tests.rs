//! Two officers at work in temporary folders, typing what they would type.

use std::fs;
use std::path::Path;

use consilium_journal::{Journal, Limits};
use consilium_policies::entry::{PASS_RESERVED, PassReserved};
use consilium_policies::{Action, Ask, Day, Facts, Researcher, StatisticKind};
use consilium_privacy::Cost;
use consilium_protocol::envelope::Failure;
use consilium_protocol::{Digest, Millis, Role};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::command::execute;
use crate::output::Terminal;

/// A folder in which everything of one test lies.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Types `consilium policy …`; exit code, standard output and standard error.
    fn types(&self, words: &[&str]) -> (u8, String, String) {
        let args = ["consilium", "policy"].iter().chain(words);
        with_streams(|streams| execute(args.map(std::ffi::OsString::from), streams))
    }

    /// As [`Desk::types`] with `--format json`: exit code and envelope.
    fn asks(&self, words: &[&str]) -> (u8, Value) {
        let (code, out, _) = self.types(&[words, &["--format", "json"]].concat());
        (code, serde_json::from_str(&out).unwrap())
    }

    /// An officer's key; the line that pins it.
    fn officer(&self, name: &str) -> String {
        let (code, envelope) = self.asks(&["keygen", &self.at(name), "--officer", name]);
        assert_eq!(code, 0, "{envelope}");
        envelope["data"]["pin"].as_str().unwrap().to_owned()
    }

    fn signs(&self, bundle: &str, name: &str) {
        let (key, bundle) = (self.at(name), self.at(bundle));
        let (code, _, err) = self.types(&["sign", &bundle, "--key", &key, "--officer", name]);
        assert_eq!(code, 0, "{err}");
    }

    /// A node's folder that pins these officers, two of whom must sign.
    fn node(&self, pins: &[String]) -> String {
        let node = self.at("node");
        fs::create_dir_all(&node).unwrap();
        let text = format!(
            "coordinator = \"hub:4433\"\npolicy-folder = \"policy\"\n[policy]\nofficers = {pins:?}\nsignatures = 2\n"
        );
        fs::write(Path::new(&node).join("node.toml"), text).unwrap();
        node
    }

    /// Puts the waiting bundle in force, as the node does.
    fn node_takes_it_up(&self) {
        let policy = self.0.path().join("node/policy");
        for entry in fs::read_dir(policy.join("incoming")).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), policy.join(entry.file_name())).unwrap();
        }
        fs::remove_dir(policy.join("incoming")).unwrap();
    }

    fn replaces(&self, file: &str, from: &str, to: &str) {
        let path = self.at(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }
}

fn with_streams<T>(work: impl FnOnce(&mut Streams<'_>) -> T) -> (T, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let done = work(&mut Streams {
        out: &mut out,
        err: &mut err,
        terminal: Terminal::No,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done, text(out), text(err))
}

/// Answers the questions of `policy new` line by line; what went wrong, and what was asked.
fn interviewed(folder: &str, answers: &str) -> (Result<Answer, Failure>, String) {
    let (answer, _, err) =
        with_streams(|streams| new::ask(Path::new(folder), &mut answers.as_bytes(), streams));
    (answer.map_err(Failure::from), err)
}

/// Every question answered as its brackets say.
fn taking_the_defaults() -> String {
    "\n".repeat(40)
}

#[test]
fn two_officers_bring_a_new_policy_before_the_node() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    let (answer, err) = interviewed(&bundle, &taking_the_defaults());
    assert_eq!(answer.unwrap().data["cases"], 6, "{err}");
    let (code, envelope) = desk.asks(&["check", &bundle]);
    assert_eq!((code, &envelope["data"]["errors"]), (0, &Value::from(0)));
    assert_eq!(envelope["data"]["warnings"], 0, "{envelope}");
    let (code, out, _) = desk.types(&["test", &bundle]);
    assert_eq!(code, 0);
    assert!(
        out.contains("as expected: `training as permitted`"),
        "{out}"
    );
    assert!(out.ends_with("all 6 cases come out as they say\n"), "{out}");
    let pins = [desk.officer("olga"), desk.officer("otto")];
    let node = desk.node(&pins);
    desk.signs("bundle", "olga");
    let (code, _, err) = desk.types(&["install", &bundle, "--node", &node]);
    assert_eq!(code, 1);
    assert!(
        err.contains("needs the signatures of 2 officers and has 1"),
        "{err}"
    );
    desk.signs("bundle", "otto");
    let (code, envelope) = desk.asks(&["install", &bundle, "--node", &node]);
    assert_eq!(code, 0, "{envelope}");
    assert_eq!(
        envelope["data"]["signed_by"],
        serde_json::json!(["olga", "otto"])
    );
    for file in [
        "policy.toml",
        "rules.cedar",
        "cases.toml",
        "signatures.toml",
    ] {
        let laid = fs::read(Path::new(&node).join("policy/incoming").join(file)).unwrap();
        assert_eq!(
            laid,
            fs::read(Path::new(&bundle).join(file)).unwrap(),
            "{file}"
        );
    }
    let (code, envelope) = desk.asks(&["install", &bundle, "--node", &node]);
    assert_eq!(
        (code, &envelope["error"]["code"]),
        (1, &Value::from("waiting"))
    );
    let (_, envelope) = desk.asks(&["show", "--node", &node]);
    assert_eq!(envelope["data"]["waiting"]["version"], 1, "{envelope}");
    assert_eq!(envelope["data"]["in_force"], Value::Null);
    desk.node_takes_it_up();
    let (code, out, _) = desk.types(&["show", "--node", &node]);
    assert_eq!(code, 0);
    assert!(
        out.contains("the signatures of olga, otto are good"),
        "{out}"
    );
}

#[test]
fn who_signed_older_files_is_named_as_soon_as_another_signs() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    assert_eq!(desk.types(&["new", &bundle, "--from", "consortium"]).0, 0);
    let officers = ["olga", "otto"];
    officers.iter().for_each(|name| drop(desk.officer(name)));
    let signs = |name: &str| {
        let key = desk.at(name);
        let (code, envelope) = desk.asks(&["sign", &bundle, "--key", &key, "--officer", name]);
        assert_eq!(code, 0, "{envelope}");
        envelope["data"].clone()
    };
    signs("olga");
    let second = signs("otto");
    assert_eq!(second["dropped"], serde_json::json!([]));
    assert_eq!(second["signers"], serde_json::json!(["olga", "otto"]));
    desk.replaces(
        "bundle/policy.toml",
        "floor-patients = 11",
        "floor-patients = 20",
    );
    let after = signs("olga");
    assert_eq!(after["dropped"], serde_json::json!(["otto"]));
    assert_eq!(after["signers"], serde_json::json!(["olga"]));
    // Signed again without a change, nothing goes.
    assert_eq!(signs("olga")["dropped"], serde_json::json!([]));
    // Of signatures that do not say what they are under, nothing is known.
    let file = desk.at("bundle/signatures.toml");
    let text = fs::read_to_string(&file).unwrap();
    let older: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("bundle"))
        .collect();
    fs::write(&file, older.join("\n")).unwrap();
    assert_eq!(signs("otto")["dropped"], serde_json::json!(["olga"]));
}

#[test]
fn only_a_newer_policy_follows_one_in_force() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    assert_eq!(desk.types(&["new", &bundle, "--from", "consortium"]).0, 0);
    let node = desk.node(&[desk.officer("olga"), desk.officer("otto")]);
    for name in ["olga", "otto"] {
        desk.signs("bundle", name);
    }
    assert_eq!(desk.types(&["install", &bundle, "--node", &node]).0, 0);
    desk.node_takes_it_up();
    let (_, envelope) = desk.asks(&["install", &bundle, "--node", &node]);
    assert_eq!(envelope["error"]["code"], "in-force");
    desk.replaces(
        "bundle/policy.toml",
        "floor-patients = 11",
        "floor-patients = 20",
    );
    // What was signed is not this any more.
    let (_, envelope) = desk.asks(&["install", &bundle, "--node", &node]);
    assert_eq!(envelope["error"]["code"], "not-signed", "{envelope}");
    for name in ["olga", "otto"] {
        desk.signs("bundle", name);
    }
    let (_, envelope) = desk.asks(&["install", &bundle, "--node", &node]);
    assert_eq!(envelope["error"]["code"], "not-newer");
    desk.replaces("bundle/policy.toml", "version = 1", "version = 2");
    for name in ["olga", "otto"] {
        desk.signs("bundle", name);
    }
    assert_eq!(desk.types(&["install", &bundle, "--node", &node]).0, 0);
    let (_, out, _) = desk.types(&["diff", &desk.at("node/policy"), &bundle]);
    assert!(
        out.contains("floor-patients: 11 becomes 20, which lets out less"),
        "{out}"
    );
}

#[test]
fn a_bad_answer_is_told_why_and_asked_again() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    let answers = [
        "Our Policy", // no name
        "ours",
        "",
        "HMB, XYZ", // no code
        "PUB",      // no permission
        "HMB, PUB",
        "7", // no floor
        "20",
        "cardiology, oncology",
        "ada grace",
        "GRU", // not consented to
        "HMB",
        "none",
        "statistics",
        "2001-01-01", // over
        "",
        "-3", // no epsilon
        "1.5",
        "",
        "",
        "none", // PUB is not agreed to
        "before",
        "*", // nobody by name
        "olga",
    ];
    let (answer, asked) = interviewed(&bundle, &(answers.join("\n") + "\n"));
    assert!(answer.is_ok(), "{answer:?}\n{asked}");
    assert_eq!(asked.matches("not so: ").count(), 9, "{asked}");
    assert!(
        asked.contains("the consent codes HMB, PUB do not cover GRU"),
        "{asked}"
    );
    let question = ["--project", "oncology", "--dataset", "heart-disease"];
    let explain = [&["explain", &bundle][..], &question].concat();
    let (_, envelope) = desk.asks(&[&explain[..], &["--release", "noisy-statistics"]].concat());
    assert_eq!(envelope["data"]["answer"], "if", "{envelope}");
    assert_eq!(
        envelope["data"]["ways"][0]["researchers"],
        serde_json::json!(["ada", "grace"])
    );
    let (_, envelope) = desk.asks(&[&explain[..], &["--release", "update"]].concat());
    assert_eq!(envelope["data"]["answer"], "no", "{envelope}");
}

#[test]
fn answers_that_end_too_soon_write_nothing() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    for answers in ["", "ours\n\n", &"x".repeat(10_000)] {
        let (answer, _) = interviewed(&bundle, answers);
        let code = answer.unwrap_err().code;
        assert!(code.starts_with("answer"), "{code}");
        assert!(!Path::new(&bundle).exists());
    }
    fs::create_dir(&bundle).unwrap();
    fs::write(desk.at("bundle/notes.txt"), "mine").unwrap();
    let (_, envelope) = desk.asks(&["new", &bundle, "--from", "hospital"]);
    assert_eq!(envelope["error"]["code"], "exists");
}

#[test]
fn an_error_is_told_with_its_line_and_a_surprise_with_both_decisions() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    assert_eq!(desk.types(&["new", &bundle, "--from", "consortium"]).0, 0);
    desk.replaces(
        "bundle/cases.toml",
        "expect = \"expired\"",
        "expect = \"permit\"",
    );
    let (code, out, err) = desk.types(&["test", &bundle]);
    assert_eq!(code, 1);
    assert!(
        out.contains("SURPRISE: `the permit has ended`: expected permit"),
        "{out}"
    );
    assert!(err.starts_with("error: 1 of "), "{err}");
    let (_, envelope) = desk.asks(&["test", &bundle]);
    assert_eq!(
        envelope["data"]["surprises"][0]["case"],
        "the permit has ended"
    );
    desk.officer("olga");
    let (key, name) = (desk.at("olga"), "olga");
    let (_, envelope) = desk.asks(&["sign", &bundle, "--key", &key, "--officer", name]);
    assert_eq!(envelope["error"]["code"], "policy-surprises");
    desk.replaces("bundle/policy.toml", "rounding = 5", "rounding = 7");
    let (code, out, _) = desk.types(&["check", &bundle]);
    assert_eq!(code, 1);
    assert!(out.contains("bundle/policy.toml, line "), "{out}");
    fs::write(desk.at("bundle/policy.toml"), [0xff, 0xfe]).unwrap();
    assert_eq!(desk.types(&["check", &bundle]).0, 1);
    fs::write(desk.at("bundle/policy.toml"), vec![b'#'; 300_000]).unwrap();
    let (code, envelope) = desk.asks(&["check", &bundle]);
    assert_eq!((code, &envelope["data"]["errors"]), (1, &Value::from(1)));
}

#[test]
fn what_is_no_bundle_no_key_or_no_data_set_is_named() {
    let desk = Desk::new();
    let (bundle, key) = (desk.at("bundle"), desk.at("olga"));
    let (_, envelope) = desk.asks(&["show", &bundle]);
    assert_eq!(envelope["error"]["code"], "no-bundle");
    assert_eq!(desk.types(&["new", &bundle, "--from", "consortium"]).0, 0);
    let sign = ["sign", &bundle, "--key", &key, "--officer", "olga"];
    let (_, envelope) = desk.asks(&sign);
    assert_eq!(envelope["error"]["code"], "bad-key");
    desk.officer("olga");
    let (_, envelope) = desk.asks(&["keygen", &key, "--officer", "olga"]);
    assert_eq!(envelope["error"]["code"], "bad-key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = desk.at("olga/identity.key");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let (code, envelope) = desk.asks(&sign);
        assert_eq!(
            (code, &envelope["error"]["code"]),
            (1, &Value::from("bad-key"))
        );
    }
    let explain = [
        "explain",
        &bundle,
        "--project",
        "cardiology",
        "--release",
        "update",
    ];
    let (_, envelope) = desk.asks(&[&explain[..], &["--dataset", "lungs"]].concat());
    assert_eq!(envelope["error"]["code"], "unknown-dataset");
    let wrong = [
        "explain",
        &bundle,
        "--project",
        "x",
        "--dataset",
        "y",
        "--release",
        "all",
    ];
    assert_eq!(desk.types(&wrong).0, 64);
    assert_eq!(desk.types(&["show"]).0, 64);
    fs::create_dir(desk.at("node")).unwrap();
    fs::write(
        desk.at("node/node.toml"),
        "policy-folder = \"policy\"\n[policy]\n",
    )
    .unwrap();
    let (_, envelope) = desk.asks(&["install", &bundle, "--node", &desk.at("node")]);
    assert_eq!(envelope["error"]["code"], "bad-node-file");
}

#[test]
fn the_past_is_decided_again_by_a_tighter_policy() {
    let desk = Desk::new();
    let bundle = desk.at("bundle");
    assert_eq!(desk.types(&["new", &bundle, "--from", "consortium"]).0, 0);
    let (journal, _) =
        Journal::open(Path::new(&desk.at("node/journal")), Limits::default()).unwrap();
    let june: Day = "2026-06-01".parse().unwrap();
    for cost in [0.1, 0.6] {
        let reserved = counted(cost);
        journal
            .append_json(june.begins_at().0, PASS_RESERVED, &reserved)
            .unwrap();
    }
    let replay = ["replay", &bundle, "--journal", &desk.at("node")];
    let (code, envelope) = desk.asks(&replay);
    assert_eq!(code, 0, "{envelope}");
    assert_eq!(
        (&envelope["data"]["asked"], &envelope["data"]["closed"]),
        (&2.into(), &0.into())
    );
    desk.replaces("bundle/policy.toml", "epsilon = 3.0", "epsilon = 0.5");
    let (_, envelope) = desk.asks(&replay);
    let flips = envelope["data"]["flips"].as_array().unwrap();
    assert_eq!(flips.len(), 1, "{envelope}");
    assert_eq!(
        (&flips[0]["seq"], &flips[0]["opens"]),
        (&1.into(), &false.into())
    );
    assert!(
        flips[0]["now"].as_str().unwrap().contains("budget"),
        "{envelope}"
    );
    let (_, envelope) = desk.asks(&["replay", &bundle, "--journal", &desk.at("bundle")]);
    assert_eq!(envelope["error"]["code"], "no-journal");
}

/// A noisy count that was permitted, at this pure ε.
fn counted(epsilon: f64) -> PassReserved {
    PassReserved {
        ask: Ask {
            project: "cardiology".parse().unwrap(),
            researcher: Researcher {
                name: "ada".parse().unwrap(),
                role: Role::Researcher,
            },
            purpose: "HMB".parse().unwrap(),
            dataset: "heart-disease".parse().unwrap(),
            run: None,
            run_digest: Digest::of(b"a question"),
            action: Action::Statistic {
                statistic: StatisticKind::Count,
                noisy: true,
            },
        },
        facts: Facts {
            dataset_records: Some(199),
            dataset_patients: Some(303),
            cost: Cost::pure(epsilon).unwrap(),
            ..Facts::default()
        },
        rules: Vec::new(),
        bundle: Digest::of(b"the bundle before"),
        request: None,
        vault: None,
        approved_by: None,
    }
}

#[test]
fn what_the_guide_types_is_understood() {
    use clap::Parser;
    let guide = include_str!("../../../policies/GUIDE.md");
    let typed: Vec<&str> = guide
        .lines()
        .filter(|line| line.starts_with("    ") && line.trim().starts_with("consilium policy"))
        .collect();
    assert_eq!(typed.len(), 8, "{typed:#?}");
    for line in typed {
        crate::arguments::Arguments::try_parse_from(line.split_whitespace()).unwrap();
    }
}

#[test]
fn every_choice_makes_a_policy_that_holds_its_cases() {
    use consilium_policies::BundleFiles;
    let codes = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
    let now = Millis(1_780_272_000_000);
    for (training, statistics) in [(true, false), (false, true), (true, true)] {
        for approval in ["none", "before", "outbox"] {
            for names in ["*", "ada"] {
                let drafted = draft::Draft {
                    name: "ours".into(),
                    dataset: "heart.disease".into(),
                    codes: codes(&["GRU", "TS", "IRB"]),
                    agreed: codes(&["IRB"]),
                    floor: 1000,
                    projects: vec![names.into()],
                    researchers: vec![names.into()],
                    purposes: vec!["HMB".into(), "GRU".into()],
                    training,
                    statistics,
                    until: "2027-12-31".parse().unwrap(),
                    minimum_records: 20_000,
                    epsilon: draft::Epsilons {
                        project: 1e-7,
                        dataset: 100.0,
                        patient: 0.25,
                    },
                    approval,
                    officers: vec!["olga".into()],
                };
                let files: BundleFiles = drafted.files(now);
                let bundle = consilium_policies::Bundle::read("", &files).unwrap();
                folder::as_expected(&bundle).unwrap();
                assert!(bundle.cases().count() >= 2);
            }
        }
    }
}
