//! How many names redaction finds, and what it takes for one, in ACI-Bench (Yim et al., Scientific Data 10:586, 2023),
//! whose metadata hold the true names, and how much it takes out of MTS-Dialog.
//!
//! `cargo bench --profile dev -p consilium-search --bench redaction -- DATA [--list]`, where DATA holds `aci-bench/`
//! and `mts-dialog/`. `--list` shows each part that was taken out, with how often: what precision is judged by.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use consilium_search::redaction::{Class, Redactor};
use consilium_search::text::normalise;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some(folder) = arguments.first().map(Path::new) else {
        println!("say where the folder with aci-bench/ and mts-dialog/ is");
        return Ok(());
    };
    let lists = arguments.iter().any(|argument| argument == "--list");
    let visits = visits(&folder.join("aci-bench"))?;
    for (what, text_of) in [
        ("notes", note as fn(&Visit) -> &str),
        ("dialogues", dialogue),
    ] {
        for gives_names in [false, true] {
            let figures = names_found(&visits, text_of, gives_names);
            let how = if gives_names {
                "names given"
            } else {
                "lists alone"
            };
            show(
                &format!("ACI-Bench {what}, {how}"),
                &figures,
                lists && !gives_names,
            );
        }
    }
    for column in ["section_text", "dialogue"] {
        let mut figures = Figures::default();
        for path in files(&folder.join("mts-dialog"), ".csv")? {
            for row in rows(&path)? {
                let text = normalise(row.get(column).map_or("", String::as_str));
                take_out(&Redactor::new(), &text, &mut figures);
            }
        }
        show(&format!("MTS-Dialog {column}"), &figures, lists);
    }
    Ok(())
}

struct Visit {
    note: String,
    dialogue: String,
    /// Words of the patient's and the doctor's name.
    names: Vec<String>,
}

fn note(visit: &Visit) -> &str {
    &visit.note
}

fn dialogue(visit: &Visit) -> &str {
    &visit.dialogue
}

#[derive(Default)]
struct Figures {
    texts: usize,
    bytes: usize,
    seconds: f64,
    found: BTreeMap<Class, u32>,
    taken_out: BTreeMap<(String, String), usize>,
    mentions: usize,
    left: BTreeMap<String, usize>,
}

fn names_found(visits: &[Visit], text_of: fn(&Visit) -> &str, gives_names: bool) -> Figures {
    let mut figures = Figures::default();
    for visit in visits {
        let text = normalise(text_of(visit));
        let redactor =
            Redactor::new().with_names(visit.names.iter().filter(|_| gives_names).cloned());
        let after = take_out(&redactor, &text, &mut figures);
        for name in &visit.names {
            figures.mentions += mentions(&text, name);
            *figures.left.entry(name.clone()).or_default() += mentions(&after, name);
        }
    }
    figures
}

fn take_out(redactor: &Redactor, text: &str, figures: &mut Figures) -> String {
    let start = Instant::now();
    let redacted = redactor.redact(text);
    figures.seconds += start.elapsed().as_secs_f64();
    figures.texts += 1;
    figures.bytes += text.len();
    for (class, count) in redacted.found {
        *figures.found.entry(class).or_default() += count;
    }
    for pair in taken_out(text, &redacted.text) {
        *figures.taken_out.entry(pair).or_default() += 1;
    }
    redacted.text
}

/// How often a name stands in a text as a word; in a text with capitals, with one.
fn mentions(text: &str, name: &str) -> usize {
    let has_capitals = text.chars().filter(|char| char.is_uppercase()).count() * 100 >= text.len();
    text.split(|char: char| !char.is_alphanumeric())
        .filter(|word| {
            word.to_lowercase() == *name && (!has_capitals || word.starts_with(char::is_uppercase))
        })
        .count()
}

/// What each bracket stands for: the shortest stretch after which the text goes on as it does after the bracket.
fn taken_out(before: &str, after: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let (mut before, mut after) = (before, after);
    while let Some(at) = before.bytes().zip(after.bytes()).position(|(a, b)| a != b) {
        let Some((bracket, rest)) = after.get(at..).and_then(|rest| rest.split_once(']')) else {
            break;
        };
        let next: String = rest
            .chars()
            .take_while(|char| *char != '[')
            .take(12)
            .collect();
        let Some(stretch) = before.get(at..) else {
            break;
        };
        let Some(end) = stretch.get(1..).and_then(|later| later.find(&next)) else {
            break;
        };
        pairs.push((
            format!("{bracket}]"),
            stretch.get(..=end).unwrap_or_default().to_owned(),
        ));
        (before, after) = (stretch.get(end + 1..).unwrap_or_default(), rest);
    }
    pairs
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn show(what: &str, figures: &Figures, lists: bool) {
    println!(
        "{what}: {} texts, {:.1} MB/s",
        figures.texts,
        figures.bytes as f64 / 1e6 / figures.seconds
    );
    if figures.mentions > 0 {
        let left: usize = figures.left.values().sum();
        let recall = 1.0 - left as f64 / figures.mentions as f64;
        println!(
            "  names: {} mentions, {left} left, recall {recall:.4}",
            figures.mentions
        );
        let mut left: Vec<_> = figures
            .left
            .iter()
            .filter(|(_, count)| **count > 0)
            .collect();
        left.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        println!("  left: {left:?}");
    }
    println!("  taken out: {:?}", figures.found);
    if lists {
        let mut taken: Vec<_> = figures.taken_out.iter().collect();
        taken.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for ((bracket, stretch), count) in taken {
            println!("    {count:4} {bracket} {stretch:?}");
        }
    }
}

fn visits(folder: &Path) -> Outcome<Vec<Visit>> {
    let mut visits = Vec::new();
    for path in files(folder, "_metadata.csv")? {
        let texts_path = path.to_string_lossy().replace("_metadata.csv", ".csv");
        let mut texts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for row in rows(Path::new(&texts_path))? {
            texts.insert(row.get("encounter_id").cloned().unwrap_or_default(), row);
        }
        for row in rows(&path)? {
            let Some(text) = row.get("encounter_id").and_then(|id| texts.get(id)) else {
                continue;
            };
            let names = ["doctor_name", "patient_firstname", "patient_familyname"]
                .iter()
                .filter_map(|column| row.get(*column))
                .flat_map(|name| name.split(|char: char| !char.is_alphabetic()))
                .map(str::to_lowercase)
                .filter(|name| name.len() > 1 && !["dr", "md", "doctor"].contains(&name.as_str()))
                .collect();
            visits.push(Visit {
                note: text.get("note").cloned().unwrap_or_default(),
                dialogue: text.get("dialogue").cloned().unwrap_or_default(),
                names,
            });
        }
    }
    Ok(visits)
}

fn files(folder: &Path, end: &str) -> Outcome<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn rows(path: &Path) -> Outcome<Vec<BTreeMap<String, String>>> {
    let mut reader = csv::Reader::from_path(path)?;
    Ok(reader.deserialize().collect::<Result<_, _>>()?)
}
