//! The index that a node keeps: immutable segments on disk and in memory, and the rows erased from them.
//!
//! Many threads search while one changes: a search holds on to the set of segments that it began with. A change or a
//! rewrite writes its segment's file, then replaces the manifest, then the set in memory. Whatever stops it, the folder
//! holds the old set or the new one; files that no manifest names are removed when the index is opened. Rewriting is in
//! `maintenance.rs`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use consilium_protocol::Millis;

use super::build::BuildSettings;
use super::codes::{Codes, Query};
use super::compaction::CompactionSettings;
use super::disk::Disk;
use super::error::VectorError;
use super::exact::{Exact, Memory, SealedRows};
use super::format::{self, EachRow, Parts};
use super::graph::Graph;
use super::index::{Hit, Question, Reach, VectorIndex, check, check_dimension, in_order};
use super::limits::{
    CHANGE_ROWS_MAX, DIMENSION_MAX, ENCODER_NAME_MAX, ERASED_MAX, ROW_ID_END, SEGMENTS_MAX,
};
use super::manifest::{Manifest, Named, file_name, is_ours};
use super::published::failed;
use super::rows::{Rows, Tell};
use super::rowset::{Allowed, RowId, RowSet};
use super::sealing::{NodeKey, SegmentKey};
use super::segment::Segment;
use super::unit::UnitVector;

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

/// Figures of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Rows that a search can find.
    pub rows: usize,
    /// Rows erased and not yet gone.
    pub erased: usize,
    /// When the first of them was erased: what a deadline is counted from.
    pub oldest_erasure: Option<Millis>,
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
    pub(super) settings: IndexSettings,
    memory: Memory,
    key: NodeKey,
    pub(super) disk: Box<dyn Disk>,
    published: RwLock<Arc<Published>>,
    pub(super) ledger: Mutex<Ledger>,
    /// One rewrite at a time.
    pub(super) rewriting: Mutex<()>,
}

/// What searches see.
pub(super) struct Published {
    pub(super) segments: Vec<Arc<Stored>>,
    pub(super) erased: RowSet,
    rows: usize,
}

pub(super) struct Stored {
    pub(super) named: Named,
    pub(super) segment: Segment,
}

/// What the next change must know.
pub(super) struct Ledger {
    generation: u64,
    next_file: u64,
    pub(super) rows_end: u32,
    pub(super) erased: BTreeMap<u32, Millis>,
}

impl SegmentedIndex {
    /// [`SegmentedIndex::open_with`] of [`Memory::Small`].
    ///
    /// # Errors
    /// The same.
    pub fn open(
        settings: IndexSettings,
        key: NodeKey,
        disk: Box<dyn Disk>,
    ) -> Result<Self, VectorError> {
        Self::open_with(settings, Memory::default(), key, disk)
    }

