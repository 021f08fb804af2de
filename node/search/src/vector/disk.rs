//! The few things that an index asks of a disk. A test breaks them one by one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
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

    /// As [`Disk::write`], of bytes that `fill` gives one after another, so that a long file is never whole in memory.
    ///
    /// # Errors
    /// The system's, and what `fill` returned.
    fn write_by(&self, name: &str, fill: &mut Fill<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        self.write(name, &bytes)
    }

    /// Opens a file, to read pieces of it for as long as it is kept open, even when its name is gone.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Box<dyn Pieces>> {
        Ok(Box::new(self.read(name, u64::MAX)?))
    }

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

/// Writes the bytes of a file, one part after another.
pub type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// A file that is open. Many threads read it at once.
pub trait Pieces: Send + Sync {
    /// Bytes of the file.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `into` with the bytes from `start` on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` where there are not so many.
    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Pieces for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(start)
            .ok()
            .and_then(|start| self.get(start..));
        let piece = rest.and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Pieces for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, start: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, start)
    }

    #[cfg(windows)]
    fn read_at(&self, mut start: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_read(self, into, start)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            into = into.get_mut(count..).unwrap_or_default();
            start += count as u64;
        }
        Ok(())
    }
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

    fn write_by(&self, name: &str, fill: &mut Fill<'_>) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(self.0.join(name))?);
        fill(&mut file)?;
        file.into_inner()?.sync_all()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Pieces>> {
        Ok(Box::new(File::open(self.0.join(name))?))
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
