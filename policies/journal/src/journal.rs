//! Opening a journal and appending to it.
//!
//! Callers put their entries in a queue, in chain order, under one lock. One of them, whoever finds the segment free,
//! leads: it takes the whole queue, writes and fsyncs it outside the lock, and wakes the others, who find their
//! entries durable or the journal poisoned. So a batch is what came in during the fsync before it, and a batch is only
//! begun when the one before it is durable; `torn` relies on that.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::frame::{self, Frame, HEADER_BYTES};
use crate::limits::READ_BYTES;
use crate::merkle::Tree;
use crate::scan::{End, LastSegment, Scan, segment_name};
use crate::storage::{Disk, Storage, fill};
use crate::{Digest, Entries, Head, JournalError, Limits, Snapshot};

/// An open journal: the one writer of its folder. Shared between threads by `Arc`.
pub struct Journal {
    storage: Arc<dyn Storage>,
    limits: Limits,
    state: Mutex<State>,
    /// Signalled whenever a batch has ended, well or badly.
    batch_ended: Condvar,
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// There was none: a new one was begun.
    pub created: bool,
    /// How many entries it has.
    pub entries: u64,
    /// How many segment files.
    pub segments: u64,
    /// Bytes that a crash had left at the end, of entries nobody was told are durable; they were cut off.
    pub torn_tail_bytes: u64,
}

/// A durable entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

struct State {
    /// After the last entry queued.
    queued: Head,
    /// After the last entry that is durable.
    durable: Head,
    /// Over the entries queued.
    tree: Tree,
    latest_ms: u64,
    /// The frames of the next batch.
    queue: Vec<u8>,
    /// The first entry of the last batch begun.
    batch_seq: u64,
    /// Where the next batch goes; taken by the thread that leads.
    segment: Option<OpenSegment>,
    poison: Option<Arc<JournalError>>,
}

struct OpenSegment {
    name: String,
    bytes: u64,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one there (its folder too), after reading it whole and checking its
    /// chain. Cuts off what a crash left at the end; refuses, and changes nothing, if anything else is wrong.
    pub fn open(folder: &Path, limits: Limits) -> Result<(Self, Opened), JournalError> {
        Self::open_on(Arc::new(Disk::for_writing(folder)?), limits)
    }

