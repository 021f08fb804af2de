//! What a witness remembers of others' journals, and what it says to a new checkpoint (after C2SP `tlog-witness`).
//!
//! A log is a name *and* a key: a site that is enrolled anew has a new key and begins a new log, which an
//! administrator's eviction and invitation stand behind; a site that keeps its key can only continue.
//!
//! One file a log holds the newest checkpoint; the next is written beside it, made durable, and the old one removed. So
//! after any crash the newest that is whole is the one that was remembered, or a later one that nobody was told of.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_protocol::signature::PublicKey;

use super::{KeyName, NOTE_BYTES_MAX, NoteError, NoteSignature, SignedCheckpoint};
use crate::storage::{Disk, Storage, fill};
use crate::{ConsistencyProof, JournalError};

const EXTENSION: &str = ".checkpoint";
/// More logs than any consortium has sites, evicted ones included.
const LOGS_MAX: usize = 10_000;

/// The memory of one witness.
pub struct Witness {
    storage: Arc<dyn Storage>,
    logs: Mutex<BTreeMap<PublicKey, Log>>,
    passed_over: Vec<String>,
}

struct Log {
    newest: SignedCheckpoint,
    /// Of the file that holds it.
    generation: u64,
}

/// What a witness says to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It continues what was seen last and is remembered: it may be cosigned.
    Continues,
    /// The proof does not lead from what was seen last to it: begin from there, if the journal still holds it. Nothing
    /// is cosigned.
    NotFromLast(Box<SignedCheckpoint>),
}

/// A checkpoint that is not the log's, or cannot be remembered.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Not signed by this log.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The witness's disk.
    #[error(transparent)]
    Storage(#[from] JournalError),
    /// Too many logs.
    #[error("a witness remembers at most {LOGS_MAX} journals")]
    TooMany,
}

impl Witness {
    /// Opens the memory in `folder`, or begins one there.
    ///
    /// # Errors
    /// The storage fails.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(Disk::for_writing(folder)?))
    }

    /// As [`Witness::open`], on any storage.
    ///
    /// # Errors
    /// The storage fails.
    pub fn open_on(storage: Arc<dyn Storage>) -> Result<Self, JournalError> {
        let names = storage
            .names()
            .map_err(JournalError::storage("list", "."))?;
        let mut logs: BTreeMap<PublicKey, Log> = BTreeMap::new();
        let mut passed_over = Vec::new();
        for name in names {
            let Some((key, generation)) = parse_name(&name) else {
                continue;
            };
            let note = read(&*storage, &name)?;
            // A file that a crash cut short, or somebody changed, holds no checkpoint of this key.
            let newest = match SignedCheckpoint::parse(&note) {
                Ok(newest) if newest.verify(key).is_ok() => newest,
                _ => {
                    passed_over.push(name);
                    continue;
                }
            };
            let later = |known: &Log| known.generation > generation;
            if !logs.get(&key).is_some_and(later) {
                logs.insert(key, Log { newest, generation });
            }
        }
        Ok(Self {
            storage,
            logs: Mutex::new(logs),
            passed_over,
        })
    }

    /// Files that hold no checkpoint, though their names say so: what a crash cut short, or somebody changed.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The newest checkpoint seen of the log with this key, with the cosignatures known.
    #[must_use]
    pub fn last(&self, key: PublicKey) -> Option<SignedCheckpoint> {
        self.logs().get(&key).map(|log| log.newest.clone())
    }

    /// Looks at a checkpoint of the log with this key: is it signed by it, and does `proof`, from `old_size` on, show
    /// that it continues what was seen last? If so it is remembered, durably.
    ///
    /// # Errors
    /// It is not this log's, or cannot be remembered: then it must not be cosigned.
    pub fn see(
        &self,
        key: PublicKey,
        new: &SignedCheckpoint,
        old_size: u64,
        proof: &ConsistencyProof,
    ) -> Result<Seen, WitnessError> {
        new.verify(key)?;
        let mut logs = self.logs();
        if let Some(log) = logs.get(&key) {
            let (last, next) = (log.newest.head(), new.head());
            let same_log = log.newest.checkpoint().origin == new.checkpoint().origin;
            let continues = proof.verify((last.size, last.root), (next.size, next.root));
            if !same_log || old_size != last.size || continues.is_err() {
                return Ok(Seen::NotFromLast(Box::new(log.newest.clone())));
            }
            if last == next {
                return Ok(Seen::Continues);
            }
        } else if logs.len() >= LOGS_MAX {
            return Err(WitnessError::TooMany);
        }
        self.remember(&mut logs, key, new.clone())?;
        Ok(Seen::Continues)
    }

    /// Puts a cosignature under the newest checkpoint of this log, if it is under this very checkpoint that it belongs.
    /// The caller has verified it.
    ///
    /// # Errors
    /// It cannot be remembered.
    pub fn add(
        &self,
        key: PublicKey,
        to: &SignedCheckpoint,
        cosignature: NoteSignature,
    ) -> Result<(), WitnessError> {
        let mut logs = self.logs();
        let Some(log) = logs.get(&key).filter(|log| log.newest.head() == to.head()) else {
            return Ok(());
        };
        let mut newest = log.newest.clone();
        newest.add(cosignature)?;
        Ok(self.remember(&mut logs, key, newest)?)
    }

    fn remember(
        &self,
        logs: &mut BTreeMap<PublicKey, Log>,
        key: PublicKey,
        newest: SignedCheckpoint,
    ) -> Result<(), JournalError> {
        let before = logs.get(&key).map(|log| log.generation);
        let generation = before.map_or(1, |generation| generation + 1);
        let name = file_name(&newest.checkpoint().origin, key, generation);
        let storage = &*self.storage;
        // What an attempt that failed before left of it.
        if storage.len(&name).is_ok() {
            storage
                .set_len(&name, 0)
                .map_err(JournalError::storage("cut", &name))?;
        } else {
            storage
                .create(&name)
                .map_err(JournalError::storage("create", &name))?;
        }
        fill(storage, &name, newest.to_string().as_bytes())?;
        let old = before
            .zip(logs.get(&key))
            .map(|(generation, log)| file_name(&log.newest.checkpoint().origin, key, generation));
        logs.insert(key, Log { newest, generation });
        if let Some(old) = old {
            // If it stays, the higher generation wins at the next start.
            storage.remove(&old).ok();
        }
        Ok(())
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<PublicKey, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `cleveland-<key>-<generation>.checkpoint`. The site's name is for people; key and generation are read back.
fn file_name(origin: &KeyName, key: PublicKey, generation: u64) -> String {
    let site = origin.last_part();
    format!("{site}-{key}-{generation:020}{EXTENSION}")
}

fn parse_name(name: &str) -> Option<(PublicKey, u64)> {
    let mut parts = name.strip_suffix(EXTENSION)?.rsplitn(3, '-');
    let generation = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, generation))
}

fn read(storage: &dyn Storage, name: &str) -> Result<Vec<u8>, JournalError> {
    let mut note = vec![0; NOTE_BYTES_MAX + 1];
    let mut filled = 0;
    while let Some(rest) = note.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match storage
            .read_at(name, filled as u64, rest)
            .map_err(JournalError::storage("read", name))?
        {
            0 => break,
            more => filled += more,
        }
    }
    note.truncate(filled);
    Ok(note)
}

#[cfg(test)]
mod tests;
