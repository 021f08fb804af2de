//! The one writer of a collection: files of documents, the vectors beside them, and what is published of both.
//!
//! A change writes the files of its documents, adds the vectors, publishes the catalogue, and erases the vectors of
//! what was replaced. Whatever stops it, the catalogue is the old one or the new. The writer that comes next puts the
//! vectors right: those that no document has go, and those of erased documents go.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use consilium_protocol::Millis;

use crate::vector::{
    BuildSettings, CHANGE_ROWS_MAX, Change, CompactionSettings, Disk, Folder, IndexSettings,
    NodeKey, RowId, SegmentedIndex, UnitVector, failed, random,
};

use super::block::{Columns, NamedFile, Placed, document_bytes, file_name, is_file, write};
use super::document::{Document, Value};
use super::error::CollectionError;
use super::limits::{ERASED_MAX, FILE_BYTES, FILES_MAX};
use super::manifest::{DRAFT, Erased, Manifest};
use super::prefixed::{Access, Prefixed};

const LOCK: &str = "writer.lock";

/// The encoder of a collection, and what its documents have beside their texts.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) encoder: String,
    pub(super) dimension: usize,
    pub(super) columns: Columns,
}

/// Whether what is there is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Goes on with the collection that is there, or makes one.
    Continue,
    /// Begins anew, with this encoder: what is there is gone at once, and comes back as it is ingested.
    Rebuild,
}

pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) key: NodeKey,
    pub(super) manifest: Manifest,
    pub(super) vectors: SegmentedIndex,
    /// Held for as long as the writer lives.
    _lock: Option<File>,
}

/// A document of the store: the file that it is in, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) file: u64,
    pub(super) document: u32,
}

/// What one step publishes.
#[derive(Default)]
pub(super) struct Step {
    pub(super) documents: Vec<Document>,
    pub(super) vectors: Vec<(RowId, UnitVector)>,
    /// Documents that go, with their rows.
    pub(super) gone: Vec<(At, Vec<RowId>)>,
}

