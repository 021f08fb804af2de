//! The verbs on bytes beneath a journal.
//!
//! The seam is as low as it can be, so that the whole journal runs unchanged on a disk, in memory that can lose power,
//! or on either with failures injected. It is no place for policy: nothing here knows what a segment is.

mod breaking;
mod disk;
mod memory;

use std::io;

use crate::JournalError;

pub use breaking::{Break, Breaking, Verb};
pub use disk::Disk;
pub use memory::Memory;

/// A flat folder of named files.
///
/// After [`Storage::sync`] has returned, what was written to that file, and its length, survive a loss of power; after
/// [`Storage::sync_names`], so do creations and removals. Until then any part may be lost. One writer at a time.
pub trait Storage: Send + Sync {
    /// All file names, in any order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The length of a file in bytes.
    fn len(&self, name: &str) -> io::Result<u64>;
    /// Reads at `offset` and returns how many bytes were read: fewer than asked for near the end, 0 at it.
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Creates an empty file; an error if it exists.
    fn create(&self, name: &str) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, extending the file if need be.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends (with zeros) a file.
    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Makes a file's bytes and length durable. After an error nothing is known about what was written.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// Writes the whole content of a file that is there and empty; bytes and name are durable when it returns.
pub(crate) fn fill(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    storage
        .write_at(name, 0, bytes)
        .map_err(JournalError::storage("write", name))?;
    storage
        .sync(name)
        .map_err(JournalError::storage("fsync", name))?;
    storage
        .sync_names()
        .map_err(JournalError::storage("fsync the folder of", name))
}
