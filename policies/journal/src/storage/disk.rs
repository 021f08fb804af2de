//! A folder on a disk.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::JournalError;
use crate::storage::Storage;

/// The file whose lock says who writes.
const LOCK: &str = "lock";
/// More files than this in one folder are not a journal (100,000 segments are 6 TB).
const NAMES_MAX: usize = 100_000;

/// A folder on a disk, readable by its owner only. The writer holds a lock on it until it is dropped.
pub struct Disk {
    folder: PathBuf,
    access: Access,
    /// The file used last: a journal writes one for a long time.
    open: Mutex<Option<(String, Arc<File>)>>,
}

enum Access {
    Read,
    Write {
        /// Held for its lock.
        _lock: File,
    },
}

impl Disk {
    /// The folder for the one who writes, created if need be. Fails with [`JournalError::Locked`] while another
    /// process, or another `Disk` in this one, writes there.
    pub fn for_writing(folder: &Path) -> Result<Self, JournalError> {
        let shown = folder.display().to_string();
        create_folder(folder).map_err(JournalError::storage("create", &shown))?;
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(folder.join(LOCK))
            .map_err(JournalError::storage("create", LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Locked {
                    folder: folder.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => {
                return Err(JournalError::storage("lock", LOCK)(cause));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            access: Access::Write { _lock: lock },
            open: Mutex::new(None),
        })
    }

    /// The folder for any number of readers, beside a writer or not. Nothing is created or changed.
    pub fn for_reading(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            access: Access::Read,
            open: Mutex::new(None),
        }
    }

    fn with_file<T>(
        &self,
        name: &str,
        verb: impl FnOnce(&Arc<File>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some((held, file)) if held == name => verb(file),
            _ => {
                let writes = matches!(self.access, Access::Write { .. });
                let file = Arc::new(
                    OpenOptions::new()
                        .read(true)
                        .write(writes)
                        .open(self.folder.join(name))?,
                );
                let (_, file) = open.insert((name.to_owned(), file));
                verb(file)
            }
        }
    }

    fn forget_file(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Storage for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.folder)?.take(NAMES_MAX + 1) {
            names.push(file?.file_name().to_string_lossy().into_owned());
        }
        if names.len() > NAMES_MAX {
            return Err(io::Error::other(format!("more than {NAMES_MAX} files")));
        }
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(name))?.len())
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with_file(name, |file| {
            let mut file: &File = file;
            file.seek(SeekFrom::Start(offset))?;
            loop {
                match file.read(into) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            }
        })
    }

    fn create(&self, name: &str) -> io::Result<()> {
        private(OpenOptions::new().write(true).create_new(true))
            .open(self.folder.join(name))
            .map(drop)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_file(name, |file| {
            let mut file: &File = file;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.with_file(name, |file| file.set_len(bytes))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        // Outside the lock: readers need not wait for the disk.
        self.with_file(name, |file| Ok(Arc::clone(file)))?
            .sync_data()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget_file();
        fs::remove_file(self.folder.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Windows makes names durable by itself and opens no folder as a file.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
