//! A simulated disk: memory that loses power, verbs that fail, and planted lies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use consilium_journal::storage::{Break, Breaking, Memory, Storage, Verb};

use super::dice::Dice;

/// How a planted disk lies to the journal above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskLie {
    /// An fsync does nothing: what a journal without fsync would do.
    SkipSync,
    /// The fsync of a reservation does nothing, the next one catches up: what settling before reserving would do.
    SyncReservationLate,
    /// A write or fsync that failed is reported as done: what a release after a failed journal would do.
    SwallowErrors,
}

/// What can befall a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskTrouble {
    /// The nth next write finds the disk full.
    Full,
    /// The nth next write is torn.
    Torn,
    /// The nth next fsync fails.
    SyncFails,
    /// The disk has become read-only.
    ReadOnly,
}

/// One machine's disk: what survives its processes.
pub struct Disk {
    memory: Memory,
    lie: Option<DiskLie>,
}

/// The disk as one process sees it, until power is lost.
pub struct Mount {
    memory: Memory,
    breaking: Breaking,
    lie: Option<DiskLie>,
    power: Arc<Power>,
    holds_back: AtomicBool,
    was_broken: AtomicBool,
}

/// What all folders of one machine hang on.
struct Power {
    /// Verbs until it is lost; `u64::MAX` is never.
    verbs_left: AtomicU64,
    is_dead: AtomicBool,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(lie: Option<DiskLie>) -> Self {
        Self {
            memory: Memory::default(),
            lie,
        }
    }

    /// For a new process.
    #[must_use]
    pub fn mount(&self) -> Arc<Mount> {
        self.on(Arc::new(Power {
            verbs_left: AtomicU64::new(u64::MAX),
            is_dead: AtomicBool::new(false),
        }))
    }

    /// For the same process: power is lost for both.
    #[must_use]
    pub fn mount_beside(&self, mount: &Mount) -> Arc<Mount> {
        self.on(mount.power.clone())
    }

    fn on(&self, power: Arc<Power>) -> Arc<Mount> {
        Arc::new(Mount {
            memory: self.memory.clone(),
            breaking: Breaking::new(Arc::new(self.memory.clone())),
            lie: self.lie,
            power,
            holds_back: AtomicBool::new(false),
            was_broken: AtomicBool::new(false),
        })
    }

    /// Power is lost: of what was not synced, the dice say what is left.
    pub fn lose_power(&mut self, dice: &mut Dice) {
        self.memory = self.memory.after_crash(dice.toss());
    }

    /// What a loss of power would leave at worst.
    #[must_use]
    pub fn durable(&self) -> Arc<dyn Storage> {
        let copy = self.memory.copied();
        copy.forget_unsynced();
        Arc::new(copy.after_crash(0))
    }

    /// As it is read now.
    #[must_use]
    pub fn as_read(&self) -> Arc<dyn Storage> {
        Arc::new(self.memory.clone())
    }
}

impl Mount {
    /// Power will be lost at the nth change from now.
    pub fn lose_power_after(&self, verbs: u64) {
        self.power.verbs_left.store(verbs, Ordering::Relaxed);
    }

    /// Whether power is lost.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.power.is_dead.load(Ordering::Relaxed)
    }

    /// Whether anything of it was broken: it may fail again.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.was_broken.load(Ordering::Relaxed)
    }

    /// Nothing is written any more.
    pub fn kill(&self) {
        self.power.is_dead.store(true, Ordering::Relaxed);
    }

    /// Breaks one verb soon, or all writes from now on.
    pub fn trouble(&self, trouble: DiskTrouble, dice: &mut Dice) {
        self.was_broken.store(true, Ordering::Relaxed);
        let nth = dice.between(1, 4);
        match trouble {
            DiskTrouble::Full => {
                let full = Break::Fail(io::ErrorKind::StorageFull);
                self.breaking.break_next(Verb::Write, nth, full);
            }
            DiskTrouble::Torn => {
                let bytes = dice.index(300);
                let kind = io::ErrorKind::Other;
                self.breaking
                    .break_next(Verb::Write, nth, Break::Tear { bytes, kind });
            }
            DiskTrouble::SyncFails => {
                let fails = Break::Fail(io::ErrorKind::Other);
                self.breaking.break_next(Verb::Sync, nth, fails);
            }
            DiskTrouble::ReadOnly => {
                for nth in 1..=8 {
                    let read_only = Break::Fail(io::ErrorKind::ReadOnlyFilesystem);
                    self.breaking.break_next(Verb::Write, nth, read_only);
                }
            }
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.is_dead() {
            true => Err(io::Error::other("power is lost")),
            false => Ok(()),
        }
    }

    /// Counts one change.
    fn change(&self) -> io::Result<()> {
        self.alive()?;
        match self.power.verbs_left.load(Ordering::Relaxed) {
            u64::MAX => Ok(()),
            0 => {
                self.kill();
                self.alive()
            }
            left => {
                self.power.verbs_left.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn told(&self, done: io::Result<()>) -> io::Result<()> {
        match (self.lie, done) {
            (Some(DiskLie::SwallowErrors), Err(_)) if !self.is_dead() => Ok(()),
            (_, done) => done,
        }
    }
}

impl Storage for Mount {
    fn names(&self) -> io::Result<Vec<String>> {
        self.alive()?;
        self.breaking.names()
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.alive()?;
        self.breaking.len(name)
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.alive()?;
        self.breaking.read_at(name, offset, into)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.breaking.create(name)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(lost) = self.change() {
            // The head of a write may have reached the platter.
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            self.memory.write_at(name, offset, half).ok();
            return Err(lost);
        }
        if self.lie == Some(DiskLie::SyncReservationLate) {
            let words: [&[u8]; 2] = [b"pass-reserved", b"patients-charged"];
            let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
            let reserves = words.into_iter().any(holds);
            self.holds_back.store(reserves, Ordering::Relaxed);
        }
        self.told(self.breaking.write_at(name, offset, bytes))
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.change()?;
        self.breaking.set_len(name, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.change()?;
        if self.lie == Some(DiskLie::SkipSync) || self.holds_back.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.told(self.breaking.sync(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.breaking.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change()?;
        self.breaking.sync_names()
    }
}
