//! The index that a node keeps: immutable segments on disk and in memory, and the rows erased from them.
//!
//! Many threads search while one changes: a search holds on to the set of segments that it began with. A change or a
//! rewrite writes its segment's file, then replaces the manifest, then the set in memory. Whatever stops it, the folder
//! holds the old set or the new one; files that no manifest names are removed when the index is opened.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use consilium_protocol::Millis;

use super::build::BuildSettings;
use super::compaction::{CompactionSettings, State, next_job};
use super::disk::Disk;
use super::error::VectorError;
use super::format::{decode, encode};
use super::index::{Hit, Question, VectorIndex, check, in_order};
use super::limits::{
    CHANGE_ROWS_MAX, DIMENSION_MAX, ENCODER_NAME_MAX, ERASED_MAX, ROW_ID_END, SEGMENTS_MAX,
};
use super::manifest::{Manifest, Named, failed, file_name, is_ours};
use super::rows::{Query, Rows};
use super::rowset::{Allowed, RowId, RowSet};
use super::sealing::{NodeKey, SegmentKey};
use super::segment::Segment;
use super::unit::UnitVector;

/// The longest segment file that is read.
const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// What an index is made of and for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSettings {
    pub dimension: usize,
    /// Name and version of the encoder. An index made with one is never opened with another.
    pub encoder: String,
    pub build: BuildSettings,
    pub compaction: CompactionSettings,
}

/// Rows to add and rows to erase, all at once or not at all.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Ascending, and after every row that was ever added.
    pub added: Vec<(RowId, UnitVector)>,
    /// Rows that were there before the change; others are passed over.
    pub erased: Vec<RowId>,
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    pub added: usize,
    /// Rows that were there and are not any more.
    pub erased: usize,
}

/// What a maintenance did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    pub segments_written: usize,
    /// Erased rows that are now in no file.
    pub rows_gone: usize,
}

/// Figures of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Rows that a search can find.
    pub rows: usize,
    /// Rows erased and not yet gone.
    pub erased: usize,
    pub segments: usize,
    pub graphs: usize,
    /// Rows that a walk does not find, and every search therefore scans.
    pub orphans: usize,
    /// Rows of the same codes as an earlier one.
    pub twins: usize,
    /// Links of the lowest layers.
    pub links: usize,
    /// Memory of vectors and links.
    pub bytes: usize,
}

/// A vector index in a folder of its own.
pub struct SegmentedIndex {
    settings: IndexSettings,
    key: NodeKey,
    disk: Box<dyn Disk>,
    published: RwLock<Arc<Published>>,
    ledger: Mutex<Ledger>,
    /// One rewrite at a time.
    rewriting: Mutex<()>,
}

/// What searches see.
struct Published {
    segments: Vec<Arc<Stored>>,
    erased: RowSet,
    rows: usize,
}

struct Stored {
    named: Named,
    segment: Segment,
}

/// What the next change must know.
struct Ledger {
    generation: u64,
    next_file: u64,
    rows_end: u32,
    erased: BTreeMap<u32, Millis>,
}

