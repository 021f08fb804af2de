//! One request, one answer: who may ask what, and what comes back.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use consilium_link::{
    Chunk, CloseCode, Fingerprint, Identity, LinkError, RequestStream, certificate_expires_at,
};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{
    Artefact, Certificate, Invitation, Invite, Request, Response, RunDetail,
};
use consilium_protocol::token::EnrolmentToken;
use consilium_protocol::{Digest, MemberName, Refusal, RefusalCode, Role, RunId};

use crate::coordinator::{Coordinator, CoordinatorError, RunSignal};
use crate::event::Event;
use crate::query;
use crate::run::{self, record::RunRecord};
use crate::server::{fault_of, send};
use crate::witness;

/// Longest that an invitation may stay open.
const INVITATION_LIFETIME_S_MAX: u64 = 30 * 86_400;

/// Who asks: from the certificate.
#[derive(Debug, Clone)]
pub struct Caller {
    pub role: Role,
    pub name: MemberName,
    pub certificate: CurrentCertificate,
}

/// The certificate that a connection stands on: the handshake's, then each that was renewed
/// over it. A node may stay connected for longer than any one of them lasts.
#[derive(Debug, Clone)]
pub struct CurrentCertificate(Arc<Mutex<Digest>>);

impl CurrentCertificate {
    #[must_use]
    pub fn of_handshake(certificate: Digest) -> Self {
        Self(Arc::new(Mutex::new(certificate)))
    }

