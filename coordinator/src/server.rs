//! The coordinator on the network: connections in, requests to their answers.

use std::sync::Arc;
use std::time::Duration;

use consilium_link::{CloseCode, Connection, LinkError, LinkLimits, Listener, Peer, RequestStream};
use consilium_protocol::message::{Fault, MessageError, Request, Response};
use consilium_protocol::{Digest, MemberName, Refusal, RefusalCode, Role, wire};
use tokio::sync::{Semaphore, watch};

use crate::coordinator::{Coordinator, CoordinatorError};
use crate::{run, session};

/// How often a live connection's membership is looked at again. Eviction closes the
/// connection at once; this bounds what a missed close could cost.
const MEMBERSHIP_CHECK_MS: u64 = 20_000;

/// How long a caller may take to say its request once its stream is open.
const REQUEST_WAIT_MS: u64 = 30_000;

/// Requests of one connection that are answered at once; the next one waits. An answer may
/// hold a chunk of a model and follow a run to its end.
const ANSWERS_PER_CONNECTION_MAX: usize = 16;

/// Serves until `shutdown` says so: resumes every run that goes on, then takes
/// connections.
///
/// # Errors
/// The port cannot be had, or the journal cannot be read.
pub async fn serve(
    coordinator: Arc<Coordinator>,
    mut shutdown: watch::Receiver<bool>,
    bound: impl FnOnce(std::net::SocketAddr),
) -> Result<(), CoordinatorError> {
    let address = coordinator.config.listen;
    let mut listener = Listener::bind(address, &coordinator.credentials, LinkLimits::default())?;
    bound(listener.local_address().unwrap_or(address));
    run::resume_all(&coordinator)?;
    loop {
        let connection = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some(connection) = connection else { break };
        tokio::spawn(attend(coordinator.clone(), connection));
    }
    listener
        .close(CloseCode::ShuttingDown, "the coordinator is shutting down")
        .await;
    Ok(())
}

/// One connection, from its admission to its end.
async fn attend(coordinator: Arc<Coordinator>, connection: Connection) {
    let (identity, certificate) = match connection.peer().clone() {
        Peer::Stranger => return attend_stranger(coordinator, connection).await,
        Peer::Member {
            identity,
            certificate,
        } => (identity, certificate.0),
    };
    let (role, name) = (identity.role, identity.name);
    if let Err(refusal) = coordinator
        .with_members(|members| members.admit(role, &name, certificate, coordinator.now()))
    {
        tracing::warn!(%role, %name, %refusal, "turned away");
        return connection.close(CloseCode::NotAdmitted, &refusal.reason);
    }
    tracing::info!(%role, %name, address = %connection.peer_address(), "connected");
    let cause = converse(&coordinator, &connection, role, &name, certificate).await;
    coordinator.leave(role, &name, &connection);
    tracing::info!(%role, %name, %cause, "disconnected");
}

/// Takes a member's requests until the connection ends; says why it did.
async fn converse(
    coordinator: &Arc<Coordinator>,
    connection: &Connection,
    role: Role,
    name: &MemberName,
    certificate: Digest,
) -> String {
    let mut check = tokio::time::interval(Duration::from_millis(MEMBERSHIP_CHECK_MS));
    let certificate = session::CurrentCertificate::of_handshake(certificate);
    let answers = Arc::new(Semaphore::new(ANSWERS_PER_CONNECTION_MAX));
    loop {
        let next = async {
            // Nobody closes it.
            let place = answers.clone().acquire_owned().await.ok();
            next_request(connection).await.map(|asked| (asked, place))
        };
        tokio::pin!(next);
        let next = loop {
            tokio::select! {
                next = &mut next => break next,
                _ = check.tick() => {
                    let still = coordinator.with_members(|members| {
                        members.admit(role, name, certificate.digest(), coordinator.now())
                    });
                    if let Err(refusal) = still {
                        connection.close(CloseCode::Evicted, &refusal.reason);
                        return refusal.reason;
                    }
                }
            }
        };
        let (asked, place) = match next {
            Ok(next) => next,
            Err(error) => return error.to_string(),
        };
        if role == Role::Site && matches!(asked.0, Ok(Request::Hello(_))) {
            takes_its_place(coordinator, connection, name);
        }
        let caller = session::Caller {
            role,
            name: name.clone(),
            certificate: certificate.clone(),
        };
        let answering = answer(coordinator.clone(), Some(caller), asked);
        tokio::spawn(async move {
            answering.await;
            drop(place);
        });
    }
}