    /// Opens the index on `disk`, or makes one where there is none. Reads every file whole and checks it. The files are
    /// the same for either choice of memory, which may be another the next time.
    ///
    /// # Errors
    /// Settings out of range; an index of another encoder or dimension; files that are damaged, of another version, or
    /// sealed by another node's key.
    pub fn open_with(
        settings: IndexSettings,
        memory: Memory,
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
            let segment = load(disk.as_ref(), &key, &named, (settings.dimension, memory))?;
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
            memory,
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
            let mut codes = Codes::with_capacity(self.settings.dimension, changed.added);
            for (row, vector) in &change.added {
                codes.push(row.0, vector.coordinates());
            }
            let file = ledger.take_file();
            let stored = self.store(codes, None, file, &|visit| {
                let mut vectors = change.added.iter();
                vectors.try_for_each(|(_, vector)| visit(vector.coordinates()))
            })?;
            segments.push(Arc::new(stored));
        }
        self.publish(&mut ledger, segments, erased, rows_end)?;
        Ok(changed)
    }

    #[must_use]
    pub fn figures(&self) -> IndexFigures {
        let (published, oldest_erasure) = {
            let ledger = self.ledger();
            (self.published(), ledger.erased.values().min().copied())
        };
        let mut figures = IndexFigures {
            rows: published.rows,
            erased: published.erased.len(),
            oldest_erasure,
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
    pub(super) fn store(
        &self,
        codes: Codes,
        graph: Option<Graph>,
        file: u64,
        each_row: &EachRow<'_>,
    ) -> Result<Stored, VectorError> {
        let name = file_name(file);
        let key = SegmentKey::random()?;
        let parts = Parts {
            codes: &codes,
            graph: graph.as_ref(),
            each_row,
        };
        let header = format::write(self.disk.as_ref(), &name, &parts, &key)?;
        let named = Named {
            file,
            rows: codes.len() as u32,
            wrapped: key.wrap(&self.key, &name)?,
        };
        let dimension = codes.dimension();
        let exact = match self.memory {
            Memory::Small => {
                let file = self.disk.open(&name).map_err(failed("read", &name))?;
                Exact::Sealed(SealedRows::new(
                    file,
                    &name,
                    Arc::new(key),
                    header,
                    dimension,
                ))
            }
            Memory::Fast => {
                let mut floats = Vec::with_capacity(codes.len() * dimension);
                each_row(&mut |row| {
                    floats.extend_from_slice(row);
                    Ok(())
                })?;
                Exact::Held { dimension, floats }
            }
        };
        let rows = Rows::new(codes, exact);
        Ok(Stored {
            named,
            segment: Segment::new(rows, graph),
        })
    }

    /// First on disk, then for the searches to see.
    pub(super) fn publish(
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

    fn each_reaching(
        &self,
        reach: &Reach<'_>,
        tell: Tell,
        visit: &mut dyn FnMut(Hit),
    ) -> Result<(), VectorError> {
        check_dimension(reach.vector, self.settings.dimension)?;
        let published = self.published();
        let query = Query::new(reach.vector.coordinates());
        let what = (published.allowed(reach.allowed), tell);
        for stored in &published.segments {
            stored.segment.at_least(&query, reach.least, what, visit)?;
        }
        Ok(())
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(
            &self
                .published
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The ledger changes after the disk has, in a few assignments: a thread that panics leaves it whole.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
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
        let allowed = published.allowed(question.allowed);
        let mut hits = Vec::new();
        for stored in &published.segments {
            hits.extend(
                stored
                    .segment
                    .nearest(&query, question.k, allowed, effort)?,
            );
        }
        hits.sort_unstable_by(in_order);
        hits.truncate(question.k);
        Ok(hits)
    }

    fn scan(&self, reach: &Reach<'_>, visit: &mut dyn FnMut(Hit)) -> Result<(), VectorError> {
        self.each_reaching(reach, Tell::Similarity, visit)
    }

    fn reaching(&self, reach: &Reach<'_>) -> Result<RowSet, VectorError> {
        let mut rows = RowSet::new();
        self.each_reaching(reach, Tell::Membership, &mut |hit| {
            rows.insert(hit.row);
        })?;
        Ok(rows)
    }
}

impl Published {
    fn new(mut segments: Vec<Arc<Stored>>, erased: &BTreeMap<u32, Millis>) -> Self {
        // The largest first, so that its best hits are there before the others' are looked for.
        segments.sort_by_key(|stored| Reverse((stored.named.rows, stored.named.file)));
        let held: usize = segments
            .iter()
            .map(|stored| stored.segment.rows.codes.len())
            .sum();
        Self {
            segments,
            rows: held.saturating_sub(erased.len()),
            erased: erased.keys().copied().map(RowId).collect(),
        }
    }

    /// The rows of the filter, where there is one, less the erased.
    fn allowed<'a>(&'a self, of: Option<&'a RowSet>) -> Allowed<'a> {
        Allowed {
            of,
            erased: (!self.erased.is_empty()).then_some(&self.erased),
        }
    }

    fn holds(&self, row: RowId) -> bool {
        let is_in = |stored: &Arc<Stored>| {
            stored
                .segment
                .rows
                .codes
                .ids()
                .binary_search(&row.0)
                .is_ok()
        };
        !self.erased.contains(row) && self.segments.iter().any(is_in)
    }
}

impl Ledger {
    /// A file's number, never given again: a file that a failed change left is not mistaken for another.
    pub(super) fn take_file(&mut self) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        file
    }
}

fn load(
    disk: &dyn Disk,
    key: &NodeKey,
    named: &Named,
    (dimension, memory): (usize, Memory),
) -> Result<Segment, VectorError> {
    let name = file_name(named.file);
    let key = SegmentKey::unwrap(key, &name, &named.wrapped);
    let key = key.ok_or_else(|| VectorError::Unsealable { file: name.clone() })?;
    let segment = format::read(disk, &name, Arc::new(key), memory)?;
    let codes = &segment.rows.codes;
    if codes.len() != named.rows as usize || codes.dimension() != dimension {
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
