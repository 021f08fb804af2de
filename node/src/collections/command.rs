//! `consilium-node ingest` as it is typed, and what it tells.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use consilium_protocol::DatasetName;
use consilium_protocol::envelope::{self, Failure, Reader};
use consilium_search::collection::{Beginning, Gone, IngestReport, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::ingest::{IngestOptions, Ingested, ingest};
use crate::config::{Config, FILE_NAME};
use crate::node::NodeError;

/// What may be typed.
#[derive(Args)]
pub struct IngestArguments {
    /// The node's folder.
    #[arg(long)]
    folder: PathBuf,
    /// The collection; all that node.toml declares, where none is named.
    #[arg(long)]
    collection: Option<DatasetName>,
    /// Throw away what is there and begin anew: after a change of the encoder. Searches find less until it is done. If
    /// it is stopped, ingest again without this word, and it goes on.
    #[arg(long)]
    rebuild: bool,
    /// Keep documents that the source has no more.
    #[arg(long)]
    keep_missing: bool,
}

/// Ingests, and says what became of it.
///
/// # Errors
/// If node.toml cannot be read. A collection that fails is told as a failure.
pub fn run(arguments: &IngestArguments, reader: Reader) -> Result<ExitCode, NodeError> {
    let config = Config::load(&arguments.folder)?;
    let options = IngestOptions {
        collection: arguments.collection.clone(),
        beginning: match arguments.rebuild {
            true => Beginning::Rebuild,
            false => Beginning::Continue,
        },
        gone: match arguments.keep_missing {
            true => Gone::Keep,
            false => Gone::Erase,
        },
    };
    let bar = progress_bar();
    let ended = ingest(
        &config,
        &arguments.folder,
        &options,
        &mut |name, progress| {
            show(&bar, name, progress);
        },
    );
    bar.finish_and_clear();
    let Some(ended) = ended else {
        let failure = Failure {
            exit_code: 1,
            code: "unknown-collection".to_owned(),
            message: "no collection of this name is declared".to_owned(),
            remedy: format!("declare it as [[collection]] in {FILE_NAME}"),
            data: None,
        };
        conclude(reader, Err(&failure));
        return Ok(ExitCode::from(failure.exit_code));
    };
    if reader == Reader::Person {
        tell(&ended);
    }
    let data = json!({ "collections": ended.iter().map(told).collect::<Vec<Value>>() });
    let failed = ended
        .iter()
        .find_map(|one| Some((&one.name, one.ended.as_ref().err()?)));
    match failed {
        None => {
            conclude(reader, Ok(("", &data)));
            Ok(ExitCode::SUCCESS)
        }
        Some((name, error)) => {
            let mut failure =
                Failure::of_text(1, error.code(), &format!("collection `{name}`: {error}"));
            failure.data = Some(data);
            conclude(reader, Err(&failure));
            Ok(ExitCode::from(failure.exit_code))
        }
    }
}

fn conclude(reader: Reader, ended: Result<(&str, &Value), &Failure>) {
    envelope::conclude(reader, ended, &mut io::stdout(), &mut io::stderr());
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent} % {eta} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, name: &DatasetName, progress: Progress) {
    bar.set_prefix(name.to_string());
    match progress {
        Progress::Reading { done, total } => {
            bar.set_length(total);
            bar.set_position(done);
        }
        Progress::Arranging => bar.set_message("arranging the index"),
    }
}

fn told(one: &Ingested) -> Value {
    match &one.ended {
        Ok(report) => json!({ "name": one.name, "report": figures(report) }),
        Err(error) => json!({ "name": one.name, "error": error.to_string() }),
    }
}

fn figures(report: &IngestReport) -> Value {
    let skipped: serde_json::Map<String, Value> = report
        .skipped
        .iter()
        .map(|(reason, count)| (reason.to_string(), json!(count)))
        .collect();
    let first_skipped: Vec<Value> = report
        .first_skipped
        .iter()
        .map(|skipped| json!({ "line": skipped.line, "reason": skipped.reason.to_string() }))
        .collect();
    json!({
        "read": report.read,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "erased": report.erased,
        "kept": report.kept,
        "passages": report.passages,
        "duplicates": report.duplicates,
        "skipped": skipped,
        "first_skipped": first_skipped,
        "redacted": report.redacted,
        "collection": {
            "documents": report.collection.documents,
            "passages": report.collection.passages,
            "patients": report.collection.patients,
        },
    })
}

fn tell(ended: &[Ingested]) {
    let mut out = io::stdout().lock();
    for one in ended {
        let Ok(report) = &one.ended else {
            continue;
        };
        let collection = report.collection;
        let mut lines = vec![
            format!(
                "{}: {} documents of {} patients in {} passages",
                one.name, collection.documents, collection.patients, collection.passages
            ),
            format!(
                "  {} records read: {} new, {} changed, {} as they were; {} erased, {} kept though gone",
                report.read,
                report.added,
                report.changed,
                report.unchanged,
                report.erased,
                report.kept
            ),
            format!(
                "  {} passages encoded, {} dropped as near-duplicates",
                report.passages, report.duplicates
            ),
        ];
        if !report.redacted.is_empty() {
            let classes = report.redacted.iter().map(|(class, count)| {
                let class = json!(class);
                format!("{count} {}", class.as_str().unwrap_or_default())
            });
            lines.push(format!(
                "  taken out: {}",
                classes.collect::<Vec<_>>().join(", ")
            ));
        }
        for (reason, count) in &report.skipped {
            lines.push(format!("  left out: {count} records, because one {reason}"));
        }
        for skipped in &report.first_skipped {
            lines.push(format!("    line {}: {}", skipped.line, skipped.reason));
        }
        for line in lines {
            // A reader that went away is no failure of ours.
            writeln!(out, "{line}").ok();
        }
    }
}
