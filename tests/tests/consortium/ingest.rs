//! `consilium-node ingest`, killed in its middle, and a node that sees every change with its next query.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use consilium_node::collections::{Collections, OpenCollection};
use consilium_node::config::Config;
use consilium_protocol::query::parse::filter;
use consilium_search::vector::RowId;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{eventually, role, types};

/// More than two steps of an ingest, each passage short.
const ROWS: usize = 2_600;

const NODE: &str = r#"
coordinator = "127.0.0.1:1"
policy-folder = "policy"

[policy]
unsigned = true

[[collection]]
name = "medquad"
source = "data/medquad.jsonl"
mapping = "data/mapping.toml"
rows-erased-within-days = 1
"#;

const MAPPING: &str = r#"
format = "json-lines"
id = "id"
body = ["answer"]
redaction = "none"

[[column]]
name = "semantic-type"
field = "semantic_type"
type = "words"
"#;

/// A node's folder that was never enrolled: ingesting needs neither the network nor a certificate.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["identity", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("node.toml"), NODE).unwrap();
        fs::write(folder.path().join("data/mapping.toml"), MAPPING).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn source(&self) -> PathBuf {
        self.path().join("data/medquad.jsonl")
    }

    fn arguments(&self) -> [&str; 5] {
        [
            "ingest",
            "--folder",
            self.path().to_str().unwrap(),
            "--format",
            "json",
        ]
    }

    /// Ingests, and gives the report.
    fn ingest(&self, rows: &[Value]) -> Value {
        fs::remove_file(self.source()).ok();
        fs::write(self.source(), lines(rows)).unwrap();
        let mut data = types("node", self.arguments()).data();
        assert_eq!(data["collections"][0]["name"], "medquad");
        data["collections"][0]["report"].take()
    }

    /// The collections of a node that runs here.
    fn collections(&self) -> Collections {
        Collections::new(&Config::load(self.path()).unwrap(), self.path())
    }
}

fn rows(count: usize) -> Vec<Value> {
    let row = |at: usize| {
        json!({
            "id": format!("gard:{at:07}-1"),
            "question": format!("What is (are) condition {at} ?"),
            "answer": format!("Condition {at} is a rare inherited disorder of organ {} that begins at age {}.", at % 97, at % 80),
            "semantic_type": [format!("T{:03}", at % 7)],
        })
    };
    (0..count).map(row).collect()
}

fn lines(rows: &[Value]) -> Vec<u8> {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    (lines.join("\n") + "\n").into_bytes()
}

fn opened(collections: &Collections) -> std::sync::Arc<OpenCollection> {
    let name = "medquad".parse().unwrap();
    collections
        .get(&name)
        .unwrap()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn first(open: &OpenCollection, question: &str) -> String {
    let collection = &open.collection;
    let hits = collection.words(question, 1, collection.rows()).unwrap();
    document(open, hits[0].row)
}

fn document(open: &OpenCollection, row: RowId) -> String {
    open.collection.document_of(row).unwrap().0.to_owned()
}

#[test]
fn an_ingest_killed_in_its_middle_goes_on_to_the_same_collection() {
    let (site, undisturbed) = (Site::new(), Site::new());
    let rows = rows(ROWS);
    let whole = undisturbed.ingest(&rows);
    assert_eq!(whole["added"], ROWS);

    // The source is a pipe that stops in the middle, so the kill comes when there is something and not all.
    let made = Command::new("mkfifo").arg(site.source()).status().unwrap();
    assert!(made.success());
    let mut child = role("node")
        .args(site.arguments())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // For writing alone: once the reader is killed, whoever still writes gets an error and does not wait for ever.
    let (half, source) = (lines(&rows[..1_500]), site.source());
    let writing = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(source)?;
        pipe.write_all(&half).map(|()| pipe)
    });
    let folder = site.path().join("collections/medquad");
    let texts = || {
        let files = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
        let published =
            files.filter(|file| file.file_name().to_string_lossy().starts_with("texts-"));
        (published.count() > 0).then_some(())
    };
    eventually("a first step is published", texts);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(writing.join().unwrap());

    let resumed = site.ingest(&rows);
    let (added, unchanged) = (
        resumed["added"].as_u64().unwrap(),
        resumed["unchanged"].as_u64().unwrap(),
    );
    assert_eq!(added + unchanged, ROWS as u64);
    assert_eq!(resumed["collection"], whole["collection"]);
    let (collections, others) = (site.collections(), undisturbed.collections());
    let (one, other) = (opened(&collections), opened(&others));
    assert_eq!(one.collection.version(), other.collection.version());
    assert_eq!(
        first(&one, "condition 1777"),
        first(&other, "condition 1777")
    );
    // And once more there is nothing to do.
    assert_eq!(site.ingest(&rows)["unchanged"], ROWS);
}

