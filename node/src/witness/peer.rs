//! This node as another site's witness.

use std::sync::Arc;

use consilium_journal::ConsistencyProof;
use consilium_journal::checkpoint::{Seen, SignedCheckpoint, WitnessError, site_key_name};
use consilium_link::{certificate_key, wall_clock};
use consilium_protocol::message::{Cosign, Cosignature, Cosigned};
use consilium_protocol::{Digest, Refusal, RefusalCode, Role, SiteName};

use crate::node::Node;
use crate::witness::TestimonyError;

/// Looks at another site's checkpoint, as the coordinator brought it; cosigns it if it continues what this node saw
/// last of that site.
///
/// # Errors
/// The outer: this node's disk fails. The inner: it is no checkpoint of that site.
pub fn cosign(
    node: &Arc<Node>,
    site: &SiteName,
    asked: &Cosign,
) -> Result<Result<Cosigned, Refusal>, TestimonyError> {
    let refused = |why: &dyn std::fmt::Display| {
        Ok(Err(Refusal::new(
            RefusalCode::BadRequest,
            why.to_string(),
            "the site whose journal it is looks at its log",
        )))
    };
    let credentials = node.credentials();
    let now = wall_clock();
    match credentials.anchor().identify(&asked.certificate, now) {
        Ok(identity) if identity.role == Role::Site && identity.name.as_str() == site.as_str() => {}
        Ok(other) => return refused(&format!("the certificate is {other}'s")),
        Err(error) => return refused(&error),
    }
    let checkpoint = match SignedCheckpoint::parse(&asked.checkpoint) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return refused(&error),
    };
    let testimony = &node.testimony;
    if checkpoint.checkpoint().origin != site_key_name(&testimony.consortium, site) {
        return refused(&format!("the checkpoint is not of `{site}`"));
    }
    let key = certificate_key(&asked.certificate)?;
    let proof = ConsistencyProof::new(asked.proof.iter().copied().map(Digest).collect());
    let seen = match testimony
        .others
        .see(key, &checkpoint, asked.old_size, &proof)
    {
        Ok(seen) => seen,
        Err(WitnessError::Storage(error)) => return Err(error.into()),
        Err(error) => return refused(&error),
    };
    Ok(Ok(match seen {
        Seen::NotFromLast(last) => {
            tracing::info!(%site, size = checkpoint.head().size, last = last.head().size,
                "does not cosign a checkpoint that was not shown to continue the last one");
            Cosigned {
                last: last.to_string().into_bytes(),
                ..Cosigned::default()
            }
        }
        Seen::Continues => {
            let cosignature =
                checkpoint.cosign(&testimony.origin, testimony.key, now.0 / 1000, |bytes| {
                    credentials.sign_note(bytes)
                })?;
            Cosigned {
                cosignature: Some(Cosignature {
                    line: cosignature.to_string(),
                    certificate: credentials.certificate().to_vec(),
                }),
                ..Cosigned::default()
            }
        }
    }))
}
