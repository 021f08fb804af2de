//! A consortium of two hospitals, laid down on disk once and copied for each case: same keys, same certificates, same
//! run, so that every copy that nothing disturbs ends with the same model, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, eventually, role};
use crate::world::{Consortium, Person, RunFile, Site, free_port, replace};

/// Who takes part.
pub(crate) const SITES: [&str; 2] = ["cleveland", "hungarian"];

/// Rounds of the run.
pub(crate) const ROUNDS: u32 = 4;

/// SCAFFOLD with an intercept that stays at the site: whatever a site forgot would change the model.
const MODEL: &str = r#"{ kind = "logistic", local = ["intercept"] }"#;
const STRATEGY: &str = r#"{ name = "SCAFFOLD" }"#;

/// The folders of a consortium that does not run.
pub(crate) struct Founded {
    consortium: Consortium,
}

/// A running copy.
pub(crate) struct House {
    pub(crate) coordinator: Process,
    pub(crate) sites: Vec<Site>,
    pub(crate) ada: Person,
    // Goes last: the processes write into it.
    folder: TempDir,
}

/// How the run ends when nothing disturbs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undisturbed {
    pub(crate) run_id: String,
    pub(crate) sha256: String,
}

/// One entry of a journal.
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

impl Founded {
    pub(crate) fn lay_down() -> Self {
        let mut consortium = Consortium::found();
        for name in SITES {
            let site = consortium.site(name);
            replace(
                &site.path("node.toml"),
                "trainer = \"burn\"",
                "trainer = \"linear\"",
            );
        }
        consortium.researcher("ada");
        let run = RunFile::of(&SITES)
            .with("rounds", &ROUNDS.to_string())
            .with("model", MODEL)
            .with("strategy", STRATEGY);
        fs::write(consortium.path("run.toml"), run.text()).unwrap();
        consortium.coordinator.kill_9();
        Self { consortium }
    }

    /// A copy with a port of its own; nothing in it runs yet.
    pub(crate) fn copy(&self) -> House {
        let folder = tempfile::tempdir().unwrap();
        let here = format!("127.0.0.1:{}", free_port());
        copy_folder(
            &self.consortium.path(""),
            folder.path(),
            &self.consortium.address(),
            &here,
        );
        let site = |name: &str| Site {
            node: Process::new("node", &folder.path().join(name)),
            name: name.to_owned(),
        };
        House {
            coordinator: Process::new("coordinator", &folder.path().join("coordinator")),
            sites: SITES.map(site).into_iter().collect(),
            ada: Person {
                home: folder.path().join("ada"),
            },
            folder,
        }
    }

    /// A copy whose processes run and know each other.
    pub(crate) fn running(&self) -> House {
        let mut house = self.copy();
        house.coordinator.start();
        house.sites.iter_mut().for_each(|site| site.node.start());
        house
            .sites
            .iter()
            .for_each(|site| has_connected(&site.node, 1));
        house
    }

    /// The run, undisturbed.
    pub(crate) fn rehearse(&self) -> Undisturbed {
        let house = self.running();
        let run_id = house.submits_again();
        let sha256 = house.ada.gets_model_of(&run_id).file_sha256.to_string();
        house.is_whole(&run_id);
        Undisturbed { run_id, sha256 }
    }
}

impl House {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn submission(&self) -> [String; 8] {
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let words = [
            "--home",
            "",
            "--format",
            "json",
            "run",
            "submit",
            "",
            "--token=crash",
        ];
        let mut words = words.map(str::to_owned);
        words[1] = at(self.ada.home.clone());
        words[6] = at(self.path("run.toml"));
        words
    }

    /// Types `consilium run submit` and does not wait for the answer.
    pub(crate) fn begins_to_submit(&self) -> Submission {
        let mut command = role("consilium");
        command
            .args(self.submission())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Submission(command.spawn().unwrap())
    }