#[test]
fn an_update_and_a_deletion_are_seen_by_the_next_query_of_a_running_node() {
    let site = Site::new();
    let mut rows = rows(40);
    site.ingest(&rows);
    let collections = site.collections();
    let before = opened(&collections);
    assert_eq!(first(&before, "condition 17 organ"), "gard:0000017-1");
    rows[3]["answer"] = Value::from("Paraneoplastic vermilion fever is not contagious.");
    rows.remove(17);
    let report = site.ingest(&rows);
    assert_eq!(
        (&report["changed"], &report["erased"]),
        (&json!(1), &json!(1))
    );
    let after = opened(&collections);
    assert_eq!(first(&after, "vermilion fever"), "gard:0000003-1");
    let everything = after.collection.rows();
    let gone = everything
        .iter()
        .any(|row| document(&after, row) == "gard:0000017-1");
    assert!(!gone && after.collection.figures().documents == 39);
    let filter = filter("semantic-type = 'T003'").unwrap();
    let of_type = after.collection.rows_where(Some(&filter)).unwrap();
    assert!(
        of_type
            .iter()
            .all(|row| document(&after, row)[5..12].parse::<usize>().unwrap() % 7 == 3)
    );
    // What nobody changed is not opened again.
    assert!(std::sync::Arc::ptr_eq(&after, &opened(&collections)));
}

#[test]
fn what_is_wrong_with_a_collection_is_said_by_file_and_line() {
    let site = Site::new();
    fs::write(site.source(), lines(&rows(3))).unwrap();
    let mut unknown = site.arguments().to_vec();
    unknown.extend(["--collection", "notes"]);
    let (exit, code, message) = types("node", unknown).error();
    assert_eq!(
        (exit, code.as_str()),
        (1, "unknown-collection"),
        "{message}"
    );

    fs::write(
        site.path().join("data/mapping.toml"),
        MAPPING.replace("\"words\"", "\"colours\""),
    )
    .unwrap();
    let (_, code, message) = types("node", site.arguments()).error();
    assert_eq!(code, "bad-mapping");
    assert!(
        message.contains("mapping.toml") && message.contains("line 10"),
        "{message}"
    );

    fs::write(site.path().join("data/mapping.toml"), MAPPING).unwrap();
    let all_bad = b"{\"id\": \"a\"}\nnot json\n";
    fs::write(site.source(), all_bad).unwrap();
    let (_, code, message) = types("node", site.arguments()).error();
    assert_eq!(code, "too-many-bad-records");
    assert!(message.contains("line 1: has no text"), "{message}");

    fs::remove_file(site.source()).unwrap();
    let (_, code, _) = types("node", site.arguments()).error();
    assert_eq!(code, "file-not-read");

    let twice = NODE.replace(
        "[[collection]]",
        "[[collection]]\nname = \"medquad\"\nsource = \"a\"\nmapping = \"b\"\n\n[[collection]]",
    );
    fs::write(site.path().join("node.toml"), twice).unwrap();
    let (_, code, message) = types("node", site.arguments()).error();
    assert_eq!(code, "bad-configuration");
    assert!(message.contains("declares `medquad` twice"), "{message}");
    fs::write(
        site.path().join("node.toml"),
        NODE.replace("days = 1", "days = 31"),
    )
    .unwrap();
    let (_, _, message) = types("node", site.arguments()).error();
    assert!(message.contains("must be from 1 to 30"), "{message}");
}
