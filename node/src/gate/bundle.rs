//! The policy folder: read at every pass, taken up when it changes.
//!
//! Reading a few kilobytes costs less than a pass's fsync, and no cache can then be behind the officer. Files that
//! cannot be read or are no bundle refuse everything, whatever stood there before: the officer's last word may have
//! been to forbid.
//!
//! A new bundle comes as the folder `incoming`, renamed into place whole. It is taken up if it is newer, is signed by
//! as many of the pinned officers as the node's configuration wants, and decides its own cases as expected; its files
//! are then moved over those in force, journalled, and the folder goes away. Otherwise it is journalled as refused
//! and moved to `refused`, and what is in force stays so. A crash in the middle leaves `incoming`, and the next pass
//! does it again. Where officers are pinned, what lies in the folder itself must be signed too, and never be older
//! than what the journal names last: copying files there by hand brings nothing into force that officers did not
//! sign.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_link::{NotWhole, sync_folder_of, write_whole};
use consilium_policies::files::{CASES_FILE, RULES_FILE, SIGNATURES_FILE};
use consilium_policies::limits::BUNDLE_BYTES_MAX;
use consilium_policies::{Bundle, BundleError, BundleFiles, Officer, SignatureProblem};
use consilium_protocol::{Digest, MemberName, Refusal, RefusalCode};
use serde::{Deserialize, Serialize};

use super::GateFault;

pub use consilium_policies::files::POLICY_FILE;

/// Where a new bundle is put, below the policy folder.
pub const INCOMING: &str = "incoming";
/// Where one goes that was not taken up.
pub const REFUSED: &str = "refused";

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
    /// It lacks signatures.
    #[error(
        "the policy is not signed as this node wants it, so nothing may leave: {0}; sign it with `consilium policy sign`"
    )]
    Unsigned(SignatureProblem),
    /// It is older than one that was in force.
    #[error(
        "the policy has version {version}, and version {after} was in force, so nothing may leave; install one with a greater version"
    )]
    NotNewer {
        /// Its version.
        version: u32,
        /// The one that it must be greater than.
        after: u32,
    },
    /// It decides otherwise than its own cases expect.
    #[error("the policy decides otherwise than its cases expect: {first} ({count} in all)")]
    Surprises {
        /// The first.
        first: String,
        /// How many.
        count: usize,
    },
    /// A new one cannot be moved into place.
    #[error(
        "a new policy cannot be moved into place, so nothing may leave: {0}; make room or mend the folder's permissions"
    )]
    NotMoved(NotWhole),
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
            Self::Unsigned(_) => unreadable("its signatures"),
            Self::NotNewer { .. } => unreadable("its version"),
            Self::Surprises { .. } => unreadable("its cases"),
            Self::NotMoved(_) => unreadable("the folder cannot be written"),
        }
    }
}

/// Reads the files of a bundle's folder. A file that is not there is empty; `policy.toml` must be.
///
/// # Errors
/// A file cannot be read.
pub fn read_bundle_files(folder: &Path) -> Result<BundleFiles, PolicyError> {
    Ok(BundleFiles {
        policy: read(&folder.join(POLICY_FILE))?,
        rules: read_if_there(&folder.join(RULES_FILE))?,
        cases: read_if_there(&folder.join(CASES_FILE))?,
        signatures: read_if_there(&folder.join(SIGNATURES_FILE))?,
    })
}

/// Reads the policy in `folder`, as the gate does at each pass. Who signed it is not looked at.
///
/// # Errors
/// Why there is no policy to decide by.
pub fn read_policy(folder: &Path) -> Result<Bundle, PolicyError> {
    parse(folder, &read_bundle_files(folder)?)
}

/// A policy's text as somebody else holds it; `None` where there is none. For worlds without a disk.
pub type HeldPolicy = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// Whose signatures a bundle needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signers {
    /// The pinned officers; with none, a bundle needs no signature.
    pub officers: Vec<Officer>,
    /// How many of them.
    pub at_least: usize,
}

