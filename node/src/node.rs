//! The node's state, shared by its tasks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use consilium_journal::{Journal, JournalError, Limits};
use consilium_link::{
    Credentials, IdentityError, LinkageKey, StorageFailure, verify_run_file, wall_clock,
};
use consilium_policies::{Ask, Researcher};
use consilium_protocol::message::SignedRun;
use consilium_protocol::run::{RunError, RunSpec};
use consilium_protocol::{DatasetName, Digest, Machine, Millis, Role, RunId, SiteName};
use tokio::sync::Semaphore;

use crate::collections::{CollectionFault, Collections, OpenCollection};
use crate::config::{Config, ConfigError, Folder};
use crate::data::{DataError, DataSet, Prepared};
use crate::gate::{ApprovalError, Approvals, Gate, GateFault, OutgoingUpdate, Records, Released};
use crate::query::{ExactRegister, MaskKeys, PatientNumbers};
use crate::retrieval::pace::Pace;
use crate::round::{Participant, RoundIn, RoundOut};
use crate::run_store::{self, StoreError};
use crate::train::{DeviceError, Trainer, trainer};
use crate::witness::{Testimony, TestimonyError};

/// Trainings at one time: a device is not faster by sharing it, and the second would
/// need the first's memory again.
const TRAININGS_AT_ONCE: usize = 1;

/// A released update, ready to send.
pub type ReleasedUpdate = Released<OutgoingUpdate>;

/// Everything that the node's tasks share.
pub struct Node {
    pub config: Config,
    pub folder: Folder,
    pub site: SiteName,
    pub gate: Gate,
    pub testimony: Testimony,
    pub collections: Collections,
    pub exact_answers: ExactRegister,
    pub patient_numbers: PatientNumbers,
    search_pace: Mutex<Pace>,
    pub mask_keys: MaskKeys,
    /// What the sites share to count a patient of several of them once.
    pub linkage: Option<LinkageKey>,
    credentials: RwLock<Credentials>,
    datasets: BTreeMap<DatasetName, Result<Arc<DataSet>, DataError>>,
    prepared: Mutex<BTreeMap<RunId, Arc<PreparedRun>>>,
    participant: Mutex<Participant<ReleasedUpdate>>,
    /// One at a time; queries never wait behind it.
    trainer: Mutex<Box<dyn Trainer>>,
    pub training: Arc<Semaphore>,
    /// One ask of a run at a time, so that a repeated ask finds the first's result.
    run_locks: Mutex<BTreeMap<RunId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A run's records, encoded and standardised. Patient data: it has no `Debug`.
pub struct PreparedRun {
    /// The run file that they were made ready for.
    pub run_digest: Digest,
    pub dataset_version: Digest,
    pub data: Prepared,
}

/// The node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "this folder holds the identity of {identity}, and a node is a site; use the right invitation"
    )]
    NotASite { identity: String },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Gate(#[from] GateFault),
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    #[error(transparent)]
    Testimony(#[from] TestimonyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("{what}: {source}")]
    System {
        what: String,
        source: std::io::Error,
    },
}

impl NodeError {
    /// Whether the disk is to blame, and not what lies on it.
    #[must_use]
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Journal(error)
            | Self::Gate(
                GateFault::Journal { cause: error, .. } | GateFault::Vault { cause: error, .. },
            )
            | Self::Testimony(TestimonyError::Journal(error)) => error.is_of_storage(),
            Self::Gate(GateFault::System { .. })
            | Self::Testimony(TestimonyError::File(_))
            | Self::Store(StoreError::Disk { .. })
            | Self::System { .. } => true,
            _ => false,
        }
    }

    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad-configuration",
            Self::Identity(_) | Self::Approval(ApprovalError::Key(_)) => "bad-credentials",
            Self::NotASite { .. } => "not-a-site",
            Self::Journal(error)
            | Self::Gate(
                GateFault::Journal { cause: error, .. } | GateFault::Vault { cause: error, .. },
            )
            | Self::Testimony(TestimonyError::Journal(error)) => error.code(),
            Self::Gate(GateFault::VaultLost { .. }) => "vault-lost",
            Self::Gate(GateFault::VaultUnreadable { .. }) => "vault-unreadable",
            Self::Gate(_) => "gate-failed",
            Self::Approval(ApprovalError::Unknown { .. }) => "unknown-hash",
            Self::Approval(ApprovalError::Changed { .. }) => "text-changed",
            Self::Approval(ApprovalError::NotAnOfficer { .. }) => "not-an-officer",
            Self::Approval(ApprovalError::File { .. })
            | Self::Testimony(TestimonyError::File(_))
            | Self::Store(StoreError::Disk { .. }) => "disk-failed",
            Self::Testimony(_) => "checkpoints-failed",
            Self::Store(StoreError::Damaged { .. }) => "run-damaged",
            Self::Device(_) => "no-device",
            Self::System { .. } => "system",
        }
    }
}

