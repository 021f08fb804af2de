//! Files that are there whole, or not at all, whenever the power goes: keys and
//! certificates here, and whatever else the binaries keep in small files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which step of writing failed, and on what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {source}", path.display())]
pub struct NotWhole {
    pub doing: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Writes or replaces a file by way of `draft`, a name beside it: the bytes are durable
/// before they get their name, and the name before this returns. A draft that a crash or
/// a full disk left is overwritten by the next attempt.
///
/// # Errors
/// The step that failed; the file is then as it was.
pub fn write_whole(path: &Path, draft: &Path, bytes: &[u8]) -> Result<(), NotWhole> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| NotWhole {
            doing,
            path,
            source,
        }
    };
    let mut file = File::create(draft).map_err(failed("write", draft))?;
    file.write_all(bytes).map_err(failed("write", draft))?;
    file.sync_all().map_err(failed("sync", draft))?;
    fs::rename(draft, path).map_err(failed("rename", draft))?;
    sync_folder_of(path).map_err(failed("sync", path.parent().unwrap_or(path)))
}

/// Makes a file's new name durable: a name is once its folder is.
///
/// # Errors
/// The disk's.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, draft) = (folder.path().join("a"), folder.path().join("a.partial"));
        fs::write(&draft, b"left by a crash").unwrap();
        write_whole(&path, &draft, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert!(!draft.exists());
        fs::create_dir(&draft).unwrap();
        let error = write_whole(&path, &draft, b"two").unwrap_err();
        assert_eq!((error.doing, &error.path), ("write", &draft));
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
