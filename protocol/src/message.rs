//! Messages as the rooms use them: what the network sent, parsed into bounded types.
//!
//! [`Request`] and [`Response`] are the twins of the generated [`crate::wire`]
//! types. Everything between is `TryFrom`: a message that breaks a limit or
//! names something impossible is a [`MessageError`] and goes no further.

mod budget;
mod enrolment;
mod parse;
mod query;
mod runs;
mod search;
mod sketch;
mod training;
mod witness;

pub use budget::{BudgetsLeft, DatasetLeft, SiteBudget};
pub use enrolment::{Certificate, Hello, Invitation, Invite, Member, MemberState};
pub use query::{
    ANSWER_CELLS_MAX, AnsweredBy, Figure, Missing, Noise, QUERY_TIMEOUT_MS_MAX, QueryResult,
    SignedQuery, SiteAnswer,
};
pub use runs::{Artefact, RunDetail, RunEvent, RunState, RunSummary, SignedRun};
pub use search::{
    BUCKETS, DOCUMENT_NAME_BYTES_MAX, Disclosed, DisclosedHit, Found, FoundPassages, HANDLE_BYTES,
    PASSAGE_BYTES_MAX, PassageHit, REPLY_KEY_BYTES, SEALED_BYTES_MAX, SNIPPET_BYTES_MAX,
    SNIPPET_CHARS_MAX, SealedAnswer, SearchAnswer, SearchResult, SignedSearch, TITLE_BYTES_MAX,
};
pub use sketch::{LINKAGE_ID_BYTES, MaskedSketch, SketchKey};
pub use training::{Admitted, Evaluated, Metrics, TensorsAhead, Train, Update};
pub use witness::{Cosign, Cosignature, Cosigned};

use crate::ids::{MemberName, Role, RunId, SiteName};
use crate::refusal::Refusal;
use crate::wire;
use crate::wire::request::Kind as Ask;
use crate::wire::response::Kind as Answer;

/// Why a message from the network is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message says nothing that this build knows; update the older side")]
    Unknown,
    #[error("`{field}` is missing")]
    Missing { field: &'static str },
    #[error("`{field}` is over its limit of {limit}")]
    TooLong { field: &'static str, limit: u64 },
    #[error("`{field}`: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
}

/// Something broke at the other side: nobody decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub remedy: String,
}

