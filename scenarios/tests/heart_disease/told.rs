//! Every figure where it should be, nobody left behind, wrong input explained before the work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn story(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consilium-scenarios"));
    command.args(arguments).current_dir(folder);
    command
}

fn tell(arguments: &[&str], folder: &Path) -> Output {
    story(arguments, folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Processes that work in a folder, where the system tells.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts
        .filter(|text| text.contains(folder) && text.contains(" as-"))
        .collect()
}

fn number(figures: &Value, path: &str) -> f64 {
    figures
        .pointer(path)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{path} is no number in {figures:#}"))
}

fn assert_within(figures: &Value, path: &str, expected: f64, tolerance: f64) {
    let figure = number(figures, path);
    assert!(
        (figure - expected).abs() <= tolerance,
        "{path} is {figure}, not {expected} ± {tolerance}"
    );
}

#[test]
fn four_hospitals_train_one_model_and_every_figure_is_where_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("heart");
    let told = tell(
        &[
            "heart-disease",
            "--json",
            "heart.json",
            "--report",
            "heart.html",
            "--keep",
            "heart",
        ],
        folder.path(),
    );
    assert!(told.status.success(), "{}", said(&told));
    let figures: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("heart.json")).unwrap()).unwrap();

    // The published pooled figure, and one seed of the others: more than that is seed noise.
    assert_within(&figures, "/pooled_test/pooled", 0.7953, 0.02);
    assert_within(&figures, "/pooled_test/FedAvg", 0.748, 0.06);
    assert_within(&figures, "/pooled_test/FedAdam", 0.779, 0.04);
    assert_within(&figures, "/pooled_test/FedYogi", 0.779, 0.04);
    assert!(number(&figures, "/personal/mean") >= 0.78);
    assert!(number(&figures, "/personal/weighted") >= 0.755);
    assert!(number(&figures, "/personal/auc_mean") >= 0.80);
    // These need no model and have one right answer: 56/104, 56/89, 15/16, 35/45.
    for (site, right, rows) in [
        ("cleveland", 56.0, 104.0),
        ("hungarian", 56.0, 89.0),
        ("switzerland", 15.0, 16.0),
        ("va", 35.0, 45.0),
    ] {
        assert_within(
            &figures,
            &format!("/per_hospital/{site}/majority_vote"),
            right / rows,
            1e-12,
        );
        assert_within(
            &figures,
            &format!("/per_hospital/{site}/test_rows"),
            rows,
            0.0,
        );
    }
    assert_eq!(
        figures
            .pointer("/chosen/candidates")
            .and_then(Value::as_array)
            .map(Vec::len),
        Some(30)
    );

    // Switzerland refused first, and was asked again under its officer's second policy.
    let refused = figures.get("refused").and_then(Value::as_str).unwrap();
    assert!(
        refused.contains("`switzerland` (too-many-parameters"),
        "{refused}"
    );
    assert_within(&figures, "/policies/2/version", 2.0, 0.0);
    assert_within(&figures, "/policies/0/version", 1.0, 0.0);
    assert_eq!(
        figures
            .get("journals")
            .and_then(Value::as_object)
            .map(serde_json::Map::len),
        Some(5)
    );

    let printed = String::from_utf8(told.stdout.clone()).unwrap();
    for line in [
        "majority vote",
        "published FedYogi",
        "audit verify coordinator: the journal is what was written",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
    assert!(
        said(&told).contains("[ROUND 15/15] loss "),
        "{}",
        said(&told)
    );

    let report = std::fs::read_to_string(folder.path().join("heart.html")).unwrap();
    assert_eq!(report.matches("<svg").count(), 3);
    for part in [
        "Andras Janosi",
        "CC BY 4.0",
        "maximum-parameters-per-record = 0.6",
        "Long Beach VA",
    ] {
        assert!(report.contains(part), "{part} is not in the report");
    }
    assert!(!report.contains("<script") && !report.contains("http-equiv"));

    assert!(
        keep.join("ada-work/models/chosen/model.safetensors")
            .is_file()
    );
    assert_eq!(processes_in(&keep), Vec::<String>::new());
}

#[test]
fn a_story_that_is_asked_to_stop_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("heart");
    let mut story = story(
        &["heart-disease", "--report", "r.html", "--keep", "heart"],
        folder.path(),
    )
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(story.stderr.take().unwrap()).lines();
    let joined = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("Hungarian made its key"))
    });
    assert!(joined.is_some());
    let stop = Command::new("sh")
        .args(["-c", "kill -s TERM \"$0\"", &story.id().to_string()])
        .status();
    assert!(stop.unwrap().success());
    assert_eq!(story.wait().unwrap().code(), Some(130));
    // A command that had just begun ends when its input closes, a moment later on a busy machine.
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..50 {
        if !processes_in(&keep).is_empty() {
            pause.recv_timeout(Duration::from_millis(100)).ok();
        }
    }
    assert_eq!(processes_in(&keep), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_written_is_found_out_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--json", "--report"] {
        let told = tell(
            &["heart-disease", option, "no-such-folder/file"],
            folder.path(),
        );
        assert_eq!(told.status.code(), Some(1));
        assert!(
            said(&told).contains("cannot write to `no-such-folder/file`"),
            "{}",
            said(&told)
        );
        assert!(said(&told).contains(option) && !said(&told).contains("Founding"));
    }
}

#[test]
fn a_folder_that_is_taken_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let told = tell(
        &["heart-disease", "--report", "/dev/null", "--keep", "."],
        folder.path(),
    );
    assert_eq!(told.status.code(), Some(1));
    assert!(said(&told).contains("is not empty"), "{}", said(&told));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_wrong_command_line_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["lung-function"][..], "the stories are: heart-disease"),
        (&["heart-disease", "--seeds", "0"], "--seeds"),
        (&["heart-disease", "--seeds", "many"], "--seeds"),
        (&["heart-disease", "--speed", "3"], "--speed"),
    ] {
        let told = tell(arguments, folder.path());
        assert_eq!(told.status.code(), Some(64), "{arguments:?}");
        assert!(said(&told).contains(says), "{}", said(&told));
    }
    for arguments in [&["--help"][..], &["heart-disease", "--help"]] {
        let told = tell(arguments, folder.path());
        assert!(told.status.success());
        assert!(
            String::from_utf8_lossy(&told.stdout)
                .contains("cargo run -p consilium-scenarios -- heart-disease")
        );
    }
}
