//! Counts of passes, kept in sled. Nothing depends on them but summaries: without them they are counted anew from
//! the journal.
//!
//! The counts are stamped with the journal's head, in one batch with what changed, whenever no pass is on its way: a
//! crash loses at most the passes since the last stamp, and the next start counts those again from the journal. A
//! stamp that is not on the journal's chain, a store that cannot be opened or that panics: the folder is removed and
//! all is counted anew. While the process runs the counts are read from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_journal::{Entry, Head, Journal, JournalError};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, BundleInstalled, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED,
    PASS_REPEATED, PASS_RESERVED, PassAbandoned, PassFailed, PassRefused, PassReleased,
    PassRepeated, PassReserved,
};
use consilium_policies::{Ask, RuleId};
use consilium_protocol::{DatasetName, ProjectName, Refusal};
use serde::{Deserialize, Serialize};

use super::books::Reading;

use super::bundle::InForce;

/// Rows of a summary. Whoever asks chooses a project's name; beyond this many, passes are counted without a row.
pub const SUMMARY_ROWS_MAX: usize = 4096;

/// The folder within the node's state. Removed when it is broken, so nothing else may lie there.
const FOLDER: &str = "gate-index";
/// Changes whenever older counts cannot be read any more.
const FORMAT: u32 = 2;
const CACHE_BYTES: u64 = 4 << 20;
const STAMP_KEY: &[u8] = b"stamp";
const ROW_PREFIX: &[u8] = b"row ";

/// What became of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something left.
    Released,
    /// What had left, or was kept to leave, left again.
    Repeated,
    /// Somebody decided against it.
    Refused,
    /// Something broke.
    Failed,
    /// The process ended before the pass did.
    Abandoned,
}

/// Which passes are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SummaryRow {
    /// For this project,
    pub project: ProjectName,
    /// with this data set,
    pub dataset: DatasetName,
    /// decided by these rules, or by none,
    pub rules: Vec<String>,
    /// with this end.
    pub outcome: Outcome,
}

/// How many passes there were, by project, data set, rules and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    rows: BTreeMap<SummaryRow, u64>,
    not_listed: u64,
}

impl SummaryRow {
    pub(super) fn of(ask: &Ask, rules: &[RuleId], outcome: Outcome) -> Self {
        Self {
            project: ask.project.clone(),
            dataset: ask.dataset.clone(),
            rules: rules.iter().map(ToString::to_string).collect(),
            outcome,
        }
    }

    /// Refused at the door.
    pub(super) fn refused(ask: &Ask, refusal: &Refusal) -> Self {
        Self {
            rules: refusal.rules.clone(),
            ..Self::of(ask, &[], Outcome::Refused)
        }
    }
}

impl Summary {
    /// Counts the passes of a journal, whether or not a node is appending to it.
    ///
    /// # Errors
    /// There is no journal in the folder, it is damaged, or it was written by a newer version.
    pub fn read(journal_folder: &Path) -> Result<Self, JournalError> {
        let mut tally = Tally::default();
        for entry in consilium_journal::read(journal_folder)? {
            tally.count(&entry?)?;
        }
        Ok(tally.summary)
    }

    /// The rows in order, with how many passes each has.
    pub fn rows(&self) -> impl Iterator<Item = (&SummaryRow, u64)> {
        self.rows.iter().map(|(row, count)| (row, *count))
    }

    /// How many passes had this outcome in a row that is listed.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.rows()
            .filter(|(row, _)| row.outcome == outcome)
            .map(|(_, count)| count)
            .sum()
    }

    /// Passes beyond [`SUMMARY_ROWS_MAX`] rows.
    #[must_use]
    pub fn not_listed(&self) -> u64 {
        self.not_listed
    }

    fn add(&mut self, row: SummaryRow) {
        if self.rows.len() >= SUMMARY_ROWS_MAX && !self.rows.contains_key(&row) {
            self.not_listed += 1;
        } else {
            *self.rows.entry(row).or_default() += 1;
        }
    }
}

/// The counts of a running node.
pub(super) struct Index {
    journal: Arc<Journal>,
    counts: Mutex<Counts>,
}

/// What the journal said at the start.
pub(super) struct Found {
    /// Reservations without an ending, by entry.
    pub unended: BTreeMap<u64, PassReserved>,
    /// The bundle installed last.
    pub bundle: Option<InForce>,
    /// All was counted anew.
    pub rebuilt: bool,
}

struct Counts {
    summary: Summary,
    bundle: Option<InForce>,
    /// Between [`Index::begun`] and its ending.
    on_the_way: u64,
    /// Rows that the store does not have yet.
    changed: BTreeSet<SummaryRow>,
    store: Option<Store>,
}

