//! What an officer sees: what was spent, what left, and that nothing left which must not.

use std::path::Path;

use serde_json::Value;

use crate::house::Consortium;
use crate::story::StoryError;
use crate::story::narrator::{Narrator, number, part, text};

/// The hospital whose officer we watch.
const WATCHED: &str = "aci";

/// Budgets of projects and of patients.
pub(super) fn sees_what_was_spent(
    told: &mut Narrator,
    consortium: &Consortium,
) -> Result<(), StoryError> {
    told.says("Olga, aci's officer, looks at what was spent.");
    told.shows_at_node(&format!("budget --folder {WATCHED}"));
    let printed = consortium.at_node(WATCHED, "budget", &["--format", "json"])?;
    let envelope: Value = serde_json::from_str(&printed).map_err(StoryError::unexpected)?;
    let notes = part(&envelope, "/data/datasets/0")?;
    let project = part(notes, "/projects")?.as_array().into_iter().flatten();
    let project = project.filter_map(|one| Some((one.get(0)?.as_str()?, one.get(1)?)));
    for (name, standing) in project {
        told.answered(&format!(
            "{}, {name}: ε {:.3} spent",
            text(notes, "/dataset")?,
            number(standing, "/spent_epsilon")?
        ));
    }
    let retired = number(notes, "/retired_patients")?;
    told.answered(&format!(
        "{retired} patients are not found any more: their budgets are spent"
    ));
    told.figure("retired", retired);
    match retired > 0.0 {
        true => Ok(()),
        false => Err(StoryError::unexpected("no patient's budget was spent")),
    }
}

/// What the journal says of every search.
pub(super) fn reads_the_journal(told: &mut Narrator) -> Result<(), StoryError> {
    let folder = told.path(WATCHED);
    told.says("Her journal names every search, by its digest, and no text and no patient.");
    let shown = told.offline(&[
        "audit",
        "show",
        &folder,
        "--kind",
        "pass-released",
        "--limit",
        "100",
    ])?;
    let entries = part(&shown, "/entries")?.as_array().into_iter().flatten();
    let mut by_kind = std::collections::BTreeMap::new();
    for entry in entries {
        let what = entry
            .pointer("/payload/receipt/what")
            .and_then(Value::as_str)
            .unwrap_or("something else");
        *by_kind.entry(what.to_owned()).or_insert(0_u32) += 1;
    }
    for (what, times) in &by_kind {
        told.answered(&format!("{what}: {times}"));
    }
    let report = told.path("aci-report.html");
    told.offline(&["audit", "report", &folder, "--to", &report])?;
    told.answered("the report is written");
    told.figure("released", serde_json::json!(by_kind));
    Ok(())
}

/// Looks for what was planted in everything that left the hospitals: what Ada was told, and all that the coordinator
/// has.
pub(super) fn looks_for_what_must_not_have_left(
    told: &mut Narrator,
    planted: &[String],
    left: &[Value],
) -> Result<(), StoryError> {
    told.says("We look for everything that was planted in everything that left: all answers, byte for byte, and all files");
    told.says("of the coordinator and of Ada.");
    let mut texts: Vec<Vec<u8>> = left
        .iter()
        .map(|answer| answer.to_string().into_bytes())
        .collect();
    for folder in ["coordinator", "ada"] {
        read_all(&told.root().join(folder), &mut texts)?;
    }
    let bytes: usize = texts.iter().map(Vec::len).sum();
    let snippets = left
        .iter()
        .filter_map(|answer| answer.pointer("/found/hits")?.as_array());
    let snippets = snippets
        .flatten()
        .filter(|hit| text(hit, "/snippet").is_ok_and(|text| !text.is_empty()));
    let snippets = snippets.count();
    let mut found = 0;
    for canary in planted {
        let canary = canary.as_bytes();
        let is_in = |text: &Vec<u8>| text.windows(canary.len()).any(|window| window == canary);
        found += usize::from(texts.iter().any(is_in));
    }
    told.answered(&format!("{snippets} snippets left"));
    told.varies(&format!("{bytes} bytes were looked through"));
    told.answered(&format!("{found} of {} are among them", planted.len()));
    told.figure("snippets", snippets);
    told.figure("planted_found", found);
    match found {
        0 => Ok(()),
        _ => Err(StoryError::unexpected("what was planted has left")),
    }
}

fn read_all(folder: &Path, texts: &mut Vec<Vec<u8>>) -> Result<(), StoryError> {
    let disk = |path: &Path| {
        let what = format!("cannot read `{}`", path.display());
        move |source| StoryError::Disk { what, source }
    };
    for entry in std::fs::read_dir(folder).map_err(disk(folder))? {
        let path = entry.map_err(disk(folder))?.path();
        match path.is_dir() {
            true => read_all(&path, texts)?,
            false => texts.push(std::fs::read(&path).map_err(disk(&path))?),
        }
    }
    Ok(())
}
