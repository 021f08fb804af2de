//! The coordinator's index: runs, their histories and their tokens, for quick
//! answers. The only file here that names sled.
//!
//! Everything in it comes from the journal. Losing it loses nothing: it is made
//! anew whenever it is missing, broken, or not of this journal's history.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use consilium_journal::Head;
use consilium_protocol::limits::{EVENTS_LISTED_BYTES_MAX, EVENTS_LISTED_MAX, RUNS_LISTED_MAX};
use consilium_protocol::message::{RunEvent, RunSummary};
use consilium_protocol::{Digest, RunId};

use crate::event::Event;
use crate::run::record::RunRecord;

/// Where an index stands in the journal.
const HEAD_KEY: &[u8] = b"m/head";
/// Counts submissions, so that runs list in their order.
const ORDER_KEY: &[u8] = b"m/runs";

/// Sled's cache; the default of 1 GiB would be most of the coordinator's memory.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The index could not be read or written.
#[derive(Debug)]
pub struct IndexError {
    folder: PathBuf,
    cause: String,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the index in `{}` failed: {}; stop the coordinator and remove that folder, it is rebuilt from the journal",
            self.folder.display(),
            self.cause
        )
    }
}

impl std::error::Error for IndexError {}

/// Runs by id, histories by number, run ids by token.
pub struct Index {
    database: sled::Db,
    folder: PathBuf,
}

