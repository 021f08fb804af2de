//! How often one patient is pointed at: twenty times, whoever asks, whatever happens to the machine.

use std::collections::HashMap;

use consilium_node::retrieval::disclosure::handle;
use consilium_protocol::message::DisclosedHit;
use consilium_protocol::search::{Ranking, Search, SearchDocument};

use crate::figures::tell;
use crate::hospital::{Declared, Hospital, asked, handles, policy};
use crate::notes::{Note, all};

/// Thirty patients who are alike, and one of whom everything in these questions speaks.
fn alike() -> Vec<Note> {
    let note = |patient: usize, text: String| Note {
        id: format!("p{patient}"),
        patient: format!("p{patient}"),
        title: String::new(),
        text,
        names: Vec::new(),
        kind: "NOTE".into(),
        sex: String::new(),
        age: None,
        complaints: Vec::new(),
        consent: Vec::new(),
        embargo: String::new(),
    };
    let texts = all().into_iter().filter(|note| note.kind == "GENHX");
    texts
        .take(31)
        .enumerate()
        .map(|(at, of)| note(at, of.text))
        .collect()
}

#[test]
fn after_twenty_disclosures_a_patient_is_found_by_nobody_and_nobody_is_told() {
    let notes = alike();
    let declared = Declared {
        policy: policy(4.0, 100.0),
        ..Declared::default()
    };
    let mut hospital = Hospital::of(&notes, &declared);
    let ada = hospital.researcher("ada", "cohort");
    let bob = hospital.researcher("bob", "others");
    let mut shown: HashMap<String, u32> = HashMap::new();
    let mut answers = Vec::new();
    // More questions than there are disclosures: 31 patients of 20 each, ten at a time.
    for at in 0..90 {
        let who = if at % 2 == 0 { &ada } else { &bob };
        let text = format!("history of pain and fever, question {}", words(at));
        let hits = hospital
            .answers(who, &asked(&text, handles(10, Ranking::Both)))
            .hits();
        answers.push(hits.len());
        if at == 45 {
            hospital.restarts();
        }
        for patient in patients_of(&hospital, who.project, &text, &hits) {
            *shown.entry(patient).or_default() += 1;
        }
    }
    let most = shown.values().max().copied().unwrap_or(0);
    let all: u32 = shown.values().sum();
    tell(&format!(
        "90 questions for 10 patients each: {all} disclosures, of one patient at most {most}; \
         the first answer had {} hits, the last {}",
        answers[0],
        answers[answers.len() - 1]
    ));
    assert_eq!(most, 20, "{shown:?}");
    assert!(all <= 31 * 20, "{all}");
    // At the end nobody is left, and it looks like nothing found.
    assert_eq!(answers[0], 10);
    assert_eq!(answers[answers.len() - 1], 0, "{answers:?}");
    hospital.restarts();
    let text = "who has pain and fever";
    for who in [&ada, &bob] {
        let hits = hospital
            .answers(who, &asked(text, handles(10, Ranking::Both)))
            .hits();
        assert!(hits.is_empty());
    }
}

/// A number in words: digits may be taken for identifiers.
fn words(at: usize) -> String {
    let digits = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    format!("{} {}", digits[at / 10], digits[at % 10])
}

/// Whose handles these are: the site alone can tell.
fn patients_of(
    hospital: &Hospital,
    project: &str,
    text: &str,
    hits: &[DisclosedHit],
) -> Vec<String> {
    let open = hospital
        .node()
        .collection(&"notes".parse().unwrap())
        .unwrap()
        .unwrap();
    let search = Search::new(SearchDocument {
        project: project.parse().unwrap(),
        ..asked(text, handles(10, Ranking::Both))
    });
    let search = search.unwrap().digest();
    let secret = hospital.node().gate.handle_secret();
    let of_row = open.collection.rows().iter().map(|row| {
        let (document, passage) = open.collection.document_of(row).unwrap();
        let handle = handle(&secret, search, document, passage);
        (handle, document.to_owned())
    });
    let known: HashMap<_, _> = of_row.collect();
    hits.iter().map(|hit| known[&hit.handle].clone()).collect()
}
