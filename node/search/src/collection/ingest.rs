//! From a source to a collection. Nothing of a record is kept or encoded before it is redacted.
//!
//! Documents are taken in the order of the source and published in steps. A step is there whole or not at all, and what
//! is there is not done again: an ingest that was killed goes on where it was, and ends in the collection that one
//! without a fault would have ended in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use consilium_protocol::{Digest, Millis};

use crate::redaction::{Class, Redacted, Redactor};
use crate::text::{normalise, passages};
use crate::vector::{Disk, NodeKey, RowId, UnitVector};

use super::Encode;
use super::document::{Document, Passage, Reason, SourceDocument};
use super::error::CollectionError;
use super::limits::{DOCUMENTS_MAX, SKIPPED_LISTED_MAX, STEP_BYTES, STEPS_BETWEEN_UPKEEP};
use super::mapping::{Mapping, Redaction};
use super::repeats::Repeats;
use super::report::{Gone, IngestReport, IngestSettings, Progress, Skipped};
use super::source::{self, Record, Records};
use super::store::{At, Beginning, Shape, Step, Store, lock};

/// Of a passage this part is the end of the one before, so that what stands at the seam is found too.
const OVERLAP_PART: usize = 8;

/// Changes with every change of how a record becomes passages.
const RECIPE: &str = "passages/1";

/// The writer of a collection; one at a time.
pub struct Ingest<'a> {
    store: Store,
    mapping: &'a Mapping,
    encoder: &'a dyn Encode,
    made_by: Digest,
    redactor: Redactor,
    known: HashMap<String, Known>,
    /// Ids of the source, by their digests.
    seen: HashSet<Digest>,
    duplicates: Repeats,
    report: IngestReport,
}

/// A document that is published.
struct Known {
    at: At,
    digest: Digest,
    rows: Vec<RowId>,
    is_in_source: bool,
}

/// A document that is not yet.
struct Prepared {
    document: Document,
    line: u64,
}

impl<'a> Ingest<'a> {
    /// Opens the collection in `folder` for writing, or makes one.
    ///
    /// # Errors
    /// Another writer; another encoder, unless it is to begin anew; files that are damaged.
    pub fn open(
        folder: &Path,
        key: NodeKey,
        mapping: &'a Mapping,
        encoder: &'a dyn Encode,
        beginning: Beginning,
    ) -> Result<Self, CollectionError> {
        let (disk, lock) = lock(folder)?;
        Self::begin(disk, Some(lock), key, mapping, encoder, beginning)
    }

    /// As [`Ingest::open`], on any disk and without a lock: for tests, which break the disk.
    ///
    /// # Errors
    /// The same.
    pub fn on(
        disk: Arc<dyn Disk>,
        key: NodeKey,
        mapping: &'a Mapping,
        encoder: &'a dyn Encode,
        beginning: Beginning,
    ) -> Result<Self, CollectionError> {
        Self::begin(disk, None, key, mapping, encoder, beginning)
    }

    fn begin(
        disk: Arc<dyn Disk>,
        lock: Option<std::fs::File>,
        key: NodeKey,
        mapping: &'a Mapping,
        encoder: &'a dyn Encode,
        beginning: Beginning,
    ) -> Result<Self, CollectionError> {
        let shape = Shape {
            encoder: encoder.id(),
            dimension: encoder.dimension(),
            columns: mapping.columns(),
        };
        let mut store = Store::begin(disk, lock, key, &shape, beginning)?;
        store.set_columns(&shape.columns);
        let mut known = HashMap::new();
        store.each_document(&mut |at, placed| {
            let document = placed.document;
            let rows = document.passages.iter().map(|passage| RowId(passage.row));
            let published = Known {
                at,
                digest: document.digest,
                rows: rows.collect(),
                is_in_source: false,
            };
            known.insert(document.id, published);
        })?;
        let parts = [
            mapping.digest().to_string(),
            encoder.id(),
            Redactor::version().to_owned(),
            RECIPE.to_owned(),
        ];
        Ok(Self {
            made_by: Digest::of(parts.join("\n").as_bytes()),
            duplicates: Repeats::new(mapping),
            redactor: Redactor::new(),
            store,
            mapping,
            encoder,
            known,
            seen: HashSet::new(),
            report: IngestReport::default(),
        })
    }

