//! Journals on disk, untouched and otherwise.

use std::fs;
use std::path::PathBuf;

use consilium_journal::{Head, Journal, Limits};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Typed, type_in};

/// Room for four of the entries below.
const SMALL: Limits = Limits {
    segment_bytes_max: 520,
    entry_bytes_max: 10_000,
    batch_bytes_max: 10_000,
};

/// A coordinator's folder whose journal has twelve entries in three segments.
struct Coordinator {
    folder: TempDir,
    head: Head,
}

impl Coordinator {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(&folder.path().join("journal"), SMALL).unwrap();
        for round in 0..12 {
            let entry = json!({ "round": round, "sites": ["cleveland"] });
            journal
                .append_json(1_795_526_776_000 + round, "round-closed", &entry)
                .unwrap();
        }
        Self {
            head: journal.head(),
            folder,
        }
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut segments: Vec<PathBuf> = fs::read_dir(self.folder.path().join("journal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "journal")
            })
            .collect();
        segments.sort();
        segments
    }

    /// Takes the second segment apart, changes it, and writes it back.
    fn tamper(&self, how: impl FnOnce(&mut Vec<Vec<u8>>)) -> String {
        let second = self.segments()[1].clone();
        let bytes = fs::read(&second).unwrap();
        let (header, mut rest) = bytes.split_at(56);
        let mut pieces = vec![header.to_vec()];
        while !rest.is_empty() {
            let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            let (frame, after) = rest.split_at((8 + len) / 8 * 8 + 8);
            pieces.push(frame.to_vec());
            rest = after;
        }
        how(&mut pieces);
        fs::write(&second, pieces.concat()).unwrap();
        second.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn verify(&self, more: &[&str]) -> Typed {
        let folder = self.folder.path().to_str().unwrap();
        let audit = ["audit", "verify", folder, "--format", "json"];
        type_in(audit.iter().chain(more).copied())
    }

    /// What verification says of a journal that was tampered with.
    fn found(&self) -> (String, String) {
        let typed = self.verify(&[]);
        assert_eq!(typed.exit, 1);
        let error = &typed.envelope()["error"];
        let text = |field: &Value| field.as_str().unwrap().to_owned();
        assert!(text(&error["remedy"]).contains("backup"));
        (text(&error["code"]), text(&error["message"]))
    }
}

#[test]
fn an_untouched_journal_verifies_with_its_head() {
    let coordinator = Coordinator::new();
    let typed = coordinator.verify(&["--head", &coordinator.head.to_string()]);
    assert_eq!(typed.exit, 0, "{typed:?}");
    let data = &typed.envelope()["data"];
    assert_eq!(
        (&data["entries"], &data["segments"]),
        (&json!(12), &json!(3))
    );
    assert_eq!(data["head"], coordinator.head.to_string());
    assert_eq!(data["torn_tail_bytes"], 0);

    // The journal's own folder will do as well, and people read the same.
    let journal = coordinator.folder.path().join("journal");
    let typed = type_in(["audit", "verify", journal.to_str().unwrap()]);
    assert_eq!(typed.exit, 0);
    assert!(
        typed
            .out
            .contains("is what was written\nentries:   12\nsegments:  3\n"),
        "{}",
        typed.out
    );
    assert!(typed.out.contains(&coordinator.head.to_string()));
}

#[test]
fn an_edit_is_found_and_named() {
    let coordinator = Coordinator::new();
    let segment = coordinator.tamper(|pieces| {
        let frame = &mut pieces[2];
        let at = frame
            .windows(9)
            .position(|window| window == b"cleveland")
            .unwrap();
        frame[at..at + 9].copy_from_slice(b"hungarian");
    });
    let (code, message) = coordinator.found();
    assert_eq!(code, "journal-edited");
    assert!(
        message.contains(&segment) && message.contains("entry 5"),
        "{message}"
    );
}

#[test]
fn a_reorder_is_found() {
    let coordinator = Coordinator::new();
    coordinator.tamper(|pieces| pieces.swap(2, 3));
    let (code, message) = coordinator.found();
    assert_eq!(code, "journal-reordered");
    assert!(
        message.contains("entry 6 was put in the place of entry 5"),
        "{message}"
    );
}

#[test]
fn a_deletion_is_found() {
    let coordinator = Coordinator::new();
    coordinator.tamper(|pieces| drop(pieces.remove(2)));
    let (code, message) = coordinator.found();
    assert_eq!(code, "journal-entries-missing");
    assert!(
        message.contains("1 entry is missing from entry 5 on"),
        "{message}"
    );
}

#[test]
fn a_cut_is_found_with_a_head_recorded_elsewhere() {
    let coordinator = Coordinator::new();
    fs::remove_file(&coordinator.segments()[2]).unwrap();
    assert_eq!(
        coordinator.verify(&[]).exit,
        0,
        "the chain alone cannot show a cut"
    );
    let typed = coordinator.verify(&["--head", &coordinator.head.to_string()]);
    assert_eq!(
        (typed.exit, &typed.envelope()["error"]["code"]),
        (1, &json!("journal-cut"))
    );
}

#[test]
fn a_folder_without_a_journal_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        for verb in ["verify", "show"] {
            let path = path.to_str().unwrap();
            let typed = type_in(["audit", verb, path, "--format", "json"]);
            assert_eq!(typed.exit, 1);
            assert_eq!(typed.envelope()["error"]["code"], "no-journal");
        }
    }
}

#[test]
fn the_last_entries_are_shown_and_the_rest_counted() {
    let coordinator = Coordinator::new();
    let folder = coordinator.folder.path().to_str().unwrap();
    let typed = type_in(["audit", "show", folder, "--limit", "2"]);
    assert_eq!(typed.exit, 0);
    assert_eq!(
        typed.out,
        "      10  2026-11-24 13:26:16 UTC  round-closed  {\"round\":10,\"sites\":[\"cleveland\"]}\n      \
         11  2026-11-24 13:26:16 UTC  round-closed  {\"round\":11,\"sites\":[\"cleveland\"]}\n\
         the last 2 of 12; see more with --limit\n"
    );
    let typed = type_in([
        "audit",
        "show",
        folder,
        "--kind",
        "run-ended",
        "--format",
        "json",
    ]);
    assert_eq!(typed.envelope()["data"]["matching"], 0);
    let typed = type_in(["audit", "show", folder, "--format", "json"]);
    assert_eq!(
        typed.envelope()["data"]["entries"][3]["payload"]["round"],
        3
    );
}