/// A run file that this site cannot take for what it claims to be.
#[derive(Debug, thiserror::Error)]
pub enum UnprovenRun {
    #[error(transparent)]
    Signature(#[from] IdentityError),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Node {
    /// Opens the node in `root`: identity, journal, policy, data sets, and the runs that go on.
    ///
    /// # Errors
    /// What is missing or broken. A data set that cannot be read is logged and refused
    /// by name; the others serve.
    pub fn open(root: &Path) -> Result<Arc<Self>, NodeError> {
        let folder = Folder::new(root);
        let config = Config::load(root)?;
        let credentials = Credentials::load(&folder.identity())?;
        let identity = credentials.identity().clone();
        if identity.role != Role::Site {
            return Err(NodeError::NotASite {
                identity: identity.to_string(),
            });
        }
        let site: SiteName = identity.name.into();
        let linkage = config.linkage.as_ref();
        let linkage = linkage.map(|linkage| LinkageKey::load(&root.join(&linkage.key_file)));
        let linkage = linkage.transpose()?;
        let (journal, opened) = Journal::open(&folder.journal(), Limits::default())?;
        if opened.torn_tail_bytes > 0 {
            tracing::warn!(
                bytes = opened.torn_tail_bytes,
                "the journal's last entry was cut short by a crash and was never acknowledged; it is removed"
            );
        }
        let journal = Arc::new(journal);
        let testimony = Testimony::open(
            journal.clone(),
            &folder.journal(),
            &folder.witnessed(),
            &credentials,
            &site,
        )?;
        let policy = root.join(&config.policy_folder);
        let records = Records::open(journal, &folder.vault())?;
        let (gate, opened) = Gate::open(records, &policy, &folder.state(), wall_clock())?;
        let signers = config.policy.signers();
        let approvals = Approvals::new(&folder.approvals(), signers.officers.clone());
        let gate = gate.with_signers(signers).with_approvals(approvals);
        if opened.abandoned > 0 {
            tracing::warn!(
                passes = opened.abandoned,
                "passes were cut off by a crash; they count as spent"
            );
        }
        let trainer = trainer(config.trainer, config.device)?;
        tracing::info!(%site, device = trainer.device(), "trains here");
        let mut participant = Participant::new(site.clone());
        for stored in run_store::load_runs(&folder)? {
            let run_id = stored.run_id.clone();
            match admitted_again(&credentials, stored) {
                Ok(input) => drop(participant.step(wall_clock(), input)),
                Err(error) => {
                    tracing::warn!(%run_id, %error, "a run on disk is not taken up again")
                }
            }
        }
        Ok(Arc::new(Self {
            datasets: open_datasets(&config, root),
            collections: Collections::new(&config, root),
            exact_answers: ExactRegister::new(&folder.exact_answers()),
            patient_numbers: PatientNumbers::default(),
            search_pace: Mutex::default(),
            mask_keys: MaskKeys::default(),
            linkage,
            config,
            folder,
            site,
            gate,
            testimony,
            credentials: RwLock::new(credentials),
            prepared: Mutex::new(BTreeMap::new()),
            participant: Mutex::new(participant),
            trainer: Mutex::new(trainer),
            training: Arc::new(Semaphore::new(TRAININGS_AT_ONCE)),
            run_locks: Mutex::new(BTreeMap::new()),
        }))
    }

    /// What of the storage failed, so that nothing more leaves until this is opened anew.
    #[must_use]
    pub fn storage_failure(&self) -> Option<StorageFailure> {
        let (folder, cause) = match (self.gate.journal_failure(), self.gate.vault_failure()) {
            (Some(cause), _) => (self.folder.journal(), cause),
            (None, Some(cause)) => (self.folder.vault(), cause),
            (None, None) => return None,
        };
        Some(StorageFailure {
            folder,
            cause: cause.to_string(),
        })
    }

    /// The node's credentials as they are now.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often each project searched of late.
    pub fn search_pace(&self) -> MutexGuard<'_, Pace> {
        self.search_pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a renewed certificate into use; it is on disk already.
    pub fn renew(&self, credentials: Credentials) {
        *self
            .credentials
            .write()
            .unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    /// The data sets that this node declares, broken ones included: their names are no secret.
    #[must_use]
    pub fn dataset_names(&self) -> Vec<DatasetName> {
        self.datasets.keys().cloned().collect()
    }

    /// What this node tells the coordinator that it holds: data sets and collections, by name.
    #[must_use]
    pub fn published_names(&self) -> Vec<DatasetName> {
        let collections = self.collections.names().cloned();
        self.datasets.keys().cloned().chain(collections).collect()
    }

    /// A data set by name; `None` where none is declared.
    #[must_use]
    pub fn dataset(&self, name: &DatasetName) -> Option<Result<Arc<DataSet>, &DataError>> {
        self.datasets.get(name).map(|opened| match opened {
            Ok(dataset) => Ok(dataset.clone()),
            Err(error) => Err(error),
        })
    }

    /// A text collection as it is published now; `None` where none of this name is declared. May take seconds: call it
    /// off the runtime.
    #[must_use]
    pub fn collection(
        &self,
        name: &DatasetName,
    ) -> Option<Result<Arc<OpenCollection>, CollectionFault>> {
        self.collections.get(name)
    }

    /// A run's records, if they are ready for this very run file.
    #[must_use]
    pub fn prepared(&self, run_id: &RunId, run_digest: Digest) -> Option<Arc<PreparedRun>> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared
            .get(run_id)
            .filter(|p| p.run_digest == run_digest)
            .cloned()
    }

    /// Keeps a run's records ready. Those of runs that this site takes no part in (any more) go.
    pub fn keep_prepared(&self, run_id: &RunId, ready: Arc<PreparedRun>) {
        let participant = self.participant();
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.retain(|kept, _| participant.takes_part_in(kept));
        prepared.insert(run_id.clone(), ready);
    }

    /// Lets a run's records go.
    pub fn forget_prepared(&self, run_id: &RunId) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.remove(run_id);
    }

