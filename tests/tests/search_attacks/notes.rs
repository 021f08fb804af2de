//! Clinical notes: those of the repository, and how an attacker changes one that he knows.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One record of a hospital's source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: String,
    pub(crate) patient: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) names: Vec<String>,
    pub(crate) kind: String,
    pub(crate) sex: String,
    pub(crate) age: Option<u32>,
    pub(crate) complaints: Vec<String>,
    /// The purposes that the patient agreed to, where a test says so.
    #[serde(default)]
    pub(crate) consent: Vec<String>,
    /// The day from which the note may be found; empty for none.
    #[serde(default)]
    pub(crate) embargo: String,
}

/// How each of them is declared; a test may add lines.
pub(crate) const MAPPING: &str = r#"
format = "json-lines"
id = "id"
title = ["title"]
body = ["text"]
patient = "patient"
names = ["names"]

[[column]]
name = "kind"
field = "kind"
type = "word"

[[column]]
name = "sex"
field = "sex"
type = "word"

[[column]]
name = "age"
field = "age"
type = "number"

[[column]]
name = "record"
field = "id"
type = "word"

[[column]]
name = "consent"
field = "consent"
type = "words"

[[column]]
name = "embargo"
field = "embargo"
type = "date"
"#;

/// All notes of the three hospitals, in an order that says nothing: by the hash of their names.
pub(crate) fn all() -> Vec<Note> {
    let data = "../scenarios/data/clinical-notes";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(data);
    let mut notes = Vec::new();
    for hospital in ["aci", "virtassist", "virtscribe"] {
        let file = std::fs::File::open(folder.join(format!("{hospital}.jsonl.gz"))).unwrap();
        let mut text = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(file);
        unpacked.read_to_string(&mut text).unwrap();
        notes.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Note>(line).unwrap()),
        );
    }
    notes.sort_by_key(|note| chance(&note.id));
    notes
}

/// A number that follows from a name, and looks like chance.
pub(crate) fn chance(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk::<8>().unwrap();
    u64::from_le_bytes(*first)
}

/// How an attacker asks who knows a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// As much of it as a search takes.
    Whole,
    /// Forty words from its middle.
    Part,
    /// Its sentences in another order, and of its words two of three: as somebody who retells it.
    Retold,
}

impl Known {
    pub(crate) const ALL: [Self; 3] = [Self::Whole, Self::Part, Self::Retold];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole note",
            Self::Part => "40 words of it",
            Self::Retold => "retold",
        }
    }

    /// What is searched for.
    pub(crate) fn text_of(self, note: &Note) -> String {
        let words: Vec<&str> = note.text.split_whitespace().collect();
        match self {
            Self::Whole => fitting(words.into_iter()),
            Self::Part => {
                let from = words.len().saturating_sub(40) / 2;
                fitting(words.into_iter().skip(from).take(40))
            }
            Self::Retold => {
                let mut sentences: Vec<&str> = note.text.split(['.', '\n']).collect();
                sentences.sort_by_key(|sentence| chance(sentence));
                let words = sentences.into_iter().flat_map(str::split_whitespace);
                let kept = words
                    .enumerate()
                    .filter(|(at, word)| !chance(&format!("{word}{at}")).is_multiple_of(3));
                fitting(kept.map(|(_, word)| word).take(300))
            }
        }
    }
}

/// Words up to what a search takes.
fn fitting<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words.take(500) {
        if text.len() + word.len() + 1 > 4000 {
            break;
        }
        text.push_str(word);
        text.push(' ');
    }
    text
}

/// Questions as a clinician types them, about nobody.
pub(crate) fn honest_questions() -> Vec<String> {
    let of = [
        "knee pain",
        "low back pain",
        "chest pain",
        "shortness of breath",
        "type 2 diabetes",
        "hypertension",
        "depression",
        "migraine",
        "asthma",
        "abdominal pain",
        "kidney stones",
        "atrial fibrillation",
        "rash",
        "shoulder injury",
        "congestive heart failure",
        "reflux",
        "anemia",
        "sore throat",
        "ankle sprain",
        "cough",
    ];
    let how = [
        "patients with {} after a fall",
        "{} treated with physical therapy",
        "history of {} and smoking",
        "worsening {} with weight loss",
        "{} in an elderly woman",
        "recurrent {} despite medication",
        "young man with {} for two weeks",
        "{} and normal imaging",
        "family history of {}",
        "{} managed with ibuprofen",
        "surgery considered for {}",
        "{} with fever and chills",
    ];
    let questions = how
        .iter()
        .flat_map(|how| of.iter().map(move |of| how.replace("{}", of)));
    questions.collect()
}
