//! A small file that says which others count: sealed by the node's key, and replaced whole.
//!
//! Its bytes are durable under another name before it gets its own. A reader after a crash therefore finds the old one
//! or the new one, and never a mix.
//!
//! ```text
//! 0   8   magic
//! 8   2   version
//! 10      sealed by the node's key, with the magic as what must go with it
//! ```

use super::disk::Disk;
use super::error::VectorError;
use super::format::Reader;
use super::sealing::NodeKey;

/// Which of these files it is.
pub(crate) struct PublishedFile {
    pub(crate) name: &'static str,
    /// What it is called before its bytes are durable.
    pub(crate) draft: &'static str,
    pub(crate) magic: &'static [u8; 8],
    pub(crate) version: u16,
    pub(crate) bytes_max: u64,
}

/// Bytes of the file that are others at each publishing: magic, version and the nonce.
const MARK_BYTES: usize = 8 + 2 + 12;

/// Tells one publishing from every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(Vec<u8>);

impl PublishedFile {
    /// What was published, as `parse` reads it, and its mark; `None` where nothing was.
    pub(crate) fn read<T>(
        &self,
        disk: &dyn Disk,
        key: &NodeKey,
        parse: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<(T, Mark)>, VectorError> {
        let bytes = match disk.read(self.name, self.bytes_max) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", self.name)(source)),
        };
        let file = || self.name.to_owned();
        let mut fields = Reader(&bytes);
        if fields.bytes(self.magic.len()) != Some(self.magic.as_slice()) {
            return Err(VectorError::NotOurs { file: file() });
        }
        let found = fields
            .u16()
            .ok_or_else(|| VectorError::NotOurs { file: file() })?;
        if found != self.version {
            return Err(VectorError::OtherVersion {
                file: file(),
                found,
                expected: self.version,
            });
        }
        let opened = key
            .open(self.magic, fields.0)
            .ok_or_else(|| VectorError::Unsealable { file: file() })?;
        let parsed = parse(&mut Reader(&opened)).ok_or_else(|| VectorError::Damaged {
            file: file(),
            what: "a count in it is out of range",
        })?;
        Ok(Some((parsed, mark(&bytes))))
    }

    /// The mark of what is published now.
    pub(crate) fn mark(&self, disk: &dyn Disk) -> Result<Option<Mark>, VectorError> {
        let mut bytes = vec![0; MARK_BYTES];
        let read = disk
            .open(self.name)
            .and_then(|file| file.read_at(0, &mut bytes));
        match read {
            Ok(()) => Ok(Some(mark(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", self.name)(source)),
        }
    }

    /// Makes this what counts, durably.
    pub(crate) fn publish(
        &self,
        disk: &dyn Disk,
        key: &NodeKey,
        contents: &[u8],
    ) -> Result<(), VectorError> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(key.seal(self.magic, contents)?);
        disk.write(self.draft, &bytes)
            .map_err(failed("write", self.draft))?;
        disk.rename(self.draft, self.name)
            .map_err(failed("rename", self.draft))?;
        disk.sync_names().map_err(failed("sync", self.name))
    }
}

fn mark(bytes: &[u8]) -> Mark {
    Mark(bytes.iter().take(MARK_BYTES).copied().collect())
}

/// For `map_err`: what was being done to which file.
pub(crate) fn failed(
    doing: &'static str,
    file: &str,
) -> impl FnOnce(std::io::Error) -> VectorError {
    let file = file.to_owned();
    move |source| VectorError::Disk {
        doing,
        file,
        source,
    }
}
