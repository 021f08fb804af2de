//! Runs of the consortium: submitted by the researcher, read back from their history.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use consilium_coordinator::event::{Admission, Event};
use consilium_protocol::message::Metrics;
use serde_json::Value;

use super::hospitals::HOSPITALS;
use super::recipe::{Choice, run_file};
use crate::house::{HouseError, Member, Typed, write};
use crate::story::StoryError;
use crate::story::told::Work;

/// Runs that are under way at once: as many as the coordinator trains at once by default.
const AT_ONCE: usize = 8;

/// One run to be made.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// A name that no other run has; its file is called so.
    pub(super) name: String,
    pub(super) choice: Choice,
    pub(super) seed: u64,
    /// A fold of the training rows to hold out, instead of the test rows.
    pub(super) fold: Option<u32>,
}

/// A finished run, as its history tells it.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    pub(super) run_id: String,
    /// Training loss by round: the mean over the records of the sites that let theirs out.
    pub(super) losses: Vec<f64>,
    /// What each site measured on its held-out rows, in the hospitals' order.
    pub(super) held_out: Vec<Metrics>,
    /// What each site said when it admitted the run.
    pub(super) admissions: BTreeMap<String, Admission>,
}

/// The researcher, with a folder for run files and models.
pub(super) struct Desk {
    pub(super) researcher: Member,
    pub(super) folder: PathBuf,
}

impl Desk {
    /// Makes one run, and reads what came of it.
    ///
    /// # Errors
    /// A run that was refused or failed, with the reason.
    pub(super) fn make(&self, wanted: &Wanted, typed: Typed) -> Result<Ran, StoryError> {
        let path = self
            .folder
            .join("runs")
            .join(format!("{}.toml", wanted.name));
        write(
            &path,
            &run_file(&wanted.name, &wanted.choice, wanted.seed, wanted.fold)?,
        )?;
        let submitted = self.researcher.types(
            &["run", "submit", &path.to_string_lossy(), "--stream"],
            typed,
        )?;
        let run_id = text_of(&submitted, "run_id")?;
        let log = self
            .researcher
            .types(&["run", "log", &run_id], Typed::Quietly)?;
        ran(run_id, &log)
    }

    /// Makes many, several at a time; the answers come in the order of the wishes.
    ///
    /// # Errors
    /// The first that failed.
    pub(super) fn make_all(
        &self,
        what: &'static str,
        wanted: &[Wanted],
    ) -> Result<Vec<Ran>, StoryError> {
        let queue = Mutex::new(wanted.iter().enumerate());
        let made = Mutex::new((Work::of(what, wanted.len()), BTreeMap::new()));
        let work = || -> Result<(), StoryError> {
            loop {
                let next = queue.lock().map_err(StoryError::unexpected)?.next();
                let Some((at, wish)) = next else {
                    return Ok(());
                };
                let ran = self.make(wish, Typed::Quietly)?;
                let mut made = made.lock().map_err(StoryError::unexpected)?;
                made.0.advance();
                made.1.insert(at, ran);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let done = |worker: std::thread::ScopedJoinHandle<'_, Result<(), StoryError>>| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(StoryError::unexpected("a run's thread broke off")))
            };
            workers
                .into_iter()
                .map(done)
                .collect::<Result<Vec<()>, _>>()
        })?;
        let (_, runs) = made.into_inner().map_err(StoryError::unexpected)?;
        Ok(runs.into_values().collect())
    }

    /// Fetches the model of a run; gives the file's path.
    ///
    /// # Errors
    /// If it cannot be fetched.
    pub(super) fn download(&self, run_id: &str, name: &str) -> Result<PathBuf, StoryError> {
        let to: &Path = &self.folder.join("models").join(name);
        let words = ["run", "download", run_id, "--to", &to.to_string_lossy()];
        let downloaded = self.researcher.types(&words, Typed::Quietly)?;
        Ok(text_of(&downloaded, "model")?.into())
    }
}

fn text_of(answer: &Value, field: &'static str) -> Result<String, StoryError> {
    let text = answer.get(field).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| {
        HouseError::Answer {
            typed: "run".to_owned(),
            field,
        }
        .into()
    })
}

/// Reads a run's history.
fn ran(run_id: String, log: &Value) -> Result<Ran, StoryError> {
    let events = log
        .get("events")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut ran = Ran {
        run_id,
        losses: vec![],
        held_out: vec![],
        admissions: BTreeMap::new(),
    };
    for event in events {
        let event = event.get("event").cloned().unwrap_or_default();
        // Other kinds are told without what only the coordinator needs to know.
        let kind = event
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !["site-admitted", "round-closed", "run-evaluated"].contains(&kind) {
            continue;
        }
        match serde_json::from_value(event).map_err(StoryError::unexpected)? {
            Event::SiteAdmitted {
                site, admission, ..
            } => {
                ran.admissions.insert(site.to_string(), admission);
            }
            Event::RoundClosed { sites, .. } => {
                let losses = sites
                    .values()
                    .filter_map(|site| Some((site.training_loss?, site.records as f64)));
                let (sum, records) = losses.fold((0.0, 0.0), |(sum, all), (loss, n)| {
                    (sum + loss * n, all + n)
                });
                ran.losses.push(sum / f64::max(records, 1.0));
            }
            Event::RunEvaluated { sites, missing, .. } => {
                if let Some((site, cause)) = missing.first_key_value() {
                    return Err(StoryError::unexpected(format!(
                        "{site} did not evaluate the model: {cause}"
                    )));
                }
                let by_name: BTreeMap<&str, Metrics> = sites
                    .iter()
                    .map(|(site, metrics)| (site.as_str(), *metrics))
                    .collect();
                ran.held_out = HOSPITALS
                    .iter()
                    .filter_map(|it| by_name.get(it.site).copied())
                    .collect();
            }
            _ => {}
        }
    }
    match ran.held_out.len() == HOSPITALS.len() {
        true => Ok(ran),
        false => Err(StoryError::unexpected(format!(
            "run `{}` was not evaluated everywhere",
            ran.run_id
        ))),
    }
}