    /// Submits until it is taken. The token is always the same, and so is the run.
    pub(crate) fn submits_again(&self) -> String {
        eventually("the run is taken", || {
            let typed = crate::process::types("consilium", self.submission());
            let taken = typed.exit == 0;
            taken.then(|| typed.data()["run_id"].as_str().unwrap().to_owned())
        })
    }

    /// Every journal is whole; every pass has one ending; nothing left a node that its journal does not say has left;
    /// and nothing half-written lies about.
    pub(crate) fn is_whole(&self, run_id: &str) {
        let closed: Vec<Entry> = entries(self.coordinator.folder())
            .into_iter()
            .filter(|entry| entry.kind == "round-closed")
            .collect();
        for site in &self.sites {
            let seen = eventually("every pass of the node has ended", || {
                let entries = entries(site.node.folder());
                endings(&entries)
                    .iter()
                    .all(|(_, endings)| !endings.is_empty())
                    .then_some(entries)
            });
            for (reserved, endings) in endings(&seen) {
                assert_eq!(
                    endings.len(),
                    1,
                    "entry {reserved} of {} ends in {endings:?}",
                    site.name
                );
            }
            let of_round = |entry: &Entry, round: &Value| {
                entry.kind == "pass-released" && entry.payload["ask"]["action"]["round"] == *round
            };
            for entry in &closed {
                let given = entry.payload["sites"].get(&site.name).is_some();
                let round = &entry.payload["round"];
                let written = seen.iter().any(|entry| of_round(entry, round));
                assert!(
                    written || !given,
                    "{} gave round {round} and has no record of it",
                    site.name
                );
            }
        }
        for folder in self.folders() {
            let verified = consilium_journal::verify(&folder.join("journal"), None).unwrap();
            assert!(verified.entries > 0);
        }
        let states = self.coordinator.folder().join("runs").join(run_id);
        let left: Vec<String> = names(&states);
        assert!(
            left.iter().all(|name| !name.ends_with(".partial")),
            "{left:?}"
        );
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        let sites = self.sites.iter().map(|site| site.node.folder());
        sites.chain([self.coordinator.folder()])
    }
}

/// A submission under way, ended at the latest when it is dropped.
pub(crate) struct Submission(Child);

impl Drop for Submission {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How often this node has connected, in all its lives.
pub(crate) fn connections(node: &Process) -> usize {
    node.log().matches("INFO connected ").count()
}

/// Waits until the node has connected so often.
pub(crate) fn has_connected(node: &Process, times: usize) {
    eventually("the node is connected", || {
        (connections(node) >= times).then_some(())
    });
}

/// The journal of a coordinator's or node's folder, as far as it can be read.
pub(crate) fn entries(folder: &Path) -> Vec<Entry> {
    let entries = consilium_journal::read(&folder.join("journal"))
        .into_iter()
        .flatten();
    entries
        .map_while(Result::ok)
        .map(|entry| Entry {
            seq: entry.seq,
            kind: entry.kind.to_string(),
            payload: serde_json::from_slice(&entry.payload).unwrap(),
        })
        .collect()
}

/// What each reservation ended in.
pub(crate) fn endings(entries: &[Entry]) -> BTreeMap<u64, Vec<String>> {
    let mut endings: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for entry in entries {
        if entry.kind == "pass-reserved" {
            endings.entry(entry.seq).or_default();
        } else if let Some(reserved) = entry.payload["reserved"].as_u64() {
            endings
                .entry(reserved)
                .or_default()
                .push(entry.kind.clone());
        }
    }
    endings
}

/// The names in a folder; none if it is not there.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Copies a folder; in configuration files, one address becomes another.
fn copy_folder(from: &Path, to: &Path, address: &str, new_address: &str) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let (from, to) = (file.path(), to.join(file.file_name()));
        if file.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&from, &to, address, new_address);
            continue;
        }
        if from.extension().is_some_and(|extension| extension == "log") {
            continue;
        }
        fs::copy(&from, &to).unwrap();
        if to.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&to).unwrap();
            fs::write(&to, text.replace(address, new_address)).unwrap();
        }
    }
}
