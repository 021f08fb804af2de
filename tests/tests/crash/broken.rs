//! Storage that breaks underneath real processes: a write or fsync fails, the disk is full, or may only be read.
//!
//! Whatever breaks: nothing leaves that is not written down, the error names the file and what to do, the process goes
//! on refusing or ends with an error, and once the storage is good again the run ends with the same model: in the same
//! process, or in the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases;
use crate::house::{Founded, House, Undisturbed, connections, entries, has_connected};
use crate::kills::{SEEDS, seeds};
use crate::points::{Breakage, COORDINATOR_STORAGE, Consequence, NODE_STORAGE, On, Scene, Victim};
use crate::process::{Process, eventually, types};
use crate::tracer::{Fate, Tracer, usable};

/// What a disk says: each file has to hear the first, and one of the others in turn, or all of them where
/// `CONSILIUM_CRASH_SEEDS` asks for more than usual.
const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EROFS"];

/// Whoever is told this starts the process anew once the storage is good again; else it has to go on by itself.
const STARTED_ANEW: &str = "EIO";

/// What a person then reads, by the error.
fn said(error: &str) -> &'static str {
    match error {
        "ENOSPC" => "No space left on device|is full",
        "EROFS" => "Read-only file system",
        _ => "Input/output error",
    }
}

#[test]
fn whatever_a_disk_fails_nothing_leaves_unrecorded_and_the_run_ends_with_the_same_model() {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    let breakages = NODE_STORAGE.iter().chain(COORDINATOR_STORAGE).enumerate();
    let cases: Vec<(&Breakage, &str)> = breakages
        .flat_map(|(place, breakage)| {
            let [always, rest @ ..] = ERRORS;
            let others = rest.into_iter().enumerate();
            let others = others.filter(move |(at, _)| seeds() > SEEDS || place % rest.len() == *at);
            std::iter::once(always)
                .chain(others.map(|(_, error)| error))
                .map(move |error| (breakage, error))
        })
        .collect();
    let broken = cases::each(&cases, |(breakage, error)| {
        let case = AssertUnwindSafe(|| breaks(&founded, &undisturbed, breakage, error));
        let is_whole = catch_unwind(case).is_ok();
        if !is_whole {
            eprintln!("failed: {}, {error}", breakage.label);
        }
        is_whole
    });
    let failures: Vec<String> = broken
        .into_iter()
        .filter(|(_, is_whole)| !is_whole)
        .map(|((breakage, error), _)| format!("{}, {error}", breakage.label))
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
}

fn breaks(founded: &Founded, undisturbed: &Undisturbed, breakage: &Breakage, error: &'static str) {
    let mut house = founded.running();
    let folder = victim(&mut house, breakage.victim).folder().to_owned();
    let scene = Scene {
        folder: &folder,
        victim: breakage.victim,
        run_id: &undisturbed.run_id,
        round: 2,
    };
    let (way, at) = breakage.calls(&scene);
    let log = house.path("trace");
    let process = victim(&mut house, breakage.victim);
    let mut tracer = match &way {
        Some(way) => Tracer::attach(process.pid(), way, Fate::Held, &log).unwrap(),
        None => Tracer::attach(process.pid(), &at, Fate::Fails(error), &log).unwrap(),
    };
    let submission = house.begins_to_submit();
    let process = victim(&mut house, breakage.victim);
    if way.is_some() {
        eventually("the process comes to where its disk breaks", || {
            tracer.holds().then_some(())
        });
        tracer.leave();
        tracer = Tracer::attach(process.pid(), &at, Fate::Fails(error), &log).unwrap();
        process.signal("-CONT");
    }
    eventually("somebody is told what broke", || {
        let told = process.log();
        let says = said(error).split('|').any(|said| told.contains(said));
        (says && told.contains(breakage.names)).then_some(())
    });
    assert!(tracer.seen().contains("(INJECTED)"), "{}", tracer.seen());
    match breakage.then {
        Consequence::RunFails => {
            let ended = eventually("the run fails", || {
                let entries = entries(house.coordinator.folder());
                entries.into_iter().find(|entry| entry.kind == "run-ended")
            });
            assert_eq!(ended.payload["state"], "failed", "{}", ended.payload);
            assert!(
                ended.payload["cause"]
                    .as_str()
                    .is_some_and(|cause| !cause.is_empty())
            );
        }
        Consequence::RunWaits => {
            let shown = house.ada.types(&format!("run show {}", undisturbed.run_id));
            assert!(
                !shown.out.contains("finished"),
                "it is told over although that is not durable: {shown:?}"
            );
        }
    }
    let process = victim(&mut house, breakage.victim);
    assert!(process.is_running(), "{}", process.log());
    assert!(!process.log().contains("panicked"), "{}", process.log());
    // Good storage again.
    drop(tracer);
    drop(submission);
    if error == STARTED_ANEW {
        let lives = connections(process);
        process.kill_9();
        process.start();
        if breakage.victim == Victim::Node {
            has_connected(process, lives + 1);
        }
    }
    let journal_broke = breakage.then == Consequence::RunWaits;
    if error != STARTED_ANEW && journal_broke {
        let process = victim(&mut house, breakage.victim);
        eventually("it begins anew by itself", || {
            process.log().contains("beginning anew").then_some(())
        });
        // Meanwhile it has no room for anybody.
        eventually("the coordinator answers", || {
            (house.ada.types("run list").exit == 0).then_some(())
        });
    }
    let run_id = house.submits_again();
    if breakage.then == Consequence::RunFails {
        // A node that goes on by itself may be on its way back still.
        eventually("the run is finished", || {
            let typed = house.ada.types(&format!("run show {run_id}"));
            let shown = (typed.exit == 0).then(|| typed.data())?;
            match shown["run"]["state"].as_str()? {
                "failed" => house.ada.types(&format!("run resume {run_id}")),
                "finished" => return Some(()),
                _ => return None,
            };
            None
        });
    }
    let model = house.ada.gets_model_of(&run_id);
    assert_eq!(model.file_sha256.to_string(), undisturbed.sha256);
    house.is_whole(&run_id);
    assert!(victim(&mut house, breakage.victim).is_running());
}

