//! This site's journal before its witnesses: so that a node set back to an older state (a restored backup, a copied
//! disk) answers nothing.
//!
//! A chain shows edits and not that its end is gone; whoever can restore yesterday's folder restores yesterday's
//! budget. So the node tells others where its journal stands, signed, and they remember. At every connect it asks what
//! they remember, before it answers anything: if its own journal does not continue that, it refuses every ask until a
//! person has looked, and says why.
//!
//! What may fail and is no failure: no witness can be reached, or one does not answer in time. Then the node serves
//! and tries again: a hospital's work does not hang on another's. What no witness ever saw can still be lost: the
//! entries since the last checkpoint, a minute's worth.
//!
//! | file | subject |
//! |---|---|
//! | `witness` | how the journal stands; what is compared |
//! | `rounds` | a checkpoint on its way to the witnesses and back; when |
//! | `peer` | this node as another site's witness |

mod peer;
mod rounds;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consilium_journal::checkpoint::{
    CHECKPOINTS_FOLDER, Checkpoint, CheckpointFile, KeyName, SignedCheckpoint, Witness,
    site_key_name,
};
use consilium_journal::{Journal, JournalError, Snapshot};
use consilium_link::{
    Credentials, Fingerprint, IdentityError, NotWhole, pem_certificate, write_whole,
};
use consilium_protocol::signature::PublicKey;
use consilium_protocol::{Refusal, RefusalCode, SiteName};
use tokio::sync::watch;

pub use peer::cosign;
pub use rounds::{Pace, Schedule, keep_witnessed, meet};

/// How this site's journal stands before what others remember of it. What the gate asks before anything else.
#[derive(Debug)]
pub struct Witnessed {
    standing: watch::Sender<Standing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Nobody has been asked yet.
    Unknown,
    Stands,
    /// It is older than, or other than, what was witnessed. Until a person has looked and restarted the node.
    SetBack(Refusal),
}

impl Witnessed {
    /// A journal that nobody remembers anything of yet: nothing is answered until it was compared.
    #[must_use]
    pub fn unknown() -> Self {
        Self::from(Standing::Unknown)
    }

    /// A journal without witnesses: in a world without a network.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::from(Standing::Stands)
    }

    fn from(standing: Standing) -> Self {
        Self {
            standing: watch::Sender::new(standing),
        }
    }

    /// Whether the journal continues what was witnessed of it, as far as is known.
    ///
    /// # Errors
    /// It does not, or nobody has been asked yet: then nothing may be answered.
    pub fn stands(&self) -> Result<(), Refusal> {
        match &*self.standing.borrow() {
            Standing::Stands => Ok(()),
            Standing::SetBack(refusal) => Err(refusal.clone()),
            Standing::Unknown => Err(Refusal::new(
                RefusalCode::Busy,
                "this site has not yet heard what was witnessed of its journal",
                "ask again in a moment",
            )),
        }
    }

    /// Whether nobody has shown that the journal is not the one witnessed.
    ///
    /// # Errors
    /// Somebody has.
    pub fn is_not_set_back(&self) -> Result<(), Refusal> {
        match &*self.standing.borrow() {
            Standing::SetBack(refusal) => Err(refusal.clone()),
            Standing::Stands | Standing::Unknown => Ok(()),
        }
    }

    /// Waits until the journal was compared, `limit_ms` at most.
    pub async fn compared(&self, limit_ms: u64) {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| *standing != Standing::Unknown);
        tokio::time::timeout(Duration::from_millis(limit_ms), known)
            .await
            .ok();
    }

    /// It was compared, as far as anybody could be asked. Never takes a set-back journal up again.
    fn settle(&self) {
        self.standing.send_if_modified(|standing| {
            let settles = *standing == Standing::Unknown;
            if settles {
                *standing = Standing::Stands;
            }
            settles
        });
    }

    fn set_back(&self, reason: &str) {
        tracing::error!(
            reason,
            "this node's journal is not the one that was witnessed; it answers nothing any more"
        );
        let refusal = Refusal::new(
            RefusalCode::BehindWitness,
            reason,
            "the site's operator stops the node and puts back the newer folder; if that is lost, an administrator \
             evicts the site and invites it anew, and its officer decides what budget is left",
        );
        self.standing.send_if_modified(|standing| {
            let first = !matches!(standing, Standing::SetBack(_));
            if first {
                *standing = Standing::SetBack(refusal);
            }
            first
        });
    }
}

/// What a node keeps for witnessing: its own checkpoints, and what it saw of others.
pub struct Testimony {
    origin: KeyName,
    key: PublicKey,
    consortium: String,
    journal: Arc<Journal>,
    witnessed: Arc<Witnessed>,
    file: Mutex<CheckpointFile>,
    folder: PathBuf,
    others: Witness,
}