    /// As [`Journal::open`], on any storage. Whoever brings the storage sees to it that nobody else writes there.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        limits: Limits,
    ) -> Result<(Self, Opened), JournalError> {
        limits.check()?;
        let mut scan = Scan::begin(Arc::clone(&storage))?;
        let created = scan.is_empty();
        let mut tree = Tree::default();
        while let Some((_, hash)) = scan.advance()? {
            tree.push(hash);
        }
        let opened = Opened {
            created,
            entries: scan.head.seq,
            segments: scan.end.segments.max(1),
            torn_tail_bytes: scan.end.torn_bytes,
        };
        let segment = settle_end(&*storage, &scan.end, scan.head)?;
        let state = State {
            queued: scan.head,
            durable: scan.head,
            tree,
            latest_ms: scan.latest_ms,
            queue: Vec::new(),
            batch_seq: scan.head.seq,
            segment: Some(segment),
            poison: None,
        };
        Ok((
            Self {
                storage,
                limits,
                state: Mutex::new(state),
                batch_ended: Condvar::new(),
            },
            opened,
        ))
    }

    /// Appends an entry and returns when it is durable. `payload` is its owner's JSON; `at_ms` its owner's time.
    ///
    /// After an error of the storage the entry may or may not be found when the journal is opened again.
    pub fn append(&self, at_ms: u64, kind: &str, payload: &[u8]) -> Result<Appended, JournalError> {
        let appended = self.enqueue(at_ms, kind, payload)?;
        self.wait_until_durable(appended.seq)?;
        Ok(appended)
    }

    /// [`Journal::append`] of `payload` as JSON.
    pub fn append_json<T: Serialize>(
        &self,
        at_ms: u64,
        kind: &str,
        payload: &T,
    ) -> Result<Appended, JournalError> {
        let appended = self.enqueue_json(at_ms, kind, payload)?;
        self.wait_until_durable(appended.seq)?;
        Ok(appended)
    }

    /// Gives `payload` as JSON its place in the chain and returns at once: **not durable yet**. It becomes so with the
    /// next batch, which somebody must wait for ([`Journal::wait_until_durable`]) or append behind it. For a caller
    /// that holds a lock of its own and wants the order of its entries settled under it, and the fsync outside.
    pub fn enqueue_json<T: Serialize>(
        &self,
        at_ms: u64,
        kind: &str,
        payload: &T,
    ) -> Result<Appended, JournalError> {
        let payload =
            serde_json::to_vec(payload).map_err(|cause| JournalError::NotSerializable {
                kind: kind.to_owned(),
                cause,
            })?;
        self.enqueue(at_ms, kind, &payload)
    }

    /// Returns when entry `seq`, and with it every entry before, is durable: leads a batch or waits for the one who
    /// does. `seq` must have been given out by this journal: waiting for a later one is an error, not a long wait.
    pub fn wait_until_durable(&self, seq: u64) -> Result<(), JournalError> {
        let mut state = self.state();
        if seq >= state.queued.seq {
            return Err(JournalError::NotQueued {
                seq,
                queued: state.queued.seq,
            });
        }
        while state.durable.seq <= seq {
            state.refuse_if_poisoned()?;
            state = match state.segment.take() {
                Some(segment) => self.lead(state, segment),
                None => self.wait(state),
            };
        }
        Ok(())
    }

    /// After the last durable entry.
    pub fn head(&self) -> Head {
        self.state().durable
    }

    /// The latest time of any entry. Callers take the later of this and their clock, so that a clock set back revives
    /// nothing.
    pub fn latest_ms(&self) -> u64 {
        self.state().latest_ms
    }

    /// The error of the storage after which this journal takes nothing more, until it is opened anew; `None` while all
    /// is well.
    pub fn failure(&self) -> Option<Arc<JournalError>> {
        self.state().poison.clone()
    }

    /// Reads the entries that are durable now, from the first.
    pub fn entries(&self) -> Result<Entries, JournalError> {
        Entries::until(Arc::clone(&self.storage), self.head().seq)
    }

    /// Reads the entries that are durable now, from `head` on; `None` if this journal never stood there. Entries before
    /// it were checked when the journal was opened, and are not read again.
    pub fn entries_after(&self, head: Head) -> Result<Option<Entries>, JournalError> {
        Entries::after(Arc::clone(&self.storage), head, self.head().seq)
    }

    /// The journal as it stands, for checkpoints and proofs: everything queued by now, once it is durable. What a
    /// snapshot says can be told to others: no crash takes any of it back.
    pub fn snapshot(&self) -> Result<Snapshot, JournalError> {
        let (chain, tree) = {
            let state = self.state();
            (state.queued, state.tree.clone())
        };
        if let Some(last) = chain.seq.checked_sub(1) {
            self.wait_until_durable(last)?;
        }
        Ok(Snapshot::new(Arc::clone(&self.storage), tree, chain))
    }

    /// Gives the entry its place in the chain and queues it.
    pub fn enqueue(
        &self,
        at_ms: u64,
        kind: &str,
        payload: &[u8],
    ) -> Result<Appended, JournalError> {
        if !frame::kind_is_valid(kind.as_bytes()) {
            return Err(JournalError::KindInvalid {
                kind: kind.chars().take(100).collect(),
            });
        }
        let bytes_max = self.limits.entry_bytes_max;
        let too_large = || JournalError::EntryTooLarge {
            kind: kind.to_owned(),
            bytes: payload.len(),
            bytes_max,
        };
        if payload.len() > bytes_max {
            return Err(too_large());
        }
        let mut state = self.state();
        while state.poison.is_none() && state.queue.len() >= self.limits.batch_bytes_max {
            // Whoever queued these may not be waiting for them.
            state = match state.segment.take() {
                Some(segment) => self.lead(state, segment),
                None => self.wait(state),
            };
        }
        state.refuse_if_poisoned()?;
        let Head {
            seq,
            hash: hash_before,
        } = state.queued;
        let batch = if state.queue.is_empty() {
            seq
        } else {
            state.batch_seq
        };
        let frame = Frame {
            seq,
            batch,
            at_ms,
            hash_before,
            kind,
            payload,
        };
        let hash = frame.encode(&mut state.queue).ok_or_else(too_large)?;
        state.queued = Head { seq: seq + 1, hash };
        state.tree.push(hash);
        state.batch_seq = batch;
        state.latest_ms = state.latest_ms.max(at_ms);
        Ok(Appended { seq, hash })
    }

    /// Writes all that is queued and makes it durable.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut segment: OpenSegment,
    ) -> MutexGuard<'a, State> {
        let frames = std::mem::take(&mut state.queue);
        let (before, after) = (state.durable, state.queued);
        drop(state);
        let mut lead = Lead {
            journal: self,
            outcome: Err(JournalError::Abandoned),
        };
        lead.outcome = self
            .write_batch(&mut segment, &frames, before)
            .map(|()| (after, segment));
        drop(lead);
        self.state()
    }

    fn write_batch(
        &self,
        segment: &mut OpenSegment,
        frames: &[u8],
        before: Head,
    ) -> Result<(), JournalError> {
        let bytes = frames.len() as u64;
        let is_empty = segment.bytes <= HEADER_BYTES as u64;
        if !is_empty && segment.bytes + bytes > self.limits.segment_bytes_max {
            *segment = create_segment(&*self.storage, before)?;
        }
        let name = &segment.name;
        self.storage
            .write_at(name, segment.bytes, frames)
            .map_err(JournalError::storage("append to", name))?;
        self.storage
            .sync(name)
            .map_err(JournalError::storage("fsync", name))?;
        segment.bytes += bytes;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and none leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.batch_ended
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl State {
    fn refuse_if_poisoned(&self) -> Result<(), JournalError> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(JournalError::Poisoned {
                seq: self.durable.seq,
                cause: Arc::clone(cause),
            }),
        }
    }
}

