//! What is done in the background: small files joined, and what was erased gone for good.

use std::path::Path;

use consilium_protocol::Millis;

use crate::vector::{Folder, NodeKey, failed};

use super::block::{NamedFile, file_name};
use super::document::Document;
use super::error::CollectionError;
use super::limits::{FILE_BYTES, SMALL_FILES_MAX};
use super::manifest::Manifest;
use super::store::{Store, lock};

/// What an upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkept {
    pub files_written: usize,
    /// Erased documents that are now in no file.
    pub documents_gone: usize,
    pub vectors: crate::vector::Maintained,
}

/// Joins small files and rids the collection in `folder` of all that was erased `erase_within_ms` ago or earlier: of
/// its texts, its vectors and the keys that sealed them. The only call that a timer needs; it costs next to nothing
/// where nothing is to be done, and may be stopped anywhere. `None` where there is no collection, nothing is to be
/// done, or an ingest is at work, which does the same at its end.
///
/// # Errors
/// Files that cannot be read or written.
pub fn maintain(
    folder: &Path,
    key: NodeKey,
    now: Millis,
    erase_within_ms: u64,
) -> Result<Option<Upkept>, CollectionError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let disk = Folder::at(folder)?;
    match Manifest::read(&disk, &key)? {
        Some((manifest, _)) if next_job(&manifest, now, erase_within_ms).is_some() => {}
        _ => return Ok(None),
    }
    let (disk, lock) = match lock(folder) {
        Err(CollectionError::Locked { .. }) => return Ok(None),
        locked => locked?,
    };
    let Some((manifest, _)) = Manifest::read(disk.as_ref(), &key)? else {
        return Ok(None);
    };
    let mut store = Store::open(disk, Some(lock), key, manifest)?;
    store.maintain(now, erase_within_ms).map(Some)
}

impl Store {
    pub(super) fn maintain(
        &mut self,
        now: Millis,
        erase_within_ms: u64,
    ) -> Result<Upkept, CollectionError> {
        let mut done = Upkept {
            // Before the texts: while a document stands in a file, its vectors are known to be due.
            vectors: self.vectors.maintain(now, erase_within_ms)?,
            ..Upkept::default()
        };
        while let Some(job) = next_job(&self.manifest, now, erase_within_ms) {
            let (old, kept): (Vec<NamedFile>, Vec<NamedFile>) = self
                .manifest
                .files
                .iter()
                .cloned()
                .partition(|named| job.contains(&named.file));
            let mut documents: Vec<Document> = Vec::new();
            for named in &old {
                documents.extend(self.in_columns(named, &self.manifest.columns)?);
            }
            let mut next = self.manifest.clone();
            next.generation += 1;
            next.files = kept;
            next.erased.retain(|erased| !job.contains(&erased.file));
            done.documents_gone += self.manifest.erased.len() - next.erased.len();
            let before = next.files.len();
            self.write_files(&mut next, &documents)?;
            done.files_written += next.files.len() - before;
            next.publish(self.disk.as_ref(), &self.key)?;
            self.manifest = next;
            for named in &old {
                let name = file_name(named.file);
                self.disk.remove(&name).map_err(failed("remove", &name))?;
            }
            self.disk
                .sync_names()
                .map_err(failed("sync", "the collection's folder"))?;
        }
        Ok(done)
    }
}

/// The next files to rewrite as one; none when all is well. A decision, and nothing else.
fn next_job(manifest: &Manifest, now: Millis, erase_within_ms: u64) -> Option<Vec<u64>> {
    let due = manifest
        .erased
        .iter()
        .find(|erased| now.since_ms(erased.when) >= erase_within_ms);
    if let Some(due) = due {
        return Some(vec![due.file]);
    }
    // Files with erased documents wait: joined, they would be rewritten twice.
    let has_erased = |named: &NamedFile| {
        manifest
            .erased
            .iter()
            .any(|erased| erased.file == named.file)
    };
    let small: Vec<&NamedFile> = manifest
        .files
        .iter()
        .filter(|named| (named.bytes as usize) < FILE_BYTES / 4 && !has_erased(named))
        .collect();
    if small.len() <= SMALL_FILES_MAX {
        return None;
    }
    let mut bytes = 0;
    let fits = small.iter().take_while(|named| {
        bytes += named.bytes as usize;
        bytes <= FILE_BYTES
    });
    Some(fits.map(|named| named.file).collect())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::manifest::Erased;
    use super::*;

    fn manifest(bytes: &[u32], erased: &[(u64, u64)]) -> Manifest {
        let files = (0u64..).zip(bytes).map(|(file, bytes)| NamedFile {
            file,
            documents: 9,
            bytes: *bytes,
            wrapped: Vec::new(),
        });
        let erased = erased.iter().map(|(file, when)| Erased {
            file: *file,
            document: 0,
            when: Millis(*when),
        });
        Manifest {
            generation: 0,
            next_file: 99,
            epoch: 0,
            secret: Zeroizing::new([0; 32]),
            rows_end: 0,
            dimension: 1,
            encoder: "e".into(),
            columns: Vec::new(),
            files: files.collect(),
            erased: erased.collect(),
        }
    }

    #[test]
    fn a_file_is_rewritten_when_something_in_it_is_due_and_not_before() {
        let with_erased = manifest(&[10, 10], &[(1, 500)]);
        assert_eq!(next_job(&with_erased, Millis(1_499), 1_000), None);
        assert_eq!(next_job(&with_erased, Millis(1_500), 1_000), Some(vec![1]));
    }

    #[test]
    fn many_small_files_are_joined_up_to_the_length_of_one() {
        assert_eq!(
            next_job(&manifest(&[10; SMALL_FILES_MAX], &[]), Millis(0), 1),
            None
        );
        let many = manifest(&[10; SMALL_FILES_MAX + 1], &[]);
        assert_eq!(
            next_job(&many, Millis(0), 1).map(|job| job.len()),
            Some(SMALL_FILES_MAX + 1)
        );
        let quarter = FILE_BYTES as u32 / 4 - 1;
        let longer = manifest(&[quarter; 2 * SMALL_FILES_MAX], &[(0, 0)]);
        assert_eq!(next_job(&longer, Millis(0), 1), Some(vec![1, 2, 3, 4]));
    }
}
