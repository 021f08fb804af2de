// error: Permit` are private
//! Only `decide` makes a permit.

use std::collections::BTreeSet;

use consilium_policies::{Action, Permit};
use consilium_protocol::{Digest, RunId};

fn permit_myself(run: RunId) -> Permit {
    Permit {
        rules: Vec::new(),
        bundle: Digest::of(&[]),
        releases: BTreeSet::new(),
        run,
        action: Action::Evaluate,
    }
}

fn main() {
    let _ = permit_myself;
}
