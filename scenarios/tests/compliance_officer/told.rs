//! What is told, line by line; what differs from one telling to the next is masked.

use std::process::Command;

use serde_json::Value;

use crate::masked::assert_told_as_kept;

const KEPT: &str = include_str!("narration.txt");

#[test]
fn the_story_is_told_as_it_was_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let told = Command::new(env!("CARGO_BIN_EXE_consilium-scenarios"))
        .args([
            "compliance-officer",
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
    assert_told_as_kept(&printed, KEPT, "tests/compliance_officer/narration.txt");

    let figures = std::fs::read(folder.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_slice(&figures).unwrap();
    // 3 were permitted to the project; what was answered again cost nothing.
    let spent = |name: &str| figures[name].as_f64().unwrap();
    assert!(
        spent("spent_after_count") >= 1.0 && spent("spent_at_the_end") <= 3.0,
        "{figures:#}"
    );
    assert_eq!(figures["spent_after_run"], figures["spent_after_repeat"]);
    assert_eq!(figures["count"], figures["count_again"]);
    assert_eq!(figures["diff_opened"], 0);
    // Four sites with a Laplace scale of 1 each: further away once in 10^15 tellings.
    let (old, truth) = (
        figures["count"]["value"].as_f64().unwrap(),
        aged_60_or_more(),
    );
    assert!((old - truth).abs() <= 45.0, "{old} is far from {truth}");
}

/// As the hospitals' files have them: slope, ca and thal may be missing, the rest is complete.
fn aged_60_or_more() -> f64 {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/uci-heart-disease");
    let texts = ["cleveland", "hungarian", "switzerland", "va"]
        .map(|name| std::fs::read_to_string(data.join(format!("processed.{name}.data"))).unwrap());
    let rows = texts.iter().flat_map(|text| text.lines());
    let cells = rows.map(|row| -> Vec<f64> {
        row.split(',')
            .map(|cell| cell.trim().parse().unwrap_or(f64::NAN))
            .collect()
    });
    let old = cells.filter(|row| {
        row[0] >= 60.0 && (0..14).all(|at| !row[at].is_nan() || (10..13).contains(&at))
    });
    old.count() as f64
}