impl Index {
    /// Opens the index in its folder below `state_folder`, and brings it up to the journal's head. Without such a
    /// folder the counts are in memory only. The journal is walked through once at most, and `reading` sees every entry
    /// that it has not read.
    pub(super) fn open(
        state_folder: Option<&Path>,
        journal: &Arc<Journal>,
        reading: &mut Reading,
    ) -> Result<(Self, Found), JournalError> {
        let folder = state_folder.map(|folder| folder.join(FOLDER));
        let stored = folder
            .as_deref()
            .filter(|folder| folder.exists())
            .and_then(|folder| unless_broken("open", || Store::open(folder)?.load()));
        let caught_up = match stored {
            Some((store, stamp, summary)) => {
                catch_up(journal, stamp, summary, reading)?.map(|tally| (Some(store), tally))
            }
            None => None,
        };
        let rebuilt = caught_up.is_none();
        let (store, tally) = match caught_up {
            Some(caught_up) => caught_up,
            None => {
                let mut tally = Tally::default();
                for entry in journal.entries()? {
                    let entry = entry?;
                    reading.entry(&entry)?;
                    tally.count(&entry)?;
                }
                let begin = |folder: PathBuf| unless_broken("begin", || Store::begin(&folder));
                (folder.and_then(begin), tally)
            }
        };
        let found = Found {
            unended: tally.unended,
            bundle: tally.bundle,
            rebuilt,
        };
        let mut counts = Counts {
            changed: tally.summary.rows.keys().cloned().collect(),
            summary: tally.summary,
            bundle: tally.bundle,
            on_the_way: 0,
            store,
        };
        if found.unended.is_empty() {
            counts.stamp(journal.head());
        }
        Ok((
            Self {
                journal: Arc::clone(journal),
                counts: Mutex::new(counts),
            },
            found,
        ))
    }

    /// To be called before the first entry of a pass is appended, so that no stamp passes over it. A pass that never
    /// ends stops all stamping, and the next start counts from the last.
    pub(super) fn begun(&self) {
        self.counts().on_the_way += 1;
    }

    /// To be called once the last entry of a pass is durable.
    pub(super) fn ended(&self, row: SummaryRow) {
        let mut counts = self.counts();
        counts.summary.add(row.clone());
        if counts.summary.rows.contains_key(&row) {
            counts.changed.insert(row);
        }
        self.over(counts);
    }

    /// To be called once a bundle's entry is durable; [`Index::begun`] comes before.
    pub(super) fn installed(&self, bundle: InForce) {
        let mut counts = self.counts();
        counts.bundle = Some(bundle);
        self.over(counts);
    }

    pub(super) fn summary(&self) -> Summary {
        self.counts().summary.clone()
    }

