//! The file that says which documents a collection has. What it names exists; what it does not name is rubbish.
//!
//! It is replaced whole (`vector/published.rs`), and always after the vectors' own manifest. It holds the secret that
//! the vectors' keys are wrapped by: vectors of another collection, or of a former encoder, do not open.
//!
//! ```text
//! 0   8   "CNSLCOLL"
//! 8   2   version, 1
//! 10      sealed by the node's key: generation (8), next file (8), epoch of the vectors (4), their secret (32), end of
//!         the rows (4), dimension (4), encoder (2 + n), columns (2), each: name (2 + n), kind (1); files (4), each:
//!         file (8), documents (4), bytes (4), wrapped key (60); erased documents (4), each: file (8), document (4),
//!         when (8)
//! ```

use consilium_protocol::Millis;
use zeroize::Zeroizing;

use crate::vector::{
    DIMENSION_MAX, Disk, Mark, NodeKey, PublishedFile, ROW_ID_END, Reader, VectorError,
};

use super::block::{Columns, NamedFile, WRAPPED_BYTES, kind_of};
use super::limits::{COLUMNS_MAX, ERASED_MAX, FILES_MAX, MANIFEST_BYTES_MAX};

pub(super) const DRAFT: &str = "collection.manifest.draft";
const FILE: PublishedFile = PublishedFile {
    name: "collection.manifest",
    draft: DRAFT,
    magic: b"CNSLCOLL",
    version: 1,
    bytes_max: MANIFEST_BYTES_MAX,
};

/// A document that was erased and is still in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Erased {
    pub(super) file: u64,
    /// Its place in the file.
    pub(super) document: u32,
    pub(super) when: Millis,
}

/// No `Debug`: it holds a secret.
#[derive(Clone)]
pub(super) struct Manifest {
    /// Counts the changes.
    pub(super) generation: u64,
    pub(super) next_file: u64,
    /// Which of the vectors' folders counts.
    pub(super) epoch: u32,
    pub(super) secret: Zeroizing<[u8; 32]>,
    /// No row up to here is ever given again.
    pub(super) rows_end: u32,
    pub(super) dimension: u32,
    pub(super) encoder: String,
    pub(super) columns: Columns,
    pub(super) files: Vec<NamedFile>,
    /// Ascending.
    pub(super) erased: Vec<Erased>,
}

impl Manifest {
    /// `None` where there is none.
    pub(super) fn read(
        disk: &dyn Disk,
        key: &NodeKey,
    ) -> Result<Option<(Self, Mark)>, VectorError> {
        FILE.read(disk, key, Self::parse)
    }

    /// The mark of what is published now.
    pub(super) fn mark(disk: &dyn Disk) -> Result<Option<Mark>, VectorError> {
        FILE.mark(disk)
    }

    /// Makes this the collection, durably.
    pub(super) fn publish(&self, disk: &dyn Disk, key: &NodeKey) -> Result<(), VectorError> {
        FILE.publish(disk, key, &self.bytes())
    }

    /// The key of the vectors.
    pub(super) fn vectors_key(&self) -> Result<NodeKey, VectorError> {
        NodeKey::new(&self.secret)
    }

    /// What the vectors' files are called by.
    pub(super) fn vectors_prefix(&self) -> String {
        format!("vectors-{:08x}-", self.epoch)
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.next_file.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.secret.as_slice());
        bytes.extend(self.rows_end.to_le_bytes());
        bytes.extend(self.dimension.to_le_bytes());
        bytes.extend((self.encoder.len() as u16).to_le_bytes());
        bytes.extend(self.encoder.as_bytes());
        bytes.extend((self.columns.len() as u16).to_le_bytes());
        for (name, kind) in &self.columns {
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.push(*kind as u8);
        }
        bytes.extend((self.files.len() as u32).to_le_bytes());
        for named in &self.files {
            bytes.extend(named.file.to_le_bytes());
            bytes.extend(named.documents.to_le_bytes());
            bytes.extend(named.bytes.to_le_bytes());
            bytes.extend(&named.wrapped);
        }
        bytes.extend((self.erased.len() as u32).to_le_bytes());
        for erased in &self.erased {
            bytes.extend(erased.file.to_le_bytes());
            bytes.extend(erased.document.to_le_bytes());
            bytes.extend(erased.when.0.to_le_bytes());
        }
        bytes
    }

    fn parse(fields: &mut Reader<'_>) -> Option<Self> {
        let (generation, next_file, epoch) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let secret = Zeroizing::new(<[u8; 32]>::try_from(fields.bytes(32)?).ok()?);
        let (rows_end, dimension) = (fields.u32()?, fields.u32()?);
        let encoder = text(fields)?;
        let count = usize::from(fields.u16()?);
        if count > COLUMNS_MAX + 1 {
            return None;
        }
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let name = text(fields)?;
            columns.push((name, kind_of(*fields.bytes(1)?.first()?)?));
        }
        let count = fields.u32()? as usize;
        if count > FILES_MAX {
            return None;
        }
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            files.push(NamedFile {
                file: fields.u64()?,
                documents: fields.u32()?,
                bytes: fields.u32()?,
                wrapped: fields.bytes(WRAPPED_BYTES)?.to_vec(),
            });
        }
        let count = fields.u32()? as usize;
        if count > ERASED_MAX || count.checked_mul(20)? != fields.0.len() {
            return None;
        }
        let mut erased = Vec::with_capacity(count);
        for _ in 0..count {
            erased.push(Erased {
                file: fields.u64()?,
                document: fields.u32()?,
                when: Millis(fields.u64()?),
            });
        }
        let in_range = rows_end <= ROW_ID_END && (1..=DIMENSION_MAX as u32).contains(&dimension);
        in_range.then_some(Self {
            generation,
            next_file,
            epoch,
            secret,
            rows_end,
            dimension,
            encoder,
            columns,
            files,
            erased,
        })
    }
}

fn text(fields: &mut Reader<'_>) -> Option<String> {
    let bytes = usize::from(fields.u16()?);
    let text = std::str::from_utf8(fields.bytes(bytes)?).ok()?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::Kind;

    #[test]
    fn a_manifest_is_laid_out_as_it_is_described_and_reads_back() {
        let manifest = Manifest {
            generation: 1,
            next_file: 2,
            epoch: 3,
            secret: Zeroizing::new([9; 32]),
            rows_end: 4,
            dimension: 5,
            encoder: "e".into(),
            columns: vec![("c".into(), Kind::Date)],
            files: vec![NamedFile {
                file: 6,
                documents: 7,
                bytes: 8,
                wrapped: vec![1; WRAPPED_BYTES],
            }],
            erased: vec![Erased {
                file: 6,
                document: 0,
                when: Millis(10),
            }],
        };
        let bytes = manifest.bytes();
        let expected = [
            b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0".as_slice(),
            &[9; 32],
            b"\x04\0\0\0\x05\0\0\0\x01\0e\x01\0\x01\0c\x03",
            b"\x01\0\0\0\x06\0\0\0\0\0\0\0\x07\0\0\0\x08\0\0\0",
            &[1; WRAPPED_BYTES],
            b"\x01\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(*bytes, expected);
        let read = Manifest::parse(&mut Reader(&bytes)).unwrap();
        assert_eq!(*read.bytes(), *bytes);
        for end in 0..bytes.len() {
            assert!(
                Manifest::parse(&mut Reader(&bytes[..end])).is_none(),
                "{end}"
            );
        }
    }
}