    /// Steps this site's side of the rounds.
    #[must_use]
    pub fn step(&self, input: RoundIn<ReleasedUpdate>) -> Vec<RoundOut<ReleasedUpdate>> {
        self.participant().step(wall_clock(), input)
    }

    /// This site's side of the rounds, for a look.
    pub fn participant(&self) -> MutexGuard<'_, Participant<ReleasedUpdate>> {
        self.participant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The trainer; whoever holds it computes.
    pub fn trainer(&self) -> MutexGuard<'_, Box<dyn Trainer>> {
        self.trainer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of one run.
    #[must_use]
    pub fn run_lock(&self, run_id: &RunId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .run_locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Locks that nobody holds or waits for are let go.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(run_id.clone()).or_default().clone()
    }

    /// Who signed a run, and the run: by certificate, never by what a message says.
    ///
    /// # Errors
    /// The signature is not by a researcher of this consortium, or the text is no run file.
    pub fn prove(
        &self,
        signed: &SignedRun,
        now: Millis,
    ) -> Result<(RunSpec, Researcher), UnprovenRun> {
        prove(&self.credentials(), signed, now)
    }
}

fn prove(
    credentials: &Credentials,
    signed: &SignedRun,
    now: Millis,
) -> Result<(RunSpec, Researcher), UnprovenRun> {
    let identity = verify_run_file(
        &signed.text,
        &signed.signature,
        &signed.certificate,
        &[Role::Researcher],
        credentials.anchor(),
        now,
    )?;
    let researcher = Researcher {
        name: identity.name,
        role: identity.role,
    };
    Ok((RunSpec::parse(&signed.text)?, researcher))
}

/// A run from disk. Its signature was good when it was admitted and is checked again; that the
/// researcher's certificate has ended since does not end a run under way.
fn admitted_again(
    credentials: &Credentials,
    stored: run_store::StoredRun,
) -> Result<RoundIn<ReleasedUpdate>, UnprovenRun> {
    let signed_in_time = consilium_link::certificate_expires_at(&stored.signed.certificate)?;
    let (spec, researcher) = prove(
        credentials,
        &stored.signed,
        wall_clock().min(signed_in_time),
    )?;
    Ok(RoundIn::Admitted {
        run_id: stored.run_id,
        spec: Box::new(spec),
        researcher,
        local: stored.local,
    })
}

fn open_datasets(
    config: &Config,
    root: &Path,
) -> BTreeMap<DatasetName, Result<Arc<DataSet>, DataError>> {
    let open = |declared: &crate::data::Declaration| {
        let opened = declared.open(root).map(Arc::new);
        match &opened {
            Ok(dataset) => {
                let report = dataset.report();
                tracing::info!(dataset = %declared.name, rows = report.rows, bad_rows = report.bad_rows,
                    incomplete_rows = report.incomplete_rows, "a data set is read");
            }
            Err(error) => {
                tracing::error!(dataset = %declared.name, %error, "a data set cannot be used")
            }
        }
        (declared.name.clone(), opened)
    };
    config.datasets.iter().map(open).collect()
}

/// What a run asks of the gate, for one action.
#[must_use]
pub fn ask_of(
    run_id: &RunId,
    spec: &RunSpec,
    researcher: &Researcher,
    action: consilium_policies::Action,
) -> Ask {
    let document = spec.document();
    Ask {
        project: document.project.clone(),
        researcher: researcher.clone(),
        purpose: document.purpose.clone(),
        dataset: document.dataset.clone(),
        run: Some(run_id.clone()),
        run_digest: spec.digest(),
        action,
    }
}
