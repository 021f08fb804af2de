//! The coordinator as a witness of the sites' journals, and between a site and the other site that witnesses it.
//!
//! It remembers the newest checkpoint of each site, tells it at the site's next welcome, and cosigns only what is shown
//! to continue it. It cannot make a checkpoint up (the site's key signs them) and cannot hide one for long (another
//! site remembers too, and its word passes through here with its signature).

use std::sync::Arc;
use std::time::Duration;

use consilium_journal::ConsistencyProof;
use consilium_journal::checkpoint::{
    Seen, SignedCheckpoint, WitnessError, coordinator_key_name, site_key_name,
};
use consilium_link::{LinkError, certificate_key};
use consilium_protocol::message::{Cosign, Cosignature, Cosigned, Request, Response};
use consilium_protocol::signature::PublicKey;
use consilium_protocol::{Digest, MemberName, Refusal, RefusalCode, Role, SiteName, wire};

use crate::coordinator::{Coordinator, CoordinatorError};

/// How long the other site may take.
const PEER_WAIT_MS: u64 = 3_000;

/// A checkpoint, and the key of the site that it is of.
struct Shown {
    key: PublicKey,
    checkpoint: SignedCheckpoint,
}

/// What was witnessed last of a site, for its welcome; empty if nothing was, or if the site has another key now.
#[must_use]
pub fn last_of(coordinator: &Coordinator, site: &MemberName) -> Vec<u8> {
    coordinator
        .connection(Role::Site, site)
        .and_then(|connection| certificate_key(&connection.peer_certificate()?).ok())
        .and_then(|key| coordinator.witness.last(key))
        .map(|checkpoint| checkpoint.to_string().into_bytes())
        .unwrap_or_default()
}

