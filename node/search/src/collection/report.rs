//! How an ingest is asked for, and what it tells. Nothing here holds a word of a record.

use std::collections::BTreeMap;

use crate::redaction::Class;

use super::document::Reason;
use super::limits::{ERASE_WITHIN_MS, STEP_PASSAGES};
use super::reader::Figures;

/// What becomes of documents that are not in the source any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Erase,
    Keep,
}

/// How an ingest is done.
#[derive(Debug, Clone, Copy)]
pub struct IngestSettings {
    pub gone: Gone,
    /// Deadline of what was erased, as for [`super::maintain`].
    pub erase_within_ms: u64,
    /// Passages that are encoded and published in one step, about: what a killed ingest does again.
    pub step_passages: usize,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            gone: Gone::Erase,
            erase_within_ms: ERASE_WITHIN_MS,
            step_passages: STEP_PASSAGES,
        }
    }
}

/// How far an ingest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the source, or notes.
    Reading { done: u64, total: u64 },
    /// Vectors get their graph.
    Arranging,
}

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub line: u64,
    pub reason: Reason,
}

/// What an ingest did. It holds no word of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestReport {
    pub read: u64,
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub erased: u64,
    /// Gone from the source, and kept because that was asked for.
    pub kept: u64,
    /// Passages that were encoded.
    pub passages: u64,
    /// Passages that were dropped as near-duplicates.
    pub duplicates: u64,
    /// Records that were left out, by reason.
    pub skipped: BTreeMap<Reason, u64>,
    /// The first of them.
    pub first_skipped: Vec<Skipped>,
    /// What was taken out of new and changed texts.
    pub redacted: BTreeMap<Class, u64>,
    /// The collection after it.
    pub collection: Figures,
}
