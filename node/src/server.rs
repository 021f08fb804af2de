//! The node on the network: dials the coordinator, keeps the connection, answers what it asks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use consilium_link::{
    Backoff, CloseCode, Closed, Connection, DialError, Dialer, LinkError, LinkLimits,
    certificate_issued_at, wall_clock,
};
use consilium_protocol::message::{Hello, Request, Response};
use consilium_protocol::{Digest, wire};
use tokio::sync::watch;

use crate::node::{Node, NodeError};
use crate::{session, witness};

/// A connection that stood this long makes the next trouble a new one.
const STEADY_MS: u64 = 10_000;

/// A certificate is renewed when this share of its lifetime is left.
const RENEW_SHARE_LEFT: f64 = 1.0 / 3.0;

/// How often the policy folder is looked at while nobody asks: an officer who installs a bundle soon sees it
/// journalled.
const POLICY_LOOK_MS: u64 = 1_000;

/// How often erased rows are looked for whose deadline has come. The deadline of each has hours to spare.
const COLLECTIONS_UPKEEP_MS: u64 = 3_600_000;

/// How often the certificate's age is looked at, at the most and at the least.
const RENEWAL_CHECK_MS: (u64, u64) = (500, 3_600_000);

/// Serves until `shutdown` says so, reconnecting for ever: a hospital's link may be down for days.
///
/// # Errors
/// The member was evicted, or its certificate is of no use any more: somebody must act.
pub async fn serve(node: Arc<Node>, shutdown: watch::Receiver<bool>) -> Result<(), NodeError> {
    tokio::select! {
        served = stay_connected(&node, shutdown) => served,
        never = look_at_policy(&node) => match never {},
        never = keep_collections(&node) => match never {},
    }
}

/// Takes up what officers install, off the runtime: the disk may be slow.
async fn look_at_policy(node: &Arc<Node>) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_millis(POLICY_LOOK_MS)).await;
        let looking = node.clone();
        let looked =
            tokio::task::spawn_blocking(move || looking.gate.look_at_policy(wall_clock())).await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a new policy is not taken up"),
            Err(error) => tracing::warn!(%error, "the policy was not looked at"),
        }
    }
}

/// Has what was erased from the collections gone for good in time, off the runtime: rewriting takes long.
async fn keep_collections(node: &Arc<Node>) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_millis(COLLECTIONS_UPKEEP_MS)).await;
        let keeping = node.clone();
        let kept =
            tokio::task::spawn_blocking(move || keeping.collections.maintain(wall_clock())).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the collections were not looked after");
        }
    }
}

