//! What a researcher does with a run: submit, list, show, log, wait, stop, resume.

use std::time::Duration;

use consilium_protocol::message::{
    Request, Response, RunDetail, RunEvent, RunState, RunSummary, SignedRun,
};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, RunId};
use serde_json::{Value, json};

use crate::arguments::{Format, Submit};
use crate::display::Display;
use crate::ending::{CliError, NoAnswer};
use crate::follow::{Told, follow, history, show, was_lost};
use crate::home::Home;
use crate::moment;
use crate::output::{Answer, Streams, table};
use crate::progress::{Progress, standing};
use crate::run_file;
use crate::session::{Session, random};

/// How often one submission is tried over a network that loses it.
const SUBMIT_TRIES: u32 = 5;

/// The longest history that is put into one envelope.
const ENVELOPE_MIB_MAX: usize = 256;

/// Events that `run show` prints; `run log` prints them all.
const EVENTS_SHOWN: usize = 10;

/// Signs a run file and hands it in.
pub(crate) async fn submit(
    home: &Home,
    submit: &Submit,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let (text, spec) = run_file::read(&submit.file, &submit.run_config)?;
    let token = match &submit.token {
        Some(token) => token.clone(),
        None => fresh_token()?,
    };
    Session::with(home, async |session| {
        let run = SignedRun {
            certificate: session.credentials().certificate().to_vec(),
            signature: session.credentials().sign_run_file(&text)?,
            text,
        };
        let (run_id, created) = hand_in(session, &run, &token, streams).await?;
        let (line, data) = handed_in(&spec, &run_id, created, &token);
        if !submit.stream {
            let text = format!("{line}\nfollow it: consilium run wait {run_id}\n");
            return Ok(Answer { data, text });
        }
        streams.note(&line);
        let summary = follow_to_end(session, &run_id, streams, From::TheFirst).await?;
        finished(&summary, data)
    })
    .await
}

/// What is said of a run that was handed in.
fn handed_in(spec: &RunSpec, run_id: &RunId, created: bool, token: &str) -> (String, Value) {
    let document = spec.document();
    let verb = if created {
        "submitted"
    } else {
        "submitted before, with the same token"
    };
    let line = format!(
        "run `{run_id}` ({}) {verb}: {}, {} rounds, {} sites",
        document.name,
        document.strategy.name(),
        document.rounds,
        document.participants.len(),
    );
    let data = json!({
        "run_id": run_id,
        "created": created,
        "token": token,
        "run_file_sha256": spec.digest(),
    });
    (line, data)
}

/// Hands a run in; where the answer is lost, the token makes it safe to try again.
async fn hand_in(
    session: &mut Session,
    run: &SignedRun,
    token: &str,
    streams: &mut Streams<'_>,
) -> Result<(RunId, bool), NoAnswer> {
    let mut tries = 1;
    loop {
        let request = Request::SubmitRun {
            run: run.clone(),
            token: token.to_owned(),
        };
        match session.ask(request).await {
            Ok(Response::Submitted { run_id, created }) => return Ok((run_id, created)),
            Ok(_) => {
                return Err(CliError::Unexpected {
                    asked: "submit-run",
                }
                .into());
            }
            Err(no_answer) if tries < SUBMIT_TRIES && was_lost(&no_answer) => {
                tries += 1;
                session.find_again(&mut |line| streams.note(line)).await?;
            }
            Err(no_answer) => return Err(no_answer),
        }
    }
}

