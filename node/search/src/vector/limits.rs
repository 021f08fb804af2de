//! What a vector index takes at most. Each number bounds memory, time, or both.

/// Coordinates of one vector. The widest text encoders in use have 4,096.
pub const DIMENSION_MAX: usize = 4_096;

/// Hits that one search may ask for. More is an export, and an export is not a search.
pub const K_MAX: usize = 10_000;

/// Row numbers lie below this, so that a set of rows takes at most 128 MiB.
pub const ROW_ID_END: u32 = 1 << 30;

/// Rows of one segment. Four bytes address them, and one build of more takes hours.
pub(super) const SEGMENT_ROWS_MAX: usize = 16_000_000;

/// Rows of one change: what is encoded, sealed and published in one step.
pub const CHANGE_ROWS_MAX: usize = 100_000;

/// Segments of one index, tail runs included. Maintenance keeps it far below.
pub(super) const SEGMENTS_MAX: usize = 1_024;

/// Bytes of an encoder's name.
pub(super) const ENCODER_NAME_MAX: usize = 128;

/// Candidates that a walk keeps. Wider than this, an exact scan is cheaper.
pub(super) const BEAM_MAX: usize = 4_096;

/// Bytes of the file that names the segments: 4 million erased rows and 1,024 segments fit.
pub(super) const MANIFEST_BYTES_MAX: u64 = 80 << 20;

/// Erased rows that may still be in the files. Maintenance keeps it far below; the manifest has twelve bytes for each.
pub(super) const ERASED_MAX: usize = 4_000_000;
