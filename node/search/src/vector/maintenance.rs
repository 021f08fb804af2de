//! Rewriting segments: joined, given a graph, rid of erased rows.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread;

use consilium_protocol::Millis;

use super::build::build;
use super::codes::Codes;
use super::compaction::{State, next_job};
use super::error::VectorError;
use super::exact::Opened;
use super::manifest::file_name;
use super::published::failed;
use super::rowset::{RowId, RowSet};
use super::segmented::{SegmentedIndex, Stored};

/// What a maintenance did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    pub segments_written: usize,
    /// Erased rows that are now in no file.
    pub rows_gone: usize,
}

/// A row that goes from an old segment into a new one.
struct Kept {
    id: u32,
    /// Which of the old segments holds it, and as which node.
    from: u32,
    node: u32,
}

impl SegmentedIndex {
    /// What is to be done in the background: joins small segments, gives long ones a graph, and rewrites those with
    /// rows erased `erase_within_ms` ago or earlier, until nothing is left to do.
    ///
    /// The only call that a timer needs. Searches and changes go on meanwhile; one maintenance runs at a time, and a
    /// second call waits for it. It may be stopped anywhere: the next one begins again from what is published.
    ///
    /// A row erased at `t` is gone when the first call with `now` ≥ `t + erase_within_ms` returns: from every file that
    /// the manifest names, and with the old file its key, so that what the disk still keeps of it cannot be read. For a
    /// deadline of a day and a timer of an hour, give 22 hours: one for the timer and one for the rewriting, which
    /// takes as long as building the segment's graph. [`IndexFigures::oldest_erasure`] shows whether it keeps up. Zero
    /// erases at once.
    ///
    /// [`IndexFigures::oldest_erasure`]: super::IndexFigures
    ///
    /// # Errors
    /// Faults of building, sealing or the disk. What was finished before stays.
    pub fn maintain(&self, now: Millis, erase_within_ms: u64) -> Result<Maintained, VectorError> {
        let _one_at_a_time = self
            .rewriting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut done = Maintained::default();
        loop {
            let (published, erased_at) = {
                let ledger = self.ledger();
                (self.published(), ledger.erased.clone())
            };
            let states: Vec<State> = published
                .segments
                .iter()
                .map(|stored| stored.state(&erased_at, now, erase_within_ms))
                .collect();
            let Some(job) = next_job(&states, self.settings.compaction) else {
                return Ok(done);
            };
            let old: Vec<Arc<Stored>> = job
                .iter()
                .filter_map(|at| published.segments.get(*at).cloned())
                .collect();
            let new = self.joined(&old, &published.erased)?;
            done.segments_written += new.len();
            done.rows_gone += self.replace(&old, new, &erased_at)?;
        }
    }

    /// The rows of several segments without what is erased: one segment, or as many as are to be built beside each
    /// other; none when nothing is left.
    fn joined(&self, old: &[Arc<Stored>], erased: &RowSet) -> Result<Vec<Stored>, VectorError> {
        let mut kept: Vec<Kept> = Vec::new();
        for (from, stored) in (0u32..).zip(old) {
            let numbered = stored.segment.rows.codes.ids().iter().zip(0u32..);
            let live = numbered.filter(|(id, _)| !erased.contains(RowId(**id)));
            kept.extend(live.map(|(id, node)| Kept {
                id: *id,
                from,
                node,
            }));
        }
        kept.sort_unstable_by_key(|row| row.id);
        let compaction = self.settings.compaction;
        let beside =
            (kept.len() / compaction.graph_rows_min.max(1)).clamp(1, compaction.beside_max.max(1));
        let part_rows = kept.len().div_ceil(beside).max(1);
        thread::scope(|scope| {
            let builders: Vec<_> = kept
                .chunks(part_rows)
                .map(|part| scope.spawn(|| self.joined_part(old, part)))
                .collect();
            let ended = builders.into_iter().map(|builder| builder.join());
            ended
                .map(|end| end.unwrap_or(Err(VectorError::Build("a builder stopped"))))
                .collect()
        })
    }

    fn joined_part(&self, old: &[Arc<Stored>], part: &[Kept]) -> Result<Stored, VectorError> {
        let rows_of = |row: &Kept| {
            old.get(row.from as usize)
                .map(|stored| &stored.segment.rows)
        };
        let mut codes = Codes::with_capacity(self.settings.dimension, part.len());
        for row in part {
            if let Some(rows) = rows_of(row) {
                codes.push_from(&rows.codes, row.node);
            }
        }
        let graph = match codes.len() >= self.settings.compaction.graph_rows_min {
            true => Some(build(&codes, self.settings.build)?),
            false => None,
        };
        let file = self.ledger().take_file();
        self.store(codes, graph, file, &|visit| {
            let mut space = Opened::default();
            part.iter()
                .filter_map(|row| rows_of(row).map(|rows| (rows, row.node)))
                .try_for_each(|(rows, node)| visit(rows.exact.row(node, &mut space)?))
        })
    }

    /// Publishes the new segments in the place of the old ones, and removes their files. Gives how many of the rows
    /// that had been erased before are gone.
    fn replace(
        &self,
        old: &[Arc<Stored>],
        new: Vec<Stored>,
        erased_before: &BTreeMap<u32, Millis>,
    ) -> Result<usize, VectorError> {
        let mut ledger = self.ledger();
        let published = self.published();
        let is_old = |stored: &&Arc<Stored>| {
            old.iter()
                .any(|other| other.named.file == stored.named.file)
        };
        let mut segments: Vec<Arc<Stored>> = published
            .segments
            .iter()
            .filter(|stored| !is_old(stored))
            .cloned()
            .collect();
        segments.extend(new.into_iter().map(Arc::new));
        let was_there = |row: &u32| {
            old.iter()
                .any(|stored| stored.segment.rows.codes.ids().binary_search(row).is_ok())
        };
        let gone: Vec<u32> = erased_before.keys().copied().filter(was_there).collect();
        let mut erased = ledger.erased.clone();
        for row in &gone {
            erased.remove(row);
        }
        let rows_end = ledger.rows_end;
        self.publish(&mut ledger, segments, erased, rows_end)?;
        drop(ledger);
        for stored in old {
            let name = file_name(stored.named.file);
            self.disk.remove(&name).map_err(failed("remove", &name))?;
        }
        self.disk
            .sync_names()
            .map_err(failed("sync", "the index's folder"))?;
        Ok(gone.len())
    }
}

impl Stored {
    fn state(&self, erased_at: &BTreeMap<u32, Millis>, now: Millis, within_ms: u64) -> State {
        let rows = &self.segment.rows.codes;
        let mut state = State {
            rows: rows.len(),
            has_graph: self.segment.graph.is_some(),
            ..State::default()
        };
        let Some((first, last)) = rows.first_and_last() else {
            return state;
        };
        for (row, when) in erased_at.range(first..=last) {
            if rows.ids().binary_search(row).is_ok() {
                state.erased += 1;
                state.is_overdue |= now.since_ms(*when) >= within_ms;
            }
        }
        state
    }
}