    fn over(&self, mut counts: MutexGuard<'_, Counts>) {
        counts.on_the_way -= 1;
        if counts.on_the_way == 0 {
            counts.stamp(self.journal.head());
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts that a panic left half changed are never stamped: `on_the_way` stays above zero.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Writes what changed, with the head that it is true for. A store that fails is given up until the next start.
    fn stamp(&mut self, head: Head) {
        let Some(store) = &self.store else { return };
        let stamp = Stamp {
            format: FORMAT,
            head,
            bundle: self.bundle,
            not_listed: self.summary.not_listed,
        };
        let rows = self
            .changed
            .iter()
            .filter_map(|row| Some((row, *self.summary.rows.get(row)?)));
        if unless_broken("write", || store.write(&stamp, rows)).is_none() {
            self.store = None;
        }
        self.changed.clear();
    }
}

/// Counts on from `stamp`; `None` if the journal never was where the stamp says.
fn catch_up(
    journal: &Journal,
    stamp: Stamp,
    summary: Summary,
    reading: &mut Reading,
) -> Result<Option<Tally>, JournalError> {
    let mut tally = Tally {
        summary,
        bundle: stamp.bundle,
        unended: BTreeMap::new(),
    };
    let head = journal.head();
    if stamp.head != head && stamp.head.seq >= head.seq {
        return Ok(None);
    }
    // From where both go on: neither the counts nor the books want what is before.
    let from = match reading.head().seq < stamp.head.seq {
        true => reading.head(),
        false => stamp.head,
    };
    let Some(entries) = journal.entries_after(from)? else {
        return Ok(None);
    };
    for entry in entries {
        let entry = entry?;
        reading.entry(&entry)?;
        if entry.seq >= stamp.head.seq {
            tally.count(&entry)?;
        } else if entry.seq + 1 == stamp.head.seq && entry.hash != stamp.head.hash {
            return Ok(None);
        }
    }
    Ok(Some(tally))
}

/// What the journal says, entry by entry.
#[derive(Default)]
struct Tally {
    summary: Summary,
    bundle: Option<InForce>,
    unended: BTreeMap<u64, PassReserved>,
}

impl Tally {
    fn count(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let row = match entry.kind.as_str() {
            PASS_RESERVED => {
                self.unended.insert(entry.seq, entry.parse()?);
                return Ok(());
            }
            BUNDLE_INSTALLED => {
                let BundleInstalled {
                    digest, version, ..
                } = entry.parse()?;
                self.bundle = Some(InForce { digest, version });
                return Ok(());
            }
            PASS_RELEASED => {
                let PassReleased {
                    reserved,
                    ask,
                    rules,
                    ..
                } = entry.parse()?;
                self.unended.remove(&reserved);
                SummaryRow::of(&ask, &rules, Outcome::Released)
            }
            PASS_FAILED => {
                let PassFailed {
                    reserved,
                    ask,
                    rules,
                    ..
                } = entry.parse()?;
                self.unended.remove(&reserved);
                SummaryRow::of(&ask, &rules, Outcome::Failed)
            }
            PASS_ABANDONED => {
                let PassAbandoned {
                    reserved,
                    ask,
                    rules,
                    ..
                } = entry.parse()?;
                self.unended.remove(&reserved);
                SummaryRow::of(&ask, &rules, Outcome::Abandoned)
            }
            PASS_REPEATED => {
                let PassRepeated { ask, rules, .. } = entry.parse()?;
                SummaryRow::of(&ask, &rules, Outcome::Repeated)
            }
            PASS_REFUSED => {
                let PassRefused {
                    reserved,
                    ask,
                    refusal,
                    ..
                } = entry.parse()?;
                match reserved.and_then(|reserved| self.unended.remove(&reserved)) {
                    Some(permitted) => SummaryRow::of(&ask, &permitted.rules, Outcome::Refused),
                    None => SummaryRow::refused(&ask, &refusal),
                }
            }
            // Other rooms of the node write to the same journal.
            _ => return Ok(()),
        };
        self.summary.add(row);
        Ok(())
    }
}

/// The counts on disk.
struct Store(sled::Db);

#[derive(Serialize, Deserialize)]
struct Stamp {
    format: u32,
    head: Head,
    bundle: Option<InForce>,
    not_listed: u64,
}

impl Store {
    fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(
            sled::Config::new()
                .path(folder)
                .cache_capacity(CACHE_BYTES)
                .open()?,
        ))
    }

    /// An empty one, whatever lay there.
    fn begin(folder: &Path) -> io::Result<Self> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Self::open(folder),
        }
    }

    fn load(self) -> io::Result<(Self, Stamp, Summary)> {
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let stamp = self.0.get(STAMP_KEY)?.ok_or_else(unreadable)?;
        let stamp: Stamp = serde_json::from_slice(&stamp)?;
        if stamp.format != FORMAT {
            return Err(unreadable());
        }
        let mut summary = Summary {
            not_listed: stamp.not_listed,
            ..Summary::default()
        };
        for row in self.0.scan_prefix(ROW_PREFIX).take(SUMMARY_ROWS_MAX) {
            let (key, count) = row?;
            let row = serde_json::from_slice(key.get(ROW_PREFIX.len()..).ok_or_else(unreadable)?)?;
            let count = count.as_ref().try_into().map_err(|_| unreadable())?;
            summary.rows.insert(row, u64::from_le_bytes(count));
        }
        Ok((self, stamp, summary))
    }

    fn write<'a>(
        &self,
        stamp: &Stamp,
        rows: impl Iterator<Item = (&'a SummaryRow, u64)>,
    ) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (row, count) in rows {
            let key = [ROW_PREFIX, &serde_json::to_vec(row)?].concat();
            batch.insert(key, &count.to_le_bytes());
        }
        batch.insert(STAMP_KEY, serde_json::to_vec(stamp)?);
        Ok(self.0.apply_batch(batch)?)
    }
}

/// Runs something on the store; `None` when it fails or panics, which sled does on some broken folders.
fn unless_broken<T>(doing: &'static str, act: impl FnOnce() -> io::Result<T>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::info!(doing, %error, "the index of passes is counted from the journal");
            None
        }
        Err(_) => {
            tracing::warn!(
                doing,
                "the index of passes broke and is counted from the journal"
            );
            None
        }
    }
}
