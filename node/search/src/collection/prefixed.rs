//! The vectors' files beside the texts': one folder, told apart by how their names begin.

use std::io;
use std::sync::Arc;

use crate::vector::{Disk, Fill, Pieces};

/// The files of a folder whose names begin so, without that beginning.
pub(super) struct Prefixed {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) prefix: String,
    pub(super) access: Access,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// By the one writer.
    Write,
    /// By readers, beside a writer of another process: they see no name, so they find no rubbish to remove, and what
    /// the writer has not yet published stays.
    Read,
}

impl Prefixed {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn may_write(&self) -> io::Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        }
    }
}

impl Disk for Prefixed {
    fn names(&self) -> io::Result<Vec<String>> {
        if self.access == Access::Read {
            return Ok(Vec::new());
        }
        let names = self.disk.names()?;
        let ours = names
            .iter()
            .filter_map(|name| name.strip_prefix(&self.prefix));
        Ok(ours.map(str::to_owned).collect())
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(&self.name(name), bytes_max)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.may_write()?;
        self.disk.write(&self.name(name), bytes)
    }

    fn write_by(&self, name: &str, fill: &mut Fill<'_>) -> io::Result<()> {
        self.may_write()?;
        self.disk.write_by(&self.name(name), fill)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Pieces>> {
        self.disk.open(&self.name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        self.disk.rename(&self.name(from), &self.name(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        self.disk.remove(&self.name(name))
    }
}
