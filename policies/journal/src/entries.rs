//! Reading a journal in order.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::scan::Scan;
use crate::storage::{Disk, Storage};
use crate::{Digest, Head, JournalError};

/// One entry: what its owner wrote, and its place in the chain.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 0.
    pub seq: u64,
    /// When it was written, by its owner's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What the payload is.
    pub kind: String,
    /// Its owner's JSON.
    pub payload: Vec<u8>,
    /// Its hash, which covers all of the above and the hash of the entry before.
    pub hash: Digest,
}

impl Entry {
    /// The payload as the type it was written from.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JournalError> {
        serde_json::from_slice(&self.payload).map_err(|cause| JournalError::NotReadable {
            seq: self.seq,
            kind: self.kind.clone(),
            column: cause.column(),
        })
    }
}

/// The payload may say something about a person; its length does not.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("at_ms", &self.at_ms)
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload.len())
            .field("hash", &self.hash)
            .finish()
    }
}

/// The entries of a journal in order, each checked as it is read; at most one is in memory. Ends at the first error.
#[must_use]
pub struct Entries {
    scan: Scan,
    until_seq: u64,
    failed: bool,
}

/// Reads the journal in `folder`. A process may be appending to it meanwhile: what is not whole yet is left out.
pub fn read(folder: &Path) -> Result<Entries, JournalError> {
    let storage = Disk::for_reading(folder);
    let mut entries = match read_on(Arc::new(storage)) {
        Err(JournalError::Storage { cause, .. })
            if cause.kind() == std::io::ErrorKind::NotFound =>
        {
            return Err(JournalError::NoJournal {
                folder: folder.to_owned(),
            });
        }
        other => other?,
    };
    if entries.scan.is_empty() {
        return Err(JournalError::NoJournal {
            folder: folder.to_owned(),
        });
    }
    Ok(entries)
}

/// Reads the journal on `storage`, which may be empty.
pub fn read_on(storage: Arc<dyn Storage>) -> Result<Entries, JournalError> {
    Entries::until(storage, u64::MAX)
}

impl Entries {
    /// The entries before `until_seq`.
    pub(crate) fn until(storage: Arc<dyn Storage>, until_seq: u64) -> Result<Self, JournalError> {
        Ok(Self {
            scan: Scan::begin(storage)?,
            until_seq,
            failed: false,
        })
    }

    /// The entries from `head` on and before `until_seq`; `None` if the chain does not pass through `head`. What lies
    /// in segments before is taken on trust.
    pub(crate) fn after(
        storage: Arc<dyn Storage>,
        head: Head,
        until_seq: u64,
    ) -> Result<Option<Self>, JournalError> {
        let Some(last) = head.seq.checked_sub(1) else {
            let all = Self::until(storage, until_seq)?;
            return Ok((head == Head::EMPTY).then_some(all));
        };
        if head.seq > until_seq {
            return Ok(None);
        }
        let mut scan = Scan::begin_before(storage, last)?;
        while scan.head.seq < head.seq {
            if scan.advance()?.is_none() {
                return Ok(None);
            }
        }
        let passes_through = scan.head == head;
        Ok(passes_through.then_some(Self {
            scan,
            until_seq,
            failed: false,
        }))
    }

    /// The head after the entries read so far.
    pub fn head(&self) -> Head {
        self.scan.head
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.scan.head.seq >= self.until_seq {
            return None;
        }
        let entry = self.scan.advance().map(|read| {
            read.map(|(frame, hash)| Entry {
                seq: frame.seq,
                at_ms: frame.at_ms,
                kind: frame.kind.to_owned(),
                payload: frame.payload.to_vec(),
                hash,
            })
        });
        self.failed = entry.is_err();
        entry.transpose()
    }
}
