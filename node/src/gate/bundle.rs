//! The policy file: read at every pass, taken up when it changes.
//!
//! Reading a few kilobytes costs less than a pass's fsync, and no cache can then be behind the officer. A file that
//! cannot be read or is not a policy refuses everything, whatever stood there before: the officer's last word may
//! have been to forbid. Save it by renaming a finished file into place, as editors do; one that is half written
//! refuses for that moment.
//!
//! Signatures, and "newer only", come with signed bundles.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_policies::limits::BUNDLE_BYTES_MAX;
use consilium_policies::{Bundle, BundleError};
use consilium_protocol::{Digest, Refusal, RefusalCode};

use super::GateFault;

/// The policy's name in its folder.
pub const POLICY_FILE: &str = "policy.toml";

/// Why there is no policy to decide by. Its text is for the site's own people.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is none.
    #[error("there is no policy at `{}`, so nothing may leave; put the site's policy there", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("the policy at `{}` cannot be read, so nothing may leave: {cause}; check the file and its permissions", .path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not a policy.
    #[error("the policy is not valid, so nothing may leave: {0}")]
    Invalid(BundleError),
}

impl PolicyError {
    /// What the one who asks hears: no word of the policy.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        const REMEDY: &str =
            "the site's compliance officer or operator must mend it; the node's journal says more";
        let unreadable = |why: &str| {
            let reason = format!("this site's policy cannot be used ({why}), so nothing may leave");
            Refusal::new(RefusalCode::UnreadableBundle, reason, REMEDY)
        };
        match self {
            Self::Missing { .. } => Refusal::new(
                RefusalCode::NoBundle,
                "this site has no policy, so nothing may leave",
                "the site's compliance officer must put one into the node's policy folder",
            ),
            Self::Unreadable { .. } => unreadable("the file cannot be read"),
            Self::Invalid(error) => unreadable(&error.place()),
        }
    }
}

/// Reads the policy in `folder`, as the gate does at each pass.
///
/// # Errors
/// Why there is no policy to decide by.
pub fn read_policy(folder: &Path) -> Result<Bundle, PolicyError> {
    let path = folder.join(POLICY_FILE);
    let text = read(&path)?;
    parse(&path, &text)
}

/// A policy's text as somebody else holds it; `None` where there is none. For worlds without a disk.
pub type HeldPolicy = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// The policy file of a node.
pub(super) struct PolicyFile {
    path: PathBuf,
    /// Takes the file's place.
    held: Option<HeldPolicy>,
    taken: Mutex<Taken>,
}

struct Taken {
    /// The last that could be read.
    bundle: Option<Arc<Bundle>>,
    /// The last that the journal names.
    recorded: Option<Digest>,
}

pub(super) enum NotCurrent {
    Unusable(PolicyError),
    NotRecorded(GateFault),
}

impl PolicyFile {
    /// `recorded` is the bundle that the journal names last.
    pub(super) fn new(folder: &Path, recorded: Option<Digest>) -> Self {
        Self {
            path: folder.join(POLICY_FILE),
            held: None,
            taken: Mutex::new(Taken {
                bundle: None,
                recorded,
            }),
        }
    }

    /// As [`PolicyFile::new`], of a text that is no file.
    pub(super) fn held(text: HeldPolicy, recorded: Option<Digest>) -> Self {
        Self {
            held: Some(text),
            ..Self::new(Path::new(""), recorded)
        }
    }

    fn read(&self) -> Result<Vec<u8>, PolicyError> {
        match &self.held {
            None => read(&self.path),
            Some(text) => text().ok_or_else(|| PolicyError::Missing {
                path: self.path.clone(),
            }),
        }
    }

    /// The bundle that lies there now. One that the journal does not name as the last is recorded before it decides
    /// anything.
    pub(super) fn current(
        &self,
        record: impl FnOnce(&Bundle) -> Result<(), GateFault>,
    ) -> Result<Arc<Bundle>, NotCurrent> {
        // Read under the lock, or a slow reader could bring back the bundle before. A panic under it leaves at worst
        // a bundle to be taken up again.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.read().map_err(NotCurrent::Unusable)?;
        let digest = Digest::of(&text);
        let known = taken
            .bundle
            .clone()
            .filter(|bundle| bundle.digest() == digest);
        let bundle = match known {
            Some(bundle) => bundle,
            None => Arc::new(parse(&self.path, &text).map_err(NotCurrent::Unusable)?),
        };
        if taken.recorded != Some(digest) {
            record(&bundle).map_err(NotCurrent::NotRecorded)?;
            taken.recorded = Some(digest);
        }
        taken.bundle = Some(Arc::clone(&bundle));
        Ok(bundle)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    let read = || {
        // Asked before opening: a pipe would keep the gate waiting for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a file",
            ));
        }
        let mut text = Vec::new();
        // One byte beyond the limit, so that too long is seen as such.
        File::open(path)?
            .take(BUNDLE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    read().map_err(|cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => PolicyError::Missing {
            path: path.to_owned(),
        },
        _ => PolicyError::Unreadable {
            path: path.to_owned(),
            cause,
        },
    })
}

fn parse(path: &Path, text: &[u8]) -> Result<Bundle, PolicyError> {
    Bundle::parse(&path.display().to_string(), text).map_err(PolicyError::Invalid)
}
