//! Mappings of text collections, and the records of their sources.

use consilium_search::collection::{Mapping, inspect};

use crate::Target;
use crate::draw::halves;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "collection",
    holds,
    // Gzip makes a thousand bytes of one, and a record has 16 MiB at most.
    memory_bytes_max: 96 << 20,
    memory_per_byte_max: 256,
};

/// A mapping before the first NUL, a source behind it: whatever it is, reading it ends, and reading it again finds the
/// same.
pub fn holds(bytes: &[u8]) {
    let (mapping, source) = halves(bytes);
    let Ok(text) = std::str::from_utf8(mapping) else {
        return;
    };
    let mapping = match Mapping::parse(text) {
        Ok(mapping) => mapping,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(
        Some(mapping.digest()),
        Mapping::parse(text).ok().map(|again| again.digest())
    );
    match (
        inspect(source.to_vec(), &mapping),
        inspect(source.to_vec(), &mapping),
    ) {
        (Ok(inspected), Ok(again)) => {
            assert_eq!(inspected, again);
            let skipped: u64 = inspected.skipped.values().sum();
            assert!(skipped <= inspected.records);
        }
        (Err(error), Err(again)) => assert_eq!(error.to_string(), again.to_string()),
        (once, again) => assert_eq!(once.is_ok(), again.is_ok()),
    }
}
