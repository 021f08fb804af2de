//! Runs: how they begin, go on after a restart, and are driven to their end.

pub mod card;
pub mod record;

mod admission;
mod ask;
mod broadcast;
mod causes;
mod driver;
mod final_evaluation;
mod places;
mod rounds;

use std::sync::Arc;

use consilium_link::verify_run_file;
use consilium_protocol::message::{Response, RunState, SignedRun};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Refusal, RefusalCode, Role, RunId};

use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::session::Caller;
use record::RunRecord;

/// Takes a run from its researcher, once for each token.
///
/// # Errors
/// The disk fails. The inner refusal says what is wrong with the run.
pub async fn submit(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    run: SignedRun,
    token: &str,
) -> Result<Result<Response, Refusal>, CoordinatorError> {
    let token = Digest::of(format!("{}\0{token}", caller.name).as_bytes());
    if let Some(run_id) = coordinator.index().run_of_token(&token)? {
        return submitted_before(coordinator, &run_id, &run);
    }
    if let Err(refusal) = check(coordinator, caller, &run) {
        return Ok(Err(refusal));
    }
    let run_id: RunId = match format!("r-{}", token.short(12)).parse() {
        Ok(run_id) => run_id,
        Err(error) => return Ok(Err(invalid(error.to_string()))),
    };
    let submitted = Event::RunSubmitted {
        run_id: run_id.clone(),
        token,
        researcher: caller.name.clone(),
        text: String::from_utf8_lossy(&run.text).into_owned(),
        certificate: hex(&run.certificate),
        signature: hex(&run.signature),
    };
    // Of two submissions with one token at the same moment, the second finds the first.
    let unused = move |c: &Coordinator| match c.index().run_of_token(&token) {
        Ok(None) => Ok(()),
        _ => Err(Refusal::new(
            RefusalCode::Busy,
            "this token is being submitted already",
            "ask again",
        )),
    };
    if let Err(refusal) = coordinator.record_if(submitted, unused).await? {
        return Ok(Err(refusal));
    }
    if let Some(record) = coordinator.index().run(&run_id)? {
        tracing::info!(%run_id, researcher = %caller.name, "a run was submitted");
        driver::spawn(coordinator, record);
    }
    Ok(Ok(Response::Submitted {
        run_id,
        created: true,
    }))
}

fn submitted_before(
    coordinator: &Coordinator,
    run_id: &RunId,
    run: &SignedRun,
) -> Result<Result<Response, Refusal>, CoordinatorError> {
    let same = coordinator
        .index()
        .run(run_id)?
        .is_some_and(|record| record.text.as_bytes() == run.text);
    Ok(match same {
        true => Ok(Response::Submitted {
            run_id: run_id.clone(),
            created: false,
        }),
        false => Err(Refusal::new(
            RefusalCode::WrongState,
            format!("this token submitted another text before, as run `{run_id}`"),
            "use a new token for a new run",
        )),
    })
}

/// Whether the run is what it says, by whom it says, with sites that exist.
fn check(coordinator: &Coordinator, caller: &Caller, run: &SignedRun) -> Result<(), Refusal> {
    let signer = verify_run_file(
        &run.text,
        &run.signature,
        &run.certificate,
        &[Role::Researcher],
        coordinator.authority.anchor(),
        coordinator.now(),
    )
    .map_err(|error| {
        Refusal::new(
            RefusalCode::BadSignature,
            error.to_string(),
            "submit it with your own credentials",
        )
    })?;
    if signer.name != caller.name {
        return Err(Refusal::new(
            RefusalCode::BadSignature,
            format!(
                "the run is signed by {signer} and submitted by researcher `{}`",
                caller.name
            ),
            "submit your own runs only",
        ));
    }
    let spec = RunSpec::parse(&run.text).map_err(|error| invalid(error.to_string()))?;
    for site in &spec.document().participants {
        if !coordinator.with_members(|m| m.is_enrolled(Role::Site, &site.clone().into())) {
            return Err(Refusal::new(
                RefusalCode::UnknownSite,
                format!("`participants` names `{site}`, and no site of this name is enrolled"),
                "see which there are: consilium members",
            ));
        }
    }
    Ok(())
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(
        RefusalCode::InvalidRun,
        reason,
        "correct the run file and submit it again",
    )
}

/// Drives on every run that was not over when the coordinator stopped.
///
/// # Errors
/// The index cannot be read.
pub fn resume_all(coordinator: &Arc<Coordinator>) -> Result<(), CoordinatorError> {
    for summary in coordinator.index().runs()? {
        if summary.state.is_over() {
            continue;
        }
        if let Some(record) = coordinator.index().run(&summary.run_id)? {
            tracing::info!(run_id = %summary.run_id, round = summary.round, rounds = summary.rounds, "a run goes on");
            driver::spawn(coordinator, record);
        }
    }
    Ok(())
}

/// Takes a failed or stopped run up again, from its last complete round.
///
/// # Errors
/// The disk fails. The inner refusal: the run goes on, or is finished.
pub async fn resume_ended(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    record: &RunRecord,
) -> Result<Result<Response, Refusal>, CoordinatorError> {
    let run_id = record.summary.run_id.clone();
    if !matches!(record.summary.state, RunState::Failed | RunState::Stopped) {
        return Ok(Err(Refusal::new(
            RefusalCode::WrongState,
            format!("run `{run_id}` is {}", record.summary.state.as_str()),
            "only a failed or stopped run can be resumed",
        )));
    }
    let resumed = Event::RunResumed {
        run_id,
        by: caller.name.clone(),
    };
    if let Some(record) = coordinator.record(resumed).await? {
        driver::spawn(coordinator, record);
    }
    Ok(Ok(Response::Done))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`hex`]; `None` where the text is not that.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    // By the character: a sign is a digit to `u8::from_str_radix`, and none here.
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hex_wrote_reads_back_and_nothing_else_is_hexadecimal() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex(""), Some(Vec::new()));
        for text in ["0", "+f", "-1", "0x", "FF", " 1", "é"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
