//! Proofs of one entry, as somebody brought them to an auditor.

use consilium_journal::EntryProof;

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "entry_proof",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 96,
};

/// A proof that holds says the same when it is written again; and holds for no other place and no other payload.
pub fn holds(bytes: &[u8]) {
    let Ok(proof) = EntryProof::parse(bytes) else {
        return;
    };
    let Ok((entry, checkpoint)) = proof.check() else {
        return;
    };
    assert!(entry.seq < checkpoint.head().size);
    let Ok(written) = serde_json::to_vec(&proof) else {
        return;
    };
    assert_eq!(EntryProof::parse(&written).ok().as_ref(), Some(&proof));
    let Ok(mut other) = serde_json::from_slice::<serde_json::Value>(&written) else {
        return;
    };
    if let Some(fields) = other.as_object_mut() {
        fields.insert("at-ms".into(), (entry.at_ms ^ 1).into());
    }
    if let Ok(other) = serde_json::to_vec(&other) {
        let held = EntryProof::parse(&other).and_then(|proof| proof.check());
        assert!(held.is_err());
    }
}
