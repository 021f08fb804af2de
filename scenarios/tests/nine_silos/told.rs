//! Nine sites find what one place would, a filter filters, a missing site is said, wrong input is explained before the
//! work. On thirty rows of each silo: what is held here is that answers are equal, and no figure of quality.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn tell(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consilium-scenarios"));
    command
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn number(figures: &Value, pointer: &str) -> u64 {
    let number = figures.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{pointer} is no number in {figures:#}"))
}

fn list<'a>(figures: &'a Value, pointer: &str) -> &'a [Value] {
    figures.pointer(pointer).and_then(Value::as_array).unwrap()
}

#[test]
fn nine_sites_find_what_one_place_does_and_say_when_one_of_them_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let own = json!([
        { "qid": "q2", "text": "why do my fingers turn white in the cold?" },
        { "qid": 1, "text": "stroke" },
    ]);
    std::fs::write(folder.path().join("own.json"), own.to_string()).unwrap();
    let told = tell(
        &[
            "nine-silos",
            "--rows",
            "30",
            "--sample",
            "40",
            "--json",
            "nine.json",
            "--report",
            "nine.html",
            "--questions",
            "own.json",
            "--run",
            "run.json",
        ],
        folder.path(),
    );
    assert!(told.status.success(), "{}", said(&told));
    let figures = read(&folder.path().join("nine.json"));

    // Every answer that was compared is the central one, id for id: three orders, filters, eight of nine sites.
    assert_eq!(number(&figures, "/rows"), 270);
    assert_eq!(
        number(&figures, "/federated_equals_central/mismatches"),
        0,
        "{figures:#}"
    );
    assert_eq!(
        number(&figures, "/federated_equals_central/compared"),
        3 * 40 + 6 * 20 + 10
    );
    for way in list(&figures, "/ways") {
        assert_eq!(way["incomplete"], 0, "{way:#}");
        assert_eq!(way["federated"], way["central"]);
        // An index that mixed up its texts would find next to nothing of 270.
        assert!(
            way["federated"]["recall_10"].as_f64().unwrap() > 0.5,
            "{way:#}"
        );
    }

    for filter in list(&figures, "/filters") {
        assert_eq!(filter["hits_without_it"], 0, "{filter:#}");
        assert_eq!(filter["short"], 0, "{filter:#}");
    }
    assert!(number(&figures, "/filters/0/hits") > 0);

    assert_eq!(number(&figures, "/outage/answers_before"), 5);
    assert_eq!(number(&figures, "/outage/answers_after"), 10);
    let printed = String::from_utf8(told.stdout.clone()).unwrap();
    for line in [
        "8 of 9 sites; ninds ",
        "audit verify ninds: the journal is what was written",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
    assert!(said(&told).contains("Standard input is no terminal"));

    assert_eq!(list(&figures, "/stages").len(), 12);
    assert_eq!(list(&figures, "/latency").len(), 3);

    let run = read(&folder.path().join("run.json"));
    let mut questions: Vec<&String> = run.as_object().unwrap().keys().collect();
    questions.sort();
    assert_eq!(questions, ["1", "q2"]);
    let found = list(&run, "/q2");
    assert!((10..=100).contains(&found.len()), "{found:?}");
    let sites = [
        "cancergov:",
        "cdc:",
        "gard:",
        "ghr:",
        "medlineplus:",
        "nhlbi:",
        "niddk:",
        "ninds:",
        "seniorhealth:",
    ];
    let is_id = |id: &Value| {
        id.as_str()
            .is_some_and(|id| sites.iter().any(|site| id.starts_with(site)))
    };
    assert!(found.iter().all(is_id), "{found:?}");

    let report = std::fs::read_to_string(folder.path().join("nine.html")).unwrap();
    assert_eq!(report.matches("<svg").count(), 3);
    for part in [
        "Asma Ben Abacha",
        "CC BY 4.0",
        "Neoplastic Process",
        "ninds",
    ] {
        assert!(report.contains(part), "{part} is not in the report");
    }
    assert!(!report.contains("<script") && !report.contains("http-equiv"));
}

#[test]
fn what_cannot_be_used_is_said_in_a_line_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("one.json"), "{\"qid\": \"a\", \"text\": \"gout\"}").unwrap();
    std::fs::create_dir(at.join("taken")).unwrap();
    std::fs::write(at.join("taken/mine"), "mine").unwrap();
    std::fs::create_dir(at.join("model")).unwrap();
    for (arguments, says) in [
        (
            &["--questions", "one.json", "--run", "r.json"][..],
            "`one.json`: it is no list; a file of questions is",
        ),
        (
            &["--questions", "none.json", "--run", "r.json"],
            "`none.json`: No such file",
        ),
        (&["--minilm", "model"], "config.json` cannot be read"),
        (
            &["--keep", "taken"],
            "is not empty; name a new folder with --keep",
        ),
        (
            &["--run", "no-such-folder/run.json"],
            "cannot write to `no-such-folder/run.json`",
        ),
    ] {
        let told = tell(
            &[&["nine-silos", "--report", "r.html"], arguments].concat(),
            at,
        );
        assert_eq!(
            told.status.code(),
            Some(1),
            "{arguments:?}: {}",
            said(&told)
        );
        assert!(said(&told).contains(says), "{}", said(&told));
        assert!(!said(&told).contains("Founding"));
    }
    for (arguments, says) in [
        (&["nine-silos", "--sample", "0"][..], "`all`"),
        (&["nine-silos", "--questions", "one.json"], "--run"),
        (&["nine-silos", "--rows", "none"], "--rows"),
    ] {
        let told = tell(arguments, at);
        assert_eq!(told.status.code(), Some(64), "{arguments:?}");
        assert!(said(&told).contains(says), "{}", said(&told));
    }
    assert_eq!(std::fs::read_dir(at.join("taken")).unwrap().count(), 1);
}
