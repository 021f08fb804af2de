//! Three hospitals with the clinical notes of `scenarios/data/clinical-notes`, and in them what must never leave.

use std::io::Read;

use serde_json::Value;

use crate::house::{Consortium, Site};
use crate::story::StoryError;
use crate::story::narrator::Narrator;

pub(super) const HOSPITALS: [&str; 3] = ["aci", "virtassist", "virtscribe"];

/// The filter column and collection that the story speaks of.
pub(super) const COLLECTION: &str = "notes";

const MAPPING: &str = include_str!("../../../data/clinical-notes/notes.mapping.toml");

const POLICY: &str = include_str!("bundle/policy.toml");

const ROWS: [&[u8]; 3] = [
    include_bytes!("../../../data/clinical-notes/aci.jsonl.gz"),
    include_bytes!("../../../data/clinical-notes/virtassist.jsonl.gz"),
    include_bytes!("../../../data/clinical-notes/virtscribe.jsonl.gz"),
];

/// Into every so-manieth note something is planted.
const PLANTED_EVERY: usize = 3;

const FIRST_NAMES: [&str; 5] = ["Quillon", "Maribeth", "Osgood", "Philippa", "Thaddeus"];
const LAST_NAMES: [&str; 5] = [
    "Vandersloot",
    "Achterberg",
    "Pemberton",
    "Wrzesniewski",
    "Castellanos",
];

const DECLARED: &str = r#"
[[collection]]
name = "notes"
source = "data/notes.jsonl"
mapping = "data/notes.mapping.toml"
never-leaves = "data/never-leaves.txt"
"#;

/// Sets the three up, has each take its notes in, and opens them. Gives what was planted.
///
/// # Errors
/// What failed, and what was said.
pub(super) fn open(
    told: &mut Narrator,
    consortium: &Consortium,
) -> Result<Vec<String>, StoryError> {
    told.says("Their notes are synthetic: ACI-Bench's encounters and MTS-Dialog's sections. Into every third we planted a");
    told.says("record number and a name that no list has. Each officer wrote a policy; each operator takes the notes in.");
    let mut planted = Vec::new();
    for (hospital, packed) in HOSPITALS.into_iter().zip(ROWS) {
        let (rows, canaries) = with_planted(&unpacked(packed)?, planted.len())?;
        consortium.set_up(&Site {
            name: hospital,
            officers: &[],
            policy: POLICY,
            files: &[
                ("data/notes.jsonl".to_owned(), &rows),
                ("data/notes.mapping.toml".to_owned(), MAPPING),
                ("data/never-leaves.txt".to_owned(), "operation bluebird\n"),
            ],
            datasets: DECLARED,
        })?;
        told.shows_at_node(&format!("ingest --folder {hospital}"));
        let printed = consortium.at_node(hospital, "ingest", &["--format", "json"])?;
        tell_ingested(told, hospital, &printed)?;
        consortium.open(hospital)?;
        planted.extend(canaries);
    }
    told.answered(&format!(
        "{} names and record numbers are planted",
        planted.len()
    ));
    told.figure("planted", planted.len());
    Ok(planted)
}

fn tell_ingested(told: &mut Narrator, hospital: &str, printed: &str) -> Result<(), StoryError> {
    let envelope: Value = serde_json::from_str(printed).map_err(StoryError::unexpected)?;
    let number = |pointer: &str| {
        let pointer = format!("/data/collections/0/report{pointer}");
        let found = envelope.pointer(&pointer).and_then(Value::as_u64);
        found.ok_or_else(|| StoryError::unexpected(format!("no {pointer} in {envelope}")))
    };
    let redacted = envelope.pointer("/data/collections/0/report/redacted");
    let classes = redacted.and_then(Value::as_object).into_iter().flatten();
    let taken_out: u64 = classes.filter_map(|(_, count)| count.as_u64()).sum();
    told.answered(&format!(
        "{hospital}: {} documents of {} patients in {} passages; {taken_out} identifiers taken out",
        number("/collection/documents")?,
        number("/collection/patients")?,
        number("/collection/passages")?,
    ));
    told.figure(&format!("{hospital}_taken_out"), taken_out);
    Ok(())
}

fn unpacked(packed: &[u8]) -> Result<String, StoryError> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(packed).read_to_string(&mut text);
    read.map_err(|source| StoryError::Disk {
        what: "cannot unpack the notes".to_owned(),
        source,
    })?;
    Ok(text)
}

/// The rows with a sentence before every third text, and what is in those sentences. `before` were planted elsewhere.
fn with_planted(rows: &str, before: usize) -> Result<(String, Vec<String>), StoryError> {
    let (mut text, mut planted) = (String::with_capacity(rows.len() * 2), Vec::new());
    for (at, line) in rows.lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).map_err(StoryError::unexpected)?;
        if at % PLANTED_EVERY == 0
            && let Some(Value::String(note)) = row.get_mut("text")
        {
            let place = before + at;
            let record = 47_110_000 + 7 * place;
            let name =
                |of: &[&'static str; 5], at: usize| of.get(at % 5).copied().unwrap_or_default();
            let (first, last) = (name(&FIRST_NAMES, place), name(&LAST_NAMES, place / 5));
            *note = format!("Mr. {first} {last}, MRN {record}, was seen today. {note}");
            planted.extend([record.to_string(), format!("{first} {last}")]);
        }
        text.push_str(&format!("{row}\n"));
    }
    planted.sort();
    planted.dedup();
    Ok((text, planted))
}

#[cfg(test)]
mod tests {
    use consilium_policies::{Bundle, Release};

    use super::*;

    #[test]
    fn the_policy_lets_parts_of_texts_out_to_the_approved_project_alone() {
        let bundle = Bundle::parse("policy.toml", POLICY.as_bytes()).unwrap();
        let reads: Vec<&str> = bundle
            .rules()
            .iter()
            .filter(|rule| rule.release.contains(&Release::SearchL3))
            .map(|rule| rule.id.as_str())
            .collect();
        assert_eq!(reads, ["knee-study"]);
    }

    #[test]
    fn what_is_planted_stands_in_the_rows() {
        for packed in ROWS {
            let (rows, planted) = with_planted(&unpacked(packed).unwrap(), 0).unwrap();
            assert!(planted.len() > 100);
            for canary in planted {
                assert!(rows.contains(&canary), "{canary}");
            }
        }
    }
}
