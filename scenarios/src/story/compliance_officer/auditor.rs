//! What the auditor does: a journal, copied to another machine, and what was done to it there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::WATCHED;
use super::narrator::{Narrator, no, part, text, texts};
use crate::house::anybody_types;
use crate::story::StoryError;
use crate::story::stage::wait_until;

/// Takes a copy home and verifies it with the authority's certificate alone.
pub(super) fn verifies(told: &mut Narrator) -> Result<(), StoryError> {
    told.says("Once a second Cleveland's node signs a checkpoint of its journal; coordinator and a peer cosign it.");
    wait_for_witnesses(told)?;
    told.says("Nora, the auditor, copies the journal to her own machine. She brings one thing of her own: the");
    told.says("certificate of the consortium's authority.");
    copy_into(told, "audit")?;
    let verified = told.offline(&verify(&told.path("audit"), &authority(told)))?;
    let entries = part(&verified, "/entries")?.clone();
    told.answered("the journal is what was written");
    told.varies(&format!(
        "{entries} entries, head {}",
        text(&verified, "/head")?
    ));
    if !is_cosigned_by_both(&verified)? || !is_end_recorded(&verified)? {
        return Err(StoryError::unexpected(
            "the copy lacks its newest checkpoint",
        ));
    }
    told.answered(
        "its last entry is cosigned by the coordinator and by a peer, so none is missing",
    );
    told.figure("entries", entries);
    told.says("She writes the head down, and prints what left, to whom, and at what cost.");
    let report = told.path("audit/report.html");
    told.offline(&["audit", "report", &told.path("audit"), "--to", &report])?;
    told.answered("report.html is written");
    told.figure("head", text(&verified, "/head")?);
    Ok(())
}

/// One bit of one byte.
pub(super) fn finds_an_edit(told: &mut Narrator) -> Result<(), StoryError> {
    told.says(
        "Somebody changes one byte of a copy: a letter in the name of the project in one entry.",
    );
    let segment = last_segment(&copy_into(told, "audit-edited")?)?;
    let mut bytes = std::fs::read(&segment).map_err(disk(&segment))?;
    let (name, middle) = (b"cardiology", bytes.len() / 2);
    let places = bytes.windows(name.len()).enumerate();
    let at = places
        .filter(|(_, window)| window == name)
        .map(|(at, _)| at)
        .find(|at| *at > middle);
    match at.and_then(|at| bytes.get_mut(at)) {
        Some(letter) => *letter ^= 1,
        None => return Err(StoryError::unexpected("no answer is in the journal")),
    }
    std::fs::write(&segment, bytes).map_err(disk(&segment))?;
    let found = told.is_refused_offline(&verify(&told.path("audit-edited"), &authority(told)))?;
    told.varies(&found.message);
    told.answered(&format!("found: {}", found.code));
    told.figure("edit_found", found.code);
    Ok(())
}

/// The end, with the checkpoints left and then without.
pub(super) fn finds_a_cut(told: &mut Narrator) -> Result<(), StoryError> {
    told.says("Somebody cuts the end off, behind which a checkpoint was made.");
    let journal = copy_into(told, "audit-cut")?;
    cut(&last_segment(&journal)?)?;
    let folder = told.path("audit-cut");
    let found = told.is_refused_offline(&verify(&folder, &authority(told)))?;
    told.varies(&found.message);
    told.answered(&format!("found: {}", found.code));
    told.figure("cut_found", found.code);
    told.says("He removes the checkpoints as well. What is left is whole, and verify says what it cannot know:");
    let checkpoints = journal.join("checkpoints");
    std::fs::remove_dir_all(&checkpoints).map_err(disk(&checkpoints))?;
    let verified = told.offline(&verify(&folder, &authority(told)))?;
    match is_end_recorded(&verified)? {
        true => return Err(StoryError::unexpected("a cut journal's end is vouched for")),
        false => told.answered("whole so far; its end was recorded by nobody"),
    }
    told.says("Nora has the head that she wrote down.");
    let head = told.figures();
    let head = text(&head, "/head")?.to_owned();
    told.says("  $ consilium audit verify audit-cut --head ENTRIES:HASH");
    let words = ["audit", "verify", &folder, "--head", &head];
    let found = no(anybody_types(&words), &words)?;
    told.varies(&found.message);
    told.answered(&format!("found: {}", found.code));
    told.figure("cut_found_by_head", found.code);
    Ok(())
}

fn verify<'a>(folder: &'a str, authority: &'a str) -> [&'a str; 5] {
    ["audit", "verify", folder, "--authority", authority]
}

/// As whoever enrolled has it.
fn authority(told: &Narrator) -> String {
    told.path("ada/consortium-ca.crt")
}

/// Until all that was journalled is cosigned; nothing is asked meanwhile.
fn wait_for_witnesses(told: &Narrator) -> Result<(), StoryError> {
    wait_until("witnesses of the journal's last entry", || {
        let verified = anybody_types(&["audit", "verify", &told.path(WATCHED)])?;
        let witnessed = part(&verified, "/witnessed_entries")?;
        Ok(witnessed == part(&verified, "/entries")? && is_cosigned_by_both(&verified)?)
    })
}

/// Whether somebody recorded as many entries as there are.
fn is_end_recorded(verified: &Value) -> Result<bool, StoryError> {
    Ok(part(verified, "/end_recorded")?.as_bool() == Some(true))
}

/// Whether the coordinator and at least one other site cosigned the newest checkpoint.
fn is_cosigned_by_both(verified: &Value) -> Result<bool, StoryError> {
    let (sites, coordinators): (Vec<String>, Vec<String>) = texts(verified, "/cosigned_by")?
        .into_iter()
        .partition(|name| name.matches('/').count() == 2);
    Ok(!sites.is_empty() && !coordinators.is_empty())
}

/// Copies the watched journal into a new folder; gives the journal there.
fn copy_into(told: &Narrator, name: &str) -> Result<PathBuf, StoryError> {
    let (from, to) = (
        told.root().join(WATCHED).join("journal"),
        told.root().join(name),
    );
    let journal = to.join("journal");
    copy(&from, &journal)?;
    Ok(journal)
}

fn copy(from: &Path, to: &Path) -> Result<(), StoryError> {
    std::fs::create_dir_all(to).map_err(disk(to))?;
    for entry in std::fs::read_dir(from).map_err(disk(from))? {
        let entry = entry.map_err(disk(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => std::fs::copy(&path, &target)
                .map(drop)
                .map_err(disk(&path))?,
        }
    }
    Ok(())
}

/// A quarter less.
fn cut(segment: &Path) -> Result<(), StoryError> {
    let file = std::fs::OpenOptions::new().write(true).open(segment);
    let file = file.map_err(disk(segment))?;
    let bytes = file.metadata().map_err(disk(segment))?.len();
    file.set_len(bytes - bytes / 4).map_err(disk(segment))
}

/// The file that holds the newest entries.
fn last_segment(journal: &Path) -> Result<PathBuf, StoryError> {
    let listing = std::fs::read_dir(journal).map_err(disk(journal))?;
    let files = listing.filter_map(Result::ok).map(|entry| entry.path());
    let segments = files.filter(|path| path.is_file() && path.extension().is_some());
    segments
        .filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 0))
        .max()
        .ok_or_else(|| StoryError::unexpected("the journal has no segment"))
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> StoryError + use<> {
    let what = format!("cannot use `{}`", path.display());
    move |source| StoryError::Disk { what, source }
}