/// A site's node has said hello: from now on this is the connection that the site is asked over. Whoever only looks,
/// with the site's credentials, says no hello and takes nobody's place.
fn takes_its_place(coordinator: &Coordinator, connection: &Connection, name: &MemberName) {
    let replaced = coordinator.arrive(Role::Site, name, connection.clone());
    if let Some(replaced) = replaced.filter(|replaced| !replaced.is_same(connection)) {
        replaced.close(
            CloseCode::Replaced,
            "a newer connection of this member took its place",
        );
    }
}

/// Somebody without a certificate: one request, which may only be to enrol.
async fn attend_stranger(coordinator: Arc<Coordinator>, connection: Connection) {
    if let Ok(asked) = next_request(&connection).await {
        answer(coordinator, None, asked).await;
    }
    // The listener's limits end a stranger that lingers.
    connection.closed().await;
}

/// A request, or what is wrong with it, and the stream that waits for the answer.
type Asked = (Result<Request, MessageError>, RequestStream);

/// The next request of a connection. One is read at a time: a caller that dawdles over one
/// delays its own, and has no more than one kept for it.
async fn next_request(connection: &Connection) -> Result<Asked, LinkError> {
    loop {
        let mut stream = connection.accept_request().await?;
        let wait = Duration::from_millis(REQUEST_WAIT_MS);
        match stream.receive_within::<wire::Request>(wait).await {
            Ok(wire) => return Ok((Request::try_from(wire), stream)),
            Err(error) => {
                match connection.peer() {
                    Peer::Stranger => {
                        let address = connection.peer_address();
                        tracing::warn!(%address, %error, "a stranger's request could not be read");
                    }
                    peer => tracing::warn!(%peer, %error, "a request could not be read"),
                }
                stream.stop(1);
            }
        }
    }
}

/// Answers one request.
async fn answer(
    coordinator: Arc<Coordinator>,
    caller: Option<session::Caller>,
    (request, mut stream): Asked,
) {
    let answered = match request {
        Err(error) => {
            let refusal = Refusal::new(
                RefusalCode::BadRequest,
                error.to_string(),
                "use the same version on both sides",
            );
            send(&mut stream, Response::Refusal(refusal)).await
        }
        Ok(request) => {
            let name = request.name();
            let peer = caller.as_ref().map_or_else(
                || "a stranger".to_owned(),
                |caller| format!("{} {}", caller.role, caller.name),
            );
            let answered = session::answer(&coordinator, caller, request, &mut stream).await;
            if let Err(error) = &answered {
                tracing::warn!(peer, request = name, %error, "a request was not answered to its end");
            }
            answered
        }
    };
    match answered {
        Ok(()) => {
            let (mut sender, _receiver) = stream.split();
            if sender.finish().is_ok() {
                sender.delivered().await.ok();
            }
        }
        Err(_) => stream.stop(2),
    }
}

/// Sends one response.
///
/// # Errors
/// The peer is gone.
pub async fn send(stream: &mut RequestStream, response: Response) -> Result<(), LinkError> {
    stream.send(&wire::Response::from(response)).await
}

/// A fault as the peer is told: what failed, without this machine's paths.
#[must_use]
pub fn fault_of(error: &CoordinatorError) -> Response {
    tracing::error!(%error, "the coordinator failed");
    Response::Fault(Fault {
        what: "the coordinator could not record or read what this needs".into(),
        remedy: "ask its operator to look at its log".into(),
    })
}
