//! What identifies somebody, planted in notes and looked for in thousands of snippets.

use std::collections::BTreeSet;

use consilium_protocol::search::Ranking;

use crate::figures::tell;
use crate::hospital::{Declared, Hospital, asked, snippets};
use crate::notes::{Known, Note, all, honest_questions};

/// Record numbers as three hospitals write them, and names; each in a note of its own, with no list that has it.
fn planted(notes: &mut [Note]) -> Vec<String> {
    let firsts = [
        "Quillon", "Maribeth", "Osgood", "Philippa", "Thaddeus", "Leonora",
    ];
    let lasts = [
        "Vandersloot",
        "Achterberg",
        "Pemberton",
        "Oyelaran",
        "Castellanos",
        "Wrzesniewski",
    ];
    let mut canaries = Vec::new();
    for (at, note) in notes.iter_mut().enumerate() {
        let record = 47_110_000 + at * 7;
        let (first, last) = (
            firsts[at % firsts.len()],
            lasts[at / firsts.len() % lasts.len()],
        );
        let (sentence, planted) = match at % 4 {
            0 => (format!("MRN: {record}."), vec![record.to_string()]),
            1 => (
                format!("Medical record number {record}."),
                vec![record.to_string()],
            ),
            2 => (
                format!("Mr. {first} {last} was seen today with pain."),
                vec![format!("{first} {last}"), last.to_owned()],
            ),
            _ => (
                format!("Dr. {last} was called about {first} {last}, MRN {record}."),
                vec![format!("{first} {last}"), record.to_string()],
            ),
        };
        // At its beginning and in its middle: a snippet is a part.
        let middle = note.text.find(". ").map_or(0, |at| at + 2);
        note.text = format!(
            "{sentence} {}{sentence} {}",
            &note.text[..middle],
            &note.text[middle..]
        );
        canaries.extend(planted);
    }
    canaries.sort();
    canaries.dedup();
    canaries
}

#[test]
fn no_planted_record_number_or_name_is_in_ten_thousand_snippets() {
    let mut notes = all();
    let canaries = planted(&mut notes);
    let hospital = Hospital::of(&notes, &Declared::default());
    let ada = hospital.researcher("ada", "cohort");
    let mut questions: Vec<String> = honest_questions().into_iter().step_by(3).collect();
    // And as somebody asks who is after them.
    questions.extend(
        canaries
            .iter()
            .step_by(17)
            .map(|canary| format!("MRN of {canary} seen today by Dr.")),
    );
    questions.extend(notes.iter().take(20).map(|note| Known::Part.text_of(note)));
    let mut texts: Vec<String> = Vec::new();
    for question in &questions {
        let asked = asked(question, snippets(100, Ranking::Both));
        let hits = hospital.answers(&ada, &asked).hits();
        texts.extend(hits.into_iter().map(|hit| hit.snippet));
    }
    let leaked: BTreeSet<&String> = canaries
        .iter()
        .filter(|canary| texts.iter().any(|text| text.contains(canary.as_str())))
        .collect();
    tell(&format!(
        "{} snippets to {} questions: {} of {} planted names and numbers are in them",
        texts.len(),
        questions.len(),
        leaked.len(),
        canaries.len()
    ));
    assert!(texts.len() >= 9_000, "{}", texts.len());
    assert!(leaked.is_empty(), "{leaked:?}");
}

/// The names of ACI-Bench's metadata that stand in the notes, where nobody told the redaction of them: as at a hospital
/// that does not map a column of names. A figure; the floors of redaction are tests of its own.
#[test]
fn of_names_that_the_site_did_not_list_few_are_in_snippets() {
    let notes = all();
    let unlisted: Vec<Note> = notes
        .iter()
        .map(|note| Note {
            names: Vec::new(),
            ..note.clone()
        })
        .collect();
    let hospital = Hospital::of(&unlisted, &Declared::default());
    let ada = hospital.researcher("ada", "cohort");
    let (mut standing, mut shown) = (0_usize, 0_usize);
    for note in notes.iter().filter(|note| !note.names.is_empty()) {
        // Words of three letters and more that stand in the note as names do.
        let names: BTreeSet<String> = note
            .names
            .iter()
            .flat_map(|name| name.split_whitespace())
            .filter(|word| word.len() > 2)
            .map(capital)
            .filter(|word| note.text.contains(word.as_str()))
            .collect();
        let asked = asked(
            &format!("{} patient seen today", note.title),
            snippets(20, Ranking::Both),
        );
        let hits = hospital.answers(&ada, &asked).hits();
        let text: String = hits.iter().map(|hit| hit.snippet.as_str()).collect();
        standing += names.len();
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphabetic()).collect();
        shown += names
            .iter()
            .filter(|name| words.contains(name.as_str()))
            .count();
    }
    let recall = 1.0 - shown as f64 / standing as f64;
    tell(&format!(
        "snippets of notes whose names nobody listed: {shown} of {standing} names shown, recall {recall:.3}"
    ));
    assert!(recall >= 0.9, "{recall}");
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

#[test]
fn what_the_site_says_must_never_leave_does_not_though_redaction_knows_it_not() {
    let mut notes: Vec<Note> = all().into_iter().take(200).collect();
    for note in notes.iter_mut().step_by(5) {
        note.text = format!(
            "The patient takes part in operation bluebird since spring. {}",
            note.text
        );
    }
    let declared = Declared {
        never_leaves: &["operation bluebird"],
        ..Declared::default()
    };
    let hospital = Hospital::of(&notes, &declared);
    let ada = hospital.researcher("ada", "cohort");
    let asked = asked(
        "who takes part in operation bluebird since spring",
        snippets(50, Ranking::Both),
    );
    let hits = hospital.answers(&ada, &asked).hits();
    assert!(
        hits.iter()
            .all(|hit| !hit.snippet.to_lowercase().contains("bluebird"))
    );
    assert!(
        hits.iter().any(|hit| hit.snippet.is_empty()),
        "a snippet was emptied"
    );
}