/// What one party asks of another, one on each stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Enrol {
        token: String,
        certificate_request: Vec<u8>,
    },
    Renew {
        certificate_request: Vec<u8>,
    },
    Hello(Hello),
    SubmitRun {
        run: SignedRun,
        token: String,
    },
    ListRuns,
    ShowRun(RunId),
    FollowRun {
        run_id: RunId,
        from_event: u64,
    },
    StopRun(RunId),
    ResumeRun(RunId),
    DownloadRun(RunId),
    Invite(Invite),
    Evict {
        role: Role,
        name: MemberName,
        reason: String,
    },
    ListMembers,
    Query {
        query: SignedQuery,
        /// Sites that have not answered by then are missing from the result.
        timeout_ms: u64,
    },
    Search {
        search: SignedSearch,
        /// Sites that have not answered by then are missing from the result.
        timeout_ms: u64,
    },
    Review {
        run_id: RunId,
        run: SignedRun,
    },
    /// The round's state follows in chunks.
    Train(Train),
    /// The final state follows in chunks.
    Evaluate(TensorsAhead),
    EndRun {
        run_id: RunId,
        outcome: String,
    },
    /// Of one site: its own answer to a query.
    Answer(SignedQuery),
    /// Of one site: the key with which it will mask its sketch for this query.
    SketchKey(SignedQuery),
    /// Of one site: its masked sketch, given the keys of all.
    AnswerMasked {
        query: SignedQuery,
        keys: Vec<SketchKey>,
    },
    /// What a project has left of its budgets, of the sites that its text names.
    ShowBudget {
        question: SignedQuery,
        /// Sites that have not answered by then are missing from the result.
        timeout_ms: u64,
    },
    /// The same of one site.
    TellBudget(SignedQuery),
    /// Of one site: its own answer to a search.
    AnswerSearch(SignedSearch),
    /// A site's checkpoint, to be witnessed by the coordinator.
    Cosign(Cosign),
    /// The same by another site: from a node it names that site, from the coordinator the one whose checkpoint it is.
    WitnessPeer {
        site: SiteName,
        cosign: Cosign,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    Refusal(Refusal),
    Fault(Fault),
    Certificate(Certificate),
    Welcome {
        consortium: String,
        software_version: String,
        /// The site's newest witnessed checkpoint; empty if none.
        witnessed: Vec<u8>,
    },
    Submitted {
        run_id: RunId,
        created: bool,
    },
    Runs(Vec<RunSummary>),
    RunDetail(RunDetail),
    RunEvent(RunEvent),
    Done,
    /// The file follows in chunks.
    Artefact(Artefact),
    Invitation(Invitation),
    Members(Vec<Member>),
    Admitted(Admitted),
    /// The update follows in chunks, from the chunk that was asked for.
    Update(Update),
    Evaluated(Evaluated),
    QueryResult(QueryResult),
    SiteAnswer(SiteAnswer),
    SearchResult(SearchResult),
    SearchAnswer(SearchAnswer),
    Cosigned(Cosigned),
    SketchKey(SketchKey),
    MaskedSketch(MaskedSketch),
    SiteBudget(SiteBudget),
    BudgetsLeft(BudgetsLeft),
}

impl Request {
    /// The request's name, for logs: it holds nothing of the content.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Enrol { .. } => "enrol",
            Self::Renew { .. } => "renew",
            Self::Hello(_) => "hello",
            Self::SubmitRun { .. } => "submit-run",
            Self::ListRuns => "list-runs",
            Self::ShowRun(_) => "show-run",
            Self::FollowRun { .. } => "follow-run",
            Self::StopRun(_) => "stop-run",
            Self::ResumeRun(_) => "resume-run",
            Self::DownloadRun(_) => "download-run",
            Self::Invite(_) => "invite",
            Self::Evict { .. } => "evict",
            Self::ListMembers => "list-members",
            Self::Review { .. } => "review",
            Self::Train(_) => "train",
            Self::Evaluate(_) => "evaluate",
            Self::EndRun { .. } => "end-run",
            Self::Query { .. } => "query",
            Self::Answer(_) => "answer",
            Self::Search { .. } => "search",
            Self::AnswerSearch(_) => "answer-search",
            Self::SketchKey(_) => "sketch-key",
            Self::AnswerMasked { .. } => "answer-masked",
            Self::ShowBudget { .. } => "show-budget",
            Self::TellBudget(_) => "tell-budget",
            Self::Cosign(_) => "cosign",
            Self::WitnessPeer { .. } => "witness-peer",
        }
    }
}

