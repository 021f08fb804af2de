//! The file that says which segments make up an index. What it names exists; what it does not name is rubbish.
//!
//! It is replaced whole (`published.rs`): a reader after a crash finds the old set or the new one, and never a mix.
//!
//! ```text
//! 0   8   "CNSLMIDX"
//! 8   2   version, 1
//! 10      sealed by the node's key: generation (8), next file (8), end of the rows (4), dimension (4), encoder
//!         (2 + n), segments (4), each: file (8), rows (4), wrapped key (60); erased rows (4), each: row (4), when (8)
//! ```
//!
//! An older manifest with its segments, put back from a backup, opens: nothing here witnesses what came after it.

use consilium_protocol::Millis;

use super::disk::Disk;
use super::error::VectorError;
use super::format::Reader;
use super::limits::{
    DIMENSION_MAX, ENCODER_NAME_MAX, ERASED_MAX, MANIFEST_BYTES_MAX, ROW_ID_END, SEGMENTS_MAX,
};
use super::published::PublishedFile;
use super::sealing::{NodeKey, SEALED_EXTRA_BYTES};

const FILE: PublishedFile = PublishedFile {
    name: "index.manifest",
    draft: "index.manifest.draft",
    magic: b"CNSLMIDX",
    version: 1,
    bytes_max: MANIFEST_BYTES_MAX,
};
const WRAPPED_BYTES: usize = 32 + SEALED_EXTRA_BYTES;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Counts the changes.
    pub(super) generation: u64,
    /// The number that the next file gets; no file's twice.
    pub(super) next_file: u64,
    /// No row up to here is ever added again.
    pub(super) rows_end: u32,
    pub(super) dimension: u32,
    pub(super) encoder: String,
    pub(super) segments: Vec<Named>,
    /// Rows that were erased and are still in a segment's file, ascending, each with the time of its erasure.
    pub(super) erased: Vec<(u32, Millis)>,
}

/// A segment as the manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) file: u64,
    pub(super) rows: u32,
    /// Its key, sealed by the node's.
    pub(super) wrapped: Vec<u8>,
}

pub(super) fn file_name(file: u64) -> String {
    format!("segment-{file:016x}")
}

/// True for what [`file_name`] made, and for a draft.
pub(super) fn is_ours(name: &str) -> bool {
    name == FILE.draft
        || name
            .strip_prefix("segment-")
            .is_some_and(|rest| rest.len() == 16)
}

impl Manifest {
    /// `None` where there is none.
    pub(super) fn read(disk: &dyn Disk, key: &NodeKey) -> Result<Option<Self>, VectorError> {
        let read = FILE.read(disk, key, Self::parse)?;
        Ok(read.map(|(manifest, _)| manifest))
    }

    /// Makes this the index, durably.
    pub(super) fn publish(&self, disk: &dyn Disk, key: &NodeKey) -> Result<(), VectorError> {
        FILE.publish(disk, key, &self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.next_file.to_le_bytes());
        bytes.extend(self.rows_end.to_le_bytes());
        bytes.extend(self.dimension.to_le_bytes());
        bytes.extend((self.encoder.len() as u16).to_le_bytes());
        bytes.extend(self.encoder.as_bytes());
        bytes.extend((self.segments.len() as u32).to_le_bytes());
        for named in &self.segments {
            bytes.extend(named.file.to_le_bytes());
            bytes.extend(named.rows.to_le_bytes());
            bytes.extend(&named.wrapped);
        }
        bytes.extend((self.erased.len() as u32).to_le_bytes());
        for (row, when) in &self.erased {
            bytes.extend(row.to_le_bytes());
            bytes.extend(when.0.to_le_bytes());
        }
        bytes
    }

    fn parse(fields: &mut Reader<'_>) -> Option<Self> {
        let (generation, next_file) = (fields.u64()?, fields.u64()?);
        let (rows_end, dimension) = (fields.u32()?, fields.u32()?);
        let encoder_bytes = usize::from(fields.u16()?);
        let encoder = std::str::from_utf8(fields.bytes(encoder_bytes)?)
            .ok()?
            .to_owned();
        let count = fields.u32()? as usize;
        if count > SEGMENTS_MAX || encoder_bytes > ENCODER_NAME_MAX {
            return None;
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            segments.push(Named {
                file: fields.u64()?,
                rows: fields.u32()?,
                wrapped: fields.bytes(WRAPPED_BYTES)?.to_vec(),
            });
        }
        let count = fields.u32()? as usize;
        if count > ERASED_MAX || count.checked_mul(12)? != fields.0.len() {
            return None;
        }
        let mut erased = Vec::with_capacity(count);
        for _ in 0..count {
            erased.push((fields.u32()?, Millis(fields.u64()?)));
        }
        let in_range = rows_end <= ROW_ID_END
            && (1..=DIMENSION_MAX as u32).contains(&dimension)
            && erased.is_sorted_by(|a, b| a.0 < b.0);
        in_range.then_some(Self {
            generation,
            next_file,
            rows_end,
            dimension,
            encoder,
            segments,
            erased,
        })
    }
}
