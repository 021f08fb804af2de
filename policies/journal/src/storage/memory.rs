//! Memory that behaves like a disk which can lose power.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::Storage;

/// The unit in which unsynced writes are kept or lost.
const SECTOR_BYTES: usize = 512;

/// A folder in memory, shared by its clones, that knows which of its bytes a loss of power would spare.
///
/// What [`Memory::after_crash`] leaves of unsynced work is drawn from a seed, sector by sector and name by name, as
/// no file system promises more than that.
#[derive(Clone, Default)]
pub struct Memory {
    shelf: Arc<Mutex<Shelf>>,
}

/// Files by number, and two directories: what a program sees, and what is durable.
#[derive(Clone, Default)]
struct Shelf {
    files: BTreeMap<u64, MemoryFile>,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    created: u64,
}

#[derive(Clone, Default)]
struct MemoryFile {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

impl Memory {
    /// What lies there after power was lost now. The original is left as it is.
    pub fn after_crash(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let shelf = self.shelf();
        let mut after = Shelf {
            created: shelf.created,
            ..Shelf::default()
        };
        let all: BTreeSet<&String> = shelf
            .names
            .keys()
            .chain(shelf.names_durable.keys())
            .collect();
        for name in all {
            let (now, durable) = (shelf.names.get(name), shelf.names_durable.get(name));
            let survivor = if now == durable || dice.coin() {
                durable
            } else {
                now
            };
            if let Some((id, file)) = survivor.and_then(|id| Some((*id, shelf.files.get(id)?))) {
                after.files.insert(id, file.after_crash(&mut dice));
                after.names.insert(name.clone(), id);
            }
        }
        after.names_durable = after.names.clone();
        Self {
            shelf: Arc::new(Mutex::new(after)),
        }
    }

    /// A copy that shares nothing with the original: yesterday's backup.
    pub fn copied(&self) -> Self {
        Self {
            shelf: Arc::new(Mutex::new(self.shelf().clone())),
        }
    }

    /// Takes all unsynced writes for written without writing them, as Linux does with pages whose writeback failed:
    /// programs go on reading them, later syncs succeed, and a loss of power loses them.
    pub fn forget_unsynced(&self) {
        self.shelf()
            .files
            .values_mut()
            .for_each(|file| file.dirty.clear());
    }

    /// All bytes of a file, durable or not.
    pub fn bytes(&self, name: &str) -> io::Result<Vec<u8>> {
        self.shelf().file(name).map(|file| file.bytes.clone())
    }

    /// Puts a file in place, durably, behind everyone's back.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut shelf = self.shelf();
        let id = shelf.create(name);
        shelf.names_durable.insert(name.to_owned(), id);
        shelf.files.insert(
            id,
            MemoryFile {
                durable: bytes.clone(),
                bytes,
                dirty: BTreeSet::new(),
            },
        );
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.shelf().names.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.shelf().file(name).map(|file| file.bytes.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut shelf = self.shelf();
        let bytes = &shelf.file(name)?.bytes;
        let from = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..))
            .unwrap_or_default();
        Ok(into
            .iter_mut()
            .zip(from)
            .map(|(to, from)| *to = *from)
            .count())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut shelf = self.shelf();
        if shelf.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        shelf.create(name);
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut shelf = self.shelf();
        let file = shelf.file(name)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start
            .checked_add(bytes.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes
            .get_mut(start..end)
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(bytes);
        file.dirty
            .extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.shelf().file(name)?.bytes.resize(bytes, 0);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.shelf().file(name)?.sync();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shelf()
            .names
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut shelf = self.shelf();
        shelf.names_durable = shelf.names.clone();
        Ok(())
    }
}

impl Shelf {
    fn file(&mut self, name: &str) -> io::Result<&mut MemoryFile> {
        let id = self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.files
            .get_mut(id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, name: &str) -> u64 {
        let id = self.created;
        self.created += 1;
        self.names.insert(name.to_owned(), id);
        self.files.insert(id, MemoryFile::default());
        id
    }
}

impl MemoryFile {
    fn sync(&mut self) {
        self.durable.resize(self.bytes.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(sector, &self.bytes, &mut self.durable);
        }
    }

    fn after_crash(&self, dice: &mut Dice) -> Self {
        let (shorter, longer) = (
            self.bytes.len().min(self.durable.len()),
            self.bytes.len().max(self.durable.len()),
        );
        let mut left = self.durable.clone();
        left.resize(shorter + dice.below(longer - shorter + 1), 0);
        for &sector in &self.dirty {
            if dice.coin() {
                copy_sector(sector, &self.bytes, &mut left);
            }
        }
        Self {
            durable: left.clone(),
            bytes: left,
            dirty: BTreeSet::new(),
        }
    }
}

/// Copies one sector, as far as both have it.
fn copy_sector(sector: usize, from: &[u8], to: &mut [u8]) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len()).min(to.len());
    if let (Some(to), Some(from)) = (to.get_mut(start..end), from.get(start..end)) {
        to.copy_from_slice(from);
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): enough for tossing coins, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn toss(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.toss() & 1 == 1
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.toss() % (end.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_spares_what_was_synced_and_only_that_for_certain() {
        let memory = Memory::default();
        memory.create("a").unwrap();
        memory.write_at("a", 0, &[1; 1024]).unwrap();
        memory.sync("a").unwrap();
        memory.sync_names().unwrap();
        memory.write_at("a", 1024, &[2; 1024]).unwrap();

        let survivors: BTreeSet<Vec<u8>> = (0..64)
            .map(|seed| memory.after_crash(seed).bytes("a").unwrap())
            .collect();
        assert!(survivors.iter().all(|bytes| bytes.starts_with(&[1; 1024])));
        assert!(
            survivors.iter().any(|bytes| bytes.len() > 1024),
            "nothing unsynced ever survives"
        );
        assert!(
            survivors
                .iter()
                .any(|bytes| bytes.len() > 1536 && bytes.contains(&0)),
            "no sector is ever lost"
        );
        assert_eq!(
            memory.after_crash(7).bytes("a").unwrap(),
            memory.after_crash(7).bytes("a").unwrap()
        );
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_gone() {
        let memory = Memory::default();
        memory.create("a").unwrap();
        memory.sync("a").unwrap();
        let kept = (0..64)
            .filter(|&seed| memory.after_crash(seed).bytes("a").is_ok())
            .count();
        assert!(
            (1..64).contains(&kept),
            "{kept} of 64 crashes kept the name"
        );
    }

    #[test]
    fn forgotten_writes_are_read_until_power_is_lost() {
        let memory = Memory::default();
        memory.put("a", Vec::new());
        memory.write_at("a", 0, &[3; 512]).unwrap();
        memory.forget_unsynced();
        memory.sync("a").unwrap();
        assert_eq!(memory.bytes("a").unwrap(), [3; 512]);
        assert_eq!(memory.after_crash(0).bytes("a").unwrap(), [0; 512]);
    }
}