impl From<Request> for wire::Request {
    fn from(request: Request) -> Self {
        let query = |run_id: RunId| wire::RunQuery {
            run_id: run_id.to_string(),
        };
        let kind = match request {
            Request::Enrol {
                token,
                certificate_request,
            } => Ask::Enrol(wire::Enrol {
                token,
                certificate_request: certificate_request.into(),
            }),
            Request::Renew {
                certificate_request,
            } => Ask::Renew(wire::Renew {
                certificate_request: certificate_request.into(),
            }),
            Request::Hello(hello) => Ask::Hello(hello.into()),
            Request::SubmitRun { run, token } => Ask::SubmitRun(wire::SubmitRun {
                run: Some(run.into()),
                token,
            }),
            Request::ListRuns => Ask::ListRuns(wire::ListRuns {}),
            Request::ShowRun(run_id) => Ask::ShowRun(query(run_id)),
            Request::FollowRun { run_id, from_event } => Ask::FollowRun(wire::FollowRun {
                run_id: run_id.to_string(),
                from_event,
            }),
            Request::StopRun(run_id) => Ask::StopRun(query(run_id)),
            Request::ResumeRun(run_id) => Ask::ResumeRun(query(run_id)),
            Request::DownloadRun(run_id) => Ask::DownloadRun(query(run_id)),
            Request::Invite(invite) => Ask::Invite(invite.into()),
            Request::Evict { role, name, reason } => Ask::Evict(wire::Evict {
                role: role.to_string(),
                name: name.to_string(),
                reason,
            }),
            Request::ListMembers => Ask::ListMembers(wire::ListMembers {}),
            Request::Review { run_id, run } => Ask::Review(wire::Review {
                run_id: run_id.to_string(),
                run: Some(run.into()),
            }),
            Request::Train(train) => Ask::Train(train.into()),
            Request::Evaluate(ahead) => Ask::Evaluate(ahead.into()),
            Request::EndRun { run_id, outcome } => Ask::EndRun(wire::EndRun {
                run_id: run_id.to_string(),
                outcome,
            }),
            Request::Query { query, timeout_ms } => Ask::Query(wire::Query {
                query: Some(query.into()),
                timeout_ms,
            }),
            Request::Search { search, timeout_ms } => Ask::Search(wire::Search {
                search: Some(search.into()),
                timeout_ms,
            }),
            Request::AnswerSearch(search) => Ask::AnswerSearch(wire::AnswerSearch {
                search: Some(search.into()),
            }),
            Request::Cosign(cosign) => Ask::Cosign(cosign.into()),
            Request::WitnessPeer { site, cosign } => Ask::WitnessPeer(wire::WitnessPeer {
                site: site.to_string(),
                cosign: Some(cosign.into()),
            }),
            Request::Answer(query) => Ask::Answer(wire::AnswerQuery {
                query: Some(query.into()),
            }),
            Request::ShowBudget {
                question,
                timeout_ms,
            } => Ask::ShowBudget(wire::Query {
                query: Some(question.into()),
                timeout_ms,
            }),
            Request::TellBudget(question) => Ask::TellBudget(wire::AnswerQuery {
                query: Some(question.into()),
            }),
            Request::SketchKey(query) => Ask::SketchKey(wire::AnswerQuery {
                query: Some(query.into()),
            }),
            Request::AnswerMasked { query, keys } => Ask::AnswerMasked(wire::AnswerMasked {
                query: Some(query.into()),
                keys: keys.into_iter().map(Into::into).collect(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Request> for Request {
    type Error = MessageError;

    fn try_from(request: wire::Request) -> Result<Self, MessageError> {
        let run_id = |query: wire::RunQuery| parse::id("run_id", &query.run_id);
        Ok(match request.kind.ok_or(MessageError::Unknown)? {
            Ask::Enrol(enrol) => Self::Enrol {
                token: parse::token("token", enrol.token)?,
                certificate_request: parse::der("certificate_request", &enrol.certificate_request)?,
            },
            Ask::Renew(renew) => Self::Renew {
                certificate_request: parse::der("certificate_request", &renew.certificate_request)?,
            },
            Ask::Hello(hello) => Self::Hello(hello.try_into()?),
            Ask::SubmitRun(submit) => Self::SubmitRun {
                run: parse::present("run", submit.run)?.try_into()?,
                token: parse::token("token", submit.token)?,
            },
            Ask::ListRuns(_) => Self::ListRuns,
            Ask::ShowRun(query) => Self::ShowRun(run_id(query)?),
            Ask::FollowRun(follow) => Self::FollowRun {
                run_id: parse::id("run_id", &follow.run_id)?,
                from_event: follow.from_event,
            },
            Ask::StopRun(query) => Self::StopRun(run_id(query)?),
            Ask::ResumeRun(query) => Self::ResumeRun(run_id(query)?),
            Ask::DownloadRun(query) => Self::DownloadRun(run_id(query)?),
            Ask::Invite(invite) => Self::Invite(invite.try_into()?),
            Ask::Evict(evict) => Self::Evict {
                role: parse::id("role", &evict.role)?,
                name: parse::id("name", &evict.name)?,
                reason: parse::sentence("reason", evict.reason)?,
            },
            Ask::ListMembers(_) => Self::ListMembers,
            Ask::Review(review) => Self::Review {
                run_id: parse::id("run_id", &review.run_id)?,
                run: parse::present("run", review.run)?.try_into()?,
            },
            Ask::Train(train) => Self::Train(train.try_into()?),
            Ask::Evaluate(evaluate) => Self::Evaluate(evaluate.try_into()?),
            Ask::EndRun(end) => Self::EndRun {
                run_id: parse::id("run_id", &end.run_id)?,
                outcome: parse::sentence("outcome", end.outcome)?,
            },
            Ask::Query(query) => Self::Query {
                query: parse::present("query", query.query)?.try_into()?,
                timeout_ms: query::timeout(query.timeout_ms)?,
            },
            Ask::Search(search) => Self::Search {
                search: parse::present("search", search.search)?.try_into()?,
                timeout_ms: query::timeout(search.timeout_ms)?,
            },
            Ask::AnswerSearch(answer) => {
                Self::AnswerSearch(parse::present("search", answer.search)?.try_into()?)
            }
            Ask::Cosign(cosign) => Self::Cosign(cosign.try_into()?),
            Ask::WitnessPeer(asked) => Self::WitnessPeer {
                site: parse::id("site", &asked.site)?,
                cosign: parse::present("cosign", asked.cosign)?.try_into()?,
            },
            Ask::Answer(answer) => Self::Answer(parse::present("query", answer.query)?.try_into()?),
            Ask::ShowBudget(asked) => Self::ShowBudget {
                question: parse::present("query", asked.query)?.try_into()?,
                timeout_ms: query::timeout(asked.timeout_ms)?,
            },
            Ask::TellBudget(asked) => {
                Self::TellBudget(parse::present("query", asked.query)?.try_into()?)
            }
            Ask::SketchKey(asked) => {
                Self::SketchKey(parse::present("query", asked.query)?.try_into()?)
            }
            Ask::AnswerMasked(asked) => Self::AnswerMasked {
                query: parse::present("query", asked.query)?.try_into()?,
                keys: parse::list("keys", asked.keys, crate::query::limits::SKETCH_SITES_MAX)?,
            },
        })
    }
}

impl From<Response> for wire::Response {
    fn from(response: Response) -> Self {
        let kind = match response {
            Response::Refusal(refusal) => Answer::Refusal(refusal.into()),
            Response::Fault(fault) => Answer::Fault(wire::Fault {
                what: fault.what,
                remedy: fault.remedy,
            }),
            Response::Certificate(certificate) => Answer::Certificate(certificate.into()),
            Response::Welcome {
                consortium,
                software_version,
                witnessed,
            } => Answer::Welcome(wire::Welcome {
                consortium,
                software_version,
                witnessed: witnessed.into(),
            }),
            Response::Submitted { run_id, created } => Answer::Submitted(wire::Submitted {
                run_id: run_id.to_string(),
                created,
            }),
            Response::Runs(runs) => Answer::Runs(wire::Runs {
                runs: runs.into_iter().map(Into::into).collect(),
            }),
            Response::RunDetail(detail) => Answer::RunDetail(detail.into()),
            Response::RunEvent(event) => Answer::RunEvent(event.into()),
            Response::Done => Answer::Done(wire::Done {}),
            Response::Artefact(artefact) => Answer::Artefact(artefact.into()),
            Response::Invitation(invitation) => Answer::Invitation(invitation.into()),
            Response::Members(members) => Answer::Members(wire::Members {
                members: members.into_iter().map(Into::into).collect(),
            }),
            Response::Admitted(admitted) => Answer::Admitted(admitted.into()),
            Response::Update(update) => Answer::Update(update.into()),
            Response::Evaluated(evaluated) => Answer::Evaluated(evaluated.into()),
            Response::QueryResult(result) => Answer::QueryResult(result.into()),
            Response::Cosigned(cosigned) => Answer::Cosigned(cosigned.into()),
            Response::SiteAnswer(answer) => Answer::SiteAnswer(answer.into()),
            Response::SearchResult(result) => Answer::SearchResult(result.into()),
            Response::SearchAnswer(answer) => Answer::SearchAnswer(answer.into()),
            Response::SketchKey(key) => Answer::SketchKey(key.into()),
            Response::MaskedSketch(sketch) => Answer::MaskedSketch(sketch.into()),
            Response::SiteBudget(budget) => Answer::SiteBudget(budget.into()),
            Response::BudgetsLeft(left) => Answer::BudgetsLeft(left.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Response> for Response {
    type Error = MessageError;

    fn try_from(response: wire::Response) -> Result<Self, MessageError> {
        Ok(match response.kind.ok_or(MessageError::Unknown)? {
            Answer::Refusal(refusal) => Self::Refusal(refusal.into()),
            Answer::Fault(fault) => Self::Fault(Fault {
                what: parse::sentence("what", fault.what)?,
                remedy: parse::sentence("remedy", fault.remedy)?,
            }),
            Answer::Certificate(certificate) => Self::Certificate(certificate.try_into()?),
            Answer::Welcome(welcome) => Self::Welcome {
                consortium: parse::sentence("consortium", welcome.consortium)?,
                software_version: parse::sentence("software_version", welcome.software_version)?,
                witnessed: parse::bytes(
                    "witnessed",
                    &welcome.witnessed,
                    crate::limits::CHECKPOINT_BYTES_MAX,
                )?,
            },
            Answer::Submitted(submitted) => Self::Submitted {
                run_id: parse::id("run_id", &submitted.run_id)?,
                created: submitted.created,
            },
            Answer::Runs(runs) => Self::Runs(parse::list(
                "runs",
                runs.runs,
                crate::limits::RUNS_LISTED_MAX,
            )?),
            Answer::RunDetail(detail) => Self::RunDetail(detail.try_into()?),
            Answer::RunEvent(event) => Self::RunEvent(event.try_into()?),
            Answer::Done(_) => Self::Done,
            Answer::Artefact(artefact) => Self::Artefact(artefact.try_into()?),
            Answer::Invitation(invitation) => Self::Invitation(invitation.try_into()?),
            Answer::Members(members) => Self::Members(parse::list(
                "members",
                members.members,
                crate::limits::MEMBERS_MAX,
            )?),
            Answer::Admitted(admitted) => Self::Admitted(admitted.try_into()?),
            Answer::Update(update) => Self::Update(update.try_into()?),
            Answer::Evaluated(evaluated) => Self::Evaluated(evaluated.try_into()?),
            Answer::QueryResult(result) => Self::QueryResult(result.try_into()?),
            Answer::Cosigned(cosigned) => Self::Cosigned(cosigned.try_into()?),
            Answer::SiteAnswer(answer) => Self::SiteAnswer(answer.try_into()?),
            Answer::SearchResult(result) => Self::SearchResult(result.try_into()?),
            Answer::SearchAnswer(answer) => Self::SearchAnswer(answer.try_into()?),
            Answer::SketchKey(key) => Self::SketchKey(key.try_into()?),
            Answer::MaskedSketch(sketch) => Self::MaskedSketch(sketch.try_into()?),
            Answer::SiteBudget(budget) => Self::SiteBudget(budget.try_into()?),
            Answer::BudgetsLeft(left) => Self::BudgetsLeft(left.try_into()?),
        })
    }
}

#[cfg(test)]
mod tests;
