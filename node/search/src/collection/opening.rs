//! From what is published to what searches see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use consilium_protocol::Digest;

use crate::lexical::{self, LexicalIndex};
use crate::vector::{Disk, Folder, Mark, NodeKey, RowId, SegmentedIndex, VectorError, VectorIndex};

use super::block::{Columns, Place, Placed, Sealed};
use super::columns::Tables;
use super::document::{Value, When};
use super::error::CollectionError;
use super::limits::OPENINGS_MAX;
use super::manifest::Manifest;
use super::prefixed::Access;
use super::reader::{Collection, Entry, RowPlace};
use super::store::{arranged, places_of, vectors};

/// Bytes of text whose words are indexed in one go.
const WORDS_AT_ONCE_BYTES: usize = 16 << 20;

impl Collection {
    /// Opens the collection in `folder`, made with this encoder.
    ///
    /// # Errors
    /// None was ingested; another encoder; files that are damaged, of another version, or sealed by another node.
    pub fn open(folder: &Path, key: NodeKey, encoder: &str) -> Result<Self, CollectionError> {
        if !folder.is_dir() {
            return Err(CollectionError::NotIngested {
                folder: folder.to_owned(),
            });
        }
        Self::on(Arc::new(Folder::at(folder)?), &key, encoder).map_err(|error| match error {
            CollectionError::NotIngested { .. } => CollectionError::NotIngested {
                folder: folder.to_owned(),
            },
            other => other,
        })
    }

    /// As [`Collection::open`], on any disk.
    ///
    /// # Errors
    /// The same.
    pub fn on(disk: Arc<dyn Disk>, key: &NodeKey, encoder: &str) -> Result<Self, CollectionError> {
        let mut tries = 0;
        loop {
            let Some((manifest, mark)) = Manifest::read(disk.as_ref(), key)? else {
                return Err(CollectionError::NotIngested {
                    folder: Path::new("").to_owned(),
                });
            };
            if manifest.encoder != encoder {
                return Err(CollectionError::OtherEncoder {
                    wanted: encoder.to_owned(),
                    found: manifest.encoder,
                });
            }
            tries += 1;
            match Self::read(&disk, key, manifest, mark.clone()) {
                // A writer of another process may have replaced a file that was just named, here or by the vectors.
                Err(error)
                    if tries < OPENINGS_MAX
                        && (is_missing_file(&error) || is_other(disk.as_ref(), &mark)?) => {}
                read => return read,
            }
        }
    }

    fn read(
        disk: &Arc<dyn Disk>,
        key: &NodeKey,
        manifest: Manifest,
        mark: Mark,
    ) -> Result<Self, CollectionError> {
        let words = LexicalIndex::new().map_err(words_failed)?;
        let mut files = Vec::with_capacity(manifest.files.len());
        let mut read = Vec::new();
        let mut pending: Vec<Placed> = Vec::new();
        let mut pending_bytes = 0;
        for (number, named) in (0u32..).zip(&manifest.files) {
            let sealed = named.sealed(key)?;
            let (found, documents) = named.read(disk.as_ref(), &sealed)?;
            files.push(sealed);
            let places = places_of(&manifest.columns, &found);
            let is_erased = |document: u32| {
                let erased = &manifest.erased;
                erased
                    .binary_search_by_key(&(named.file, document), |erased| {
                        (erased.file, erased.document)
                    })
                    .is_ok()
            };
            for (mut placed, document) in documents.into_iter().zip(0u32..) {
                if !is_erased(document) {
                    read.push(Read::take(number, &mut placed, &places));
                    pending.push(placed);
                }
            }
            pending_bytes += named.bytes as usize;
            if pending_bytes >= WORDS_AT_ONCE_BYTES {
                index_words(&words, &pending)?;
                pending.clear();
                pending_bytes = 0;
            }
        }
        index_words(&words, &pending)?;
        drop(pending);
        let vectors = match manifest.rows_end {
            0 => None,
            _ => Some(vectors(disk, &manifest, Access::Read)?),
        };
        let collection = Self::arrange(
            read,
            &manifest.columns,
            Opened {
                disk: Arc::clone(disk),
                mark,
                encoder: manifest.encoder.clone(),
                dimension: manifest.dimension as usize,
                files,
                vectors,
                words,
            },
        );
        match &collection.vectors {
            Some(vectors) if vectors.len() < collection.rows.len() => {
                Err(CollectionError::VectorsBehind)
            }
            None if !collection.rows.is_empty() => Err(CollectionError::VectorsBehind),
            _ => Ok(collection),
        }
    }