impl SegmentedIndex {
    /// Opens the index on `disk`, or makes one where there is none.
    ///
    /// # Errors
    /// Settings out of range; an index of another encoder or dimension; files that are damaged, of another version, or
    /// sealed by another node's key.
    pub fn open(
        settings: IndexSettings,
        key: NodeKey,
        disk: Box<dyn Disk>,
    ) -> Result<Self, VectorError> {
        let (found, bytes) = (settings.dimension, settings.encoder.len());
        if found == 0 || found > DIMENSION_MAX {
            return Err(VectorError::DimensionOutOfRange { found });
        }
        if bytes == 0 || bytes > ENCODER_NAME_MAX {
            return Err(VectorError::EncoderName { found: bytes });
        }
        let manifest = match Manifest::read(disk.as_ref(), &key)? {
            Some(manifest) => manifest,
            None => {
                let empty = Manifest {
                    generation: 0,
                    next_file: 0,
                    rows_end: 0,
                    dimension: settings.dimension as u32,
                    encoder: settings.encoder.clone(),
                    segments: Vec::new(),
                    erased: Vec::new(),
                };
                empty.publish(disk.as_ref(), &key)?;
                empty
            }
        };
        if manifest.encoder != settings.encoder {
            return Err(VectorError::OtherEncoder {
                wanted: settings.encoder,
                found: manifest.encoder,
            });
        }
        if manifest.dimension as usize != settings.dimension {
            return Err(VectorError::WrongDimension {
                expected: manifest.dimension as usize,
                found: settings.dimension,
            });
        }
        remove_rubbish(disk.as_ref(), &manifest)?;
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for named in manifest.segments {
            let segment = load(disk.as_ref(), &key, &named, settings.dimension)?;
            segments.push(Arc::new(Stored { named, segment }));
        }
        let erased: BTreeMap<u32, Millis> = manifest.erased.into_iter().collect();
        Ok(Self {
            published: RwLock::new(Arc::new(Published::new(segments, &erased))),
            ledger: Mutex::new(Ledger {
                generation: manifest.generation,
                next_file: manifest.next_file,
                rows_end: manifest.rows_end,
                erased,
            }),
            rewriting: Mutex::new(()),
            settings,
            key,
            disk,
        })
    }

    /// Adds and erases rows. When it returns they are durable, and every search that begins from then on sees them.
    ///
    /// # Errors
    /// Rows out of order or range, vectors of another dimension, too many of either: then nothing changed. A fault of
    /// the disk: then nothing changed in memory, and the disk has the old state or the new.
    pub fn apply(&self, change: Change, now: Millis) -> Result<Changed, VectorError> {
        let mut ledger = self.ledger();
        let published = self.published();
        let rows_end = self.check_change(&change, &ledger, &published)?;
        let mut erased = ledger.erased.clone();
        for row in &change.erased {
            if published.holds(*row) {
                erased.entry(row.0).or_insert(now);
            }
        }
        if erased.len() > ERASED_MAX {
            return Err(VectorError::TooManyErased {
                found: erased.len(),
            });
        }
        let changed = Changed {
            added: change.added.len(),
            erased: erased.len() - ledger.erased.len(),
        };
        if changed.added == 0 && changed.erased == 0 {
            return Ok(changed);
        }
        let mut segments = published.segments.clone();
        if changed.added > 0 {
            let ids = change.added.iter().map(|(row, _)| row.0).collect();
            let exact = change
                .added
                .iter()
                .flat_map(|(_, vector)| vector.coordinates());
            let rows = Rows::new(self.settings.dimension, ids, exact.copied().collect());
            let file = ledger.take_file();
            segments.push(Arc::new(self.store(Segment::run(rows), file)?));
        }
        self.publish(&mut ledger, segments, erased, rows_end)?;
        Ok(changed)
    }

    /// Joins small segments, gives long ones a graph, and rewrites those with rows erased `erase_within_ms` ago or
    /// earlier, until nothing is left to do. Building takes long; searches and changes go on meanwhile.
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

    #[must_use]
    pub fn figures(&self) -> IndexFigures {
        let published = self.published();
        let mut figures = IndexFigures {
            rows: published.rows,
            erased: published.erased.len(),
            segments: published.segments.len(),
            ..IndexFigures::default()
        };
        for stored in &published.segments {
            figures.bytes += stored.segment.bytes();
            if let Some(graph) = &stored.segment.graph {
                figures.graphs += 1;
                figures.orphans += graph.orphans.len();
                figures.twins += graph.twins.len();
                figures.links += graph.links.parts().1.len();
            }
        }
        figures
    }

    /// The row after the last that was ever added: where an ingest that was killed goes on.
    #[must_use]
    pub fn rows_end(&self) -> RowId {
        RowId(self.ledger().rows_end)
    }

