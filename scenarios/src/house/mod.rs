//! A whole consortium on one machine.
//!
//! | file | what |
//! |---|---|
//! | `role` | this program, playing one of the product's binaries |
//! | `processes` | begin, wait, end; nobody is left behind |
//! | `consortium` | founding, enrolling, a folder for each |
//! | `member` | what a person types, and what is answered |

mod consortium;
mod member;
mod processes;
mod role;

pub use consortium::{Consortium, Site};
pub use member::{Exit, Member, Typed, anybody_types};
pub use processes::Household;
pub use role::{Role, played};

use std::path::{Path, PathBuf};

/// Something in the house went wrong.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    #[error("{what}: {source}")]
    Disk {
        what: String,
        source: std::io::Error,
    },
    #[error("`{folder}` is not empty; name a new folder with --keep", folder = .0.display())]
    FolderTaken(PathBuf),
    #[error("`{name}` could not be started: {source}")]
    NotStarted {
        name: String,
        source: std::io::Error,
    },
    #[error("`{name}` did not do what it was started for ({waited_for}); it said: {said}")]
    Process {
        name: String,
        waited_for: String,
        said: String,
    },
    #[error("`consilium {typed}`: {message}{}", if .remedy.is_empty() { String::new() } else { format!("; {}", .remedy) })]
    Command {
        typed: String,
        code: String,
        message: String,
        remedy: String,
        /// What the envelope holds besides: what each site said to a question that none answered. Null where nothing.
        data: Box<serde_json::Value>,
    },
    #[error("the answer to `consilium {typed}` lacks `{field}`")]
    Answer { typed: String, field: &'static str },
}

/// Writes a file, its folder first.
///
/// # Errors
/// [`HouseError::Disk`] with the path.
pub fn write(path: &Path, text: &str) -> Result<(), HouseError> {
    write_bytes(path, text.as_bytes())
}

/// As [`write`], of any bytes.
///
/// # Errors
/// [`HouseError::Disk`] with the path.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), HouseError> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|source| HouseError::Disk {
            what: format!("cannot write `{}`", path.display()),
            source,
        })
}
