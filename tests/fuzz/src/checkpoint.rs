//! Checkpoints, keys and cosignatures, as another site or the coordinator sent them or a folder held them.

use consilium_journal::checkpoint::{NoteSignature, SIGNATURES_MAX, SignedCheckpoint, VerifierKey};

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "checkpoint",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 64,
};

/// What is accepted is written exactly as it was read: nobody signs one text and shows another. Nothing is signed by a
/// key that did not sign it.
pub fn holds(bytes: &[u8]) {
    if let Ok(read) = SignedCheckpoint::parse(bytes) {
        assert_eq!(read.to_string().as_bytes(), bytes);
        assert!(read.signers().count() <= SIGNATURES_MAX);
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        if let Ok(key) = key.parse() {
            assert!(read.verify(key).is_err());
            let name = read.checkpoint().origin.clone();
            assert!(read.cosigned_at(&name, key).is_err());
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(signature) = text.parse::<NoteSignature>() {
        assert_eq!(signature.to_string(), text);
    }
}
