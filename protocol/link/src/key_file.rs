//! Files that hold keys and certificates: created once, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::whole_file::{sync_folder_of, write_whole};

/// The largest key or certificate file read: a PEM certificate is about 1 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Writes a key to a file that did not exist, with mode 0600 from its first byte on.
pub(crate) fn create_private(path: &Path, pem: &str) -> Result<(), IdentityError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.into() },
        _ => not_written(path, source),
    })?;
    file.write_all(pem.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder_of(path))
        .map_err(|source| not_written(path, source))
}

/// Reads a key file, if nobody but its owner can.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let file = File::open(path).map_err(|source| not_read(path, source))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Of the open file: the path may name another one by now.
        let metadata = file.metadata().map_err(|source| not_read(path, source))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::KeyFileOpen {
                path: path.into(),
                mode,
            });
        }
    }
    read(file, path)
}

/// Writes or replaces a public file: whole, or not at all.
pub(crate) fn write_public(path: &Path, pem: &str) -> Result<(), IdentityError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    write_whole(path, Path::new(&name), pem.as_bytes())
        .map_err(|error| not_written(path, error.source))
}

/// Reads a public file.
pub(crate) fn read_public(path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let file = File::open(path).map_err(|source| not_read(path, source))?;
    read(file, path)
}

/// Creates the folder that keys will lie in, for its owner only.
pub(crate) fn create_folder(folder: &Path) -> Result<(), IdentityError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|source| not_written(folder, source))
}

fn read(file: File, path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    // Reserved at once: a string that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let bytes = file
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|source| not_read(path, source))?;
    if bytes as u64 == FILE_BYTES_MAX {
        return Err(IdentityError::NotPem { path: path.into() });
    }
    Ok(text)
}

fn not_written(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::NotWritten {
        path: path.into(),
        source,
    }
}

fn not_read(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::NotRead {
        path: path.into(),
        source,
    }
}
