//! A disk in memory that breaks at a chosen step, and what a power cut leaves of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use consilium_search::vector::Disk;

/// Files in memory, with what a power cut would leave of them: contents once written, names once synced.
#[derive(Clone, Default)]
pub(crate) struct Breaking(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seen: BTreeMap<String, Vec<u8>>,
    durable: BTreeMap<String, Vec<u8>>,
    /// Steps until nothing works any more.
    steps_left: Option<usize>,
    steps: usize,
}

/// What a power cut does to names that were not synced.
#[derive(Clone, Copy)]
pub(crate) enum Unsynced {
    Lost,
    Kept,
}

impl Breaking {
    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.0.lock().unwrap();
        state.steps += 1;
        match state.steps_left.as_mut() {
            Some(0) => return Err(io::Error::other("the disk is broken")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }

    /// As it is now, but it will break after so many steps.
    pub(crate) fn breaking_after(&self, steps: usize) -> Self {
        let state = self.0.lock().unwrap();
        Self(Arc::new(Mutex::new(State {
            seen: state.seen.clone(),
            durable: state.durable.clone(),
            steps_left: Some(steps),
            steps: 0,
        })))
    }

    pub(crate) fn after_a_power_cut(&self, unsynced: Unsynced) -> Self {
        let state = self.0.lock().unwrap();
        let files = match unsynced {
            Unsynced::Lost => &state.durable,
            Unsynced::Kept => &state.seen,
        };
        Self(Arc::new(Mutex::new(State {
            seen: files.clone(),
            durable: files.clone(),
            ..State::default()
        })))
    }

    pub(crate) fn steps(&self) -> usize {
        self.0.lock().unwrap().steps
    }
}

impl Disk for Breaking {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.step()?.seen.keys().cloned().collect())
    }

    fn read(&self, name: &str, _: u64) -> io::Result<Vec<u8>> {
        let state = self.step()?;
        state
            .seen
            .get(name)
            .cloned()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// When it breaks, half of the bytes are there.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self.step() {
            Ok(mut state) => {
                state.seen.insert(name.to_owned(), bytes.to_vec());
                Ok(())
            }
            Err(error) => {
                let half = bytes[..bytes.len() / 2].to_vec();
                self.0.lock().unwrap().seen.insert(name.to_owned(), half);
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        let bytes = state
            .seen
            .remove(from)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        state.seen.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.durable = state.seen.clone();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?.seen.remove(name);
        Ok(())
    }
}
