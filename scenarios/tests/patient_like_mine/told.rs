//! What is told, line by line; what differs from one telling to the next is masked.

use std::process::Command;

use serde_json::Value;

use crate::masked::assert_told_as_kept;

const KEPT: &str = include_str!("narration.txt");

#[test]
fn the_story_is_told_as_it_was_written_down_and_nothing_planted_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let told = Command::new(env!("CARGO_BIN_EXE_consilium-scenarios"))
        .args([
            "patient-like-mine",
            "--json",
            "figures.json",
            "--keep",
            "house",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    let printed = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{said}\n{printed}");
    assert_told_as_kept(&printed, KEPT, "tests/patient_like_mine/narration.txt");

    let figures = std::fs::read(folder.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_slice(&figures).unwrap();
    assert!(figures["planted"].as_u64().unwrap() > 300, "{figures:#}");
    assert!(figures["snippets"].as_u64().unwrap() > 50, "{figures:#}");
    assert_eq!(figures["planted_found"], 0);
    // ε = 2 is ten disclosures at the most.
    assert!(figures["most_often_shown"].as_u64().unwrap() <= 10);
    assert!(figures["retired"].as_f64().unwrap() >= 1.0);
}