/// Takes the writer's lock of a folder, which is made where there is none.
pub(super) fn lock(folder: &Path) -> Result<(Arc<dyn Disk>, File), CollectionError> {
    let disk = Folder::at(folder)?;
    let path = folder.join(LOCK);
    let not_locked = |source| CollectionError::Lock {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(not_locked)?;
    match file.try_lock() {
        Ok(()) => Ok((Arc::new(disk), file)),
        Err(TryLockError::WouldBlock) => Err(CollectionError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(not_locked(source)),
    }
}

impl Store {
    /// Opens what is there, or makes it.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        lock: Option<File>,
        key: NodeKey,
        shape: &Shape,
        beginning: Beginning,
    ) -> Result<Self, CollectionError> {
        let found = Manifest::read(disk.as_ref(), &key)?.map(|(manifest, _)| manifest);
        let manifest = match (found, beginning) {
            (None, _) => empty(shape, None)?,
            (Some(former), Beginning::Rebuild) => empty(shape, Some(&former))?,
            (Some(manifest), Beginning::Continue) => {
                if manifest.encoder != shape.encoder
                    || manifest.dimension as usize != shape.dimension
                {
                    return Err(CollectionError::OtherEncoder {
                        wanted: shape.encoder.clone(),
                        found: manifest.encoder,
                    });
                }
                return Self::open(disk, lock, key, manifest);
            }
        };
        // Before the vectors: their key is nowhere else.
        manifest.publish(disk.as_ref(), &key)?;
        Self::open(disk, lock, key, manifest)
    }

    /// Opens what is published, and puts right what a crash left.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        lock: Option<File>,
        key: NodeKey,
        manifest: Manifest,
    ) -> Result<Self, CollectionError> {
        remove_rubbish(disk.as_ref(), &manifest)?;
        let vectors = vectors(&disk, &manifest, Access::Write)?;
        let mut store = Self {
            disk,
            key,
            manifest,
            vectors,
            _lock: lock,
        };
        store.put_vectors_right()?;
        Ok(store)
    }

    /// Every file's documents, those that were erased left out.
    pub(super) fn each_document(
        &self,
        each: &mut dyn FnMut(At, Placed),
    ) -> Result<(), CollectionError> {
        for named in &self.manifest.files {
            for (at, placed) in self.documents(named)? {
                each(at, placed);
            }
        }
        Ok(())
    }

    /// A file's documents, those that were erased left out.
    pub(super) fn documents(
        &self,
        named: &NamedFile,
    ) -> Result<Vec<(At, Placed)>, CollectionError> {
        let sealed = named.sealed(&self.key)?;
        let (_, documents) = named.read(self.disk.as_ref(), &sealed)?;
        let numbered = documents.into_iter().zip(0u32..).map(|(placed, document)| {
            let file = named.file;
            (At { file, document }, placed)
        });
        Ok(numbered.filter(|(at, _)| !self.is_erased(*at)).collect())
    }

    /// A file's documents with the values of these columns; what a file does not have is missing.
    pub(super) fn in_columns(
        &self,
        named: &NamedFile,
        columns: &Columns,
    ) -> Result<Vec<Document>, CollectionError> {
        let sealed = named.sealed(&self.key)?;
        let (found, documents) = named.read(self.disk.as_ref(), &sealed)?;
        let places = places_of(columns, &found);
        let mut kept = Vec::with_capacity(documents.len());
        for (placed, number) in documents.into_iter().zip(0u32..) {
            let mut document = placed.document;
            document.values = arranged(document.values, &places);
            let at = At {
                file: named.file,
                document: number,
            };
            if !self.is_erased(at) {
                kept.push(document);
            }
        }
        Ok(kept)
    }

    pub(super) fn is_erased(&self, at: At) -> bool {
        let erased = &self.manifest.erased;
        erased
            .binary_search_by_key(&(at.file, at.document), |erased| {
                (erased.file, erased.document)
            })
            .is_ok()
    }

    /// Publishes a step; gives where its documents are now.
    pub(super) fn publish(&mut self, step: Step, now: Millis) -> Result<Vec<At>, CollectionError> {
        let mut next = self.manifest.clone();
        next.generation += 1;
        let places = self.write_files(&mut next, &step.documents)?;
        if let Some((last, _)) = step.vectors.last() {
            next.rows_end = last.0 + 1;
        }
        for (at, _) in &step.gone {
            next.erased.push(Erased {
                file: at.file,
                document: at.document,
                when: now,
            });
        }
        next.erased.sort_unstable();
        let found = next.files.len().max(next.erased.len());
        if next.files.len() > FILES_MAX || next.erased.len() > ERASED_MAX {
            return Err(CollectionError::TooMuchToClean { found });
        }
        for part in step.vectors.chunks(CHANGE_ROWS_MAX) {
            let change = Change {
                added: part.to_vec(),
                erased: Vec::new(),
            };
            self.vectors.apply(change, now)?;
        }
        next.publish(self.disk.as_ref(), &self.key)?;
        self.manifest = next;
        let rows: Vec<RowId> = step.gone.into_iter().flat_map(|(_, rows)| rows).collect();
        self.erase_vectors(&rows, now)?;
        Ok(places)
    }

    /// Writes documents into files of a bounded length.
    pub(super) fn write_files(
        &self,
        next: &mut Manifest,
        documents: &[Document],
    ) -> Result<Vec<At>, CollectionError> {
        let mut places = Vec::with_capacity(documents.len());
        let mut rest = documents;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|document| {
                bytes += document_bytes(document);
                bytes <= FILE_BYTES
            });
            let count = fits.count().max(1);
            let (part, others) = rest.split_at(count);
            let file = next.next_file;
            next.next_file += 1;
            let named = write(self.disk.as_ref(), &self.key, file, &next.columns, part)?;
            next.files.push(named);
            places.extend(
                (0u32..)
                    .zip(part)
                    .map(|(document, _)| At { file, document }),
            );
            rest = others;
        }
        Ok(places)
    }

    /// The columns that documents have from now on.
    pub(super) fn set_columns(&mut self, columns: &Columns) {
        self.manifest.columns.clone_from(columns);
    }

    pub(super) fn erase_vectors(
        &self,
        rows: &[RowId],
        when: Millis,
    ) -> Result<(), CollectionError> {
        for part in rows.chunks(CHANGE_ROWS_MAX) {
            let change = Change {
                added: Vec::new(),
                erased: part.to_vec(),
            };
            self.vectors.apply(change, when)?;
        }
        Ok(())
    }

    /// Erases vectors that no document has: of documents that were not published, and of those that were erased.
    fn put_vectors_right(&mut self) -> Result<(), CollectionError> {
        let (published, added) = (self.manifest.rows_end, self.vectors.rows_end().0);
        if added > published {
            // Nobody saw them, so nobody needs to wait for their end.
            let orphans: Vec<RowId> = (published..added).map(RowId).collect();
            self.erase_vectors(&orphans, Millis(0))?;
            self.manifest.rows_end = added;
        } else if added < published {
            return Err(CollectionError::VectorsBehind);
        }
        let mut by_time: BTreeMap<Millis, Vec<RowId>> = BTreeMap::new();
        for named in &self.manifest.files {
            let of_file = |erased: &&Erased| erased.file == named.file;
            let erased: Vec<&Erased> = self.manifest.erased.iter().filter(of_file).collect();
            if erased.is_empty() {
                continue;
            }
            let sealed = named.sealed(&self.key)?;
            let (_, documents) = named.read(self.disk.as_ref(), &sealed)?;
            for erased in erased {
                let placed = documents.get(erased.document as usize);
                let passages = placed.iter().flat_map(|placed| &placed.document.passages);
                let rows = passages.map(|passage| RowId(passage.row));
                by_time.entry(erased.when).or_default().extend(rows);
            }
        }
        for (when, rows) in by_time {
            self.erase_vectors(&rows, when)?;
        }
        Ok(())
    }
}

