//! `consilium-node`: what a site's operator types.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use consilium_link::{LinkageKey, Lives, serve_in_lives};
use consilium_protocol::Digest;
use consilium_protocol::envelope::{self, EXIT_USAGE, Failure, Reader, reader_named_in};
use consilium_protocol::token::EnrolmentToken;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::collections::{self, command::IngestArguments};
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
    /// Take the text collections of node.toml in, or what is new in them: redacts, encodes and seals. May be stopped at
    /// any time; the next one goes on. The node need not stop for it.
    #[command(
        after_help = "Examples:\n  consilium-node ingest --folder /srv/node\n  consilium-node ingest --folder /srv/node --collection notes --rebuild"
    )]
    Ingest(IngestArguments),
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
    /// Make the key that the consortium's sites share to count a patient of several of them once. One site makes it;
    /// its operators carry it to the others, and the coordinator must not have it.
    #[command(after_help = "Example:\n  consilium-node linkage-key --file /srv/node/linkage.key")]
    LinkageKey {
        /// The file to write, mode 0600; it must not exist.
        #[arg(long)]
        file: PathBuf,
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
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(explain(&error, &typed)),
    };
    let reader = match arguments.format {
        Format::Text => Reader::Person,
        Format::Json => Reader::Program,
    };
    let done = match arguments.command {
        Command::Init {
            folder,
            coordinator,
            token_file,
        } => init(&folder, &coordinator, &token_file).map(|data| report(reader, &data)),
        Command::Check { folder } => check(&folder, reader),
        Command::Ingest(arguments) => {
            collections::command::run(&arguments, reader).map_err(Into::into)
        }
        Command::Run { folder } => serve(&folder),
        Command::Status { folder } => status(&folder).map(|data| report(reader, &data)),
        Command::Approvals { folder, word } => {
            let word = word.map(|ApprovalWord::Approve { hash, key }| (hash, key));
            officers_word(&folder, Wanted::Approval, word).map(|data| report(reader, &data))
        }
        Command::Outbox { folder, word } => {
            let word = word.map(|OutboxWord::Release { hash, key }| (hash, key));
            officers_word(&folder, Wanted::Release, word).map(|data| report(reader, &data))
        }
        Command::LinkageKey { file } => linkage_key(&file).map(|data| report(reader, &data)),
        Command::Budget { folder } => budget(&folder, reader).map(|data| report(reader, &data)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let failure = failure_of(error);
            conclude(reader, Err(&failure));
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Help and version are answers; everything else that clap says is a wrong command line.
fn explain(error: &clap::Error, typed: &[OsString]) -> u8 {
    match reader_named_in(typed) {
        Reader::Program if error.use_stderr() => {
            let failure = Failure::of_usage("consilium-node", &error.render().to_string());
            conclude(Reader::Program, Err(&failure));
        }
        _ => drop(error.print()),
    }
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

/// Exit code 2 where the other side or the way to it is the matter, else 1.
fn failure_of(error: EnrolError) -> Failure {
    match error {
        EnrolError::Refused(refusal) => Failure::of_refusal(2, refusal),
        EnrolError::Dial(error) => Failure::of_text(2, error.code(), &error.to_string()),
        other => Failure::of_text(1, other.code(), &other.to_string()),
    }
}

fn init(folder: &Path, coordinator: &str, token_file: &Path) -> Result<Value, EnrolError> {
    let token: EnrolmentToken = read_token(token_file)?.parse()?;
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

/// Says which key it is, so that operators can compare, and nothing of it.
fn linkage_key(file: &Path) -> Result<Value, EnrolError> {
    let key = LinkageKey::generate().map_err(NodeError::from)?;
    key.save(file).map_err(NodeError::from)?;
    let id = key.id().iter().fold(String::new(), |mut hex, byte| {
        hex.push_str(&format!("{byte:02x}"));
        hex
    });
    Ok(json!({
        "file": file,
        "key_id": id,
        "next": [
            "carry the file to each site that takes part, by a way that the coordinator's operator does not see",
            "name it there in node.toml: [linkage] key-file = \"linkage.key\"",
            "and in each [[dataset]] the column that names patients alike everywhere: linkage-column = \"…\"",
        ],
    }))
}

fn read_token(path: &Path) -> Result<String, NodeError> {
    use std::io::Read;
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin()
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

fn check(folder: &Path, reader: Reader) -> Result<ExitCode, EnrolError> {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    let findings = runtime()?.block_on(doctor::check(folder, &mut |name| {
        bar.set_message(format!("checking {name}"));
        bar.tick();
    }));
    bar.finish_and_clear();
    if reader == Reader::Person {
        findings.iter().for_each(print_finding);
    }
    let bad = findings.iter().filter(|f| f.standing == Standing::Bad);
    let bad: Vec<&str> = bad.map(|finding| finding.check).collect();
    let data = json!({ "findings": findings });
    if bad.is_empty() {
        conclude(reader, Ok(("", &data)));
        return Ok(ExitCode::SUCCESS);
    }
    let failure = Failure {
        exit_code: 1,
        code: "check-failed".into(),
        message: format!("the node cannot serve as it is: {}", bad.join(", ")),
        remedy: "do what each finding says, and check again".into(),
        data: Some(data),
    };
    conclude(reader, Err(&failure));
    Ok(ExitCode::from(failure.exit_code))
}

fn print_finding(finding: &Finding) {
    let mark = match finding.standing {
        Standing::Good => "good   ",
        Standing::Warning => "warning",
        Standing::Bad => "BAD    ",
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{mark} {:<13} {}", finding.check, finding.found).ok();
    if !finding.remedy.is_empty() {
        writeln!(out, "        {:<13} {}", "", finding.remedy).ok();
    }
}

fn serve(folder: &Path) -> Result<ExitCode, EnrolError> {
    consilium_link::log_to_stderr();
    let lives = Lives {
        runtime,
        open: || Node::open(folder),
        failure: |node: &Arc<Node>| node.storage_failure(),
        may_pass: NodeError::is_of_storage,
    };
    serve_in_lives(&lives, async |node: &Arc<Node>, shutdown| {
        server::serve(node.clone(), shutdown).await
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
fn budget(folder: &Path, reader: Reader) -> Result<Value, EnrolError> {
    let mut told = officer::budget(folder)?;
    if let (Reader::Person, Some(told)) = (reader, told.as_object_mut()) {
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

fn report(reader: Reader, data: &Value) -> ExitCode {
    conclude(reader, Ok((&envelope::lines_of(data), data)));
    ExitCode::SUCCESS
}

fn conclude(reader: Reader, ended: Result<(&str, &Value), &Failure>) {
    envelope::conclude(reader, ended, &mut io::stdout(), &mut io::stderr());
}
