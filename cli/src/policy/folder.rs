//! A bundle's folder, read and written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use consilium_policies::files::{CASES_FILE, POLICY_FILE, RULES_FILE, SIGNATURES_FILE};
use consilium_policies::limits::BUNDLE_BYTES_MAX;
use consilium_policies::{Bundle, BundleFiles};

use super::PolicyError;
use crate::ending::CliError;
use crate::home::replace;

/// The files of a bundle. One that is not there is empty; `policy.toml` must be.
pub(super) fn read(folder: &Path) -> Result<BundleFiles, CliError> {
    let policy = folder.join(POLICY_FILE);
    let or_empty = |name| Ok::<_, CliError>(read_file(&folder.join(name))?.unwrap_or_default());
    Ok(BundleFiles {
        policy: read_file(&policy)?.ok_or(PolicyError::NoBundle { path: policy })?,
        rules: or_empty(RULES_FILE)?,
        cases: or_empty(CASES_FILE)?,
        signatures: or_empty(SIGNATURES_FILE)?,
    })
}

/// The bundle in a folder, with its files.
pub(super) fn open(folder: &Path) -> Result<(Bundle, BundleFiles), CliError> {
    let files = read(folder)?;
    let place = folder.display().to_string();
    let bundle = Bundle::read(&place, &files).map_err(PolicyError::from)?;
    Ok((bundle, files))
}

/// Fails where a bundle decides otherwise than its own cases expect, as a node would.
pub(super) fn as_expected(bundle: &Bundle) -> Result<(), PolicyError> {
    let surprises = bundle.cases().surprises(bundle);
    match surprises.first() {
        None => Ok(()),
        Some(first) => Err(PolicyError::Surprises {
            first: first.to_string(),
            count: surprises.len(),
        }),
    }
}

/// Writes a bundle into a folder, each file durable, `policy.toml` last: without it there is no bundle.
pub(super) fn write(folder: &Path, files: &BundleFiles) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|source| CliError::NotWritten {
        path: folder.to_owned(),
        source,
    })?;
    for (name, bytes) in [
        (SIGNATURES_FILE, &files.signatures),
        (RULES_FILE, &files.rules),
        (CASES_FILE, &files.cases),
        (POLICY_FILE, &files.policy),
    ] {
        if !bytes.is_empty() {
            replace(&folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// One byte more than a file may have is read, so that too long is seen as such.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, CliError> {
    let read = || {
        // Asked before opening: a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a file",
            ));
        }
        let mut bytes = Vec::new();
        File::open(path)?
            .take(BUNDLE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CliError::NotRead {
            path: path.to_owned(),
            source,
        }),
    }
}
