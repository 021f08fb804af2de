//! Whom a search may not find at all: who did not agree to its purpose, and whose embargo is not over.

use consilium_policies::Day;
use consilium_protocol::Millis;
use consilium_protocol::search::Ranking;

use crate::hospital::{Declared, Hospital, asked, snippets};
use crate::notes::{Note, all};

const LINES: &str = "consent-column = \"consent\"\nembargo-column = \"embargo\"\n";

const DAY_MS: u64 = 86_400_000;

fn day(now: Millis, days: i64) -> String {
    let ms = now.0.saturating_add_signed(days * DAY_MS as i64);
    Day::of(Millis(ms)).to_string()
}

/// Notes of five kinds in turn, each with a word of its own in every sentence, so that a snippet shows whose it is.
fn notes(now: Millis) -> Vec<Note> {
    let marks = ["agreed", "refused", "silent", "embargoed", "released"];
    let texts = all()
        .into_iter()
        .filter(|note| note.kind == "GENHX")
        .take(150);
    texts
        .enumerate()
        .map(|(at, note)| {
            let mark = marks[at % marks.len()];
            let consent: &[&str] = match mark {
                "refused" => &["POA"],
                "silent" => &[],
                _ => &["POA", "HMB"],
            };
            let embargo = match mark {
                // Twice, so that one of them is in this very year on most days.
                "embargoed" if at % 2 == 0 => day(now, 400),
                "embargoed" => day(now, 2),
                "released" => day(now, -400),
                _ => String::new(),
            };
            let sentence = format!("The patient has {mark} pain in the joint.");
            Note {
                id: format!("{mark}-{at}"),
                patient: format!("{mark}-{at}"),
                title: String::new(),
                text: format!("{sentence} {}", note.text),
                consent: consent.iter().map(|code| (*code).to_owned()).collect(),
                embargo,
                ..note
            }
        })
        .collect()
}

#[test]
fn who_did_not_agree_or_is_under_embargo_is_never_shown() {
    let now = consilium_link::wall_clock();
    let declared = Declared {
        lines: LINES,
        ..Declared::default()
    };
    let hospital = Hospital::of(&notes(now), &declared);
    let ada = hospital.researcher("ada", "cohort");
    let mut shown = String::new();
    for mark in ["agreed", "refused", "silent", "embargoed", "released"] {
        for ranking in [Ranking::Vectors, Ranking::Words, Ranking::Both] {
            let text = format!("a patient who has {mark} pain in the joint");
            let asked = asked(&text, snippets(100, ranking));
            for hit in hospital.answers(&ada, &asked).hits() {
                shown += &hit.snippet;
            }
        }
    }
    for mark in ["agreed pain", "released pain"] {
        assert!(shown.contains(mark), "{mark} is found");
    }
    for mark in ["refused pain", "silent pain", "embargoed pain"] {
        assert!(!shown.contains(mark), "{mark} is found");
    }
}
