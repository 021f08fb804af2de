//! A collection as searches see it: what was published when it was opened. Many threads read it.

use std::collections::BTreeSet;
use std::sync::Arc;

use consilium_protocol::Digest;
use consilium_protocol::query::Filter;

use crate::lexical::{self, LexicalIndex};
use crate::vector::{
    Disk, Effort, Hit, Mark, Question, Reach, RowId, RowSet, SegmentedIndex, UnitVector,
    VectorIndex,
};

use super::block::{Place, Sealed};
use super::columns::{Table, Tables};
use super::document::When;
use super::error::{CollectionError, Misfit};
use super::filter::holds;
use super::mapping::Kind;
use super::opening::{is_missing_file, is_other, words_failed};

/// How much a collection has. A patient counts when a passage of hers can be found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub documents: u64,
    pub passages: u64,
    pub patients: u64,
}

/// A passage in clear. No `Debug`: it is a patient's, though redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct PassageText {
    /// The document's id at its site.
    pub document: String,
    /// Which of the document's passages, from 0.
    pub number: u32,
    pub title: String,
    pub text: String,
    /// `2019` of a redacted collection, `2019-03-04` of a public one.
    pub date: Option<String>,
}

/// One site's texts, ready to be searched.
pub struct Collection {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) mark: Mark,
    pub(super) encoder: String,
    pub(super) dimension: usize,
    pub(super) version: Digest,
    pub(super) files: Vec<Arc<Sealed>>,
    /// In the order of their first rows.
    pub(super) documents: Vec<Entry>,
    /// Ascending.
    pub(super) rows: Vec<u32>,
    /// For each of the rows.
    pub(super) places: Vec<RowPlace>,
    pub(super) visible: RowSet,
    pub(super) patients: Vec<Vec<u8>>,
    pub(super) tables: Tables,
    /// None where nothing was ever published.
    pub(super) vectors: Option<SegmentedIndex>,
    pub(super) words: LexicalIndex,
}

pub(super) struct Entry {
    pub(super) id: Box<str>,
    pub(super) patient: u32,
    pub(super) date: Option<When>,
    /// Its file, by place in `files`.
    pub(super) file: u32,
    pub(super) title: Place,
    /// Its rows, by place in `rows`.
    pub(super) first: u32,
    pub(super) count: u32,
}

#[derive(Clone, Copy)]
pub(super) struct RowPlace {
    pub(super) document: u32,
    pub(super) text: Place,
}

