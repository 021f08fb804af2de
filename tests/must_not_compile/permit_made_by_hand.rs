// error: Permit` are private
//! Only `decide` makes a permit.

use std::collections::BTreeSet;

use consilium_policies::{Action, Permit, Terms};
use consilium_protocol::{Digest, RunId};

fn permit_myself(run: RunId, terms: Terms) -> Permit {
    Permit {
        rules: Vec::new(),
        bundle: Digest::of(&[]),
        releases: BTreeSet::new(),
        run: Some(run),
        action: Action::Evaluate,
        terms,
    }
}

fn main() {
    let _ = permit_myself;
}