    fn check_change(
        &self,
        change: &Change,
        ledger: &Ledger,
        published: &Published,
    ) -> Result<u32, VectorError> {
        let found = change.added.len().max(change.erased.len());
        if found > CHANGE_ROWS_MAX {
            return Err(VectorError::ChangeTooLarge { found });
        }
        if published.segments.len() >= SEGMENTS_MAX && !change.added.is_empty() {
            return Err(VectorError::TooManySegments {
                found: published.segments.len(),
            });
        }
        let mut rows_end = ledger.rows_end;
        for (RowId(row), vector) in &change.added {
            if *row >= ROW_ID_END {
                return Err(VectorError::RowOutOfRange { row: *row });
            }
            if *row < rows_end {
                return Err(VectorError::RowOutOfOrder {
                    row: *row,
                    last: rows_end - 1,
                });
            }
            if vector.dimension() != self.settings.dimension {
                return Err(VectorError::WrongDimension {
                    expected: self.settings.dimension,
                    found: vector.dimension(),
                });
            }
            rows_end = row + 1;
        }
        Ok(rows_end)
    }

    /// Writes a segment's file, which no manifest names yet.
    fn store(&self, segment: Segment, file: u64) -> Result<Stored, VectorError> {
        let name = file_name(file);
        let key = SegmentKey::random()?;
        let bytes = encode(&segment, &key)?;
        self.disk
            .write(&name, &bytes)
            .map_err(failed("write", &name))?;
        let named = Named {
            file,
            rows: segment.rows.len() as u32,
            wrapped: key.wrap(&self.key, &name)?,
        };
        Ok(Stored { named, segment })
    }

