//! Payloads of journal entries, one JSON object a line, as an older or a foreign build may have written them.

use consilium_coordinator::event::Event;
use consilium_coordinator::members::Members;
use consilium_policies::entry::{
    BudgetTold, BundleInstalled, PassAbandoned, PassFailed, PassRefused, PassReleased, PassReserved,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "record",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 64,
};

/// What is accepted reads back from what is written of it, and members made of both are the same.
pub fn holds(bytes: &[u8]) {
    let (mut members, mut again) = (Members::default(), Members::default());
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some((first, second)) = twice::<Event>(line) {
            assert_eq!(first.kind(), second.kind());
            assert_eq!(first.run_id(), second.run_id());
            members.apply(&first);
            again.apply(&second);
        }
        twice::<PassReserved>(line);
        twice::<PassReleased>(line);
        twice::<PassRefused>(line);
        twice::<PassFailed>(line);
        twice::<PassAbandoned>(line);
        twice::<BundleInstalled>(line);
        twice::<BudgetTold>(line);
    }
    assert_eq!(members, again);
    let listed = members.list(|_, _| false);
    assert_eq!(listed, again.list(|_, _| false));
}

fn twice<T>(line: &[u8]) -> Option<(T, T)>
where
    T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    let first: T = serde_json::from_slice(line).ok()?;
    let written = serde_json::to_vec(&first);
    assert!(written.is_ok(), "cannot be written: {first:?}");
    let second = serde_json::from_slice(&written.unwrap_or_default());
    assert!(
        second.as_ref().is_ok_and(|second| *second == first),
        "{second:?} after {first:?}"
    );
    Some((first, second.ok()?))
}