/// Vectors are found by walks where there are many, and are read from the disk where they are judged.
pub(super) fn vectors(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    access: Access,
) -> Result<SegmentedIndex, CollectionError> {
    let settings = IndexSettings {
        dimension: manifest.dimension as usize,
        encoder: manifest.encoder.clone(),
        build: BuildSettings::default(),
        compaction: CompactionSettings::default(),
    };
    let files = Prefixed {
        disk: Arc::clone(disk),
        prefix: manifest.vectors_prefix(),
        access,
    };
    Ok(SegmentedIndex::open(
        settings,
        manifest.vectors_key()?,
        Box::new(files),
    )?)
}

/// For each wanted column its place among those that a file has.
pub(super) fn places_of(wanted: &Columns, found: &Columns) -> Vec<Option<usize>> {
    let place = |column| found.iter().position(|other| other == column);
    wanted.iter().map(place).collect()
}

/// Values in the order of the wanted columns.
pub(super) fn arranged(values: Vec<Value>, places: &[Option<usize>]) -> Vec<Value> {
    let of = |place: &Option<usize>| place.and_then(|place| values.get(place).cloned());
    places
        .iter()
        .map(|place| of(place).unwrap_or(Value::Missing))
        .collect()
}

fn empty(shape: &Shape, former: Option<&Manifest>) -> Result<Manifest, CollectionError> {
    Ok(Manifest {
        generation: former.map_or(0, |former| former.generation + 1),
        next_file: former.map_or(0, |former| former.next_file),
        epoch: former.map_or(0, |former| former.epoch.wrapping_add(1)),
        secret: random()?,
        rows_end: 0,
        dimension: shape.dimension as u32,
        encoder: shape.encoder.clone(),
        columns: shape.columns.clone(),
        files: Vec::new(),
        erased: Vec::new(),
    })
}

/// Removes files that a crash left: texts that were not published or were replaced, and vectors of a former epoch.
fn remove_rubbish(disk: &dyn Disk, manifest: &Manifest) -> Result<(), CollectionError> {
    const FOLDER: &str = "the collection's folder";
    let named: Vec<String> = manifest
        .files
        .iter()
        .map(|named| file_name(named.file))
        .collect();
    let prefix = manifest.vectors_prefix();
    let is_rubbish = |name: &String| match name.strip_prefix("vectors-") {
        Some(_) => !name.starts_with(&prefix),
        None => name == DRAFT || (is_file(name) && !named.contains(name)),
    };
    let mut removed = false;
    for name in disk
        .names()
        .map_err(failed("list", FOLDER))?
        .iter()
        .filter(|name| is_rubbish(name))
    {
        disk.remove(name).map_err(failed("remove", name))?;
        removed = true;
    }
    if removed {
        disk.sync_names().map_err(failed("sync", FOLDER))?;
    }
    Ok(())
}