fn victim(house: &mut House, victim: Victim) -> &mut Process {
    match victim {
        Victim::Coordinator => &mut house.coordinator,
        Victim::Node => &mut house.sites[0].node,
    }
}

/// A folder that may only be read, whoever asks; writable again when dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// `None` where this process may not mount.
    fn make(folder: &Path) -> Option<Self> {
        let mounts = |words: &[&str]| {
            let status = Command::new("mount").args(words).arg(folder).status();
            status.is_ok_and(|status| status.success())
        };
        assert!(folder.is_dir(), "{}", folder.display());
        let at = folder.to_str().unwrap();
        if !mounts(&["--bind", at]) {
            eprintln!("not shown: this process may not mount a folder read-only");
            return None;
        }
        let read_only = Self(folder.to_owned());
        assert!(mounts(&["-o", "remount,ro,bind"]));
        Some(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves may still hold it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn on_a_disk_that_may_only_be_read_nobody_starts_and_everybody_says_why() {
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    // Everybody has a journal.
    let mut house = founded.running();
    house.coordinator.kill_9();
    house.sites.iter_mut().for_each(|site| site.node.kill_9());
    for folder in ["coordinator", "cleveland"] {
        let name = if folder == "coordinator" {
            "coordinator"
        } else {
            "node"
        };
        let folder = house.path(folder);
        let Some(read_only) = ReadOnly::make(&folder.join("journal")) else {
            return;
        };
        let typed = types(name, ["run", "--folder", folder.to_str().unwrap()]);
        assert_eq!(typed.exit, 1, "{typed:?}");
        assert!(typed.err.contains("Read-only file system"), "{typed:?}");
        assert!(typed.err.contains("journal"), "{typed:?}");
        drop(read_only);
    }
    // Writable again, all is as if nothing had been.
    house.coordinator.start();
    house.sites.iter_mut().for_each(|site| site.node.start());
    assert_eq!(house.submits_again(), undisturbed.run_id);
    let model = house.ada.gets_model_of(&undisturbed.run_id);
    assert_eq!(model.file_sha256.to_string(), undisturbed.sha256);
    house.is_whole(&undisturbed.run_id);
}

#[test]
fn a_node_whose_index_may_only_be_read_trains_all_the_same() {
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    let mut house = founded.copy();
    let Some(_read_only) = ReadOnly::make(&house.path("cleveland/state")) else {
        return;
    };
    house.coordinator.start();
    house.sites.iter_mut().for_each(|site| site.node.start());
    assert_eq!(house.submits_again(), undisturbed.run_id);
    let model = house.ada.gets_model_of(&undisturbed.run_id);
    assert_eq!(model.file_sha256.to_string(), undisturbed.sha256);
    house.is_whole(&undisturbed.run_id);
    house.sites.iter_mut().for_each(|site| site.node.kill_9());
}

/// An update whose local values could not be written down was kept in memory, and sent when it was asked for again.
#[test]
fn repro_an_update_leaves_only_once_its_local_values_are_durable() {
    if !usable() {
        return;
    }
    let founded = Founded::lay_down();
    let undisturbed = founded.rehearse();
    let house = founded.running();
    let node = &house.sites[0].node;
    let scene = Scene {
        folder: node.folder(),
        victim: Victim::Node,
        run_id: &undisturbed.run_id,
        round: 2,
    };
    let synced = crate::tracer::Calls {
        names: "fsync",
        on: scene.path(On::KeptDraft(0)),
        nth: 1,
        onwards: true,
    };
    let tracer = Tracer::attach(
        node.pid(),
        &synced,
        Fate::Fails("EIO"),
        &house.path("trace"),
    )
    .unwrap();
    let run_id = house.submits_again();
    let cause = house.ada.hears_why_it_failed(&run_id);
    assert!(cause.contains("cleveland"), "{cause}");
    drop(tracer);
    let closed = |entry: &crate::house::Entry| entry.kind == "round-closed";
    assert_eq!(
        entries(house.coordinator.folder())
            .iter()
            .filter(|entry| closed(entry))
            .count(),
        1
    );
}