    #[must_use]
    pub fn digest(&self) -> Digest {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, renewed: Digest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

/// Why there is no ordinary answer. A refusal and a fault stay apart.
enum NoAnswer {
    Refused(Refusal),
    Failed(CoordinatorError),
    Link(LinkError),
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LinkError> for NoAnswer {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl<E: Into<CoordinatorError>> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Answers one request.
///
/// # Errors
/// The caller is gone; everything else is an answer.
pub async fn answer(
    coordinator: &Arc<Coordinator>,
    caller: Option<Caller>,
    request: Request,
    stream: &mut RequestStream,
) -> Result<(), LinkError> {
    let answered = match (caller, request) {
        (
            None,
            Request::Enrol {
                token,
                certificate_request,
            },
        ) => enrol(coordinator, &token, &certificate_request).await,
        (None, _) => Err(wrong_role("somebody without a certificate").into()),
        (Some(caller), request) => as_member(coordinator, &caller, request, stream).await,
    };
    match answered {
        Ok(Some(response)) => send(stream, response).await,
        Ok(None) => Ok(()),
        Err(NoAnswer::Refused(refusal)) => send(stream, Response::Refusal(refusal)).await,
        Err(NoAnswer::Failed(error)) => send(stream, fault_of(&error)).await,
        Err(NoAnswer::Link(error)) => Err(error),
    }
}

/// What a researcher asks of many sites at once.
async fn question_to_sites(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    question: Request,
) -> Result<Response, NoAnswer> {
    let answered = match question {
        Request::Query { query, timeout_ms } => {
            let asked = query::ask(coordinator, caller, query, timeout_ms).await?;
            asked.map(Response::QueryResult)
        }
        Request::Search { search, timeout_ms } => {
            let asked = query::search(coordinator, caller, search, timeout_ms).await?;
            asked.map(Response::SearchResult)
        }
        Request::ShowBudget {
            question,
            timeout_ms,
        } => {
            let asked = query::left(coordinator, caller, question, timeout_ms).await?;
            asked.map(Response::BudgetsLeft)
        }
        other => return Err(wrong_role(other.name()).into()),
    };
    Ok(answered?)
}

/// What each role may ask. `None`: the answer was sent already.
async fn as_member(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    request: Request,
    stream: &mut RequestStream,
) -> Result<Option<Response>, NoAnswer> {
    match (caller.role, request) {
        (
            _,
            Request::Renew {
                certificate_request,
            },
        ) => renew(coordinator, caller, &certificate_request)
            .await
            .map(Some),
        (Role::Site, Request::Hello(hello)) => {
            tracing::info!(site = %caller.name, datasets = hello.datasets.len(), version = %hello.software_version, "says hello");
            let names = hello.datasets.into_iter().collect();
            coordinator
                .with_holders(|holders| holders.publishes(caller.name.clone().into(), names));
            Ok(Some(Response::Welcome {
                consortium: coordinator.config.name.clone(),
                software_version: env!("CARGO_PKG_VERSION").into(),
                witnessed: witness::last_of(coordinator, &caller.name),
            }))
        }
        (Role::Site, Request::Cosign(asked)) => {
            let cosigned = witness::cosign(coordinator, &caller.name, asked).await??;
            Ok(Some(Response::Cosigned(cosigned)))
        }
        (Role::Site, Request::WitnessPeer { site, cosign }) => {
            let cosigned = witness::by_peer(coordinator, &caller.name, &site, cosign).await??;
            Ok(Some(Response::Cosigned(cosigned)))
        }
        (Role::Admin, Request::Invite(invite)) => {
            invite_member(coordinator, caller, invite).await.map(Some)
        }
        (Role::Admin, Request::Evict { role, name, reason }) => {
            evict(coordinator, caller, role, name, reason)
                .await
                .map(Some)
        }
        (Role::Admin | Role::Researcher | Role::Officer, Request::ListMembers) => {
            Ok(Some(Response::Members(coordinator.list_members())))
        }
        (Role::Researcher, Request::SubmitRun { run, token }) => {
            run::submit(coordinator, caller, run, &token)
                .await?
                .map(Some)
                .map_err(Into::into)
        }
        (
            Role::Researcher,
            question
            @ (Request::Query { .. } | Request::Search { .. } | Request::ShowBudget { .. }),
        ) => question_to_sites(coordinator, caller, question)
            .await
            .map(Some),
        (Role::Researcher | Role::Admin | Role::Officer, Request::ListRuns) => {
            Ok(Some(Response::Runs(coordinator.index().runs()?)))
        }
        (Role::Researcher | Role::Admin | Role::Officer, Request::ShowRun(run_id)) => {
            show(coordinator, &run_id).map(Some)
        }
        (
            Role::Researcher | Role::Admin | Role::Officer,
            Request::FollowRun { run_id, from_event },
        ) => {
            follow(coordinator, &run_id, from_event, stream).await?;
            Ok(Some(Response::Done))
        }
        (Role::Researcher | Role::Admin, Request::StopRun(run_id)) => {
            stop(coordinator, caller, &run_id).await.map(Some)
        }
        (Role::Researcher | Role::Admin, Request::ResumeRun(run_id)) => {
            let record = own_run(coordinator, caller, &run_id)?;
            run::resume_ended(coordinator, caller, &record)
                .await?
                .map(Some)
                .map_err(Into::into)
        }
        (Role::Researcher | Role::Admin, Request::DownloadRun(run_id)) => {
            download(coordinator, &run_id, stream).await?;
            Ok(None)
        }
        (role, _) => Err(wrong_role(&format!("a {role}")).into()),
    }
}

fn wrong_role(who: &str) -> Refusal {
    Refusal::new(
        RefusalCode::WrongRole,
        format!("{who} may not ask this of the coordinator"),
        "use the credentials of a member whose role may",
    )
}

async fn enrol(
    coordinator: &Arc<Coordinator>,
    token: &str,
    certificate_request: &[u8],
) -> Result<Option<Response>, NoAnswer> {
    let token: EnrolmentToken =
        token
            .parse()
            .map_err(|error: consilium_protocol::token::TokenError| {
                Refusal::new(RefusalCode::BadToken, error.to_string(), "")
            })?;
    let (role, name) = (token.role, token.name.clone());
    // The token's digest is checked again when it is spent, under the journal's lock of order:
    // of two callers with one token, the second finds it used.
    let (secret, spent_by) = (token.digest(), name.clone());
    let redeemable = move |c: &Coordinator| {
        c.with_members(|members| members.redeem(role, &spent_by, secret, c.now()))
    };
    redeemable(coordinator)?;
    let (certificate, expires_at_ms) = issue(coordinator, role, &name, certificate_request)?;
    let enrolled = Event::MemberEnrolled {
        role,
        name: name.clone(),
        certificate: Fingerprint::of(&certificate).0,
        expires_at_ms,
    };
    coordinator.record_if(enrolled, redeemable).await??;
    tracing::info!(%role, %name, "enrolled");
    Ok(Some(certificate_response(coordinator, certificate)))
}

async fn renew(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    certificate_request: &[u8],
) -> Result<Response, NoAnswer> {
    let (role, name) = (caller.role, caller.name.clone());
    let (certificate, expires_at_ms) = issue(coordinator, role, &name, certificate_request)?;
    let digest = Fingerprint::of(&certificate).0;
    let renewed = Event::CertificateRenewed {
        role,
        name: name.clone(),
        certificate: digest,
        expires_at_ms,
    };
    let old = caller.certificate.digest();
    let still =
        move |c: &Coordinator| c.with_members(|members| members.admit(role, &name, old, c.now()));
    coordinator.record_if(renewed, still).await??;
    caller.certificate.replace(digest);
    tracing::info!(%role, name = %caller.name, "renewed its certificate");
    Ok(certificate_response(coordinator, certificate))
}

fn issue(
    coordinator: &Coordinator,
    role: Role,
    name: &MemberName,
    certificate_request: &[u8],
) -> Result<(Vec<u8>, u64), NoAnswer> {
    let lifetime_ms = coordinator.config.certificate_lifetime_s * 1000;
    let identity = Identity::new(role, name.clone());
    let certificate = coordinator
        .authority
        .issue(
            certificate_request,
            &identity,
            lifetime_ms,
            coordinator.now(),
        )
        .map_err(|error| {
            Refusal::new(
                RefusalCode::BadRequest,
                error.to_string(),
                "make the key and request anew",
            )
        })?;
    let expires_at = certificate_expires_at(&certificate)?;
    Ok((certificate, expires_at.0))
}

fn certificate_response(coordinator: &Coordinator, certificate: Vec<u8>) -> Response {
    Response::Certificate(Certificate {
        chain: vec![certificate],
        ca: coordinator.authority.anchor().der().to_vec(),
    })
}

async fn invite_member(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    invite: Invite,
) -> Result<Response, NoAnswer> {
    let Invite {
        role,
        name,
        lifetime_s,
    } = invite;
    if role == Role::Coordinator {
        return Err(wrong_role("nobody").into());
    }
    if !(1..=INVITATION_LIFETIME_S_MAX).contains(&lifetime_s) {
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            format!("an invitation may stay open for 1 s to {INVITATION_LIFETIME_S_MAX} s"),
            "choose a time between",
        )
        .into());
    }
    if coordinator.with_members(|members| members.is_enrolled(role, &name)) {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            format!("{role} `{name}` is enrolled already"),
            "evict it first if its key is lost, or choose another name",
        )
        .into());
    }
    let token = EnrolmentToken::new(
        role,
        name.clone(),
        random_secret()?,
        coordinator.authority.fingerprint().0,
    );
    let expires_at_ms = coordinator.now().plus_ms(lifetime_s * 1000).0;
    coordinator
        .record(Event::MemberInvited {
            role,
            name,
            token: token.digest(),
            expires_at_ms,
            by: caller.name.clone(),
        })
        .await?;
    Ok(Response::Invitation(Invitation {
        token: token.expose(),
        expires_at_ms,
    }))
}

