//! `consilium-node`: what a site's operator types.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use consilium_protocol::Digest;
use consilium_protocol::token::EnrolmentToken;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::doctor::{self, Finding, Standing};
use crate::enrol::{self, EnrolError};
use crate::gate::Wanted;
use crate::node::{Node, NodeError};
use crate::officer;
use crate::server;

/// Longest token file.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// One institution: keeps its data in place, decides what may leave, trains here.
#[derive(Parser)]
#[command(name = "consilium-node", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Enrol this site: makes its key here and gets its certificate with an invitation's token.
    #[command(
        after_help = "Example:\n  consilium-node init --folder /srv/node --coordinator consilium.example.org:4433 --token-file invitation.txt"
    )]
    Init {
        /// The node's folder; must not hold a node yet.
        #[arg(long)]
        folder: PathBuf,
        /// Where the coordinator is: host:port.
        #[arg(long)]
        coordinator: String,
        /// The file with the token; `-` reads standard input.
        #[arg(long)]
        token_file: PathBuf,
    },
    /// Check everything the node needs, each with a remedy: name, UDP, TLS, clock, disk, device, policy, data.
    #[command(after_help = "Example:\n  consilium-node check --folder /srv/node")]
    Check {
        #[arg(long)]
        folder: PathBuf,
    },
    /// Serve until stopped.
    #[command(after_help = "Example:\n  consilium-node run --folder /srv/node")]
    Run {
        #[arg(long)]
        folder: PathBuf,
    },
    /// Show the runs and questions that wait for an officer's approval, or approve one by the hash of its text.
    #[command(
        after_help = "Examples:\n  consilium-node approvals --folder /srv/node\n  consilium-node approvals --folder /srv/node approve 3b1f… --key olga/identity"
    )]
    Approvals {
        #[arg(long)]
        folder: PathBuf,
        #[command(subcommand)]
        word: Option<ApprovalWord>,
    },
    /// Show the results that wait in the outbox, or release one by its hash.
    #[command(
        after_help = "Examples:\n  consilium-node outbox --folder /srv/node\n  consilium-node outbox --folder /srv/node release 3b1f… --key olga/identity"
    )]
    Outbox {
        #[arg(long)]
        folder: PathBuf,
        #[command(subcommand)]
        word: Option<OutboxWord>,
    },
    /// Show what was spent and what is left, by data set and project, and how many patients are left out of answers.
    #[command(after_help = "Example:\n  consilium-node budget --folder /srv/node")]
    Budget {
        #[arg(long)]
        folder: PathBuf,
    },
    /// Count what passed the gate and what was refused, from the node's journal.
    #[command(after_help = "Example:\n  consilium-node status --folder /srv/node")]
    Status {
        #[arg(long)]
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum ApprovalWord {
    /// Approve the run or question whose text has this hash.
    Approve {
        hash: Digest,
        /// The officer's own folder, with her key.
        #[arg(long)]
        key: PathBuf,
    },
}

#[derive(Subcommand)]
enum OutboxWord {
    /// Let the result of this hash leave.
    Release {
        hash: Digest,
        /// The officer's own folder, with her key.
        #[arg(long)]
        key: PathBuf,
    },
}

/// Runs the command line; the binary's whole `main`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let format = arguments.format;
    let done = match arguments.command {
        Command::Init {
            folder,
            coordinator,
            token_file,
        } => init(&folder, &coordinator, &token_file).map(|data| report(format, 0, &data)),
        Command::Check { folder } => check(&folder, format),
        Command::Run { folder } => serve(&folder),
        Command::Status { folder } => status(&folder).map(|data| report(format, 0, &data)),
        Command::Approvals { folder, word } => {
            let word = word.map(|ApprovalWord::Approve { hash, key }| (hash, key));
            officers_word(&folder, Wanted::Approval, word).map(|data| report(format, 0, &data))
        }
        Command::Outbox { folder, word } => {
            let word = word.map(|OutboxWord::Release { hash, key }| (hash, key));
            officers_word(&folder, Wanted::Release, word).map(|data| report(format, 0, &data))
        }
        Command::Budget { folder } => budget(&folder, format).map(|data| report(format, 0, &data)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            report_error(format, &error);
            ExitCode::from(exit_code(&error))
        }
    }
}

/// 2 where the other side or the way to it is the matter, else 1.
fn exit_code(error: &EnrolError) -> u8 {
    match error {
        EnrolError::Dial(_) | EnrolError::Refused(_) => 2,
        _ => 1,
    }
}

