//! Storage that fails on demand, and counts.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::storage::Storage;

/// One of [`Storage`]'s verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are the trait's own names")]
pub enum Verb {
    Names,
    Len,
    Read,
    Create,
    Write,
    SetLen,
    Sync,
    Remove,
    SyncNames,
}

/// How a verb fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It does nothing and returns this error. `StorageFull` is a full disk.
    Fail(io::ErrorKind),
    /// A write stops after so many bytes and returns this error; other verbs fail.
    Tear {
        /// How much is written.
        bytes: usize,
        /// The error.
        kind: io::ErrorKind,
    },
}

/// Any storage, with verbs that fail when their turn comes, and a count of each.
pub struct Breaking {
    inner: Arc<dyn Storage>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    counts: BTreeMap<Verb, u64>,
    breaks: BTreeMap<(Verb, u64), Break>,
}

impl Breaking {
    /// `inner`, unbroken so far.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
        }
    }

    /// From now on, the `nth` next use of `verb` (1 is the very next) fails as `how` says.
    pub fn break_next(&self, verb: Verb, nth: u64, how: Break) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = plan.counts.get(&verb).copied().unwrap_or(0) + nth;
        plan.breaks.insert((verb, turn), how);
    }

    /// How often `verb` was used, failures included.
    pub fn count(&self, verb: Verb) -> u64 {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
            .get(&verb)
            .copied()
            .unwrap_or(0)
    }

    fn turn(&self, verb: Verb) -> Option<Break> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let count = plan.counts.entry(verb).or_default();
        *count += 1;
        let turn = *count;
        plan.breaks.remove(&(verb, turn))
    }

    fn unless_broken<T>(&self, verb: Verb, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.turn(verb) {
            None => act(),
            Some(Break::Fail(kind) | Break::Tear { kind, .. }) => Err(kind.into()),
        }
    }
}

impl Storage for Breaking {
    fn names(&self) -> io::Result<Vec<String>> {
        self.unless_broken(Verb::Names, || self.inner.names())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.unless_broken(Verb::Len, || self.inner.len(name))
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.unless_broken(Verb::Read, || self.inner.read_at(name, offset, into))
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.unless_broken(Verb::Create, || self.inner.create(name))
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.turn(Verb::Write) {
            None => self.inner.write_at(name, offset, bytes),
            Some(Break::Fail(kind)) => Err(kind.into()),
            Some(Break::Tear {
                bytes: written,
                kind,
            }) => {
                self.inner
                    .write_at(name, offset, bytes.get(..written).unwrap_or(bytes))?;
                Err(kind.into())
            }
        }
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.unless_broken(Verb::SetLen, || self.inner.set_len(name, bytes))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.unless_broken(Verb::Sync, || self.inner.sync(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.unless_broken(Verb::Remove, || self.inner.remove(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.unless_broken(Verb::SyncNames, || self.inner.sync_names())
    }
}