impl Collection {
    /// Whether this is still what is published. Cheap: a few bytes are read.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_current(&self) -> Result<bool, CollectionError> {
        Ok(!is_other(self.disk.as_ref(), &self.mark)?)
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            documents: self.documents.len() as u64,
            passages: self.rows.len() as u64,
            patients: self.patients.len() as u64,
        }
    }

    /// Names what is in the collection: it changes with every change of it, and two nodes that ingested the same texts
    /// in the same way have the same.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.version
    }

    /// The encoder whose vectors are compared.
    #[must_use]
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// Coordinates of each vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Every row that can be found.
    #[must_use]
    pub fn rows(&self) -> &RowSet {
        &self.visible
    }

    /// Who the patients are, by their numbers here.
    pub fn patient_identities(&self) -> impl Iterator<Item = &[u8]> {
        self.patients.iter().map(Vec::as_slice)
    }

    /// The patient of a row, by number; `None` for a row that cannot be found.
    #[must_use]
    pub fn patient_of(&self, row: RowId) -> Option<u32> {
        Some(self.entry_of(row)?.0.patient)
    }

    /// The patients of these rows, ascending and each once.
    #[must_use]
    pub fn patients_of(&self, rows: &RowSet) -> Vec<u32> {
        let mut has = vec![false; self.patients.len()];
        let mut places = self.rows.iter().zip(&self.places);
        for row in rows.iter() {
            // Both ascend, so one walk over the collection's rows is enough.
            let Some((_, place)) = places
                .find(|(own, _)| **own >= row.0)
                .filter(|(own, _)| **own == row.0)
            else {
                return self.patients_one_by_one(rows);
            };
            let patient = self
                .documents
                .get(place.document as usize)
                .map(|entry| entry.patient);
            if let Some(has) = patient.and_then(|patient| has.get_mut(patient as usize)) {
                *has = true;
            }
        }
        listed(&has)
    }

    /// The rows of the patients that are `true`.
    #[must_use]
    pub fn rows_of_patients(&self, wanted: &[bool]) -> RowSet {
        let is_wanted = |entry: &&Entry| wanted.get(entry.patient as usize) == Some(&true);
        self.rows_of(self.documents.iter().filter(is_wanted))
    }

    /// The rows that the filter holds of; all without one.
    ///
    /// # Errors
    /// The filter names a column that is not there, or compares it with what it cannot hold.
    pub fn rows_where(&self, filter: Option<&Filter>) -> Result<RowSet, Misfit> {
        let Some(filter) = filter else {
            return Ok(self.visible.clone());
        };
        let those = holds(&self.tables, self.documents.len(), filter)?;
        let pairs = self.documents.iter().zip(those);
        Ok(self.rows_of(pairs.filter_map(|(entry, holds)| holds.then_some(entry))))
    }

    /// The filter columns, with what they hold.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.tables.names()
    }

    /// Each word of a column with the rows that have it, in the order of the words: what is voted on.
    ///
    /// # Errors
    /// No such column, or one that has no words.
    pub fn column_words(&self, name: &str) -> Result<Vec<(&str, RowSet)>, Misfit> {
        match self.tables.column(name)? {
            (_, Table::Words { documents, .. }) => Ok(documents
                .iter()
                .map(|(word, documents)| {
                    let entries = documents
                        .iter()
                        .filter_map(|at| self.documents.get(*at as usize));
                    (&**word, self.rows_of(entries))
                })
                .collect()),
            (kind, _) => Err(Misfit::WrongType {
                column: name.to_owned(),
                holds: kind.holds(),
                wanted: "a list of words",
            }),
        }
    }

    /// The `k` allowed rows most similar to a vector, best first; fewer only if fewer are allowed.
    ///
    /// # Errors
    /// A vector of another dimension, a `k` out of range, a disk at fault.
    pub fn nearest(
        &self,
        vector: &UnitVector,
        k: usize,
        allowed: &RowSet,
        effort: Effort,
    ) -> Result<Vec<Hit>, CollectionError> {
        let allowed = self.only_visible(allowed);
        let Some(vectors) = &self.vectors else {
            return Ok(Vec::new());
        };
        Ok(vectors.nearest(&Question {
            vector,
            k,
            allowed: Some(&allowed),
            effort,
        })?)
    }

    /// The `k` allowed rows that say best what the question's words say, best first.
    ///
    /// # Errors
    /// A `k` out of range, or a fault of the index.
    pub fn words(
        &self,
        question: &str,
        k: usize,
        allowed: &RowSet,
    ) -> Result<Vec<lexical::Hit>, CollectionError> {
        let allowed = self.only_visible(allowed);
        self.words
            .best(question, k, Some(&allowed))
            .map_err(words_failed)
    }

    /// Tells how similar each allowed row is, in no order. Exact: no graph has a say in it.
    ///
    /// # Errors
    /// A vector of another dimension, or a disk at fault: what was told before is then incomplete.
    pub fn scan(
        &self,
        vector: &UnitVector,
        allowed: &RowSet,
        found: &mut dyn FnMut(RowId, f32),
    ) -> Result<(), CollectionError> {
        let allowed = self.only_visible(allowed);
        let Some(vectors) = &self.vectors else {
            return Ok(());
        };
        let reach = Reach {
            vector,
            allowed: Some(&allowed),
            least: f32::NEG_INFINITY,
        };
        Ok(vectors.scan(&reach, &mut |hit| found(hit.row, hit.similarity))?)
    }

    /// How similar one row is; `None` where it cannot be found.
    ///
    /// # Errors
    /// As [`Collection::scan`].
    pub fn similarity(
        &self,
        row: RowId,
        vector: &UnitVector,
    ) -> Result<Option<f32>, CollectionError> {
        let mut similarity = None;
        let one = RowSet::from_iter([row]);
        self.scan(vector, &one, &mut |_, found| similarity = Some(found))?;
        Ok(similarity)
    }

    /// The document of a row, and which of its passages it is: what equal hits of several sites are ordered by. Opens
    /// no text.
    #[must_use]
    pub fn document_of(&self, row: RowId) -> Option<(&str, u32)> {
        let (entry, at) = self.entry_of(row)?;
        Some((&entry.id, at - entry.first))
    }

    /// Opens a passage. Nothing of it is kept.
    ///
    /// # Errors
    /// A file that is damaged, or was rewritten since: then the collection is not current any more.
    pub fn passage(&self, row: RowId) -> Result<Option<PassageText>, CollectionError> {
        let Some((entry, at)) = self.entry_of(row) else {
            return Ok(None);
        };
        let (Some(file), Some(place)) = (
            self.files.get(entry.file as usize),
            self.places.get(at as usize),
        ) else {
            return Ok(None);
        };
        let open = |place| {
            let text = file
                .text(self.disk.as_ref(), place)
                .map_err(CollectionError::from);
            text.map_err(|error| match is_missing_file(&error) {
                true => CollectionError::Changed,
                false => error,
            })
        };
        Ok(Some(PassageText {
            document: entry.id.to_string(),
            number: at - entry.first,
            title: open(entry.title)?,
            text: open(place.text)?,
            date: entry.date.map(When::written),
        }))
    }

    /// The document of a row, and the row's place among all rows.
    fn entry_of(&self, row: RowId) -> Option<(&Entry, u32)> {
        let at = self.rows.binary_search(&row.0).ok()?;
        let place = self.places.get(at)?;
        Some((self.documents.get(place.document as usize)?, at as u32))
    }

    fn rows_of<'a>(&'a self, entries: impl Iterator<Item = &'a Entry>) -> RowSet {
        let ranges = entries.filter_map(|entry| {
            let first = entry.first as usize;
            self.rows.get(first..first + entry.count as usize)
        });
        ranges.flatten().copied().map(RowId).collect()
    }

    fn patients_one_by_one(&self, rows: &RowSet) -> Vec<u32> {
        let patients: BTreeSet<u32> = rows.iter().filter_map(|row| self.patient_of(row)).collect();
        patients.into_iter().collect()
    }

    fn only_visible(&self, allowed: &RowSet) -> RowSet {
        let mut allowed = allowed.clone();
        allowed.intersect(&self.visible);
        allowed
    }
}

fn listed(has: &[bool]) -> Vec<u32> {
    let numbered = (0u32..).zip(has);
    numbered
        .filter_map(|(number, has)| has.then_some(number))
        .collect()
}
