//! Writing a state: under a temporary name, synced, then renamed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consilium_link::sync_folder_of;
use consilium_protocol::Digest;
use consilium_protocol::model::append_le_bytes;
use sha2::Digest as _;

use super::plan::Plan;
use super::stored::{State, content_hash};
use super::{ExportedModel, StateError};

/// A state that is being written; dropped before it is finished, it leaves nothing.
pub(super) struct Draft<'a> {
    plan: &'a Plan,
    round: u32,
    header: Vec<u8>,
    vectors: Vec<Written>,
    bytes: Vec<u8>,
    file: NewFile,
}

/// How much of one vector is written.
struct Written {
    at: u64,
    hasher: blake3::Hasher,
}

impl<'a> Draft<'a> {
    pub(super) fn create(plan: &'a Plan, round: u32, path: &Path) -> Result<Self, StateError> {
        let file = NewFile::create(path)?;
        let header = plan.state_header(round);
        file.write(&header, 0)?;
        let data = header.len() as u64;
        let vectors = (0..plan.vectors() as u64).map(|vector| Written {
            at: data + vector * plan.vector_bytes(),
            hasher: blake3::Hasher::new(),
        });
        Ok(Self {
            plan,
            round,
            vectors: vectors.collect(),
            header,
            bytes: Vec::new(),
            file,
        })
    }

    /// Writes the next values of a vector.
    pub(super) fn append(&mut self, vector: usize, values: &[f32]) -> Result<(), StateError> {
        let Some(written) = self.vectors.get_mut(vector) else {
            return Ok(());
        };
        self.bytes.clear();
        append_le_bytes(values, &mut self.bytes);
        written.hasher.update(&self.bytes);
        self.file.write(&self.bytes, written.at)?;
        written.at += self.bytes.len() as u64;
        Ok(())
    }

    /// Makes the state durable under its name.
    pub(super) fn finish(self) -> Result<State, StateError> {
        let hashes = self.vectors.iter().map(|written| written.hasher.finalize());
        let content = content_hash(&self.header, hashes);
        let wire_blake3 = self.wire_blake3()?;
        let (file, path) = self.file.publish()?;
        let mut state = State::new(self.plan, self.round, file, path);
        state.remember(content, wire_blake3);
        Ok(state)
    }

    /// The hash of the vectors on the wire, one after the other. They were written side by side,
    /// so all but the first are read once more; only SCAFFOLD has any.
    fn wire_blake3(&self) -> Result<[u8; 32], StateError> {
        let mut on_the_wire = self.vectors.iter().take(self.plan.on_the_wire());
        let mut hasher = on_the_wire
            .next()
            .map(|model| model.hasher.clone())
            .unwrap_or_default();
        let mut bytes = Vec::new();
        for written in on_the_wire {
            let mut at = written.at - self.plan.vector_bytes();
            for range in self.plan.steps() {
                bytes.resize(range.len() * size_of::<f32>(), 0);
                self.file.read(&mut bytes, at)?;
                hasher.update(&bytes);
                at += bytes.len() as u64;
            }
        }
        Ok(hasher.finalize().into())
    }
}

/// Writes the model of a state as a file for download.
pub(super) fn export(plan: &Plan, state: &State, path: &Path) -> Result<ExportedModel, StateError> {
    let file = NewFile::create(path)?;
    let mut sha256 = sha2::Sha256::new();
    let header = plan.model_header(state.round());
    file.write(&header, 0)?;
    sha256.update(&header);
    let mut at = header.len() as u64;
    let mut bytes = Vec::new();
    for range in plan.steps() {
        state.read_bytes(0, range, &mut bytes)?;
        file.write(&bytes, at)?;
        sha256.update(&bytes);
        at += bytes.len() as u64;
    }
    file.publish()?;
    Ok(ExportedModel {
        bytes: at,
        sha256: Digest(sha256.finalize().into()),
    })
}

/// A file under a temporary name.
struct NewFile {
    file: File,
    temporary: Temporary,
    path: PathBuf,
}

/// Removes what it names when dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is gone already when it was renamed; otherwise the next attempt overwrites it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl NewFile {
    fn create(path: &Path) -> Result<Self, StateError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".partial");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(|source| StateError::of_disk("create", &temporary, source))?;
        Ok(Self {
            file,
            temporary: Temporary(temporary),
            path: path.to_owned(),
        })
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), StateError> {
        self.file
            .write_all_at(bytes, at)
            .map_err(|source| StateError::of_disk("write", &self.temporary.0, source))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), StateError> {
        self.file
            .read_exact_at(bytes, at)
            .map_err(|source| StateError::of_disk("read", &self.temporary.0, source))
    }

    /// Data first, then the name, then the folder that holds the name: in this order a
    /// crash leaves the whole file under its name, or no file.
    fn publish(self) -> Result<(File, PathBuf), StateError> {
        let Self {
            file,
            temporary,
            path,
        } = self;
        file.sync_all()
            .map_err(|source| StateError::of_disk("sync", &temporary.0, source))?;
        std::fs::rename(&temporary.0, &path)
            .map_err(|source| StateError::of_disk("rename", &temporary.0, source))?;
        sync_folder_of(&path).map_err(|source| {
            let folder = path.parent().unwrap_or(&path);
            StateError::of_disk("sync", folder, source)
        })?;
        Ok((file, path))
    }
}