/// 256 bits of the system's randomness.
pub(crate) fn random_secret() -> Result<[u8; 32], CoordinatorError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| CoordinatorError::Disk {
        what: "the system gives no randomness".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(secret)
}

async fn evict(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    role: Role,
    name: MemberName,
    reason: String,
) -> Result<Response, NoAnswer> {
    if (role, &name) == (caller.role, &caller.name) {
        return Err(Refusal::new(
            RefusalCode::BadRequest,
            "an administrator may not evict itself",
            "have another administrator do it",
        )
        .into());
    }
    let known = coordinator
        .list_members()
        .iter()
        .any(|member| member.role == role && member.name == name);
    if !known {
        return Err(Refusal::new(
            RefusalCode::UnknownSite,
            format!("there is no {role} `{name}`"),
            "see who there is: consilium members",
        )
        .into());
    }
    coordinator
        .record(Event::MemberEvicted {
            role,
            name: name.clone(),
            reason: reason.clone(),
            by: caller.name.clone(),
        })
        .await?;
    if let Some(connection) = coordinator.connection(role, &name) {
        connection.close(CloseCode::Evicted, &reason);
    }
    tracing::info!(%role, %name, by = %caller.name, "evicted");
    Ok(Response::Done)
}

fn known_run(coordinator: &Coordinator, run_id: &RunId) -> Result<RunRecord, NoAnswer> {
    coordinator.index().run(run_id)?.ok_or_else(|| {
        Refusal::new(
            RefusalCode::UnknownRun,
            format!("there is no run `{run_id}`"),
            "see which there are: consilium run list",
        )
        .into()
    })
}

