//! Which passages nearly equal an earlier one.

use std::collections::HashMap;

use crate::duplicates::NearDuplicates;

use super::error::CollectionError;
use super::mapping::{Duplicates, Mapping};
use super::store::{At, Store};

/// Share of runs of words from which on two passages nearly equal each other.
const DUPLICATE_SIMILARITY: f64 = 0.9;

/// The passages that later ones may repeat, by the mapping's rule.
pub(super) struct Repeats {
    rule: Duplicates,
    /// Patients have one document each, so nothing needs to be remembered from one to the next.
    is_patient_a_document: bool,
    of_collection: NearDuplicates,
    of_patients: HashMap<String, NearDuplicates>,
    next: u32,
    /// The file whose documents were looked at last.
    opened: Option<(u64, HashMap<u32, Vec<String>>)>,
}

impl Repeats {
    pub(super) fn new(mapping: &Mapping) -> Self {
        Self {
            rule: mapping.duplicates,
            is_patient_a_document: mapping.patient.is_none() && mapping.patient_until.is_none(),
            of_collection: NearDuplicates::new(DUPLICATE_SIMILARITY),
            of_patients: HashMap::new(),
            next: 0,
            opened: None,
        }
    }

    pub(super) fn is_new(&mut self, text: &str, patient: &str) -> bool {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        match self.rule {
            Duplicates::Keep => true,
            Duplicates::OfCollection => self.of_collection.seen(text, id).is_none(),
            Duplicates::OfDocument | Duplicates::OfPatient => self
                .of_patients
                .entry(patient.to_owned())
                .or_insert_with(|| NearDuplicates::new(DUPLICATE_SIMILARITY))
                .seen(text, id)
                .is_none(),
        }
    }

    pub(super) fn end_document(&mut self) {
        if self.is_patient_a_document || self.rule == Duplicates::OfDocument {
            self.of_patients.clear();
        }
    }

    /// Remembers the passages of a document that is published already.
    pub(super) fn note(
        &mut self,
        store: &Store,
        at: At,
        patient: &str,
    ) -> Result<(), CollectionError> {
        let nothing_to_remember = match self.rule {
            Duplicates::Keep | Duplicates::OfDocument => true,
            Duplicates::OfPatient => self.is_patient_a_document,
            Duplicates::OfCollection => false,
        };
        if nothing_to_remember {
            return Ok(());
        }
        if self
            .opened
            .as_ref()
            .is_none_or(|(file, _)| *file != at.file)
        {
            let named = store
                .manifest
                .files
                .iter()
                .find(|named| named.file == at.file);
            let documents = named
                .map(|named| store.documents(named))
                .transpose()?
                .unwrap_or_default();
            let texts = documents.into_iter().map(|(at, placed)| {
                let passages = placed.document.passages.into_iter();
                (at.document, passages.map(|passage| passage.text).collect())
            });
            self.opened = Some((at.file, texts.collect()));
        }
        let texts = self
            .opened
            .as_mut()
            .and_then(|(_, texts)| texts.remove(&at.document));
        for text in texts.unwrap_or_default() {
            self.is_new(&text, patient);
        }
        Ok(())
    }
}
