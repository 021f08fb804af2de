//! The disk stops working at every step in turn, and then the power goes. What is opened afterwards is the state before
//! or the state after, and never a mix.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use consilium_protocol::Millis;
use consilium_search::vector::{Change, Disk, Hit, RowId, VectorError, VectorIndex};

use crate::world::{DAY_MS, nearest, open, rows, units};

/// Files in memory, with what a power cut would leave of them: contents once written, names once synced.
#[derive(Clone, Default)]
struct Breaking(Arc<Mutex<State>>);

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
enum Unsynced {
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
    fn breaking_after(&self, steps: usize) -> Self {
        let state = self.0.lock().unwrap();
        Self(Arc::new(Mutex::new(State {
            seen: state.seen.clone(),
            durable: state.durable.clone(),
            steps_left: Some(steps),
            steps: 0,
        })))
    }

    fn after_a_power_cut(&self, unsynced: Unsynced) -> Self {
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

    fn steps(&self) -> usize {
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

fn change() -> Change {
    Change {
        added: (200..).map(RowId).zip(units(40, 7)).collect(),
        erased: (20..80).map(RowId).collect(),
    }
}

fn all(disk: Breaking) -> Vec<Hit> {
    nearest(&open(disk).unwrap(), &units(1, 99)[0], 500, None)
}

/// A disk with a collection of two hundred rows, some erased.
fn collection() -> Breaking {
    let disk = Breaking::default();
    let index = open(disk.clone()).unwrap();
    for nth in 0..4u32 {
        let added = (nth * 50..)
            .map(RowId)
            .zip(units(50, u64::from(nth)))
            .collect();
        let erased = Vec::new();
        index.apply(Change { added, erased }, Millis(0)).unwrap();
    }
    let erased = [0, 50, 100, 150].map(RowId).to_vec();
    index
        .apply(
            Change {
                added: Vec::new(),
                erased,
            },
            Millis(0),
        )
        .unwrap();
    disk
}

/// Does `deed` with a disk that breaks at each of its steps, and looks at what a power cut leaves.
fn breaks_everywhere(
    deed: impl Fn(&consilium_search::vector::SegmentedIndex) -> Result<(), VectorError>,
) -> usize {
    let before_disk = collection();
    let before = all(before_disk.after_a_power_cut(Unsynced::Lost));
    let whole = before_disk.breaking_after(usize::MAX);
    let opened = open(whole.clone()).unwrap();
    let opening = whole.steps();
    deed(&opened).unwrap();
    let steps = whole.steps() - opening;
    let after = all(whole.after_a_power_cut(Unsynced::Lost));
    for at in 0..steps {
        let disk = before_disk.breaking_after(opening + at);
        let index = open(disk.clone()).unwrap();
        let error = deed(&index).unwrap_err();
        assert!(matches!(error, VectorError::Disk { .. }), "{error}");
        let in_memory = nearest(&index, &units(1, 99)[0], 500, None);
        assert!(
            in_memory == before || in_memory == after,
            "step {at} of {steps}"
        );
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let left = disk.after_a_power_cut(unsynced);
            let found = all(left.clone());
            assert!(found == before || found == after, "step {at} of {steps}");
            // And the index goes on from there.
            let index = open(left).unwrap();
            index
                .apply(
                    Change {
                        added: vec![(RowId(999), units(1, 77).remove(0))],
                        erased: vec![],
                    },
                    Millis(9),
                )
                .unwrap();
            assert!(rows(&nearest(&index, &units(1, 77)[0], 1, None)).contains(&999));
        }
    }
    steps
}

#[test]
fn a_change_is_whole_or_not_at_all() {
    let steps = breaks_everywhere(|index| index.apply(change(), Millis(5)).map(|_| ()));
    assert!(steps >= 4, "{steps}");
}

#[test]
fn a_rewrite_is_whole_or_not_at_all() {
    let steps = breaks_everywhere(|index| {
        let done = index.maintain(Millis(DAY_MS), DAY_MS)?;
        assert_eq!(done.rows_gone, 4);
        Ok(())
    });
    assert!(steps >= 8, "{steps}");
}

#[test]
fn what_a_crash_left_is_removed() {
    let disk = collection();
    disk.write("segment-00000000000000ff", b"half of a segm")
        .unwrap();
    disk.write("index.manifest.draft", b"half of").unwrap();
    disk.write("notes.txt", b"not ours").unwrap();
    assert_eq!(open(disk.clone()).unwrap().len(), 196);
    let names = disk.names().unwrap();
    assert!(
        names.contains(&"notes.txt".to_owned()) && !names.iter().any(|name| name.contains("draft"))
    );
    assert!(!names.contains(&"segment-00000000000000ff".to_owned()));
}