/// A run that the caller may change: its own, or any for an administrator.
fn own_run(
    coordinator: &Coordinator,
    caller: &Caller,
    run_id: &RunId,
) -> Result<RunRecord, NoAnswer> {
    let record = known_run(coordinator, run_id)?;
    if caller.role == Role::Admin || record.summary.researcher == caller.name {
        return Ok(record);
    }
    Err(Refusal::new(
        RefusalCode::WrongRole,
        format!("run `{run_id}` belongs to another researcher"),
        "ask that researcher or an administrator",
    )
    .into())
}

fn show(coordinator: &Coordinator, run_id: &RunId) -> Result<Response, NoAnswer> {
    let record = known_run(coordinator, run_id)?;
    let events = coordinator.index().newest_events(run_id)?;
    let text = record.text.into_bytes();
    Ok(Response::RunDetail(RunDetail {
        text_sha256: Digest::of(&text),
        text,
        events,
        summary: record.summary,
    }))
}

/// Sends a run's history as it grows, until the run is over and everything was sent.
async fn follow(
    coordinator: &Arc<Coordinator>,
    run_id: &RunId,
    from_event: u64,
    stream: &mut RequestStream,
) -> Result<(), NoAnswer> {
    known_run(coordinator, run_id)?;
    // Before the first look, so that nothing falls between.
    let mut growing = coordinator.events_of(run_id);
    let mut next = from_event;
    loop {
        let events = coordinator.index().events(run_id, next)?;
        let sent = !events.is_empty();
        for event in events {
            next = event.number + 1;
            send(stream, Response::RunEvent(event)).await?;
        }
        if sent {
            continue;
        }
        match &mut growing {
            None => return Ok(()),
            Some(events) => {
                if events.wait_for(|count| *count > next).await.is_err() {
                    // The run has ended: one last look, then done.
                    growing = None;
                }
            }
        }
    }
}

async fn stop(
    coordinator: &Arc<Coordinator>,
    caller: &Caller,
    run_id: &RunId,
) -> Result<Response, NoAnswer> {
    let record = own_run(coordinator, caller, run_id)?;
    let signals = coordinator.signals_of(run_id);
    match signals {
        Some(signals) if !record.summary.state.is_over() => {
            // A run that ends at this very moment needs no signal any more.
            signals
                .send(RunSignal::Stop {
                    by: caller.name.clone(),
                })
                .await
                .ok();
            Ok(Response::Done)
        }
        _ => Err(Refusal::new(
            RefusalCode::WrongState,
            format!(
                "run `{run_id}` is {} already",
                record.summary.state.as_str()
            ),
            "nothing needs stopping",
        )
        .into()),
    }
}

async fn download(
    coordinator: &Arc<Coordinator>,
    run_id: &RunId,
    stream: &mut RequestStream,
) -> Result<(), NoAnswer> {
    let record = known_run(coordinator, run_id)?;
    let Some(sha256) = record.model else {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            format!(
                "run `{run_id}` is {}, it has no finished model",
                record.summary.state.as_str()
            ),
            "wait for it: consilium run wait",
        )
        .into());
    };
    let path = coordinator.folder.model(run_id);
    let disk = |source| CoordinatorError::Disk {
        what: "the model's file".into(),
        source,
    };
    let mut file = tokio::fs::File::open(&path).await.map_err(disk)?;
    let bytes = file.metadata().await.map_err(disk)?.len();
    let card = run::card::model_card(&record, coordinator.index())?;
    send(
        stream,
        Response::Artefact(Artefact {
            model_card_json: card,
            bytes,
            sha256,
        }),
    )
    .await?;
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(CHUNK_BYTES_MAX);
        let mut chunk = vec![0; len];
        tokio::io::AsyncReadExt::read_exact(&mut file, &mut chunk)
            .await
            .map_err(disk)?;
        stream.send_chunk(&Chunk::new(Bytes::from(chunk))?).await?;
        left -= len as u64;
    }
    Ok(())
}
