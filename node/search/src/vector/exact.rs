//! The exact vectors of a segment: in memory, or sealed in its file and opened a row at a time.
//!
//! Searches find by codes, which are always in memory, and open only the rows that could be among the best: a dozen or
//! two for a search of ten. A row takes four bytes a coordinate in memory, or none and about two microseconds whenever
//! it is looked at (docs/decisions/0013-vector-index.md).

use std::sync::Arc;

use super::disk::Pieces;
use super::error::VectorError;
use super::format::{HEADER_BYTES, sealed_row_bytes};
use super::published::failed;
use super::sealing::{Piece, SegmentKey};

/// Where the exact vectors of an index are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// Sealed on the disk; only codes and links are in memory.
    #[default]
    Small,
    /// In memory too, for the quickest answers.
    Fast,
}

/// The vectors of a segment by node.
pub(super) enum Exact {
    /// `dimension` coordinates a row.
    Held {
        dimension: usize,
        floats: Vec<f32>,
    },
    Sealed(SealedRows),
}

/// The rows of a segment's file.
pub(super) struct SealedRows {
    file: Box<dyn Pieces>,
    name: String,
    key: Arc<SegmentKey>,
    header: [u8; HEADER_BYTES],
    dimension: usize,
}

/// Space to open rows in.
#[derive(Default)]
pub(super) struct Opened {
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

impl Exact {
    /// The row of `node`.
    pub(super) fn row<'a>(
        &'a self,
        node: u32,
        space: &'a mut Opened,
    ) -> Result<&'a [f32], VectorError> {
        match self {
            Self::Held { dimension, floats } => {
                let start = node as usize * dimension;
                Ok(floats.get(start..start + dimension).unwrap_or_default())
            }
            Self::Sealed(sealed) => sealed.open(node, 1, space),
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Held { floats, .. } => 4 * floats.len(),
            Self::Sealed(_) => 0,
        }
    }
}

impl SealedRows {
    /// Rows of the file that was opened, which begins with this header.
    pub(super) fn new(
        file: Box<dyn Pieces>,
        name: &str,
        key: Arc<SegmentKey>,
        header: [u8; HEADER_BYTES],
        dimension: usize,
    ) -> Self {
        Self {
            file,
            name: name.to_owned(),
            key,
            header,
            dimension,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Opens `count` rows from node `first` on, one after another.
    pub(super) fn open<'a>(
        &self,
        first: u32,
        count: usize,
        space: &'a mut Opened,
    ) -> Result<&'a [f32], VectorError> {
        let Opened { bytes, floats } = space;
        let width = sealed_row_bytes(self.dimension);
        let start = HEADER_BYTES as u64 + u64::from(first) * width as u64;
        bytes.resize(count * width, 0);
        floats.clear();
        self.file
            .read_at(start, bytes)
            .map_err(failed("read", &self.name))?;
        for (node, sealed) in (first..).zip(bytes.chunks_exact_mut(width)) {
            let text = self.key.open(Piece::Row(node), &self.header, sealed);
            let text = text.ok_or_else(|| VectorError::Unsealable {
                file: self.name.clone(),
            })?;
            let (coordinates, _) = text.as_chunks::<4>();
            floats.extend(coordinates.iter().map(|x| f32::from_le_bytes(*x)));
        }
        Ok(floats)
    }
}