/// What the journal says is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InForce {
    pub(super) digest: Digest,
    pub(super) version: u32,
}

/// What the journal should hear.
pub(super) enum News<'a> {
    Installed {
        bundle: &'a Bundle,
        officers: &'a [MemberName],
    },
    Refused {
        digest: Option<Digest>,
        reason: String,
    },
}

/// The policy of a node.
pub(super) struct PolicyFile {
    folder: PathBuf,
    signers: Signers,
    /// Takes the folder's place.
    held: Option<HeldPolicy>,
    taken: Mutex<Taken>,
}

struct Taken {
    /// The last that could be used, with the digest of its files and signatures.
    bundle: Option<(Digest, Arc<Bundle>)>,
    /// The last that the journal names.
    recorded: Option<InForce>,
    /// An incoming one that was refused and could not be moved away.
    refused: Option<Digest>,
}

pub(super) enum NotCurrent {
    Unusable(PolicyError),
    NotRecorded(GateFault),
}

impl From<PolicyError> for NotCurrent {
    fn from(error: PolicyError) -> Self {
        Self::Unusable(error)
    }
}

impl PolicyFile {
    /// `recorded` is the bundle that the journal names last.
    pub(super) fn new(folder: &Path, recorded: Option<InForce>) -> Self {
        Self {
            folder: folder.to_owned(),
            signers: Signers::default(),
            held: None,
            taken: Mutex::new(Taken {
                bundle: None,
                recorded,
                refused: None,
            }),
        }
    }

    /// As [`PolicyFile::new`], of a text that is no file.
    pub(super) fn held(text: HeldPolicy, recorded: Option<InForce>) -> Self {
        Self {
            held: Some(text),
            ..Self::new(Path::new(""), recorded)
        }
    }

    pub(super) fn set_signers(&mut self, signers: Signers) {
        self.signers = signers;
    }

    fn read(&self) -> Result<BundleFiles, PolicyError> {
        match &self.held {
            None => read_bundle_files(&self.folder),
            Some(text) => Ok(BundleFiles {
                policy: text().ok_or_else(|| PolicyError::Missing {
                    path: self.folder.join(POLICY_FILE),
                })?,
                ..BundleFiles::default()
            }),
        }
    }

    /// The bundle that is in force now. One that the journal does not name as the last is recorded before it decides
    /// anything.
    pub(super) fn current(
        &self,
        record: impl Fn(News<'_>) -> Result<(), GateFault>,
    ) -> Result<Arc<Bundle>, NotCurrent> {
        // Read under the lock, or a slow reader could bring back the bundle before. A panic under it leaves at worst
        // a bundle to be taken up again.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.is_none() && self.folder.join(INCOMING).is_dir() {
            self.look_at_incoming(&mut taken, &record)?;
        }
        let files = self.read()?;
        let seen = Digest::of_parts(&[files.digest().0.as_slice(), &files.signatures]);
        let known = taken.bundle.as_ref().filter(|(digest, _)| *digest == seen);
        if let Some((_, bundle)) = known {
            return Ok(Arc::clone(bundle));
        }
        let bundle = parse(&self.folder, &files)?;
        let officers = self.signed(&bundle)?;
        if taken.recorded.map(|last| last.digest) != Some(bundle.digest()) {
            if !self.signers.officers.is_empty() {
                newer(&bundle, taken.recorded)?;
            }
            self.record_installed(&mut taken, &bundle, &officers, &record)?;
        }
        let bundle = Arc::new(bundle);
        taken.bundle = Some((seen, Arc::clone(&bundle)));
        Ok(bundle)
    }

