//! What can be typed.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::house;
use crate::story::nine_silos::Sample;
use crate::story::{self, StoryError};

/// Most seeds of one story.
const SEEDS_MAX: i64 = 100;

/// `EX_USAGE` of sysexits.h, as every binary here has it.
const USAGE: u8 = 64;

/// Stories on real data, each with a real coordinator and real nodes as processes of their own.
#[derive(Parser)]
#[command(
    name = "consilium-scenarios",
    version,
    about,
    after_help = "Example:\n  cargo run -p consilium-scenarios -- heart-disease\n\n\
        Exit codes: 0 told to its end, 1 it went wrong, 64 not a valid command line."
)]
struct Arguments {
    #[command(subcommand)]
    story: Story,
}

#[derive(Subcommand)]
enum Story {
    /// Four real hospitals train one model over QUIC, each under its own policy.
    #[command(
        after_help = "Example:\n  cargo run -p consilium-scenarios -- heart-disease --seeds 5 --json heart.json --keep heart"
    )]
    HeartDisease(HeartDisease),
    /// A policy is written, signed, spent and tightened at four hospitals, and a journal is verified offline.
    #[command(
        after_help = "Example:\n  cargo run -p consilium-scenarios -- compliance-officer --keep officer"
    )]
    ComplianceOfficer(Played),
    /// Nine sites search MedQuAD together as well as one place would, and what each privacy stage costs of it.
    #[command(
        after_help = "Example:\n  cargo run -p consilium-scenarios -- nine-silos --sample 200 --json nine.json\n  \
                      cargo run -p consilium-scenarios -- nine-silos --questions mine.json --run found.json"
    )]
    NineSilos(NineSilos),
    /// A clinician looks for patients like hers in the notes of three hospitals: handles, counts, redacted snippets.
    #[command(
        after_help = "Example:\n  cargo run -p consilium-scenarios -- patient-like-mine --keep patient"
    )]
    PatientLikeMine(Played),
}

#[derive(Args)]
struct NineSilos {
    /// Write every figure into this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Questions of your own: a JSON list of {"qid", "text"}. What is found for them goes into the file of --run.
    #[arg(long, value_name = "FILE", requires = "run")]
    questions: Option<PathBuf>,
    /// Write what was found into this file, as JSON: {"qid": [ids of documents, best first]}. Of your questions the
    /// first hundred; without --questions, of the known items the first ten, by their ids.
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// A sentence encoder besides the built-in one: a folder as sentence-transformers writes it. Encoding takes long.
    #[arg(long, value_name = "FOLDER")]
    minilm: Option<PathBuf>,
    /// How many known items are asked: a number, or `all` for every row.
    #[arg(long, default_value = "1000", value_parser = sample)]
    sample: Sample,
    /// Only so many rows of each silo, evenly spread over it: a quick look, whose figures say nothing.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rows: Option<u32>,
    /// The report with its charts [default: consilium-nine-silos.html, in `target` where there is one].
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A new folder in which the whole consortium stays, to look further; a temporary one when left out.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn sample(text: &str) -> Result<Sample, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Sample::All),
        (_, Ok(number @ 1..)) => Ok(Sample::Some(number)),
        _ => Err("a number from 1, or `all`".to_owned()),
    }
}

#[derive(Args)]
struct Played {
    /// Write every figure into this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A new folder in which everything stays, to look further; a temporary one when left out.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Args)]
struct HeartDisease {
    /// How many seeds, from 42 on; the published figures are means over 5.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=SEEDS_MAX))]
    seeds: u32,
    /// Write every figure into this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The report with its charts [default: consilium-heart-disease.html, in `target` where there is one].
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A new folder in which the whole consortium stays, to look further; a temporary one when left out.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the command line; the binary's whole `main`.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    if let Some(code) = house::played(&arguments) {
        return code;
    }
    let told = match Arguments::try_parse_from(arguments) {
        Ok(Arguments {
            story: Story::HeartDisease(options),
        }) => heart_disease(options),
        Ok(Arguments {
            story: Story::ComplianceOfficer(options),
        }) => story::compliance_officer::PLAY.tell(&played(options)),
        Ok(Arguments {
            story: Story::NineSilos(options),
        }) => nine_silos(options),
        Ok(Arguments {
            story: Story::PatientLikeMine(options),
        }) => story::patient_like_mine::PLAY.tell(&played(options)),
        Err(error) => return explain(&error),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn played(options: Played) -> story::play::Options {
    story::play::Options {
        json: options.json,
        keep: options.keep,
    }
}

fn heart_disease(options: HeartDisease) -> Result<(), StoryError> {
    story::heart_disease::tell(&story::heart_disease::Options {
        seeds: options.seeds,
        json: options.json,
        report: options
            .report
            .unwrap_or_else(|| default_report("consilium-heart-disease.html")),
        keep: options.keep,
    })
}

fn nine_silos(options: NineSilos) -> Result<(), StoryError> {
    story::nine_silos::tell(&story::nine_silos::Options {
        json: options.json,
        questions: options.questions,
        run: options.run,
        minilm: options.minilm,
        sample: options.sample,
        rows: options.rows.map(|rows| rows as usize),
        report: options
            .report
            .unwrap_or_else(|| default_report("consilium-nine-silos.html")),
        keep: options.keep,
    })
}

/// In the build's own folder, where nobody commits it by mistake.
fn default_report(name: &str) -> PathBuf {
    match Path::new("target") {
        target if target.is_dir() => target.join(name),
        _ => name.into(),
    }
}

fn explain(error: &clap::Error) -> ExitCode {
    error.print().ok();
    if error.kind() == ErrorKind::InvalidSubcommand {
        writeln!(
            std::io::stderr(),
            "the stories are: {}",
            story::NAMES.join(", ")
        )
        .ok();
    }
    ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound_and_lists_every_story() {
        let command = Arguments::command();
        command.clone().debug_assert();
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, story::NAMES);
    }
}
