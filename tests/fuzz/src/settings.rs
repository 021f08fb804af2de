//! The coordinator's configuration, as its operator writes it.

use std::fs;

use consilium_coordinator::config::{Config, FILE_NAME};

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "settings",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 256,
};

/// A configuration that is accepted is within its limits, whatever else the file says.
pub fn holds(bytes: &[u8]) {
    let folder = tempfile::tempdir();
    assert!(folder.is_ok(), "no temporary folder: {folder:?}");
    let Ok(folder) = folder else { return };
    let written = fs::write(folder.path().join(FILE_NAME), bytes);
    assert!(written.is_ok(), "{written:?}");
    match Config::load(folder.path()) {
        Ok(config) => {
            assert!((1..=1024).contains(&config.active_runs_max));
            assert!((2..=10 * 365 * 86_400).contains(&config.certificate_lifetime_s));
            assert!((1..=365 * 86_400).contains(&config.admission_deadline_s));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
