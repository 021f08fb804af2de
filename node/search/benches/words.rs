//! How well, how fast and in how much memory passages are found by their words, on MedQuAD: a question should find its
//! own answer among all answers (equal ones count as one). Nothing of the question is in the index.
//!
//! `cargo bench --profile dev -p consilium-search --bench words -- DATA [--run FILE]`, where DATA holds `medquad/`;
//! FILE gets the first ten of each question, to compare with another program's.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use consilium_search::lexical::LexicalIndex;
use consilium_search::vector::{RowId, RowSet};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

const SILOS: usize = 9;

/// A question, and the row of its own answer.
type Asked = (String, RowId);

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some(folder) = arguments.first() else {
        println!("say where the folder with medquad/ is");
        return Ok(());
    };
    let (answers, questions) = medquad(&Path::new(folder).join("medquad"))?;
    let bytes: usize = answers.iter().map(String::len).sum();
    println!(
        "{} answers, {:.1} MB; {} questions",
        answers.len(),
        bytes as f64 / 1e6,
        questions.len()
    );

    let before = resident_mb();
    let start = Instant::now();
    let central = LexicalIndex::new()?;
    central.apply(&rows(&answers, |_| true), &[])?;
    let seconds = start.elapsed().as_secs_f64();
    let per_passages = seconds * 100_000.0 / answers.len() as f64;
    println!(
        "built in {seconds:.2} s ({per_passages:.1} s for 100,000); memory {:.0} MB more",
        resident_mb() - before
    );

    let start = Instant::now();
    let mut run = String::new();
    let (mut found, mut gain) = (0usize, 0.0);
    for (question, answer) in &questions {
        let hits = central.best(question, 10, None)?;
        if let Some(place) = hits.iter().position(|hit| hit.row == *answer) {
            found += 1;
            gain += 1.0 / (place as f64 + 2.0).log2();
        }
        let ten: Vec<u32> = hits.iter().map(|hit| hit.row.0).collect();
        writeln!(run, "{ten:?}")?;
    }
    let asked = questions.len() as f64;
    let rate = asked / start.elapsed().as_secs_f64();
    println!(
        "recall@10 {:.4}, nDCG@10 {:.4}, {rate:.0} questions/s on one thread",
        found as f64 / asked,
        gain / asked
    );
    if let [_, flag, file] = arguments.as_slice()
        && flag == "--run"
    {
        fs::write(file, run)?;
    }

    let few: RowSet = (0..answers.len() as u32)
        .filter(|row| row % 100 == 0)
        .map(RowId)
        .collect();
    let start = Instant::now();
    for (question, _) in questions.iter().step_by(10) {
        central.best(question, 10, Some(&few))?;
    }
    let rate = questions.len().div_ceil(10) as f64 / start.elapsed().as_secs_f64();
    println!("one row in a hundred allowed: {rate:.0} questions/s");
    println!(
        "{} of {} questions: {SILOS} sites merged differ from the central index",
        differ(&answers, &questions, &central)?,
        questions.len().div_ceil(10)
    );
    Ok(())
}

/// For how many questions the best ten of several sites, merged by score and row, are not the central index's.
fn differ(answers: &[String], questions: &[Asked], central: &LexicalIndex) -> Outcome<usize> {
    let mut sites = Vec::new();
    for site in 0..SILOS {
        let index = LexicalIndex::new()?;
        index.apply(&rows(answers, |row| row % SILOS == site), &[])?;
        sites.push(index);
    }
    let mut differ = 0;
    for (question, _) in questions.iter().step_by(10) {
        let mut merged = Vec::new();
        for site in &sites {
            merged.extend(site.best(question, 10, None)?);
        }
        merged.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        merged.truncate(10);
        differ += usize::from(merged != central.best(question, 10, None)?);
    }
    Ok(differ)
}

fn rows(answers: &[String], is_wanted: impl Fn(usize) -> bool) -> Vec<(RowId, &str, &str)> {
    let numbered = answers
        .iter()
        .enumerate()
        .filter(|(row, _)| is_wanted(*row));
    numbered
        .map(|(row, answer)| (RowId(row as u32), "", answer.as_str()))
        .collect()
}

/// The different answers, and each question with the row of its own.
fn medquad(folder: &Path) -> Outcome<(Vec<String>, Vec<Asked>)> {
    let (mut answers, mut questions) = (Vec::new(), Vec::new());
    let mut known: BTreeMap<String, RowId> = BTreeMap::new();
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    paths.sort();
    for path in paths {
        for line in fs::read_to_string(path)?.lines() {
            let item: Value = serde_json::from_str(line)?;
            let text = |key: &str| {
                item.get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let row = *known.entry(text("answer")).or_insert_with(|| {
                answers.push(text("answer"));
                RowId(answers.len() as u32 - 1)
            });
            questions.push((text("question"), row));
        }
    }
    Ok((answers, questions))
}

/// Memory of this process that is in use, as Linux counts it; 0 elsewhere.
fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kilobytes.unwrap_or_default() / 1024.0
}