/// 128 random bits, so that no two submissions are one by chance.
fn fresh_token() -> Result<String, CliError> {
    let mut token = [0; 16];
    random(&mut token)?;
    Ok(token.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The runs, newest first.
pub(crate) async fn list(home: &Home) -> Result<Answer, NoAnswer> {
    let Response::Runs(mut runs) = Session::ask_once(home, Request::ListRuns).await? else {
        return Err(CliError::Unexpected { asked: "list-runs" }.into());
    };
    runs.sort_by_key(|run| std::cmp::Reverse(run.submitted_at_ms));
    let rows: Vec<[String; 6]> = runs
        .iter()
        .map(|run| {
            [
                run.run_id.to_string(),
                run.name.clone(),
                run.state.as_str().to_owned(),
                format!("{}/{}", run.round, run.rounds),
                run.researcher.to_string(),
                moment::utc(run.submitted_at_ms),
            ]
        })
        .collect();
    Ok(Answer {
        data: json!({ "runs": runs }),
        text: table(
            ["run", "name", "state", "round", "researcher", "submitted"],
            &rows,
        ),
    })
}

/// One run: where it stands, its file, what happened last.
pub(crate) async fn show_run(home: &Home, run_id: &RunId) -> Result<Answer, NoAnswer> {
    let detail = Session::with(home, async |session| show(session, run_id).await).await?;
    if Digest::of(&detail.text) != detail.text_sha256 {
        let what = "a run file that does not match its digest";
        return Err(CliError::Untrustworthy { what }.into());
    }
    Ok(Answer {
        data: shown(&detail),
        text: shown_text(&detail),
    })
}

fn shown(detail: &RunDetail) -> Value {
    json!({
        "run": detail.summary,
        "run_file": String::from_utf8_lossy(&detail.text),
        "run_file_sha256": detail.text_sha256,
        "events": detail.events.iter().map(event_json).collect::<Vec<_>>(),
    })
}

fn shown_text(detail: &RunDetail) -> String {
    let run = &detail.summary;
    let mut progress = Progress::of(run.rounds);
    let lines: Vec<String> = detail
        .events
        .iter()
        .map(|event| log_line(&mut progress, event))
        .collect();
    let last = lines.iter().skip(lines.len().saturating_sub(EVENTS_SHOWN));
    let mut text = format!(
        "{}\n\
         project:    {}\n\
         researcher: {}\n\
         submitted:  {}\n\
         ended:      {}\n\
         run file:   SHA-256 {}\n\n",
        standing(run),
        run.project,
        run.researcher,
        moment::utc(run.submitted_at_ms),
        moment::utc_or_dash(run.ended_at_ms),
        detail.text_sha256,
    );
    for line in String::from_utf8_lossy(&detail.text).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    last.for_each(|line| text.push_str(line));
    text
}

/// A run's history, and with `stream` its future.
pub(crate) async fn log(
    home: &Home,
    run_id: &RunId,
    stream: bool,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let mut kept = Vec::new();
    let mut kept_bytes = 0;
    let summary = Session::with(home, async |session| {
        let detail = show(session, run_id).await?;
        let mut progress = Progress::of(detail.summary.rounds);
        let mut told = |told: Told<'_>| match (told, format) {
            (Told::Notice(line), _) => streams.note(line),
            (Told::Event(event), Format::Json) => {
                kept_bytes += event.json.len();
                if kept_bytes <= ENVELOPE_MIB_MAX << 20 {
                    kept.push(event_json(event));
                }
            }
            (Told::Event(event), Format::Text) => {
                log_line(&mut progress, event)
                    .lines()
                    .for_each(|line| streams.say(line));
                streams.out.flush().ok();
            }
        };
        if stream {
            return Ok(follow(session, run_id, 0, &mut told).await?.summary);
        }
        let summary = detail.summary.clone();
        history(session, detail, &mut told).await?;
        Ok(summary)
    })
    .await?;
    if kept_bytes > ENVELOPE_MIB_MAX << 20 {
        let run_id = run_id.clone();
        return Err(CliError::HistoryTooLong {
            run_id,
            limit_mib: ENVELOPE_MIB_MAX,
        }
        .into());
    }
    Ok(Answer {
        data: json!({ "run": summary, "events": kept }),
        text: String::new(),
    })
}

/// Waits until a run is over.
pub(crate) async fn wait(
    home: &Home,
    run_id: &RunId,
    timeout_s: u64,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let limit = Duration::from_secs(timeout_s);
    let summary = Session::with(home, async |session| {
        let waited = follow_to_end(session, run_id, streams, From::Now);
        tokio::time::timeout(limit, waited)
            .await
            .map_err(|_| CliError::OutOfTime {
                run_id: run_id.clone(),
                waited_s: timeout_s,
            })?
    })
    .await?;
    finished(&summary, json!({ "run_id": run_id }))
}

/// From where on a follower wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    TheFirst,
    Now,
}

/// Follows a run with its progress shown; returns how it ended.
async fn follow_to_end(
    session: &mut Session,
    run_id: &RunId,
    streams: &mut Streams<'_>,
    from: From,
) -> Result<RunSummary, NoAnswer> {
    let detail = show(session, run_id).await?;
    let shown_from = match from {
        From::TheFirst => 0,
        From::Now => {
            streams.note(&standing(&detail.summary));
            detail.events.last().map_or(0, |last| last.number + 1)
        }
    };
    let mut display = Display::new(detail.summary.rounds, streams.terminal);
    let mut told = |told: Told<'_>| match told {
        Told::Notice(line) => display.note(line, streams),
        Told::Event(event) if event.number < shown_from => display.catch_up(event),
        Told::Event(event) => display.show(event, streams),
    };
    let followed = follow(session, run_id, 0, &mut told).await;
    display.end();
    Ok(followed?.summary)
}

/// The answer, if the run came to a good end.
fn finished(run: &RunSummary, mut data: Value) -> Result<Answer, NoAnswer> {
    if run.state != RunState::Finished {
        return Err(NoAnswer::RunNotFinished(Box::new(run.clone())));
    }
    if let Some(fields) = data.as_object_mut() {
        fields.insert("run".to_owned(), json!(run));
    }
    let text = format!(
        "{}\nfetch the model: consilium run download {} --to DIR\n",
        standing(run),
        run.run_id
    );
    Ok(Answer { data, text })
}

/// Stops a run.
pub(crate) async fn stop(home: &Home, run_id: &RunId) -> Result<Answer, NoAnswer> {
    let what = "will stop; take it up again with: consilium run resume";
    order(home, Request::StopRun(run_id.clone()), run_id, what).await
}

/// Takes a run up again.
pub(crate) async fn resume(home: &Home, run_id: &RunId) -> Result<Answer, NoAnswer> {
    let what = "goes on; follow it with: consilium run wait";
    order(home, Request::ResumeRun(run_id.clone()), run_id, what).await
}

async fn order(
    home: &Home,
    request: Request,
    run_id: &RunId,
    what: &str,
) -> Result<Answer, NoAnswer> {
    let asked = request.name();
    let Response::Done = Session::ask_once(home, request).await? else {
        return Err(CliError::Unexpected { asked }.into());
    };
    Ok(Answer {
        data: json!({ "run_id": run_id, "asked": asked }),
        text: format!("run `{run_id}` {what} {run_id}\n"),
    })
}

/// An event for programs: its number, its time, and what the coordinator wrote.
fn event_json(event: &RunEvent) -> Value {
    json!({
        "number": event.number,
        "at_ms": event.at_ms,
        "at": moment::utc(event.at_ms),
        "event": serde_json::from_str::<Value>(&event.json).unwrap_or(Value::Null),
    })
}

/// An event for people: its time before each of its lines.
fn log_line(progress: &mut Progress, event: &RunEvent) -> String {
    let at = moment::utc(event.at_ms);
    progress
        .hear(event)
        .lines()
        .map(|line| format!("{at}  {line}\n"))
        .collect()
}