async fn stay_connected(
    node: &Arc<Node>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    let seed = Digest::of(node.site.as_str().as_bytes()).0;
    let mut backoff = Backoff::new(u64::from(seed[0]) << 8 | u64::from(seed[1]));
    loop {
        match connect_and_attend(node, &mut backoff, &mut shutdown).await {
            Ok(Closed::ByUs) if *shutdown.borrow() => return Ok(()),
            Ok(closed) => tracing::warn!(cause = %closed, "disconnected; dialling again"),
            Err(error) if needs_a_person(&error) => {
                return Err(NodeError::System {
                    what: "the coordinator does not take this node".into(),
                    source: std::io::Error::other(error.to_string()),
                });
            }
            Err(error) => tracing::warn!(%error, "cannot connect; dialling again"),
        }
        let pause = Duration::from_millis(backoff.next_ms());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

/// Whether dialling again could not help.
fn needs_a_person(error: &DialError) -> bool {
    matches!(
        error,
        DialError::Evicted { .. }
            | DialError::CertificateExpired { .. }
            | DialError::CertificateForeign { .. }
            | DialError::WrongConsortium { .. }
            | DialError::NotAnAddress { .. }
            | DialError::VersionMismatch { .. }
    )
}

/// One connection from its handshake to its end; says why it ended. Asked to shut down, it tells the coordinator so:
/// one that is not told waits for the idle limit before it takes this node's place for free.
async fn connect_and_attend(
    node: &Arc<Node>,
    backoff: &mut Backoff,
    shutdown: &mut watch::Receiver<bool>,
) -> Result<Closed, DialError> {
    let dialer = Dialer::member(node.credentials(), LinkLimits::default());
    let connection = tokio::select! {
        dialled = dialer.dial(&node.config.coordinator) => dialled?,
        _ = shutdown.wait_for(|stop| *stop) => return Ok(Closed::ByUs),
    };
    let began = tokio::time::Instant::now();
    let closed = tokio::select! {
        closed = greet_and_attend(node, &connection) => closed,
        _ = shutdown.wait_for(|stop| *stop) => {
            let code = CloseCode::ShuttingDown;
            connection.close_and_tell(code, "the node is shutting down").await;
            return Ok(Closed::ByUs);
        }
    };
    if began.elapsed() >= Duration::from_millis(STEADY_MS) {
        backoff.reset();
    }
    if let Closed::ByPeer {
        code: CloseCode::Evicted | CloseCode::NotAdmitted,
        reason,
    } = closed
    {
        return Err(DialError::Evicted {
            address: connection.peer_address(),
            reason,
        });
    }
    Ok(closed)
}

async fn greet_and_attend(node: &Arc<Node>, connection: &Connection) -> Closed {
    match hello(node, connection).await {
        Ok(welcome) => {
            tokio::spawn(witnessed(node.clone(), connection.clone(), welcome));
            attend(node, connection).await
        }
        Err(LinkError::Closed(closed)) => closed,
        Err(error) => {
            tracing::warn!(%error, "the coordinator did not answer our hello");
            connection.close(CloseCode::Done, "no answer to hello");
            connection.closed().await
        }
    }
}

/// Compares the journal with what was witnessed of it, then has it witnessed on, until the connection ends.
async fn witnessed(node: Arc<Node>, connection: Connection, welcome: Vec<u8>) {
    witness::meet(&node, &connection, welcome).await;
    witness::keep_witnessed(node, connection).await;
}

/// Says hello; what the coordinator has witnessed of this site comes back.
async fn hello(node: &Node, connection: &Connection) -> Result<Vec<u8>, LinkError> {
    let hello = Request::Hello(Hello {
        software_version: env!("CARGO_PKG_VERSION").into(),
        datasets: node.published_names(),
    });
    let response = exchange(connection, hello).await?;
    let Response::Welcome {
        consortium,
        witnessed,
        ..
    } = response
    else {
        return Ok(Vec::new());
    };
    tracing::info!(site = %node.site, consortium, coordinator = %connection.peer_address(), "connected");
    Ok(witnessed)
}

/// One request without tensors, one answer.
///
/// # Errors
/// The link's. A malformed answer counts as the stream's end.
pub async fn exchange(connection: &Connection, request: Request) -> Result<Response, LinkError> {
    let response: wire::Response = connection.ask(request).await?.receive().await?;
    Response::try_from(response).map_err(|error| {
        tracing::warn!(%error, "the coordinator's answer is malformed");
        LinkError::Ended
    })
}

/// Answers the coordinator's requests, and renews the certificate in time, until the end.
async fn attend(node: &Arc<Node>, connection: &Connection) -> Closed {
    loop {
        let stream = tokio::select! {
            stream = connection.accept_request() => stream,
            () = tokio::time::sleep(until_renewal(node)) => {
                match renew(node, connection).await {
                    Ok(()) => {
                        // The next connection shows the new certificate.
                        tracing::info!("the certificate is renewed");
                    }
                    Err(error) => tracing::warn!(%error, "the certificate could not be renewed; trying again"),
                }
                continue;
            }
        };
        match stream {
            Ok(stream) => drop(tokio::spawn(session::attend(node.clone(), stream))),
            Err(LinkError::Closed(closed)) => return closed,
            Err(error) => {
                tracing::warn!(%error, "the connection is given up");
                connection.close(CloseCode::Protocol, "a request could not be accepted");
                return connection.closed().await;
            }
        }
    }
}

/// How long until the certificate should be renewed, within the bounds of a check.
fn until_renewal(node: &Node) -> Duration {
    let credentials = node.credentials();
    // Our own certificate was readable when it was loaded.
    let issued_at = certificate_issued_at(credentials.certificate()).unwrap_or_default();
    let lifetime_ms = credentials.expires_at().since_ms(issued_at) as f64;
    let due_at = credentials
        .expires_at()
        .0
        .saturating_sub((lifetime_ms * RENEW_SHARE_LEFT) as u64);
    let (least, most) = RENEWAL_CHECK_MS;
    Duration::from_millis(due_at.saturating_sub(wall_clock().0).clamp(least, most))
}

/// Renews the certificate if it is due: on disk first, then in use.
async fn renew(node: &Arc<Node>, connection: &Connection) -> Result<(), NodeError> {
    let credentials = node.credentials();
    let system = |what: &str| {
        let what = what.to_owned();
        move |error: String| NodeError::System {
            what,
            source: std::io::Error::other(error),
        }
    };
    let request = Request::Renew {
        certificate_request: credentials.certificate_request()?,
    };
    let response = exchange(connection, request)
        .await
        .map_err(|error| system("asking for a new certificate")(error.to_string()))?;
    let certificate = match response {
        Response::Certificate(certificate) => {
            certificate.chain.into_iter().next().unwrap_or_default()
        }
        Response::Refusal(refusal) => {
            return Err(system("the coordinator refuses")(refusal.to_string()));
        }
        _ => {
            return Err(system("asking for a new certificate")(
                "an unexpected answer".into(),
            ));
        }
    };
    let renewed = credentials.renewed(&certificate, wall_clock())?;
    renewed.save(&node.folder.identity())?;
    node.renew(renewed);
    Ok(())
}
