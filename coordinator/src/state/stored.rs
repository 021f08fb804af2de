//! Reading a state, any part of it, without loading the whole.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use consilium_protocol::Digest;
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::model::{append_from_le_bytes, chunk_len, chunks_of};

use super::StateError;
use super::plan::Plan;

/// A state on disk, open for reading. Readers may share it: it has no position.
#[derive(Debug)]
pub struct State {
    file: File,
    path: PathBuf,
    round: u32,
    content: Digest,
    wire_blake3: [u8; 32],
    header_bytes: u64,
    vector_bytes: u64,
    wire_bytes: u64,
}

impl State {
    /// The round that made it; 0 for the first values.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.round
    }

    /// BLAKE3 over the file's header and the hashes of its vectors.
    #[must_use]
    pub fn content(&self) -> Digest {
        self.content
    }

    /// BLAKE3 of the bytes that a site receives.
    #[must_use]
    pub fn wire_blake3(&self) -> [u8; 32] {
        self.wire_blake3
    }

    /// Bytes that a site receives.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// How many chunks carry them.
    #[must_use]
    pub fn wire_chunks(&self) -> u64 {
        chunks_of(self.wire_bytes)
    }

    /// One chunk of what a site receives; empty beyond the end.
    ///
    /// # Errors
    /// The disk's.
    pub fn wire_chunk(&self, index: u64) -> Result<Bytes, StateError> {
        self.wire_chunk_into(index, BytesMut::new())
    }

    /// As [`Self::wire_chunk`], in the memory of `spare` if there is enough of it.
    ///
    /// # Errors
    /// The disk's.
    pub fn wire_chunk_into(&self, index: u64, spare: BytesMut) -> Result<Bytes, StateError> {
        let mut chunk = spare;
        chunk.resize(chunk_len(self.wire_bytes, index), 0);
        let at = index.saturating_mul(CHUNK_BYTES_MAX as u64);
        self.read_at(&mut chunk, self.header_bytes.saturating_add(at))?;
        Ok(chunk.freeze())
    }

    /// A state in `file`, whose hashes are yet to be remembered.
    pub(super) fn new(plan: &Plan, round: u32, file: File, path: PathBuf) -> Self {
        Self {
            file,
            path,
            round,
            content: Digest([0; 32]),
            wire_blake3: [0; 32],
            header_bytes: plan.state_header(round).len() as u64,
            vector_bytes: plan.vector_bytes(),
            wire_bytes: plan.vector_bytes() * plan.on_the_wire() as u64,
        }
    }

    pub(super) fn remember(&mut self, content: Digest, wire_blake3: [u8; 32]) {
        self.content = content;
        self.wire_blake3 = wire_blake3;
    }

    /// Opens a file that must have the length and the header of this round, and hashes it.
    pub(super) fn open(plan: &Plan, round: u32, path: &Path) -> Result<Self, StateError> {
        let of_disk = |source| StateError::of_disk("open", path, source);
        let file = File::open(path).map_err(of_disk)?;
        let got = file.metadata().map_err(of_disk)?.len();
        let header = plan.state_header(round);
        let wanted = header.len() as u64 + plan.vector_bytes() * plan.vectors() as u64;
        if got != wanted {
            return Err(StateError::WrongLength {
                path: path.to_owned(),
                got,
                wanted,
            });
        }
        let mut state = Self::new(plan, round, file, path.to_owned());
        let mut begins = vec![0; header.len()];
        state.read_at(&mut begins, 0)?;
        if begins != header {
            return Err(StateError::ForeignHeader {
                path: path.to_owned(),
                round,
                run_id: plan.run_id().clone(),
            });
        }
        let (content, wire_blake3) = state.hashes(plan, &header)?;
        state.remember(content, wire_blake3);
        Ok(state)
    }

    /// The hashes of content and wire, by one pass over the file.
    fn hashes(&self, plan: &Plan, header: &[u8]) -> Result<(Digest, [u8; 32]), StateError> {
        let mut wire = blake3::Hasher::new();
        let mut vectors = Vec::with_capacity(plan.vectors());
        let mut bytes = Vec::new();
        for vector in 0..plan.vectors() {
            let mut hasher = blake3::Hasher::new();
            for range in plan.steps() {
                self.read_bytes(vector, range, &mut bytes)?;
                hasher.update(&bytes);
                if vector < plan.on_the_wire() {
                    wire.update(&bytes);
                }
            }
            vectors.push(hasher.finalize());
        }
        let content = content_hash(header, vectors.into_iter());
        Ok((content, wire.finalize().into()))
    }

    /// Values of one vector.
    pub(super) fn read(
        &self,
        vector: usize,
        range: Range<usize>,
        values: &mut Vec<f32>,
    ) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        self.read_bytes(vector, range, &mut bytes)?;
        values.clear();
        append_from_le_bytes(&bytes, values);
        Ok(())
    }

    /// The same values as they lie in the file.
    pub(super) fn read_bytes(
        &self,
        vector: usize,
        range: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        bytes.resize(range.len() * size_of::<f32>(), 0);
        let start = (range.start * size_of::<f32>()) as u64;
        let at = self.header_bytes + vector as u64 * self.vector_bytes + start;
        self.read_at(bytes, at)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), StateError> {
        self.file
            .read_exact_at(bytes, at)
            .map_err(|source| StateError::of_disk("read", &self.path, source))
    }
}

/// The hash of a file by its header and the hashes of its vectors.
pub(super) fn content_hash(header: &[u8], vectors: impl Iterator<Item = blake3::Hash>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    for vector in vectors {
        hasher.update(vector.as_bytes());
    }
    Digest(hasher.finalize().into())
}