    fn arrange(mut read: Vec<Read>, columns: &Columns, opened: Opened) -> Self {
        read.sort_by(|a, b| (a.rows.first(), &a.id).cmp(&(b.rows.first(), &b.id)));
        let version = version(&read, &opened.encoder, columns);
        let with_rows = read.iter().filter(|read| !read.rows.is_empty());
        let patients: BTreeSet<&[u8]> = with_rows.map(|read| read.patient.as_slice()).collect();
        let numbers: BTreeMap<&[u8], u32> = patients.iter().copied().zip(0u32..).collect();
        let patients: Vec<Vec<u8>> = patients.iter().map(|patient| patient.to_vec()).collect();
        let patient_of: Vec<u32> = read
            .iter()
            .map(|read| {
                numbers
                    .get(read.patient.as_slice())
                    .copied()
                    .unwrap_or(u32::MAX)
            })
            .collect();
        let mut tables = Tables::new(columns);
        let (mut rows, mut places, mut documents) =
            (Vec::new(), Vec::new(), Vec::with_capacity(read.len()));
        for ((document, read), patient) in (0u32..).zip(read).zip(patient_of) {
            documents.push(Entry {
                id: read.id,
                patient,
                date: read.date,
                file: read.file,
                title: read.title,
                first: rows.len() as u32,
                count: read.rows.len() as u32,
            });
            rows.extend(read.rows);
            places.extend(
                read.texts
                    .into_iter()
                    .map(|text| RowPlace { document, text }),
            );
            tables.push(document, read.values);
        }
        Self {
            disk: opened.disk,
            mark: opened.mark,
            encoder: opened.encoder,
            dimension: opened.dimension,
            version,
            files: opened.files,
            documents,
            visible: rows.iter().copied().map(RowId).collect(),
            rows,
            places,
            patients,
            tables,
            vectors: opened.vectors,
            words: opened.words,
        }
    }
}

/// What was opened besides the documents.
struct Opened {
    disk: Arc<dyn Disk>,
    mark: Mark,
    encoder: String,
    dimension: usize,
    files: Vec<Arc<Sealed>>,
    vectors: Option<SegmentedIndex>,
    words: LexicalIndex,
}

/// What stays in memory of a document that was read.
struct Read {
    id: Box<str>,
    patient: Vec<u8>,
    digest: Digest,
    date: Option<When>,
    file: u32,
    title: Place,
    values: Vec<Value>,
    rows: Vec<u32>,
    texts: Vec<Place>,
}

impl Read {
    fn take(file: u32, placed: &mut Placed, places: &[Option<usize>]) -> Self {
        let document = &mut placed.document;
        Self {
            id: document.id.as_str().into(),
            patient: std::mem::take(&mut document.patient),
            digest: document.digest,
            date: document.date,
            file,
            title: placed.title,
            values: arranged(std::mem::take(&mut document.values), places),
            rows: document
                .passages
                .iter()
                .map(|passage| passage.row)
                .collect(),
            texts: std::mem::take(&mut placed.texts),
        }
    }
}

fn index_words(words: &LexicalIndex, documents: &[Placed]) -> Result<(), CollectionError> {
    let passages = documents.iter().flat_map(|placed| {
        let title = placed.document.title.as_str();
        let passages = placed.document.passages.iter();
        passages.map(move |passage| (RowId(passage.row), title, passage.text.as_str()))
    });
    let passages: Vec<(RowId, &str, &str)> = passages.collect();
    match passages.is_empty() {
        true => Ok(()),
        false => words.apply(&passages, &[]).map_err(words_failed),
    }
}

pub(super) fn words_failed(error: lexical::LexicalError) -> CollectionError {
    CollectionError::Words(error.to_string())
}

fn version(read: &[Read], encoder: &str, columns: &Columns) -> Digest {
    let mut documents: Vec<(&str, &Digest)> =
        read.iter().map(|read| (&*read.id, &read.digest)).collect();
    documents.sort_unstable();
    let mut bytes = encoder.as_bytes().to_vec();
    for (name, kind) in columns {
        bytes.extend(name.as_bytes());
        bytes.push(*kind as u8);
    }
    for (id, digest) in documents {
        bytes.extend(Digest::of(id.as_bytes()).0);
        bytes.extend(digest.0);
    }
    Digest::of(&bytes)
}

/// Whether a file was named and is not there.
pub(super) fn is_missing_file(error: &CollectionError) -> bool {
    match error {
        CollectionError::Vector(VectorError::Disk { source, .. }) => {
            source.kind() == std::io::ErrorKind::NotFound
        }
        _ => false,
    }
}

pub(super) fn is_other(disk: &dyn Disk, mark: &Mark) -> Result<bool, CollectionError> {
    Ok(Manifest::mark(disk)?.as_ref() != Some(mark))
}