impl Index {
    /// Opens the index, or begins an empty one where it is missing or broken.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        // Opening a damaged database may panic inside sled 0.34 (its issue 1387).
        let opened = catch_unwind(AssertUnwindSafe(|| open_database(folder)));
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(_)) | Err(_) => {
                let failed = |cause: String| IndexError {
                    folder: folder.to_owned(),
                    cause,
                };
                std::fs::remove_dir_all(folder).map_err(|error| failed(error.to_string()))?;
                open_database(folder).map_err(|error| failed(error.to_string()))?
            }
        };
        Ok(Self {
            database,
            folder: folder.to_owned(),
        })
    }

    /// Up to where it has followed the journal.
    ///
    /// # Errors
    /// The database fails.
    pub fn head(&self) -> Result<Option<Head>, IndexError> {
        self.get(HEAD_KEY)
    }

    /// Forgets everything, to be filled anew.
    ///
    /// # Errors
    /// The database fails.
    pub fn clear(&self) -> Result<(), IndexError> {
        self.database.clear().map_err(|error| self.failed(&error))
    }

    /// Takes one journal entry in; `head` is the journal's after it. All or nothing.
    ///
    /// # Errors
    /// The database fails.
    pub fn apply(
        &self,
        event: &Event,
        at_ms: u64,
        head: Head,
    ) -> Result<Option<RunRecord>, IndexError> {
        let mut batch = sled::Batch::default();
        batch.insert(HEAD_KEY, self.json(&head)?);
        let record = match event.run_id() {
            Some(run_id) => self.apply_to_run(run_id, event, at_ms, &mut batch)?,
            None => None,
        };
        self.database
            .apply_batch(batch)
            .map_err(|error| self.failed(&error))?;
        Ok(record)
    }

    fn apply_to_run(
        &self,
        run_id: &RunId,
        event: &Event,
        at_ms: u64,
        batch: &mut sled::Batch,
    ) -> Result<Option<RunRecord>, IndexError> {
        let record = match self.run(run_id)? {
            Some(mut record) => {
                record.apply(event, at_ms);
                record
            }
            None => {
                let Some(record) = RunRecord::from_submission(event, at_ms) else {
                    return Ok(None);
                };
                let order: u64 = self.get(ORDER_KEY)?.unwrap_or(0);
                batch.insert(ORDER_KEY, self.json(&(order + 1))?);
                batch.insert(order_key(order), run_id.as_str());
                if let Event::RunSubmitted { token, .. } = event {
                    batch.insert(token_key(token), run_id.as_str());
                }
                record
            }
        };
        batch.insert(run_key(run_id), self.json(&record)?);
        let entry = RunEvent {
            number: record.events - 1,
            at_ms,
            json: self.public_json(event)?,
        };
        batch.insert(
            event_key(run_id, entry.number),
            self.json(&(entry.at_ms, &entry.json))?,
        );
        Ok(Some(record))
    }

    /// The entry as its followers see it: the run file itself is shown elsewhere.
    fn public_json(&self, event: &Event) -> Result<String, IndexError> {
        let mut json = serde_json::to_value(event).map_err(|error| self.failed(&error))?;
        if let Some(fields) = json.as_object_mut() {
            for private in ["text", "certificate", "signature", "token"] {
                fields.remove(private);
            }
        }
        Ok(json.to_string())
    }

    /// One run.
    ///
    /// # Errors
    /// The database fails.
    pub fn run(&self, run_id: &RunId) -> Result<Option<RunRecord>, IndexError> {
        self.get(&run_key(run_id))
    }

    /// The run that a researcher's token submitted.
    ///
    /// # Errors
    /// The database fails.
    pub fn run_of_token(&self, token: &Digest) -> Result<Option<RunId>, IndexError> {
        let found = self
            .database
            .get(token_key(token))
            .map_err(|error| self.failed(&error))?;
        Ok(found.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
    }

    /// The newest runs, newest first, at most [`RUNS_LISTED_MAX`].
    ///
    /// # Errors
    /// The database fails.
    pub fn runs(&self) -> Result<Vec<RunSummary>, IndexError> {
        let mut runs = Vec::new();
        for item in self.database.scan_prefix(b"o/").rev().take(RUNS_LISTED_MAX) {
            let (_, id) = item.map_err(|error| self.failed(&error))?;
            let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok());
            if let Some(record) = id.map(|id| self.run(&id)).transpose()?.flatten() {
                runs.push(record.summary);
            }
        }
        Ok(runs)
    }

    /// A run's history from entry `from` on: at most [`EVENTS_LISTED_MAX`] entries, and no
    /// more than fit in one message. Empty where there is no more.
    ///
    /// # Errors
    /// The database fails.
    pub fn events(&self, run_id: &RunId, from: u64) -> Result<Vec<RunEvent>, IndexError> {
        let range = event_key(run_id, from)..=event_key(run_id, u64::MAX);
        self.that_fit(self.database.range(range))
    }

    /// The newest entries of a run's history, oldest first, as many as fit in one message.
    ///
    /// # Errors
    /// The database fails.
    pub fn newest_events(&self, run_id: &RunId) -> Result<Vec<RunEvent>, IndexError> {
        let range = event_key(run_id, 0)..=event_key(run_id, u64::MAX);
        let mut newest = self.that_fit(self.database.range(range).rev())?;
        newest.reverse();
        Ok(newest)
    }

    fn that_fit(
        &self,
        entries: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Vec<RunEvent>, IndexError> {
        let mut events: Vec<RunEvent> = Vec::new();
        let mut bytes = 0;
        for item in entries.take(EVENTS_LISTED_MAX) {
            let (key, value) = item.map_err(|error| self.failed(&error))?;
            bytes += value.len();
            if bytes > EVENTS_LISTED_BYTES_MAX && !events.is_empty() {
                break;
            }
            let number = key
                .last_chunk::<8>()
                .map_or(0, |number| u64::from_be_bytes(*number));
            let (at_ms, json) =
                serde_json::from_slice(&value).map_err(|error| self.failed(&error))?;
            events.push(RunEvent {
                number,
                at_ms,
                json,
            });
        }
        Ok(events)
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, IndexError> {
        let found = self
            .database
            .get(key)
            .map_err(|error| self.failed(&error))?;
        found
            .map(|bytes| serde_json::from_slice(&bytes).map_err(|error| self.failed(&error)))
            .transpose()
    }

    fn json(&self, value: &impl serde::Serialize) -> Result<Vec<u8>, IndexError> {
        serde_json::to_vec(value).map_err(|error| self.failed(&error))
    }

    fn failed(&self, cause: &impl fmt::Display) -> IndexError {
        IndexError {
            folder: self.folder.clone(),
            cause: cause.to_string(),
        }
    }
}

fn open_database(folder: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .open()
}

fn run_key(run_id: &RunId) -> Vec<u8> {
    format!("r/{run_id}").into_bytes()
}

fn token_key(token: &Digest) -> Vec<u8> {
    format!("t/{token}").into_bytes()
}

fn order_key(order: u64) -> Vec<u8> {
    [b"o/".as_slice(), &order.to_be_bytes()].concat()
}

/// `/` cannot stand in a run id, so no run's history runs into another's.
fn event_key(run_id: &RunId, number: u64) -> Vec<u8> {
    let mut key = format!("e/{run_id}/").into_bytes();
    key.extend_from_slice(&number.to_be_bytes());
    key
}
