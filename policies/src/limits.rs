//! Every limit of a policy, with its name and its reason.

/// `policy.toml`, and `cases.toml`: thousands of lines, more than anyone reads.
pub const BUNDLE_BYTES_MAX: usize = 256 * 1024;

/// Permits of one bundle. A refusal can name them all.
pub const PERMITS_MAX: usize = consilium_protocol::limits::RULES_MAX;

/// Names in one list of a permit.
pub const NAMES_MAX: usize = 1024;

/// Cases of one file.
pub const CASES_MAX: usize = 1024;

/// Parameters per record that a permit can allow: a model at the limit of the protocol over one record.
pub const PARAMETERS_PER_RECORD_MAX: f64 = consilium_protocol::limits::PARAMETERS_MAX as f64;

/// Rules of one `rules.cedar`, within the time that a decision may take.
pub const CEDAR_RULES_MAX: usize = 500;

/// Data sets with terms in one policy.
pub const DATASETS_MAX: usize = 1024;

/// Signatures of one bundle.
pub const SIGNATURES_MAX: usize = 64;
