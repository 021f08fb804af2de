//! How a command can end, and with which exit code.

use std::io;
use std::path::PathBuf;

use consilium_journal::{JournalError, VerifyError};
use consilium_link::{CloseCode, Closed, DialError, IdentityError, LinkError, SealError};
use consilium_protocol::envelope::{EXIT_USAGE, Failure};
use consilium_protocol::message::{Fault, MessageError, RunState, RunSummary};
use consilium_protocol::query::{FilterError, QueryError};
use consilium_protocol::run::RunError;
use consilium_protocol::token::TokenError;
use consilium_protocol::{Digest, Refusal, RefusalCode, RunId};
use serde_json::{Value, json};

/// The exit codes. Numbers are part of the interface and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The job failed, was refused, or did not verify.
    Refused,
    /// No connection, or not accepted as a member.
    Unreachable,
    OutOfTime,
    /// Not a valid command line (`EX_USAGE` of sysexits.h; clap's own 2 means something else here).
    Usage,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Unreachable => 2,
            Self::OutOfTime => 3,
            Self::Usage => EXIT_USAGE,
        }
    }
}

/// Why a command has no ordinary answer. A refusal, a run's own end and a fault stay apart.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The coordinator, or a site through it, says no.
    Refused(Refusal),
    /// The run that was waited for failed or was stopped.
    RunNotFinished(Box<RunSummary>),
    /// Of the sites that a query asked, none answered it.
    NoSiteAnswered { why: String, data: Box<Value> },
    /// A policy has errors, or decides otherwise than its cases say.
    PolicyNotClean {
        code: &'static str,
        why: String,
        remedy: &'static str,
        data: Box<Value>,
    },
    /// Something broke.
    Failed(CliError),
}

/// What broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(
        "no --home was given, and neither CONSILIUM_HOME nor HOME is set; name a folder with --home"
    )]
    NoHome,
    #[error(
        "there is no member in `{home}`; enrol first (`consilium enrol --help`) or name its folder with --home"
    )]
    NotEnrolled { home: PathBuf },
    #[error(
        "`{home}` holds a member already, which is not overwritten; name another folder with --home"
    )]
    HomeTaken { home: PathBuf },
    #[error("`{path}` cannot be used: {message}; it needs the line `coordinator = \"host:port\"`")]
    Config { path: PathBuf, message: String },
    #[error("cannot read `{path}`: {source}")]
    NotRead { path: PathBuf, source: io::Error },
    #[error("cannot write `{path}`: {source}; check the space and the permissions there")]
    NotWritten { path: PathBuf, source: io::Error },
    #[error("`{path}` exists already and is not overwritten; choose another name")]
    Exists { path: PathBuf },
    #[error("{message}")]
    Figures { message: String },
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error(
        "the coordinator answered with {what}; do not use it, and tell the consortium's administrator"
    )]
    Untrustworthy { what: &'static str },
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the connection to the coordinator failed: {0}; try again")]
    Link(LinkError),
    #[error(
        "the coordinator does not accept this member: {reason}; ask an administrator for a new invitation"
    )]
    NotAdmitted { reason: String },
    #[error("the coordinator was not found again within {waited_s} s: {last}")]
    NotFoundAgain { waited_s: u64, last: String },
    #[error("the coordinator's answer cannot be read: {0}; use the same version on both sides")]
    Message(#[from] MessageError),
    #[error(
        "the coordinator answered `{asked}` with something else; use the same version on both sides"
    )]
    Unexpected { asked: &'static str },
    #[error("the coordinator failed: {}", .0.what)]
    Fault(Fault),
    #[error("{place}: {error}; correct it and submit again")]
    RunFile { place: String, error: RunError },
    #[error("`--run-config {given}`: {problem}")]
    Override { given: String, problem: String },
    #[error(
        "the history of run `{run_id}` is longer than {limit_mib} MiB; follow it as text: consilium run log"
    )]
    HistoryTooLong { run_id: RunId, limit_mib: usize },
    #[error("the model of run `{run_id}` has {bytes} bytes, more than any model may have")]
    ModelTooLarge { run_id: RunId, bytes: u64 },
    #[error(
        "the model that came has the digest {got} and not {wanted}; it was removed, download it again"
    )]
    ModelDigest { got: Digest, wanted: Digest },
    #[error(
        "run `{run_id}` was not over within {waited_s} s; it goes on, wait again: consilium run wait {run_id}"
    )]
    OutOfTime { run_id: RunId, waited_s: u64 },
    #[error("`--where`, {0}")]
    Filter(FilterError),
    #[error("{0}")]
    Query(QueryError),
    #[error("{0}")]
    Seal(SealError),
    #[error(
        "`{path}` is no list of questions: {message}; write [{{\"qid\": \"1\", \"text\": \"…\"}}, …]"
    )]
    Questions { path: PathBuf, message: String },
    #[error("{0}")]
    Verify(#[from] VerifyError),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Audit(#[from] crate::audit::AuditError),
    #[error("{0}")]
    Policy(#[from] crate::policy::PolicyError),
    #[error("the system refuses what every program needs: {what}")]
    System { what: String },
}

impl From<LinkError> for CliError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed(Closed::ByPeer {
                code: CloseCode::Evicted | CloseCode::NotAdmitted,
                reason,
            }) => Self::NotAdmitted { reason },
            other => Self::Link(other),
        }
    }
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E: Into<CliError>> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<NoAnswer> for Failure {
    fn from(no_answer: NoAnswer) -> Self {
        let exit_code = Exit::Refused.code();
        match no_answer {
            NoAnswer::Refused(refusal) => of_refusal(refusal),
            NoAnswer::RunNotFinished(run) => of_run(&run),
            NoAnswer::NoSiteAnswered { why, data } => Self {
                exit_code,
                code: "no-site-answered".to_owned(),
                message: why,
                remedy: "read what each site says, or ask others: --sites".to_owned(),
                data: Some(*data),
            },
            NoAnswer::PolicyNotClean {
                code,
                why,
                remedy,
                data,
            } => Self {
                exit_code,
                code: code.to_owned(),
                message: why,
                remedy: remedy.to_owned(),
                data: Some(*data),
            },
            NoAnswer::Failed(CliError::Fault(fault)) => Self {
                exit_code,
                code: "coordinator-fault".to_owned(),
                remedy: fault.remedy.clone(),
                message: CliError::Fault(fault).to_string(),
                data: None,
            },
            NoAnswer::Failed(error) => {
                let (exit, code) = class(&error);
                Self::of_text(exit.code(), code, &error.to_string())
            }
        }
    }
}

