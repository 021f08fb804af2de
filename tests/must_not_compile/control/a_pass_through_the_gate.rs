//! What the other programs twist, done as it is meant: work under a permit, and only what was released is sent.

use consilium_node::gate::{Admission, Gate, NotReleased, Released, WorkError};
use consilium_policies::{Ask, Facts, Permit, Release};
use consilium_protocol::message::Admitted;
use consilium_protocol::{Digest, Millis};

fn count(permit: &Permit) -> Result<Admission, WorkError> {
    let _ = permit.releases(Release::Update);
    Ok(Admission {
        records: 199,
        dataset_version: Digest::of(&[]),
    })
}

fn send(_: Released<Admitted>) {}

fn admit(gate: &Gate, ask: &Ask, facts: &Facts, now: Millis) -> Result<(), NotReleased> {
    send(gate.pass(ask, facts, now, count)?);
    Ok(())
}

fn main() {
    let _ = admit;
    // A digest may be written down; `permit_serialized.rs` tries the same with a permit.
    let _ = serde_json::to_vec(&consilium_journal::Digest([0; 32]));
}