/// Cosigns a site's checkpoint if it continues the last one, and names another site that can be asked too.
///
/// # Errors
/// The outer: the coordinator's disk fails. The inner: it is no checkpoint of this site.
pub async fn cosign(
    coordinator: &Arc<Coordinator>,
    site: &MemberName,
    asked: Cosign,
) -> Result<Result<Cosigned, Refusal>, CoordinatorError> {
    let shown = match shown_by(coordinator, site, &asked) {
        Ok(shown) => shown,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let peer = coordinator.another_site(site);
    let (witnessing, name) = (coordinator.clone(), site.clone());
    let looked = move || look(&witnessing, &name, &shown, &asked);
    let cosigned = tokio::task::spawn_blocking(looked).await??;
    Ok(cosigned.map(|cosigned| Cosigned { peer, ..cosigned }))
}

fn look(
    coordinator: &Coordinator,
    site: &MemberName,
    shown: &Shown,
    asked: &Cosign,
) -> Result<Result<Cosigned, Refusal>, CoordinatorError> {
    let proof = ConsistencyProof::new(asked.proof.iter().copied().map(Digest).collect());
    let seen = coordinator
        .witness
        .see(shown.key, &shown.checkpoint, asked.old_size, &proof);
    match seen {
        Err(WitnessError::Storage(error)) => Err(error.into()),
        Err(error) => Ok(Err(bad(&error))),
        Ok(Seen::NotFromLast(last)) => {
            let (size, last_size) = (shown.checkpoint.head().size, last.head().size);
            if size < last_size || asked.old_size == last_size {
                tracing::warn!(%site, size, last_size,
                    "a site's checkpoint does not continue the one witnessed last; not cosigned");
            }
            Ok(Ok(Cosigned {
                last: last.to_string().into_bytes(),
                ..Cosigned::default()
            }))
        }
        Ok(Seen::Continues) => {
            let credentials = &coordinator.credentials;
            let name = coordinator_key_name(&credentials.anchor().consortium());
            let at_s = coordinator.now().0 / 1000;
            let key = credentials.public_key()?;
            let cosignature = shown
                .checkpoint
                .cosign(&name, key, at_s, |bytes| credentials.sign_note(bytes))?;
            remember(coordinator, shown, cosignature.clone())?;
            Ok(Ok(Cosigned {
                cosignature: Some(Cosignature {
                    line: cosignature.to_string(),
                    certificate: credentials.certificate().to_vec(),
                }),
                ..Cosigned::default()
            }))
        }
    }
}

/// Takes a site's checkpoint to another site and brings back what that one says, word for word. A cosignature is
/// remembered under the checkpoint.
///
/// # Errors
/// The outer: the coordinator's disk fails. The inner: it is no checkpoint of this site, or the other one cannot be
/// asked.
pub async fn by_peer(
    coordinator: &Arc<Coordinator>,
    site: &MemberName,
    peer: &SiteName,
    asked: Cosign,
) -> Result<Result<Cosigned, Refusal>, CoordinatorError> {
    let shown = match shown_by(coordinator, site, &asked) {
        Ok(shown) => shown,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let peer_name: MemberName = peer.clone().into();
    let connection = coordinator.connection(Role::Site, &peer_name);
    let Some(connection) = connection.filter(|_| peer_name != *site) else {
        return Ok(Err(unreachable(peer, "is not connected")));
    };
    let request = Request::WitnessPeer {
        site: site.clone().into(),
        cosign: asked,
    };
    let exchange = async {
        let answer: wire::Response = connection.ask(request).await?.receive().await?;
        Response::try_from(answer).map_err(|_| LinkError::Ended)
    };
    let wait = Duration::from_millis(PEER_WAIT_MS);
    let cosigned = match tokio::time::timeout(wait, exchange).await {
        Ok(Ok(Response::Cosigned(cosigned))) => cosigned,
        Ok(Ok(Response::Refusal(refusal))) => return Ok(Err(refusal)),
        Ok(Ok(_)) => return Ok(Err(unreachable(peer, "gave another answer"))),
        Ok(Err(error)) => return Ok(Err(unreachable(peer, &error.to_string()))),
        Err(_) => return Ok(Err(unreachable(peer, "does not answer"))),
    };
    if let Some(cosignature) = &cosigned.cosignature
        && let Some(line) = genuine(coordinator, peer, &shown, cosignature)
    {
        let remembering = coordinator.clone();
        tokio::task::spawn_blocking(move || remember(&remembering, &shown, line)).await??;
    }
    Ok(Ok(cosigned))
}

/// A checkpoint that its own site shows us: by certificate, name and signature.
fn shown_by(
    coordinator: &Coordinator,
    site: &MemberName,
    asked: &Cosign,
) -> Result<Shown, Refusal> {
    let anchor = coordinator.authority.anchor();
    let identity = anchor
        .identify(&asked.certificate, coordinator.now())
        .map_err(|error| bad(&error))?;
    if identity.role != Role::Site || identity.name != *site {
        return Err(bad(&format!("the certificate is {identity}'s")));
    }
    let key = certificate_key(&asked.certificate).map_err(|error| bad(&error))?;
    let checkpoint = SignedCheckpoint::parse(&asked.checkpoint).map_err(|error| bad(&error))?;
    let origin = site_key_name(&anchor.consortium(), &site.clone().into());
    if checkpoint.checkpoint().origin != origin {
        return Err(bad(&format!("the checkpoint is not of `{site}`")));
    }
    checkpoint.verify(key).map_err(|error| bad(&error))?;
    Ok(Shown { key, checkpoint })
}

/// A peer's cosignature, if it is that peer's and under this checkpoint.
fn genuine(
    coordinator: &Coordinator,
    peer: &SiteName,
    shown: &Shown,
    cosignature: &Cosignature,
) -> Option<consilium_journal::checkpoint::NoteSignature> {
    let anchor = coordinator.authority.anchor();
    let identity = anchor
        .identify(&cosignature.certificate, coordinator.now())
        .ok()?;
    if identity.role != Role::Site || identity.name.as_str() != peer.as_str() {
        return None;
    }
    let line: consilium_journal::checkpoint::NoteSignature = cosignature.line.parse().ok()?;
    let mut signed = shown.checkpoint.clone();
    signed.add(line.clone()).ok()?;
    let key = certificate_key(&cosignature.certificate).ok()?;
    let name = site_key_name(&anchor.consortium(), peer);
    signed.cosigned_at(&name, key).ok()?;
    Some(line)
}

fn remember(
    coordinator: &Coordinator,
    shown: &Shown,
    line: consilium_journal::checkpoint::NoteSignature,
) -> Result<(), CoordinatorError> {
    match coordinator.witness.add(shown.key, &shown.checkpoint, line) {
        Err(WitnessError::Storage(error)) => Err(error.into()),
        // A note full of cosignatures is witnessed well enough.
        _ => Ok(()),
    }
}

fn bad(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalCode::BadRequest,
        format!("no checkpoint to witness: {error}"),
        "the site's operator looks at its log",
    )
}

fn unreachable(peer: &SiteName, what: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Busy,
        format!("site `{peer}` {what}"),
        "the next checkpoint is shown to whoever is there then",
    )
}