fn of_refusal(refusal: Refusal) -> Failure {
    let exit = match refusal.code {
        RefusalCode::NotAMember | RefusalCode::BadToken | RefusalCode::BadSignature => {
            Exit::Unreachable
        }
        _ => Exit::Refused,
    };
    Failure::of_refusal(exit.code(), refusal)
}

fn of_run(run: &RunSummary) -> Failure {
    let run_id = &run.run_id;
    let state = run.state.as_str();
    let cause = match run.cause.is_empty() {
        true => String::new(),
        false => format!(": {}", run.cause),
    };
    let verb = if run.state == RunState::Stopped {
        "was "
    } else {
        ""
    };
    Failure {
        exit_code: Exit::Refused.code(),
        code: format!("run-{state}"),
        message: format!(
            "run `{run_id}` {verb}{state} after round {} of {}{cause}",
            run.round, run.rounds
        ),
        remedy: format!("once the cause is gone: consilium run resume {run_id}"),
        data: Some(json!({ "run": run })),
    }
}

/// An error's exit and its code for programs.
fn class(error: &CliError) -> (Exit, &'static str) {
    match error {
        CliError::NoHome => (Exit::Usage, "no-home"),
        CliError::Override { .. } => (Exit::Usage, "bad-override"),
        CliError::NotEnrolled { .. } => (Exit::Unreachable, "not-enrolled"),
        CliError::HomeTaken { .. } => (Exit::Refused, "home-taken"),
        CliError::Config { .. } => (Exit::Refused, "bad-configuration"),
        CliError::NotRead { .. } => (Exit::Refused, "not-read"),
        CliError::NotWritten { .. } => (Exit::Refused, "not-written"),
        CliError::Exists { .. } => (Exit::Refused, "exists"),
        CliError::Identity(_) => (Exit::Unreachable, "bad-credentials"),
        CliError::Token(_) => (Exit::Unreachable, "bad-token"),
        CliError::Untrustworthy { .. } => (Exit::Unreachable, "untrustworthy-coordinator"),
        CliError::Dial(error) => (Exit::Unreachable, error.code()),
        CliError::Link(_) => (Exit::Unreachable, "connection-lost"),
        CliError::NotAdmitted { .. } => (Exit::Unreachable, "not-admitted"),
        CliError::NotFoundAgain { .. } => (Exit::Unreachable, "not-found-again"),
        CliError::Message(_) | CliError::Unexpected { .. } => (Exit::Unreachable, "bad-answer"),
        CliError::Fault(_) => (Exit::Refused, "coordinator-fault"),
        CliError::RunFile { .. } => (Exit::Refused, "bad-run-file"),
        CliError::HistoryTooLong { .. } => (Exit::Refused, "history-too-long"),
        CliError::ModelTooLarge { .. } => (Exit::Refused, "model-too-large"),
        CliError::ModelDigest { .. } => (Exit::Refused, "model-digest"),
        CliError::OutOfTime { .. } => (Exit::OutOfTime, "out-of-time"),
        CliError::Figures { .. } => (Exit::Usage, "bad-figures"),
        CliError::Filter(_) => (Exit::Usage, "bad-filter"),
        CliError::Query(_) => (Exit::Usage, "bad-query"),
        CliError::Questions { .. } => (Exit::Usage, "bad-questions"),
        CliError::Seal(_) => (Exit::Refused, "not-sealed"),
        CliError::Verify(error) => (Exit::Refused, verify_code(error)),
        CliError::Journal(error) => (Exit::Refused, error.code()),
        CliError::Audit(error) => (Exit::Refused, error.code()),
        CliError::Policy(error) => (Exit::Refused, error.code()),
        CliError::System { .. } => (Exit::Refused, "system"),
    }
}

