//! Every limit of the journal, with its name.

use crate::JournalError;

/// No payload longer than this is written or believed, whatever the limits say (it bounds what a reader allocates).
pub const ENTRY_BYTES_CEILING: usize = 16 << 20;
/// The longest kind, in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// No batch is set larger than this: a longer damaged end cannot be what one crash left.
pub const BATCH_BYTES_CEILING: usize = 32 << 20;
/// The longest end of a segment that one crash can leave behind: a full batch and the entry that overfilled it.
pub(crate) const TAIL_BYTES_MAX: u64 = 64 << 20;
/// How much is read from a segment at a time.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// What one journal may grow to, chosen when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment that would grow beyond this is closed and the next begun. 64 MiB: small enough to copy and
    /// archive by itself, large enough that a year of rounds is a handful of files.
    pub segment_bytes_max: u64,
    /// The longest payload accepted. 1 MiB: entries record what happened; tensors lie elsewhere, by digest.
    pub entry_bytes_max: usize,
    /// How much may wait for one fsync; callers beyond it wait their turn. 4 MiB is a few milliseconds of disk.
    pub batch_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            entry_bytes_max: 1 << 20,
            batch_bytes_max: 4 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let out_of_range =
            |name, value, max| Err(JournalError::LimitOutOfRange { name, value, max });
        if !(1..=ENTRY_BYTES_CEILING).contains(&self.entry_bytes_max) {
            return out_of_range("entry_bytes_max", self.entry_bytes_max, ENTRY_BYTES_CEILING);
        }
        if !(1..=BATCH_BYTES_CEILING).contains(&self.batch_bytes_max) {
            return out_of_range("batch_bytes_max", self.batch_bytes_max, BATCH_BYTES_CEILING);
        }
        Ok(())
    }
}
