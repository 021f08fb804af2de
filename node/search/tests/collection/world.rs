//! A small clinic: a few notes of a few patients, and an encoder that knows words by their letters.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use consilium_protocol::query::parse::filter;
use consilium_protocol::{Digest, Millis};
use consilium_search::collection::{
    Beginning, Collection, CollectionError, Encode, Ingest, IngestReport, IngestSettings, Mapping,
};
use consilium_search::vector::{Disk, Effort, NodeKey, RowId, UnitVector};
use serde_json::{Value, json};

pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) const MAPPING: &str = r#"
format = "json-lines"
id = "id"
title = ["heading"]
body = ["text"]
patient = "mrn"
date = "seen"
names = ["patient"]

[[column]]
name = "code"
field = "codes"
type = "words"

[[column]]
name = "age"
field = "age"
type = "number"
"#;

/// Sixteen numbers by which letters the words have; counts the texts that it was given.
#[derive(Default)]
pub(crate) struct ByLetters {
    pub(crate) encoded: AtomicUsize,
}

impl Encode for ByLetters {
    fn id(&self) -> String {
        "by-letters/1".to_owned()
    }

    fn dimension(&self) -> usize {
        16
    }

    fn passage_words_max(&self) -> usize {
        12
    }

    fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Box<dyn Error + Send + Sync>> {
        self.encoded.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(texts.iter().map(|text| letters(text)).collect())
    }
}

fn letters(text: &str) -> Vec<f32> {
    let mut vector = vec![0.25; 16];
    for (at, byte) in text.bytes().filter(u8::is_ascii_alphabetic).enumerate() {
        vector[usize::from(byte) % 16] += 1.0 + (at % 3) as f32;
    }
    vector
}

pub(crate) fn unit(text: &str) -> UnitVector {
    UnitVector::parse(&letters(text)).unwrap()
}

pub(crate) fn key() -> NodeKey {
    NodeKey::new(&[7; 32]).unwrap()
}

pub(crate) fn mapping() -> Mapping {
    Mapping::parse(MAPPING).unwrap()
}

/// Small steps, so that a small source has many.
pub(crate) fn settings() -> IngestSettings {
    IngestSettings {
        step_passages: 4,
        ..IngestSettings::default()
    }
}

/// A note of a patient; its text is several passages long.
pub(crate) fn note(id: usize, patient: usize, subject: &str) -> Value {
    json!({
        "id": format!("n{id:02}"),
        "mrn": format!("MRN-{patient}"),
        "patient": format!("Zebulon Quackenbush{patient}"),
        "heading": format!("Visit for {subject}"),
        "text": format!(
            "Zebulon Quackenbush{patient} came in with {subject} since Monday. The examination of note {id} shows \
             {subject} and nothing else of interest. We treat {subject} by rest number {id} and look again in a week."
        ),
        "seen": format!("20{:02}-03-04", 10 + id % 10),
        "codes": [format!("C{}", id % 3), "common"],
        "age": 30 + id,
    })
}

pub(crate) const SUBJECTS: [&str; 6] = [
    "cough",
    "a broken wrist",
    "dizziness",
    "fever",
    "chest pain",
    "eczema",
];

/// Twelve notes of four patients.
pub(crate) fn notes() -> Vec<Value> {
    (0..12)
        .map(|id| note(id, id % 4, SUBJECTS[id % 6]))
        .collect()
}

pub(crate) fn source(notes: &[Value]) -> Vec<u8> {
    let lines: Vec<String> = notes.iter().map(Value::to_string).collect();
    (lines.join("\n") + "\n").into_bytes()
}

pub(crate) fn ingest(
    disk: &(impl Disk + Clone + 'static),
    notes: &[Value],
    now: u64,
) -> Result<IngestReport, CollectionError> {
    ingest_by(
        disk,
        notes,
        now,
        &mapping(),
        &ByLetters::default(),
        settings(),
    )
}

pub(crate) fn ingest_by(
    disk: &(impl Disk + Clone + 'static),
    notes: &[Value],
    now: u64,
    mapping: &Mapping,
    encoder: &dyn Encode,
    settings: IngestSettings,
) -> Result<IngestReport, CollectionError> {
    let disk = Arc::new(disk.clone());
    let ingest = Ingest::on(disk, key(), mapping, encoder, Beginning::Continue)?;
    ingest.run_bytes(source(notes), settings, &|| Millis(now))
}

pub(crate) fn open(disk: &(impl Disk + Clone + 'static)) -> Result<Collection, CollectionError> {
    Collection::on(Arc::new(disk.clone()), &key(), "by-letters/1")
}

/// All that a search can see, free of row numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    version: Digest,
    passages: BTreeMap<(String, u32), String>,
    patients: Vec<Vec<u8>>,
    nearest: Vec<Vec<(String, u32, f32)>>,
    words: Vec<Vec<String>>,
    with_code: Vec<String>,
}

pub(crate) fn picture(collection: &Collection) -> Picture {
    let place = |row: RowId| {
        let (document, number) = collection.document_of(row).unwrap();
        (document.to_owned(), number)
    };
    let everything = collection.rows();
    let passages = everything.iter().map(|row| {
        let passage = collection.passage(row).unwrap().unwrap();
        let patient = collection.patient_of(row).unwrap();
        let text = format!(
            "{patient} {} {} {:?}",
            passage.title, passage.text, passage.date
        );
        ((passage.document, passage.number), text)
    });
    let nearest = SUBJECTS.iter().map(|subject| {
        let hits = collection
            .nearest(&unit(subject), 200, everything, Effort::Exact)
            .unwrap();
        let mut hits: Vec<(String, u32, f32)> = hits
            .into_iter()
            .map(|hit| {
                let (document, number) = place(hit.row);
                (document, number, hit.similarity)
            })
            .collect();
        hits.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.cmp_place(b)));
        hits
    });
    let words = SUBJECTS.iter().map(|subject| {
        let hits = collection.words(subject, 100, everything).unwrap();
        let mut hits: Vec<String> = hits
            .into_iter()
            .map(|hit| format!("{:?} {:.9}", place(hit.row), hit.score))
            .collect();
        hits.sort();
        hits
    });
    let filter = filter("code = 'C1'").unwrap();
    let with_code = collection.rows_where(Some(&filter)).unwrap();
    let mut with_code: Vec<String> = with_code.iter().map(|row| place(row).0).collect();
    with_code.sort();
    Picture {
        version: collection.version(),
        passages: passages.collect(),
        patients: collection
            .patient_identities()
            .map(<[u8]>::to_vec)
            .collect(),
        nearest: nearest.collect(),
        words: words.collect(),
        with_code,
    }
}

impl Picture {
    /// Each document with its passages.
    pub(crate) fn documents(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut documents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for ((document, _), text) in &self.passages {
            // The patient's number depends on who else is there.
            let text = text.split_once(' ').unwrap().1;
            documents.entry(document).or_default().push(text);
        }
        documents
    }
}

trait CmpPlace {
    fn cmp_place(&self, other: &Self) -> std::cmp::Ordering;
}

impl CmpPlace for (String, u32, f32) {
    fn cmp_place(&self, other: &Self) -> std::cmp::Ordering {
        (&self.0, self.1).cmp(&(&other.0, other.1))
    }
}
