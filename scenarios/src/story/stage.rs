//! What every story needs: a folder to play in, files that can be written at its end, patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::house::{HouseError, Household};
use crate::story::StoryError;

/// A folder that stays, or one that goes with the household.
///
/// # Errors
/// If there is none to be had, or it is taken.
pub(super) fn settle_in(keep: Option<&Path>) -> Result<(PathBuf, Household), StoryError> {
    let disk = |what: String| move |source| StoryError::Disk { what, source };
    let Some(folder) = keep else {
        let temporary =
            tempfile::tempdir().map_err(disk("cannot make a temporary folder".to_owned()))?;
        return Ok((temporary.path().to_owned(), Household::new(Some(temporary))));
    };
    let what = || format!("cannot use `{}`", folder.display());
    std::fs::create_dir_all(folder).map_err(disk(what()))?;
    let folder = folder.canonicalize().map_err(disk(what()))?;
    let mut entries = std::fs::read_dir(&folder).map_err(disk(what()))?;
    match entries.next() {
        None => Ok((folder, Household::new(None))),
        Some(_) => Err(HouseError::FolderTaken(folder).into()),
    }
}

/// Finds out now what would otherwise be found out at the end.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn check_writable(path: &Path, option: &'static str) -> Result<(), StoryError> {
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    opened.map(drop).map_err(|source| StoryError::NotWritable {
        path: path.to_owned(),
        option,
        source,
    })
}

/// How often it is looked whether what is waited for has come, and for how long.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_MAX: usize = 300;

/// Waits for what another process does in its own time, and tells nobody.
///
/// # Errors
/// What `look` says, or that it did not come.
pub(super) fn wait_until(
    what: &str,
    mut look: impl FnMut() -> Result<bool, StoryError>,
) -> Result<(), StoryError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|source| StoryError::Disk {
            what: "cannot wait".to_owned(),
            source,
        })?;
    for _ in 0..LOOKS_MAX {
        if look()? {
            return Ok(());
        }
        runtime.block_on(async { tokio::time::sleep(LOOK).await });
    }
    Err(StoryError::unexpected(format!("waited in vain: {what}")))
}
