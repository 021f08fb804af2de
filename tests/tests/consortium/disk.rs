//! A disk that is full. Needs the right to mount; without it, these tests say so and show nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::eventually;
use crate::world::{Consortium, HOSPITALS, RunFile};

/// A file system in memory, of a size that can be filled; unmounted when dropped.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { at: at.to_owned() });
        }
        eprintln!("not shown: this process may not mount a file system to fill");
        None
    }

    fn grow(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        let status = Command::new("mount")
            .args(["-o", &size])
            .arg(&self.at)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves may still hold it.
        Command::new("umount").arg("-l").arg(&self.at).status().ok();
    }
}

#[test]
fn a_node_whose_disk_is_full_releases_nothing_and_works_again_once_there_is_room() {
    let consortium = Consortium::found();
    let mut site = consortium.site("va");
    let Some(disk) = SmallDisk::mount(&site.path("journal"), 64 * 1024) else {
        return;
    };
    let others: Vec<_> = HOSPITALS[..3]
        .iter()
        .map(|name| consortium.running_site(name))
        .collect();
    site.node.start();
    consortium.knows_as_connected(&["va"]);
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&HOSPITALS)
        .with("rounds", "150")
        .with("quorum", "3");
    let model = ada.gets_model_of(&ada.submits(&run));
    let rounds = model.card["rounds"].as_array().unwrap();
    let (first, last) = (&rounds[0], &rounds[149]);
    assert!(first["sites"].get("va").is_some(), "{first}");
    assert_eq!(last["missing"]["va"]["cause"], "failed", "{last}");
    assert_eq!(last["sites"].as_object().unwrap().len(), 3);
    // Nothing was given that is not in the journal.
    let given = rounds
        .iter()
        .filter(|round| round["sites"].get("va").is_some())
        .count();
    let released = site.happened("pass-released");
    let written = released
        .iter()
        .filter(|entry| entry["receipt"]["what"] == "update")
        .count();
    assert!((1..150).contains(&given), "{given}");
    assert!(written >= given, "{written} written down, {given} given");
    // Where the cause is: in the node's own log. Outside, only that something broke.
    assert!(
        site.node.log().contains("the disk is full"),
        "{}",
        site.node.log()
    );
    assert!(
        !last["missing"]["va"].to_string().contains("disk"),
        "{last}"
    );
    assert!(
        others
            .iter()
            .all(|site| !site.node.log().contains("panicked"))
    );
    assert!(site.node.is_running());

    // Room again: the same process goes on.
    let node = site.node.pid();
    disk.grow(8 * 1024 * 1024);
    eventually("the node begins anew by itself", || {
        (site.node.log().matches(" connected ").count() >= 2).then_some(())
    });
    assert!(site.node.is_running());
    assert_eq!(site.node.pid(), node);
    consortium.knows_as_connected(&["va"]);
    let model = ada.gets_model_of(&ada.submits(&RunFile::of(&["va"])));
    assert_eq!(model.card["rounds"].as_array().unwrap().len(), 3);
    site.node.kill_9();
    drop(site);
    drop(disk);
}

#[test]
fn a_coordinator_whose_disk_is_full_says_so_and_goes_on_once_there_is_room() {
    let mut consortium = Consortium::found();
    let mut sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&HOSPITALS).with("rounds", "100");
    let undisturbed = ada.gets_model_of(&ada.submits(&run)).tensors_sha256;

    // The journal moves to a disk with little room.
    consortium.coordinator.kill_9();
    let journal = consortium.coordinator.folder().join("journal");
    let aside = consortium.path("journal-aside");
    fs::rename(&journal, &aside).unwrap();
    let used: u64 = fs::read_dir(&aside)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    let Some(disk) = SmallDisk::mount(&journal, used + 64 * 1024) else {
        return;
    };
    for file in fs::read_dir(&aside).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), journal.join(file.file_name())).unwrap();
    }
    consortium.coordinator.start();
    consortium.is_up();
    consortium.knows_as_connected(&HOSPITALS);
    let run_id = ada.submits(&run);
    eventually("the coordinator finds its disk full", || {
        assert!(
            consortium.coordinator.is_running(),
            "{}",
            consortium.coordinator.log()
        );
        consortium
            .coordinator
            .log()
            .contains("the disk is full")
            .then_some(())
    });
    let (exit, code, _) = ada.submits_with(&run, "").error();
    assert_eq!((exit, code.as_str()), (1, "coordinator-fault"));

    // Room again: the same process goes on.
    let before = consortium.coordinator.pid();
    disk.grow(64 * 1024 * 1024);
    eventually("the coordinator begins anew by itself", || {
        let log = consortium.coordinator.log();
        log.contains("beginning anew from what is on it")
            .then_some(())
    });
    consortium.is_up();
    assert_eq!(consortium.coordinator.pid(), before);
    // Nothing that was acknowledged is lost, and the run goes on by itself.
    assert_eq!(ada.gets_model_of(&run_id).tensors_sha256, undisturbed);
    assert!(sites.iter_mut().all(|site| site.node.is_running()));
    consortium.coordinator.kill_9();
    drop(disk);
}