    /// Reads the source to its end.
    ///
    /// # Errors
    /// A source that cannot be read or does not fit the mapping, an encoder that fails, a disk at fault. What was
    /// published stays, nothing that the source lacks is erased, and the next ingest goes on.
    pub fn run(
        self,
        path: &Path,
        settings: IngestSettings,
        now: &dyn Fn() -> Millis,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<IngestReport, CollectionError> {
        let (mut records, position) = source::open(path, self.mapping)?;
        let mut told = |_: &IngestReport| {
            progress(Progress::Reading {
                done: position.done(),
                total: position.total,
            });
        };
        let ingest = self.take(records.as_mut(), settings, now, &mut told)?;
        progress(Progress::Arranging);
        ingest.end(settings, now)
    }

    /// As [`Ingest::run`], of a source in memory.
    ///
    /// # Errors
    /// The same; a folder's format has no such source, and nothing is read.
    pub fn run_bytes(
        self,
        bytes: Vec<u8>,
        settings: IngestSettings,
        now: &dyn Fn() -> Millis,
    ) -> Result<IngestReport, CollectionError> {
        let Some(mut records) = source::of_bytes(bytes, self.mapping)? else {
            return Ok(self.report);
        };
        let ingest = self.take(records.as_mut(), settings, now, &mut |_| {})?;
        ingest.end(settings, now)
    }

    fn take(
        mut self,
        records: &mut dyn Records,
        settings: IngestSettings,
        now: &dyn Fn() -> Millis,
        told: &mut dyn FnMut(&IngestReport),
    ) -> Result<Self, CollectionError> {
        let mut batch: Vec<Prepared> = Vec::new();
        let (mut held_passages, mut held_bytes, mut steps) = (0, 0, 0);
        while let Some(record) = records.next_record()? {
            self.report.read += 1;
            if self.report.read.is_multiple_of(64) {
                told(&self.report);
            }
            let Some(prepared) = self.prepare(record)? else {
                continue;
            };
            held_passages += prepared.document.passages.len();
            held_bytes += prepared
                .document
                .passages
                .iter()
                .map(|passage| passage.text.len())
                .sum::<usize>();
            batch.push(prepared);
            if held_passages.max(batch.len()) >= settings.step_passages.max(1)
                || held_bytes >= STEP_BYTES
            {
                self.publish(std::mem::take(&mut batch), now())?;
                (held_passages, held_bytes) = (0, 0);
                steps += 1;
                if steps % STEPS_BETWEEN_UPKEEP == 0 {
                    // The texts' files stay as they are: it is remembered what lies where.
                    self.store
                        .vectors
                        .maintain(now(), settings.erase_within_ms)?;
                }
                told(&self.report);
            }
        }
        self.publish(batch, now())?;
        told(&self.report);
        Ok(self)
    }

    /// What is to be published of a record; nothing where it is published already, or cannot be used.
    fn prepare(&mut self, record: Record) -> Result<Option<Prepared>, CollectionError> {
        let source = match record.read {
            Ok(source) => source,
            Err(unusable) => {
                // It is there, so what was kept of it before is not erased.
                if let Some(known) = unusable.id.and_then(|id| self.known.get_mut(&id)) {
                    known.is_in_source = true;
                }
                self.skip(record.line, unusable.reason);
                return Ok(None);
            }
        };
        if !self.seen.insert(Digest::of(source.id.as_bytes())) {
            self.skip(record.line, Reason::IdTwice);
            return Ok(None);
        }
        if self.seen.len() > DOCUMENTS_MAX {
            return Err(CollectionError::TooManyDocuments);
        }
        let digest = source.digest(&self.made_by);
        if let Some(known) = self.known.get_mut(&source.id) {
            known.is_in_source = true;
            if known.digest == digest {
                let at = known.at;
                self.report.unchanged += 1;
                self.duplicates.note(&self.store, at, &source.patient)?;
                return Ok(None);
            }
        }
        Ok(Some(Prepared {
            document: self.document(source, digest),
            line: record.line,
        }))
    }

    /// Redacts a record and splits it into passages.
    fn document(&mut self, source: SourceDocument, digest: Digest) -> Document {
        let (title, body) = (normalise(&source.title), normalise(&source.body));
        let (title, body) = match self.mapping.redaction {
            Redaction::None => (title, body),
            Redaction::SafeHarbor => {
                let own =
                    (!source.names.is_empty()).then(|| Redactor::new().with_names(source.names));
                let redactor = own.as_ref().unwrap_or(&self.redactor);
                let (title, body) = (redactor.redact(&title), redactor.redact(&body));
                count(&mut self.report.redacted, &title);
                count(&mut self.report.redacted, &body);
                (normalise(&title.text), normalise(&body.text))
            }
        };
        let words_max = self.encoder.passage_words_max().max(1);
        let mut texts = Vec::new();
        for passage in passages(&body, words_max, words_max / OVERLAP_PART) {
            let Some(text) = body.get(passage.start..passage.end) else {
                continue;
            };
            match self.duplicates.is_new(text, &source.patient) {
                true => texts.push(Passage {
                    row: 0,
                    text: text.to_owned(),
                }),
                false => self.report.duplicates += 1,
            }
        }
        self.duplicates.end_document();
        Document {
            id: source.id,
            patient: source.patient.into_bytes(),
            digest,
            title,
            date: source.date,
            values: source.values,
            passages: texts,
        }
    }

    /// Encodes and publishes documents, and replaces those that they are new versions of.
    fn publish(&mut self, batch: Vec<Prepared>, now: Millis) -> Result<(), CollectionError> {
        if batch.is_empty() {
            return Ok(());
        }
        let vectors = self.encode(&batch)?;
        let mut step = Step::default();
        let mut replaced: Vec<(Vec<RowId>, bool)> = Vec::new();
        let mut next_row = self.store.manifest.rows_end;
        for (prepared, vectors) in batch.into_iter().zip(vectors) {
            let Some(vectors) = vectors else {
                self.skip(prepared.line, Reason::NotEncoded);
                continue;
            };
            let mut document = prepared.document;
            let mut rows = Vec::with_capacity(vectors.len());
            for (passage, vector) in document.passages.iter_mut().zip(vectors) {
                passage.row = next_row;
                rows.push(RowId(next_row));
                step.vectors.push((RowId(next_row), vector));
                next_row += 1;
            }
            self.report.passages += rows.len() as u64;
            let former = self.known.remove(&document.id);
            replaced.push((rows, former.is_some()));
            step.gone.extend(former.map(|known| (known.at, known.rows)));
            step.documents.push(document);
        }
        if step.documents.is_empty() {
            return Ok(());
        }
        let named: Vec<(String, Digest)> = step
            .documents
            .iter()
            .map(|document| (document.id.clone(), document.digest))
            .collect();
        let places = self.store.publish(step, now)?;
        for (((id, digest), (rows, is_changed)), at) in named.into_iter().zip(replaced).zip(places)
        {
            match is_changed {
                true => self.report.changed += 1,
                false => self.report.added += 1,
            }
            let published = Known {
                at,
                digest,
                rows,
                is_in_source: true,
            };
            self.known.insert(id, published);
        }
        Ok(())
    }

    /// Unit vectors of each document's passages; `None` for a document that the encoder can make nothing of. A title's
    /// vector is added to that of each passage, by the mapping's weight.
    fn encode(&self, batch: &[Prepared]) -> Result<Vec<Option<Vec<UnitVector>>>, CollectionError> {
        let weight = self.mapping.title_weight;
        let has_title = |prepared: &Prepared| weight > 0.0 && !prepared.document.title.is_empty();
        let mut texts: Vec<&str> = Vec::new();
        for prepared in batch {
            if has_title(prepared) {
                texts.push(&prepared.document.title);
            }
            texts.extend(
                prepared
                    .document
                    .passages
                    .iter()
                    .map(|passage| passage.text.as_str()),
            );
        }
        let encoded = self
            .encoder
            .encode(&texts)
            .map_err(CollectionError::Encoder)?;
        if encoded.len() != texts.len() {
            return Err(CollectionError::Encoded {
                wanted: texts.len(),
                found: encoded.len(),
            });
        }
        let mut encoded = encoded.into_iter();
        let mut vectors = Vec::with_capacity(batch.len());
        for prepared in batch {
            let title = match has_title(prepared) {
                true => encoded.next(),
                false => None,
            };
            let own: Vec<Vec<f32>> = encoded
                .by_ref()
                .take(prepared.document.passages.len())
                .collect();
            let units = own
                .into_iter()
                .map(|own| joined(own, title.as_deref(), weight));
            vectors.push(units.collect::<Option<Vec<UnitVector>>>());
        }
        Ok(vectors)
    }

    /// Erases what the source has no more, and puts the files in order.
    fn end(
        mut self,
        settings: IngestSettings,
        now: &dyn Fn() -> Millis,
    ) -> Result<IngestReport, CollectionError> {
        let bad: u64 = self.report.skipped.values().sum();
        let share = self.mapping.bad_records_max_share;
        if bad as f64 > share * self.report.read as f64 {
            let first = self.report.first_skipped.first();
            return Err(CollectionError::TooManyBadRecords {
                bad,
                read: self.report.read,
                share,
                first: first.map_or_else(String::new, |first| {
                    format!("line {}: {}", first.line, first.reason)
                }),
            });
        }
        let gone: Vec<String> = self
            .known
            .iter()
            .filter(|(_, known)| !known.is_in_source)
            .map(|(id, _)| id.clone())
            .collect();
        match settings.gone {
            Gone::Keep => self.report.kept = gone.len() as u64,
            Gone::Erase if gone.is_empty() => {}
            Gone::Erase => {
                self.report.erased = gone.len() as u64;
                let known = gone.iter().filter_map(|id| self.known.remove(id));
                let step = Step {
                    gone: known.map(|known| (known.at, known.rows)).collect(),
                    ..Step::default()
                };
                self.store.publish(step, now())?;
            }
        }
        self.store.maintain(now(), settings.erase_within_ms)?;
        let mut patients = HashSet::new();
        self.store.each_document(&mut |_, placed| {
            self.report.collection.documents += 1;
            self.report.collection.passages += placed.document.passages.len() as u64;
            if !placed.document.passages.is_empty() {
                patients.insert(placed.document.patient);
            }
        })?;
        self.report.collection.patients = patients.len() as u64;
        Ok(self.report)
    }

    fn skip(&mut self, line: u64, reason: Reason) {
        *self.report.skipped.entry(reason.clone()).or_default() += 1;
        if self.report.first_skipped.len() < SKIPPED_LISTED_MAX {
            self.report.first_skipped.push(Skipped { line, reason });
        }
    }
}

fn count(counts: &mut BTreeMap<Class, u64>, redacted: &Redacted) {
    for (class, found) in &redacted.found {
        *counts.entry(*class).or_default() += u64::from(*found);
    }
}

/// The direction of a passage and its title together; of the passage alone where they cancel each other out.
fn joined(own: Vec<f32>, title: Option<&[f32]>, weight: f64) -> Option<UnitVector> {
    let passage = UnitVector::parse(&own).ok()?;
    let title = title.and_then(|title| UnitVector::parse(title).ok());
    let both = title.and_then(|title| {
        let pairs = passage.coordinates().iter().zip(title.coordinates());
        let sum: Vec<f32> = pairs
            .map(|(passage, title)| passage + weight as f32 * title)
            .collect();
        UnitVector::parse(&sum).ok()
    });
    Some(both.unwrap_or(passage))
}