/// Ends a batch when dropped, and with it the wait of everyone else, even if the leader panics.
struct Lead<'a> {
    journal: &'a Journal,
    outcome: Result<(Head, OpenSegment), JournalError>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.journal.state();
        match std::mem::replace(&mut self.outcome, Err(JournalError::Abandoned)) {
            Ok((durable, segment)) => {
                state.durable = durable;
                state.segment = Some(segment);
            }
            Err(cause) => state.poison = Some(Arc::new(cause)),
        }
        drop(state);
        self.journal.batch_ended.notify_all();
    }
}

/// Begins the segment after `before`; durable before anything is written to it.
fn create_segment(storage: &dyn Storage, before: Head) -> Result<OpenSegment, JournalError> {
    let name = segment_name(before.seq);
    let header = frame::encode_header(before);
    storage
        .create(&name)
        .map_err(JournalError::storage("create", &name))?;
    fill(storage, &name, &header)?;
    Ok(OpenSegment {
        name,
        bytes: header.len() as u64,
    })
}

/// Removes what a crash left, makes what was read durable, and returns where to go on.
fn settle_end(storage: &dyn Storage, end: &End, head: Head) -> Result<OpenSegment, JournalError> {
    if let Some(name) = &end.unborn {
        storage
            .remove(name)
            .map_err(JournalError::storage("remove", name))?;
        storage
            .sync_names()
            .map_err(JournalError::storage("fsync the folder of", name))?;
    }
    let Some(LastSegment {
        name,
        end: bytes,
        batch_at,
    }) = &end.last
    else {
        return create_segment(storage, head);
    };
    if end.unborn.is_none() && end.torn_bytes > 0 {
        storage
            .set_len(name, *bytes)
            .map_err(JournalError::storage("cut", name))?;
    }
    rewrite(storage, name, *batch_at, *bytes)?;
    storage
        .sync(name)
        .map_err(JournalError::storage("fsync", name))?;
    storage
        .sync_names()
        .map_err(JournalError::storage("fsync the folder of", name))?;
    Ok(OpenSegment {
        name: name.clone(),
        bytes: *bytes,
    })
}

/// Writes the bytes that are already there once more. If the process before died of a failed fsync, what was read may
/// be in memory only, in pages that count as written, and an fsync alone would pass over them (Rebello et al., "Can
/// applications recover from fsync failures?", USENIX ATC 2020).
fn rewrite(storage: &dyn Storage, name: &str, from: u64, to: u64) -> Result<(), JournalError> {
    let mut at = from;
    while at < to {
        let mut chunk = vec![0; READ_BYTES.min(usize::try_from(to - at).unwrap_or(READ_BYTES))];
        let read = storage
            .read_at(name, at, &mut chunk)
            .map_err(JournalError::storage("read", name))?;
        chunk.truncate(read);
        if chunk.is_empty() {
            break;
        }
        storage
            .write_at(name, at, &chunk)
            .map_err(JournalError::storage("write", name))?;
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