fn verify_code(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::NoJournal { .. } => "no-journal",
        VerifyError::Damaged(damage) => damage.fault.code(),
        VerifyError::Truncated { .. } => "journal-cut",
        VerifyError::Rewritten { .. } | VerifyError::OtherRoot { .. } => "journal-rewritten",
        VerifyError::Unreadable(_) => "journal-unreadable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(no_answer: impl Into<NoAnswer>) -> Failure {
        no_answer.into().into()
    }

    #[test]
    fn a_refusal_is_one_and_an_unknown_caller_is_two() {
        let refused = ending(Refusal::new(
            RefusalCode::UnknownRun,
            "no such run",
            "list them",
        ));
        assert_eq!(
            (refused.exit_code, refused.code.as_str()),
            (1, "unknown-run")
        );
        assert_eq!(
            (refused.message.as_str(), refused.remedy.as_str()),
            ("refused: no such run", "list them")
        );
        let stranger =
            ending(Refusal::new(RefusalCode::BadToken, "used", "").by_rules(vec!["r1".into()]));
        assert_eq!(stranger.exit_code, 2);
        assert_eq!(stranger.message, "refused: used (rule r1)");
    }

    #[test]
    fn a_message_and_its_remedy_are_told_apart() {
        let error = ending(CliError::NotEnrolled { home: "/h".into() });
        assert_eq!(error.exit_code, 2);
        assert_eq!(error.message, "there is no member in `/h`");
        assert!(error.remedy.starts_with("enrol first"));
        let out_of_time = ending(CliError::OutOfTime {
            run_id: "r-1".parse().unwrap(),
            waited_s: 5,
        });
        assert_eq!(out_of_time.exit_code, 3);
        assert!(out_of_time.remedy.ends_with("consilium run wait r-1"));
    }

    #[test]
    fn a_run_that_was_stopped_says_how_far_it_came() {
        let run = RunSummary {
            run_id: "r-1".parse().unwrap(),
            name: "heart".into(),
            project: "cardiology".parse().unwrap(),
            researcher: "ada".parse().unwrap(),
            state: RunState::Stopped,
            round: 3,
            rounds: 15,
            submitted_at_ms: 1,
            ended_at_ms: 2,
            cause: "stopped by ada".into(),
        };
        let ending = Failure::from(NoAnswer::RunNotFinished(Box::new(run)));
        assert_eq!((ending.exit_code, ending.code.as_str()), (1, "run-stopped"));
        assert_eq!(
            ending.message,
            "run `r-1` was stopped after round 3 of 15: stopped by ada"
        );
    }
}
