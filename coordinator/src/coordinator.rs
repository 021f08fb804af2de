//! The coordinator's state, and the one door to its journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use consilium_journal::checkpoint::Witness;
use consilium_journal::{Journal, JournalError, Limits};
use consilium_link::{
    CertificateAuthority, Connection, Credentials, IdentityError, ListenError, StorageFailure,
    wall_clock,
};
use consilium_protocol::{MemberName, Millis, Refusal, Role, RunId, SiteName};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};

use crate::config::{Config, ConfigError, Folder};
use crate::event::Event;
use crate::index::{Index, IndexError};
use crate::members::Members;
use crate::query::OpenQueries;
use crate::query::holders::Holders;
use crate::run::record::RunRecord;

/// Comings and goings that a slow run driver may fall behind by; it then looks anew.
const PRESENCE_BACKLOG: usize = 1024;

/// Signals that a run may have waiting.
const SIGNALS_MAX: usize = 16;

/// Everything that the coordinator's tasks share.
pub struct Coordinator {
    pub config: Config,
    pub folder: Folder,
    pub authority: CertificateAuthority,
    pub credentials: Credentials,
    pub witness: Witness,
    journal: Journal,
    index: Index,
    /// Why the index is behind the journal, if it is.
    index_failed: OnceLock<String>,
    books: Mutex<Books>,
    /// Held from an entry's journal to its index, so that both have one order.
    pen: Mutex<()>,
    presence: broadcast::Sender<Presence>,
    /// Runs that may train at the same time.
    pub active_runs: Arc<Semaphore>,
    pub open_queries: OpenQueries,
    holders: Mutex<Holders>,
}

/// What changes with every entry or connection; locked briefly, never across an await.
#[derive(Default)]
struct Books {
    members: Members,
    connections: BTreeMap<(Role, MemberName), Connection>,
    live: BTreeMap<RunId, LiveRun>,
}

struct LiveRun {
    signals: mpsc::Sender<RunSignal>,
    /// Entries in the run's history, for its followers.
    events: watch::Sender<u64>,
}

/// A site came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Connected(SiteName),
    Lost(SiteName),
}

/// What can be asked of a run that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunSignal {
    Stop { by: MemberName },
}

/// The coordinator cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("`{}` is not empty; choose a new folder", .folder.display())]
    NotEmpty { folder: PathBuf },
    #[error("{what}: {source}")]
    Disk {
        what: String,
        source: std::io::Error,
    },
    #[error("a background task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl CoordinatorError {
    /// Whether the disk is to blame, and not what lies on it.
    #[must_use]
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_of_storage(),
            Self::Index(_) | Self::Disk { .. } => true,
            Self::Config(_)
            | Self::Identity(_)
            | Self::Listen(_)
            | Self::NotEmpty { .. }
            | Self::Task(_) => false,
        }
    }

    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad-configuration",
            Self::Identity(_) => "bad-credentials",
            Self::Journal(error) => error.code(),
            Self::Index(_) => "index-failed",
            Self::Listen(ListenError::PortInUse { .. }) => "port-in-use",
            Self::Listen(_) => "cannot-listen",
            Self::NotEmpty { .. } => "exists",
            Self::Disk { .. } => "disk-failed",
            Self::Task(_) => "system",
        }
    }
}

impl Coordinator {
    /// Opens the coordinator in `root`: checks the journal's chain, follows it with
    /// the index, and knows again who is a member and which runs go on.
    ///
    /// # Errors
    /// What is missing or broken, and what to do about it.
    pub fn open(root: &Path) -> Result<Arc<Self>, CoordinatorError> {
        let folder = Folder::new(root);
        let config = Config::load(root)?;
        let authority = CertificateAuthority::load(&folder.authority())?;
        let credentials = Credentials::load(&folder.identity())?;
        let (journal, opened) = Journal::open(&folder.journal(), Limits::default())?;
        if opened.torn_tail_bytes > 0 {
            tracing::warn!(
                bytes = opened.torn_tail_bytes,
                "the last entry was cut short by a crash and was never acknowledged; it is removed"
            );
        }
        let index = Index::open(&folder.index())?;
        let members = follow(&journal, &index)?;
        let witness = Witness::open(&folder.witnessed())?;
        for file in witness.passed_over() {
            tracing::warn!(
                file,
                "what was witnessed of a site was cut short or changed"
            );
        }
        let active_runs = Arc::new(Semaphore::new(config.active_runs_max));
        Ok(Arc::new(Self {
            config,
            witness,
            folder,
            authority,
            credentials,
            journal,
            index,
            index_failed: OnceLock::new(),
            books: Mutex::new(Books {
                members,
                ..Books::default()
            }),
            pen: Mutex::new(()),
            presence: broadcast::channel(PRESENCE_BACKLOG).0,
            active_runs,
            open_queries: OpenQueries::default(),
            holders: Mutex::default(),
        }))
    }