    /// The rows of several segments without what is erased: one segment, or as many as are to be built beside each
    /// other; none when nothing is left.
    fn joined(&self, old: &[Arc<Stored>], erased: &RowSet) -> Result<Vec<Stored>, VectorError> {
        let mut kept: Vec<(u32, &Rows, u32)> = Vec::new();
        for stored in old {
            let rows = &stored.segment.rows;
            let numbered = rows.ids().iter().zip(0u32..);
            let live = numbered.filter(|(id, _)| !erased.contains(RowId(**id)));
            kept.extend(live.map(|(id, node)| (*id, rows, node)));
        }
        kept.sort_unstable_by_key(|(id, ..)| *id);
        let compaction = self.settings.compaction;
        let beside =
            (kept.len() / compaction.graph_rows_min.max(1)).clamp(1, compaction.beside_max.max(1));
        let part_rows = kept.len().div_ceil(beside).max(1);
        let build = |part: &[(u32, &Rows, u32)]| {
            let ids = part.iter().map(|(id, ..)| *id).collect();
            let exact = part.iter().flat_map(|(_, rows, node)| rows.exact(*node));
            let rows = Rows::new(self.settings.dimension, ids, exact.copied().collect());
            let segment = match rows.len() >= compaction.graph_rows_min {
                true => Segment::sealed(rows, self.settings.build)?,
                false => Segment::run(rows),
            };
            let file = self.ledger().take_file();
            self.store(segment, file)
        };
        thread::scope(|scope| {
            let builders: Vec<_> = kept
                .chunks(part_rows)
                .map(|part| scope.spawn(|| build(part)))
                .collect();
            let ended = builders.into_iter().map(|builder| builder.join());
            ended
                .map(|end| end.unwrap_or(Err(VectorError::Build("a builder stopped"))))
                .collect()
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
                .any(|stored| stored.segment.rows.ids().binary_search(row).is_ok())
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

    /// First on disk, then for the searches to see.
    fn publish(
        &self,
        ledger: &mut Ledger,
        segments: Vec<Arc<Stored>>,
        erased: BTreeMap<u32, Millis>,
        rows_end: u32,
    ) -> Result<(), VectorError> {
        let manifest = Manifest {
            generation: ledger.generation + 1,
            next_file: ledger.next_file,
            rows_end,
            dimension: self.settings.dimension as u32,
            encoder: self.settings.encoder.clone(),
            segments: segments.iter().map(|stored| stored.named.clone()).collect(),
            erased: erased.iter().map(|(row, when)| (*row, *when)).collect(),
        };
        manifest.publish(self.disk.as_ref(), &self.key)?;
        let next = Arc::new(Published::new(segments, &erased));
        ledger.generation = manifest.generation;
        ledger.rows_end = rows_end;
        ledger.erased = erased;
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn published(&self) -> Arc<Published> {
        Arc::clone(
            &self
                .published
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The ledger changes after the disk has, in a few assignments: a thread that panics leaves it whole.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VectorIndex for SegmentedIndex {
    fn dimension(&self) -> usize {
        self.settings.dimension
    }

    fn len(&self) -> usize {
        self.published().rows
    }

    fn nearest(&self, question: &Question<'_>) -> Result<Vec<Hit>, VectorError> {
        let effort = check(question, self.settings.dimension)?;
        let published = self.published();
        let query = Query::new(question.vector.coordinates());
        let allowed = Allowed {
            of: question.allowed,
            erased: (!published.erased.is_empty()).then_some(&published.erased),
        };
        let mut hits = Vec::new();
        for stored in &published.segments {
            hits.extend(stored.segment.nearest(&query, question.k, allowed, effort));
        }
        hits.sort_unstable_by(in_order);
        hits.truncate(question.k);
        Ok(hits)
    }
}

impl Published {
    fn new(mut segments: Vec<Arc<Stored>>, erased: &BTreeMap<u32, Millis>) -> Self {
        // The largest first, so that its best hits are there before the others' are looked for.
        segments.sort_by_key(|stored| Reverse((stored.named.rows, stored.named.file)));
        let held: usize = segments
            .iter()
            .map(|stored| stored.segment.rows.len())
            .sum();
        Self {
            segments,
            rows: held.saturating_sub(erased.len()),
            erased: erased.keys().copied().map(RowId).collect(),
        }
    }

    fn holds(&self, row: RowId) -> bool {
        let is_in = |stored: &Arc<Stored>| stored.segment.rows.ids().binary_search(&row.0).is_ok();
        !self.erased.contains(row) && self.segments.iter().any(is_in)
    }
}

impl Stored {
    fn state(&self, erased_at: &BTreeMap<u32, Millis>, now: Millis, within_ms: u64) -> State {
        let rows = &self.segment.rows;
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

impl Ledger {
    /// A file's number, never given again: a file that a failed change left is not mistaken for another.
    fn take_file(&mut self) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        file
    }
}

fn load(
    disk: &dyn Disk,
    key: &NodeKey,
    named: &Named,
    dimension: usize,
) -> Result<Segment, VectorError> {
    let name = file_name(named.file);
    let bytes = disk
        .read(&name, SEGMENT_BYTES_MAX)
        .map_err(failed("read", &name))?;
    let key = SegmentKey::unwrap(key, &name, &named.wrapped);
    let key = key.ok_or_else(|| VectorError::Unsealable { file: name.clone() })?;
    let segment = decode(&name, bytes, &key)?;
    if segment.rows.len() != named.rows as usize || segment.rows.dimension() != dimension {
        return Err(VectorError::Damaged {
            file: name,
            what: "the manifest describes another segment",
        });
    }
    Ok(segment)
}

/// Removes files that a crash left: segments that were not published, or were replaced.
fn remove_rubbish(disk: &dyn Disk, manifest: &Manifest) -> Result<(), VectorError> {
    let named: Vec<String> = manifest
        .segments
        .iter()
        .map(|named| file_name(named.file))
        .collect();
    let mut removed = false;
    for name in disk.names().map_err(failed("list", "the index's folder"))? {
        if is_ours(&name) && !named.contains(&name) {
            disk.remove(&name).map_err(failed("remove", &name))?;
            removed = true;
        }
    }
    if removed {
        disk.sync_names()
            .map_err(failed("sync", "the index's folder"))?;
    }
    Ok(())
}
