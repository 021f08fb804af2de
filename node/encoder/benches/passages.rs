//! How many passages a second an encoder encodes.
//!
//! `cargo bench --profile dev -p consilium-encoder --bench passages -- [ENCODER TEXTS.json [VECTORS.json]]`, where
//! ENCODER is `builtin` or a folder, TEXTS.json a list of texts, and the vectors are written to VECTORS.json for
//! `peers/compare.py`. Without arguments: the built-in on made-up passages. Prints figures and judges nothing.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints what it saw"
)]

use std::error::Error;
use std::time::Instant;

use consilium_encoder::{Encoder, EncoderChoice, cpu};

/// Words of the made-up passages.
const WORDS: [&str; 12] = [
    "kidney",
    "stone",
    "treatment",
    "of",
    "the",
    "patient",
    "with",
    "nephritis",
    "and",
    "acute",
    "fever",
    "pain",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let choice = match arguments.next() {
        None | Some("builtin") => EncoderChoice::Builtin,
        Some(folder) => EncoderChoice::Folder(folder.into()),
    };
    let texts: Vec<String> = match arguments.next() {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => made_up(),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let started = Instant::now();
    let encoder = Encoder::open(&choice, &cpu())?;
    let opened = started.elapsed();
    encoder.encode(texts.get(..texts.len().min(8)).unwrap_or_default())?;
    let started = Instant::now();
    let vectors = encoder.encode(&texts)?;
    let took = started.elapsed();
    println!(
        "{}: opened in {:.1} ms; {} passages in {:.3} s: {:.0} passages/s",
        encoder.id(),
        opened.as_secs_f64() * 1e3,
        texts.len(),
        took.as_secs_f64(),
        texts.len() as f64 / took.as_secs_f64()
    );
    if let Some(file) = arguments.next() {
        std::fs::write(file, serde_json::to_vec(&vectors)?)?;
    }
    Ok(())
}

/// 20,000 passages of 100 words.
fn made_up() -> Vec<String> {
    let passage = |at: usize| {
        let words =
            (0..100usize).filter_map(|word| WORDS.get((at * 7 + word * word) % WORDS.len()));
        words.copied().collect::<Vec<_>>().join(" ")
    };
    (0..20_000).map(passage).collect()
}
