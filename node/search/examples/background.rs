//! Makes the table of how much words weigh, from open texts.
//!
//! `cargo run -p consilium-search --example background -- DATA node/search/lists/background.txt [--without medquad]`,
//! where DATA holds `medquad/`, `pubmedqa/` and `mts-dialog/`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

use consilium_search::lexical::words_of;
use consilium_search::text::{normalise, passages};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Words of a passage.
const PASSAGE_WORDS: usize = 180;
/// Passages that must have a word; what one has may be a slip of the pen.
const PASSAGES_MIN: u32 = 2;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, table, without @ ..] = arguments.as_slice() else {
        return Err("say where the data are and where the table goes".into());
    };
    let data = Path::new(data);
    let mut texts = Vec::new();
    if without.is_empty() {
        medquad(&data.join("medquad"), &mut texts)?;
    }
    pubmedqa(&data.join("pubmedqa/ori_pqal.json"), &mut texts)?;
    notes(
        &data.join("mts-dialog/MTS-Dialog-TrainingSet.csv"),
        &mut texts,
    )?;
    Ok(fs::write(table, counted(&texts))?)
}

fn counted(texts: &[String]) -> String {
    let (mut documents, mut length) = (0u32, 0usize);
    let mut having: BTreeMap<String, u32> = BTreeMap::new();
    for text in texts {
        let text = normalise(text);
        for passage in passages(&text, PASSAGE_WORDS, 0) {
            let words = words_of(text.get(passage.start..passage.end).unwrap_or_default());
            documents += 1;
            length += words.len();
            for word in words.into_iter().collect::<BTreeSet<_>>() {
                *having.entry(word).or_default() += 1;
            }
        }
    }
    let weight = |having: u32| {
        let (all, having) = (f64::from(documents), f64::from(having));
        ((1.0 + (all - having + 0.5) / (having + 0.5)).ln() * 100.0)
            .round()
            .max(1.0)
    };
    let mean = (length as f64 / f64::from(documents)).round();
    let mut table = format!("#mean-words {mean}\n#rarest {}\n", weight(0));
    for (word, having) in having.iter().filter(|(_, having)| **having >= PASSAGES_MIN) {
        table.push_str(&format!("{word} {}\n", weight(*having)));
    }
    table
}

fn medquad(folder: &Path, texts: &mut Vec<String>) -> Outcome<()> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    paths.sort();
    for path in paths {
        for line in fs::read_to_string(path)?.lines() {
            let item: Value = serde_json::from_str(line)?;
            texts.extend(
                item.get("answer")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
        }
    }
    Ok(())
}

fn pubmedqa(path: &Path, texts: &mut Vec<String>) -> Outcome<()> {
    let items: BTreeMap<String, Value> = serde_json::from_str(&fs::read_to_string(path)?)?;
    for item in items.values() {
        let parts = item
            .get("CONTEXTS")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        texts.push(
            parts
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }
    Ok(())
}

fn notes(path: &Path, texts: &mut Vec<String>) -> Outcome<()> {
    for row in csv::Reader::from_path(path)?.deserialize::<BTreeMap<String, String>>() {
        let mut row = row?;
        texts.extend(
            ["section_text", "dialogue"]
                .iter()
                .filter_map(|column| row.remove(*column)),
        );
    }
    Ok(())
}
