//! Why a state cannot be written or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::round::strategy::WrongVectors;

/// Why a state cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "the disk of `{}` is full; free some space and resume the run, the state before is intact",
        path.display()
    )]
    DiskFull { path: PathBuf },
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{}` is missing; restore it from a backup, or submit the run again",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error(
        "`{}` is {got} bytes long and should be {wanted}; restore it from a backup, or submit the run again",
        path.display()
    )]
    WrongLength {
        path: PathBuf,
        got: u64,
        wanted: u64,
    },
    #[error(
        "`{}` does not begin as the state of round {round} of run `{run_id}`; \
         it was changed or belongs to another run: restore it from a backup, or submit the run again",
        path.display()
    )]
    ForeignHeader {
        path: PathBuf,
        round: u32,
        run_id: consilium_protocol::RunId,
    },
    #[error(
        "`{}` was changed since it was written: its hash is not the journal's; \
         restore it from a backup, or submit the run again",
        path.display()
    )]
    Changed { path: PathBuf },
    #[error(
        "the run diverged in round {round}: `{vector}` holds a value that is infinite or no number; \
         lower the learning rates"
    )]
    Diverged { round: u32, vector: &'static str },
    #[error("a sum of {got} values was given for a run whose updates have {wanted}")]
    WrongSum { got: usize, wanted: usize },
    #[error(transparent)]
    Vectors(#[from] WrongVectors),
}

impl StateError {
    pub(super) fn of_disk(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::NotFound if doing == "open" => Self::Missing { path },
            _ => Self::Disk {
                doing,
                path,
                source,
            },
        }
    }
}
