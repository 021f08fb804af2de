//! What waits for a person: a run or question before any work, or a result before it leaves.
//!
//! A request is laid before the site's officers as a file, with the text that was signed; one of those whom the policy
//! names approves it by signing the text's hash, and so exactly what she read. A result in the outbox lies in the
//! vault; what she signs is the hash of every byte that would leave. Files, so that an officer needs no door into
//! the running node, and the gate believes no file but a signature that it checks itself, each time.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use consilium_link::{MemberKey, write_whole};
use consilium_policies::signed::Officer;
use consilium_protocol::signature::Signature;
use consilium_protocol::{Digest, MemberName};
use serde::{Deserialize, Serialize};

/// Files that wait at one time; a request beyond them is refused like the others, and not laid before anybody.
pub const PENDING_MAX: usize = 1000;
/// Longest file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What an officer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// That work may begin.
    Approval,
    /// That a result may leave.
    Release,
}

/// What waits, as it is shown to an officer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    /// What she is asked for.
    pub wanted: Wanted,
    /// SHA-256 of `text`, or of the result's bytes.
    pub hash: Digest,
    /// Who asks, in one line.
    pub asked_by: String,
    /// Who of the officers may say so.
    pub officers: BTreeSet<MemberName>,
    /// The run file or question, to the letter; of a result, what it says.
    pub text: String,
}

/// An officer's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Approved {
    officer: MemberName,
    signature: Signature,
}

/// An approval cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Nothing of that hash waits.
    #[error(
        "nothing waits under the hash `{hash}`; list what does with `consilium-node approvals`"
    )]
    Unknown {
        /// The hash asked for.
        hash: Digest,
    },
    /// What waits is not what its hash says.
    #[error(
        "the text that waits under `{hash}` is another than its hash says; somebody changed the file, and nothing is signed"
    )]
    Changed {
        /// The hash asked for.
        hash: Digest,
    },
    /// The key is not that of an officer whom the policy lets decide.
    #[error(
        "this key is none of the officers who may decide this ({officers:?}), as the node's configuration knows them"
    )]
    NotAnOfficer {
        /// Who may.
        officers: BTreeSet<MemberName>,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] consilium_link::IdentityError),
    /// A file cannot be read or written.
    #[error("cannot {doing} `{}`: {cause}", .path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// The folder of what waits, and the keys of those who may say yes.
#[derive(Debug, Clone, Default)]
pub struct Approvals {
    folder: Option<PathBuf>,
    officers: Vec<Officer>,
}

impl Approvals {
    /// What waits lies in `folder`; `officers` are those whose keys this node knows.
    #[must_use]
    pub fn new(folder: &Path, officers: Vec<Officer>) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            officers,
        }
    }

    /// Which of these officers has said yes to exactly this.
    #[must_use]
    pub fn by_whom(
        &self,
        wanted: Wanted,
        hash: Digest,
        officers: &BTreeSet<MemberName>,
    ) -> Option<MemberName> {
        let path = self.folder.as_ref()?.join(file_name(hash, wanted, "yes"));
        let approved: Approved = read(&path).ok()??;
        let named = |officer: &&Officer| {
            officer.name == approved.officer && officers.contains(&officer.name)
        };
        let officer = self.officers.iter().find(named)?;
        let message = hash.to_string();
        officer
            .key
            .verify(wanted.context(), message.as_bytes(), &approved.signature)
            .then_some(approved.officer)
    }

    /// Lays something before the officers, unless it lies there, or too much does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn lay_before(&self, pending: &Pending) -> Result<(), ApprovalError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = folder.join(file_name(pending.hash, pending.wanted, "asked"));
        if path.exists() || self.pending()?.len() >= PENDING_MAX {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(file("create", folder))?;
        let text = serde_json::to_vec_pretty(pending).unwrap_or_default();
        write(&path, &text)
    }

    /// All that waits and has no officer's word yet, in the order of hashes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn pending(&self) -> Result<Vec<Pending>, ApprovalError> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        let names = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(file("read", folder))?,
        };
        let mut waiting = Vec::new();
        for name in names.take(4 * PENDING_MAX) {
            let path = name.map_err(file("read", folder))?.path();
            let asked = path.extension().is_some_and(|end| end == "asked");
            let answered = path.with_extension("yes").exists();
            if asked
                && !answered
                && let Ok(Some(pending)) = read::<Pending>(&path)
            {
                waiting.push(pending);
            }
        }
        waiting.sort_by_key(|pending| (pending.wanted, pending.hash));
        Ok(waiting)
    }

    /// Says yes to what waits under `hash`, with an officer's own key.
    ///
    /// # Errors
    /// Nothing waits there, it is not what its hash says, or the key is not that of an officer who may.
    pub fn approve(
        &self,
        wanted: Wanted,
        hash: Digest,
        key: &MemberKey,
    ) -> Result<MemberName, ApprovalError> {
        let unknown = || ApprovalError::Unknown { hash };
        let folder = self.folder.as_ref().ok_or_else(unknown)?;
        let path = folder.join(file_name(hash, wanted, "asked"));
        let pending: Pending = read(&path)
            .map_err(file("read", &path))?
            .ok_or_else(unknown)?;
        if wanted == Wanted::Approval && Digest::of(pending.text.as_bytes()) != hash {
            return Err(ApprovalError::Changed { hash });
        }
        let public = key.public_key()?;
        let may =
            |officer: &&Officer| officer.key == public && pending.officers.contains(&officer.name);
        let Some(officer) = self.officers.iter().find(may) else {
            return Err(ApprovalError::NotAnOfficer {
                officers: pending.officers,
            });
        };
        let approved = Approved {
            officer: officer.name.clone(),
            signature: key.sign(wanted.context(), hash.to_string().as_bytes())?,
        };
        let text = serde_json::to_vec_pretty(&approved).unwrap_or_default();
        write(&path.with_extension("yes"), &text)?;
        Ok(approved.officer)
    }
}

impl Wanted {
    fn context(self) -> &'static str {
        match self {
            Self::Approval => "consilium approval v1",
            Self::Release => "consilium release from the outbox v1",
        }
    }
}

fn file_name(hash: Digest, wanted: Wanted, end: &str) -> String {
    match wanted {
        Wanted::Approval => format!("approval-{hash}.{end}"),
        Wanted::Release => format!("release-{hash}.{end}"),
    }
}

/// `None` where there is none, or one that cannot be read as such.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&fs::read(path)?).ok())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ApprovalError> {
    write_whole(path, &path.with_extension("partial"), bytes).map_err(|error| ApprovalError::File {
        doing: "write",
        path: path.to_owned(),
        cause: io::Error::other(error),
    })
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ApprovalError {
    let path = path.to_owned();
    move |cause| ApprovalError::File { doing, path, cause }
}
