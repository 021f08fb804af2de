//! The fuzzer's corpora as ordinary tests: what was found once stays found, without a fuzzer.
//!
//! A file that begins with `repro-` broke its room once; its name says how. `.ci/fuzz` looks for more.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use consilium_fuzz::{PeakAlloc, TARGETS};

/// Counts what each input takes.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held by each test: what runs beside another would be counted as its memory.
static ALONE: Mutex<()> = Mutex::new(());

/// All corpora together; they are read by every test run and copied with every clone.
const CORPORA_BYTES_MAX: u64 = 1 << 20;

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
fn corpus(target: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo test tells the folder");
    Path::new(&package).join("fuzz/corpus").join(target)
}

#[cfg(test)]
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_that_was_ever_kept_holds() {
    let _alone = alone();
    for target in TARGETS {
        let files = files(&corpus(target.name));
        assert!(files.len() >= 5, "{}: {files:?}", target.name);
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let held = catch_unwind(|| target.check(&bytes, &MEMORY));
            assert!(held.is_ok(), "{} breaks `{}`", file.display(), target.name);
        }
    }
}

#[test]
fn every_corpus_has_its_room_and_is_small() {
    let _alone = alone();
    let rooms: BTreeSet<PathBuf> = TARGETS.iter().map(|target| corpus(target.name)).collect();
    let folders: BTreeSet<PathBuf> = files(&corpus("")).into_iter().collect();
    assert_eq!(folders, rooms);
    let inputs = folders.iter().flat_map(|folder| files(folder));
    let bytes: u64 = inputs.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}

/// The node's configuration is fuzzed by nobody, as burn comes with its types; it reads the same inputs here.
#[test]
fn a_nodes_configuration_is_read_or_refused() {
    let _alone = alone();
    let mut accepted = 0;
    for file in files(&corpus("settings")) {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&file, folder.path().join(consilium_node::config::FILE_NAME)).unwrap();
        match consilium_node::config::Config::load(folder.path()) {
            Ok(config) => {
                let names: BTreeSet<_> = config.datasets.iter().map(|set| &set.name).collect();
                assert_eq!(names.len(), config.datasets.len(), "{}", file.display());
                accepted += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(accepted > 0, "no input is a node's configuration");
}