    fn record_installed(
        &self,
        taken: &mut Taken,
        bundle: &Bundle,
        officers: &[MemberName],
        record: &impl Fn(News<'_>) -> Result<(), GateFault>,
    ) -> Result<(), NotCurrent> {
        record(News::Installed { bundle, officers }).map_err(NotCurrent::NotRecorded)?;
        taken.recorded = Some(InForce {
            digest: bundle.digest(),
            version: bundle.version(),
        });
        Ok(())
    }

    /// The officers who signed it, where that matters.
    fn signed(&self, bundle: &Bundle) -> Result<Vec<MemberName>, PolicyError> {
        let Signers { officers, at_least } = &self.signers;
        match officers.is_empty() {
            true => Ok(Vec::new()),
            false => bundle
                .verify(officers, *at_least)
                .map_err(PolicyError::Unsigned),
        }
    }

    /// Moves the bundle in `incoming` into place, or away.
    fn look_at_incoming(
        &self,
        taken: &mut Taken,
        record: &impl Fn(News<'_>) -> Result<(), GateFault>,
    ) -> Result<(), NotCurrent> {
        let incoming = self.folder.join(INCOMING);
        let files = read_bundle_files(&incoming);
        let seen = files.as_ref().ok().map(BundleFiles::digest);
        if seen.is_some() && taken.refused == seen {
            return Ok(());
        }
        let judged = files.and_then(|files| {
            let bundle = parse(&incoming, &files)?;
            self.signed(&bundle)?;
            // The same again is no step back: a crash may have come before the folder was removed.
            if taken.recorded.map(|last| last.digest) != Some(bundle.digest()) {
                newer(&bundle, taken.recorded)?;
            }
            let surprises = bundle.cases().surprises(&bundle);
            match surprises.first() {
                None => Ok(files),
                Some(first) => Err(PolicyError::Surprises {
                    first: first.to_string(),
                    count: surprises.len(),
                }),
            }
        });
        match judged {
            Ok(files) => {
                self.move_into_place(&files)
                    .map_err(PolicyError::NotMoved)?;
                // What cannot be removed is installed again at the next pass, which changes nothing.
                let _ = std::fs::remove_dir_all(&incoming);
                Ok(())
            }
            Err(error) => {
                let reason = consilium_protocol::refusal::bounded(error.to_string());
                tracing::warn!(%reason, "a new policy is not taken up; the one before stays in force");
                let digest = seen;
                record(News::Refused { digest, reason }).map_err(NotCurrent::NotRecorded)?;
                let refused = self.folder.join(REFUSED);
                let _ = std::fs::remove_dir_all(&refused);
                if std::fs::rename(&incoming, &refused).is_err() {
                    taken.refused = seen;
                }
                Ok(())
            }
        }
    }

    /// Signatures go last: until then a mix of old and new files verifies for nobody.
    fn move_into_place(&self, files: &BundleFiles) -> Result<(), NotWhole> {
        for (name, bytes) in [
            (RULES_FILE, &files.rules),
            (CASES_FILE, &files.cases),
            (POLICY_FILE, &files.policy),
            (SIGNATURES_FILE, &files.signatures),
        ] {
            let path = self.folder.join(name);
            if !bytes.is_empty() {
                write_whole(&path, &self.folder.join(format!(".{name}.draft")), bytes)?;
                continue;
            }
            let removed = match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => sync_folder_of(&path),
            };
            removed.map_err(|source| NotWhole {
                doing: "remove",
                path,
                source,
            })?;
        }
        Ok(())
    }
}

fn newer(bundle: &Bundle, recorded: Option<InForce>) -> Result<(), PolicyError> {
    match recorded {
        Some(last) if bundle.version() <= last.version => Err(PolicyError::NotNewer {
            version: bundle.version(),
            after: last.version,
        }),
        _ => Ok(()),
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

fn read_if_there(path: &Path) -> Result<Vec<u8>, PolicyError> {
    match read(path) {
        Err(PolicyError::Missing { .. }) => Ok(Vec::new()),
        read => read,
    }
}

fn parse(folder: &Path, files: &BundleFiles) -> Result<Bundle, PolicyError> {
    Bundle::read(&folder.display().to_string(), files).map_err(PolicyError::Invalid)
}
