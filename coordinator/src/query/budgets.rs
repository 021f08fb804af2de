//! What a project has left at the sites. Each site decides what the researcher may know of it; nothing is added up.

use std::sync::Arc;

use consilium_link::verify_budget_question;
use consilium_protocol::message::{BudgetsLeft, Request, Response, SignedQuery};
use consilium_protocol::query::BudgetQuestion;
use consilium_protocol::{Digest, Refusal, RefusalCode, SiteName};

use super::{are_enrolled, gather, sites_of};
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::session::Caller;

/// Asks the sites that the question names, until all have answered or time is up.
///
/// # Errors
/// The disk fails. The inner refusal says what is wrong with the question.
pub async fn left(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    signed: SignedQuery,
    timeout_ms: u64,
) -> Result<Result<BudgetsLeft, Refusal>, CoordinatorError> {
    let _place = match coordinator.open_queries.take(&caller.name) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let question = match check(coordinator, caller, &signed) {
        Ok(question) => question,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let sites = sites_of(coordinator, &question.sites);
    let asked = Event::BudgetAsked {
        question: Digest::of(&signed.text),
        researcher: caller.name.clone(),
        project: question.project,
        sites: sites.clone(),
    };
    coordinator.record(asked).await?;
    let request = |_: &SiteName| Request::TellBudget(signed.clone());
    let answer = |response| match response {
        Response::SiteBudget(budget) => Some(budget),
        _ => None,
    };
    let coverage = gather(coordinator, sites, timeout_ms, request, answer).await;
    Ok(Ok(BudgetsLeft {
        answered: coverage.answered.into_iter().collect(),
        refused: coverage.refused.into_iter().collect(),
        missing: coverage.missing.into_iter().collect(),
    }))
}

fn check(
    coordinator: &Coordinator,
    caller: &Caller,
    signed: &SignedQuery,
) -> Result<BudgetQuestion, Refusal> {
    let wrong =
        |code, reason: String| Refusal::new(code, reason, "ask with `consilium budget show`");
    let signer = verify_budget_question(
        &signed.text,
        &signed.signature,
        &signed.certificate,
        coordinator.authority.anchor(),
        coordinator.now(),
    )
    .map_err(|error| wrong(RefusalCode::BadSignature, error.to_string()))?;
    if signer.name != caller.name {
        return Err(wrong(
            RefusalCode::BadSignature,
            format!(
                "the question is signed by {signer} and asked by researcher `{}`",
                caller.name
            ),
        ));
    }
    let question = BudgetQuestion::parse(&signed.text)
        .map_err(|error| wrong(RefusalCode::InvalidQuery, error.to_string()))?;
    are_enrolled(coordinator, &question.sites)?;
    Ok(question)
}
