//! The few things that an index asks of a disk. A test breaks them one by one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::error::VectorError;

/// A folder of files, by name.
pub trait Disk: Send + Sync {
    /// # Errors
    /// The system's.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A file of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// The system's; `InvalidData` for a longer one.
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Makes or replaces a file. Its bytes are durable after this; its name is after [`Disk::sync_names`].
    ///
    /// # Errors
    /// The system's; part of the bytes may then be there.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file the name of another, which is replaced at once.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes names durable: those made, those given and those removed.
    ///
    /// # Errors
    /// The system's.
    fn sync_names(&self) -> io::Result<()>;

    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A real folder.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder where there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, VectorError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| VectorError::Disk {
            doing: "make the folder",
            file: path.display().to_string(),
            source,
        })?;
        Ok(Self(path))
    }
}

impl Disk for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.0.join(name))?;
        let length = file.metadata()?.len();
        if length > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is too long",
            ));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.0.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        #[cfg(unix)]
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}