fn init(folder: &Path, coordinator: &str, token_file: &Path) -> Result<Value, EnrolError> {
    let token: EnrolmentToken = read_token(token_file)?.parse().map_err(
        |error: consilium_protocol::token::TokenError| EnrolError::Answer(error.to_string()),
    )?;
    let credentials = runtime()?.block_on(enrol::enrol(folder, coordinator, &token))?;
    Ok(json!({
        "site": credentials.identity().name,
        "folder": folder,
        "certificate_fingerprint": credentials.fingerprint().to_string(),
        "next": [
            format!("declare your data sets in {}", folder.join(crate::config::FILE_NAME).display()),
            format!("let your compliance officer put a policy.toml into {}", folder.join("policy").display()),
            format!("consilium-node check --folder {}", folder.display()),
            format!("consilium-node run --folder {}", folder.display()),
        ],
    }))
}

fn read_token(path: &Path) -> Result<String, NodeError> {
    use std::io::Read;
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin()
            .take(TOKEN_FILE_BYTES_MAX)
            .read_to_string(&mut text),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|source| NodeError::System {
        what: format!("cannot read the token from `{}`", path.display()),
        source,
    })?;
    Ok(text)
}

fn check(folder: &Path, format: Format) -> Result<ExitCode, EnrolError> {
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    let findings = runtime()?.block_on(doctor::check(folder, &mut |name| {
        bar.set_message(format!("checking {name}"));
        bar.tick();
    }));
    bar.finish_and_clear();
    let bad = findings
        .iter()
        .any(|finding| finding.standing == Standing::Bad);
    let code = u8::from(bad);
    match format {
        Format::Json => {
            report(format, code, &json!({ "findings": findings }));
        }
        Format::Text => findings.iter().for_each(print_finding),
    }
    Ok(ExitCode::from(code))
}

fn print_finding(finding: &Finding) {
    let mark = match finding.standing {
        Standing::Good => "good   ",
        Standing::Warning => "warning",
        Standing::Bad => "BAD    ",
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{mark} {:<13} {}", finding.check, finding.found).ok();
    if !finding.remedy.is_empty() {
        writeln!(out, "        {:<13} {}", "", finding.remedy).ok();
    }
}

fn serve(folder: &Path) -> Result<ExitCode, EnrolError> {
    consilium_link::log_to_stderr();
    let node = Node::open(folder)?;
    runtime()?.block_on(async {
        let (stop, shutdown) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            consilium_link::asked_to_stop().await;
            stop.send_replace(true);
        });
        server::serve(node, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn status(folder: &Path) -> Result<Value, EnrolError> {
    let journal = crate::config::Folder::new(folder).journal();
    let summary = crate::gate::Summary::read(&journal).map_err(NodeError::from)?;
    let rows: Vec<Value> = summary
        .rows()
        .map(|(row, count)| json!({ "what": row, "count": count }))
        .collect();
    Ok(json!({ "passes": rows }))
}

fn officers_word(
    folder: &Path,
    wanted: Wanted,
    word: Option<(Digest, PathBuf)>,
) -> Result<Value, EnrolError> {
    let told = match word {
        None => officer::waiting(folder, wanted),
        Some((hash, key)) => officer::say_yes(folder, wanted, hash, &key),
    };
    Ok(told?)
}

/// People read the lines, programs the figures.
fn budget(folder: &Path, format: Format) -> Result<Value, EnrolError> {
    let mut told = officer::budget(folder)?;
    if let (Format::Text, Some(told)) = (format, told.as_object_mut()) {
        told.remove("datasets");
    }
    Ok(told)
}

fn runtime() -> Result<tokio::runtime::Runtime, NodeError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| NodeError::System {
            what: "cannot start the runtime".into(),
            source,
        })
}

/// Prints a result: lines for people, one envelope for programs.
fn report(format: Format, code: u8, data: &Value) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let written = match format {
        Format::Json => {
            let status = if code == 0 { "ok" } else { "error" };
            writeln!(
                out,
                "{}",
                json!({ "schema_version": 1, "status": status, "exit_code": code, "data": data })
            )
        }
        Format::Text => data
            .as_object()
            .into_iter()
            .flatten()
            .try_for_each(|(key, value)| match value {
                Value::Array(lines) => lines.iter().try_for_each(|line| match line.as_str() {
                    Some(text) => writeln!(out, "{key}: {text}"),
                    None => writeln!(out, "{key}: {line}"),
                }),
                Value::String(text) => writeln!(out, "{key}: {text}"),
                other => writeln!(out, "{key}: {other}"),
            }),
    };
    // A reader that went away is no failure of ours.
    written.and_then(|()| out.flush()).ok();
    ExitCode::from(code)
}

fn report_error(format: Format, error: &EnrolError) {
    match format {
        Format::Json => {
            let envelope = json!({
                "schema_version": 1, "status": "error", "exit_code": exit_code(error),
                "error": { "message": error.to_string() },
            });
            writeln!(std::io::stdout(), "{envelope}").ok();
        }
        Format::Text => {
            writeln!(std::io::stderr(), "error: {error}").ok();
        }
    }
}