/// A witness's memory against this site's own journal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Compared {
    Continues,
    /// Signed by another key: says nothing about this journal.
    NotOurs,
    SetBack(String),
}

/// The node cannot keep its checkpoints, or make one.
#[derive(Debug, thiserror::Error)]
pub enum TestimonyError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    File(#[from] NotWhole),
    #[error("a background task ended unexpectedly: {0}")]
    Task(tokio::task::JoinError),
}

impl Testimony {
    /// Opens a node's checkpoints beside its journal, and its memory of others in `witnessed_folder`. The newest
    /// checkpoint in its own folder is compared at once: a journal that lost its end and kept its checkpoints is found
    /// without anybody else.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn open(
        journal: Arc<Journal>,
        journal_folder: &Path,
        witnessed_folder: &Path,
        credentials: &Credentials,
        site: &SiteName,
    ) -> Result<Self, TestimonyError> {
        let folder = journal_folder.join(CHECKPOINTS_FOLDER);
        let (file, opened) = CheckpointFile::open(&folder)?;
        for place in &opened.damaged {
            tracing::warn!(place, "a kept checkpoint was changed or is none");
        }
        let others = Witness::open(witnessed_folder)?;
        for file in others.passed_over() {
            tracing::warn!(
                file,
                "what was witnessed of a site was cut short or changed"
            );
        }
        let consortium = credentials.anchor().consortium();
        let testimony = Self {
            origin: site_key_name(&consortium, site),
            key: credentials.public_key()?,
            consortium,
            witnessed: Arc::new(Witnessed::unknown()),
            file: Mutex::new(file),
            folder,
            others,
            journal,
        };
        if let Some(newest) = opened.newest {
            let snapshot = testimony.journal.snapshot()?;
            testimony.take_in(&snapshot, &newest, "kept in this folder")?;
        }
        Ok(testimony)
    }

    /// How the journal stands, for the gate.
    #[must_use]
    pub fn witnessed(&self) -> &Arc<Witnessed> {
        &self.witnessed
    }

    /// Compares what somebody remembers with this journal; a journal that does not continue it is set back.
    fn take_in(
        &self,
        snapshot: &Snapshot,
        remembered: &SignedCheckpoint,
        whose: &str,
    ) -> Result<Compared, JournalError> {
        let compared = self.compare(snapshot, remembered, whose)?;
        match &compared {
            Compared::Continues => {}
            Compared::NotOurs => {
                tracing::warn!(whose, "a checkpoint that this site never signed")
            }
            Compared::SetBack(reason) => self.witnessed.set_back(reason),
        }
        Ok(compared)
    }

    fn compare(
        &self,
        snapshot: &Snapshot,
        remembered: &SignedCheckpoint,
        whose: &str,
    ) -> Result<Compared, JournalError> {
        if remembered.checkpoint().origin != self.origin || remembered.verify(self.key).is_err() {
            return Ok(Compared::NotOurs);
        }
        let (own, theirs) = (snapshot.tree_head(), remembered.head());
        if own.size < theirs.size {
            return Ok(Compared::SetBack(format!(
                "this site's journal ends after {} entries, and {} were witnessed ({whose}): its folder is older than \
                 what it told others",
                own.size, theirs.size
            )));
        }
        if snapshot.root_at(theirs.size)? != theirs.root {
            return Ok(Compared::SetBack(format!(
                "the first {} entries of this site's journal are not those that were witnessed ({whose}): it went on \
                 from an older state",
                theirs.size
            )));
        }
        Ok(Compared::Continues)
    }

    /// A checkpoint of the journal as it stands, signed.
    fn checkpoint(
        &self,
        credentials: &Credentials,
        snapshot: &Snapshot,
    ) -> Result<SignedCheckpoint, IdentityError> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            head: snapshot.tree_head(),
        };
        checkpoint.sign(self.key, |text| credentials.sign_note(text))
    }

    /// Keeps a checkpoint, and the certificates of those who signed it so that an auditor needs the authority's only.
    fn keep(
        &self,
        checkpoint: &SignedCheckpoint,
        certificates: &[Vec<u8>],
    ) -> Result<(), TestimonyError> {
        for certificate in certificates {
            let name = format!("{}.crt", Fingerprint::of(certificate).0.short(16));
            let path = self.folder.join(&name);
            if !path.exists() {
                write_whole(
                    &path,
                    &self.folder.join(format!("{name}.draft")),
                    pem_certificate(certificate).as_bytes(),
                )?;
            }
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.append(checkpoint)?)
    }
}

#[cfg(test)]
mod tests;
