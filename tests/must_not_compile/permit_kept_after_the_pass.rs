// error: borrowed data escapes outside of closure
//! A permit does not outlive its pass.

use consilium_node::gate::{Admission, Gate};
use consilium_policies::{Ask, Facts, Permit};
use consilium_protocol::{Digest, Millis};

fn keep(gate: &Gate, ask: &Ask, facts: &Facts) {
    let mut kept: Option<&Permit> = None;
    let _ = gate.pass(ask, facts, Millis(0), |permit| {
        kept = Some(permit);
        Ok(Admission { records: 1, dataset_version: Digest::of(&[]) })
    });
    let _ = kept;
}

fn main() {
    let _ = keep;
}