    /// Who holds which collection.
    pub fn with_holders<T>(&self, look: impl FnOnce(&mut Holders) -> T) -> T {
        // A panic under it leaves at worst one search uncounted.
        look(&mut self.holders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The moment that decisions use: the wall clock, but never before the journal's
    /// last entry, so that a clock set back revives nothing.
    #[must_use]
    pub fn now(&self) -> Millis {
        wall_clock().max(Millis(self.journal.latest_ms()))
    }

    /// Records that something happened, durably, before it takes effect.
    ///
    /// # Errors
    /// The disk fails; then nothing took effect.
    pub async fn record(
        self: &Arc<Self>,
        event: Event,
    ) -> Result<Option<RunRecord>, CoordinatorError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.record_now(&event)).await?
    }

    /// As [`Self::record`], if `check` still holds when it is this entry's turn: nothing
    /// else is recorded between the check and the entry.
    ///
    /// # Errors
    /// The disk fails. The inner refusal is the check's.
    pub async fn record_if(
        self: &Arc<Self>,
        event: Event,
        check: impl FnOnce(&Self) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Result<(), Refusal>, CoordinatorError> {
        let this = self.clone();
        let recorded = tokio::task::spawn_blocking(move || {
            let _pen = this.pen.lock().unwrap_or_else(PoisonError::into_inner);
            match check(&this) {
                Ok(()) => this.write(&event).map(|_| Ok(())),
                Err(refusal) => Ok(Err(refusal)),
            }
        });
        recorded.await?
    }

    fn record_now(&self, event: &Event) -> Result<Option<RunRecord>, CoordinatorError> {
        let _pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(event)
    }

    /// Only with the pen in hand.
    fn write(&self, event: &Event) -> Result<Option<RunRecord>, CoordinatorError> {
        if let Some(cause) = self.index_failed.get() {
            return Err(CoordinatorError::Disk {
                what: "the index is behind the journal".into(),
                source: std::io::Error::other(cause.clone()),
            });
        }
        let at_ms = self.now().0;
        self.journal.append_json(at_ms, event.kind(), event)?;
        let head = self.journal.head();
        let applied = self.index.apply(event, at_ms, head);
        let record = applied.inspect_err(|error| {
            self.index_failed.get_or_init(|| error.to_string());
        })?;
        let mut books = self.books();
        books.members.apply(event);
        if let (Some(record), Some(run_id)) = (&record, event.run_id())
            && let Some(live) = books.live.get(run_id)
        {
            live.events.send_replace(record.events);
        }
        Ok(record)
    }

    /// What of the storage failed, so that nothing more is recorded until this is opened anew.
    #[must_use]
    pub fn storage_failure(&self) -> Option<StorageFailure> {
        if let Some(cause) = self.journal.failure() {
            return Some(StorageFailure {
                folder: self.folder.journal(),
                cause: cause.to_string(),
            });
        }
        // An entry that the index lacks is in the journal: only opening anew brings both together.
        self.index_failed.get().map(|cause| StorageFailure {
            folder: self.folder.index(),
            cause: cause.clone(),
        })
    }

    /// The index, for reading.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Reads the list of members.
    pub fn with_members<T>(&self, read: impl FnOnce(&Members) -> T) -> T {
        read(&self.books().members)
    }

    /// Everybody, with who is connected.
    #[must_use]
    pub fn list_members(&self) -> Vec<consilium_protocol::message::Member> {
        let books = self.books();
        books
            .members
            .list(|role, name| books.connections.contains_key(&(role, name.clone())))
    }

    /// Puts a member's connection in its place; gives back the one that it replaces.
    pub fn arrive(
        &self,
        role: Role,
        name: &MemberName,
        connection: Connection,
    ) -> Option<Connection> {
        let replaced = self
            .books()
            .connections
            .insert((role, name.clone()), connection);
        if role == Role::Site {
            // No run may be listening: that is fine.
            self.presence
                .send(Presence::Connected(name.clone().into()))
                .ok();
        }
        replaced
    }

    /// Takes a connection out of its place, unless a newer one is there already.
    pub fn leave(&self, role: Role, name: &MemberName, connection: &Connection) {
        let key = (role, name.clone());
        let mut books = self.books();
        if books
            .connections
            .get(&key)
            .is_some_and(|current| current.is_same(connection))
        {
            books.connections.remove(&key);
            if role == Role::Site {
                self.presence.send(Presence::Lost(name.clone().into())).ok();
            }
        }
    }

    /// A member's connection, if it has one.
    #[must_use]
    pub fn connection(&self, role: Role, name: &MemberName) -> Option<Connection> {
        self.books().connections.get(&(role, name.clone())).cloned()
    }

    /// A connected site that is not this one: the next by name, so that it is mostly the same.
    #[must_use]
    pub fn another_site(&self, site: &MemberName) -> Option<SiteName> {
        let books = self.books();
        let sites: Vec<&MemberName> = books
            .connections
            .keys()
            .filter(|(role, name)| *role == Role::Site && name != site)
            .map(|(_, name)| name)
            .collect();
        let next = sites.iter().find(|name| **name > site);
        let next = next.or_else(|| sites.first());
        next.map(|name| SiteName::from((*name).clone()))
    }

    /// A site's connection as soon as it has one.
    pub async fn connected(&self, site: &SiteName) -> Connection {
        // Before the first look, so that nothing falls between.
        let mut presence = self.watch_presence();
        loop {
            if let Some(connection) = self.connection(Role::Site, &site.clone().into()) {
                return connection;
            }
            // Behind or not: look again. It is never closed, for its sender is part of this.
            presence.recv().await.ok();
        }
    }

    /// Hears of every coming and going from now on.
    #[must_use]
    pub fn watch_presence(&self) -> broadcast::Receiver<Presence> {
        self.presence.subscribe()
    }

    /// Makes a run live; `None` if it already is.
    #[must_use]
    pub fn enliven(&self, run_id: &RunId, events: u64) -> Option<mpsc::Receiver<RunSignal>> {
        let mut books = self.books();
        if books.live.contains_key(run_id) {
            return None;
        }
        let (signals, inbox) = mpsc::channel(SIGNALS_MAX);
        let live = LiveRun {
            signals,
            events: watch::channel(events).0,
        };
        books.live.insert(run_id.clone(), live);
        Some(inbox)
    }

    /// The run's driver has ended; followers are told by the channel's end.
    pub fn retire(&self, run_id: &RunId) {
        self.books().live.remove(run_id);
    }

    /// How to signal a live run.
    #[must_use]
    pub fn signals_of(&self, run_id: &RunId) -> Option<mpsc::Sender<RunSignal>> {
        Some(self.books().live.get(run_id)?.signals.clone())
    }

    /// How many entries a live run's history has, as it grows.
    #[must_use]
    pub fn events_of(&self, run_id: &RunId) -> Option<watch::Receiver<u64>> {
        Some(self.books().live.get(run_id)?.events.subscribe())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic under this lock leaves maps that are still whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the journal once for the members, and as often as needed for the index.
fn follow(journal: &Journal, index: &Index) -> Result<Members, CoordinatorError> {
    let known = index.head()?;
    let mut members = Members::default();
    let mut entries = journal.entries()?;
    // An index of this journal's own past goes on from where it stands.
    let mut goes_on = known.is_none_or(|known| known.seq == 0);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let event: Event = entry.parse()?;
        members.apply(&event);
        match goes_on {
            true => drop(index.apply(&event, entry.at_ms, entries.head())?),
            false => goes_on = known == Some(entries.head()),
        }
    }
    if !goes_on {
        tracing::warn!("the index does not belong to this journal's history; it is rebuilt");
        index.clear()?;
        let mut entries = journal.entries()?;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            index.apply(&entry.parse()?, entry.at_ms, entries.head())?;
        }
    }
    Ok(members)
}
