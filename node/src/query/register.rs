//! Which exact answers were given, on disk: a node that is restarted must not forget.
//!
//! One file for each filter, named by its digest and holding the canonical text of the first query that had it, which
//! says nothing of a record. The cohorts are computed anew from the data at the first exact query after a start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use consilium_link::{NotWhole, sync_folder_of, write_whole};
use consilium_privacy::ledger::{Cohort, CohortError};
use consilium_protocol::query::limits::QUERY_BYTES_MAX;
use consilium_protocol::query::{Query, QueryError};
use consilium_protocol::{DatasetName, Digest};

use super::overlap::{EXACT_COHORTS_MAX, ExactCohorts, Overlap};
use super::tally::patients_of;
use super::{Misfit, rows_where};
use crate::data::DataSet;

/// The exact answers of a node.
pub struct ExactRegister {
    folder: PathBuf,
    known: Mutex<BTreeMap<DatasetName, Known>>,
}

struct Known {
    version: Digest,
    cohorts: ExactCohorts,
}

/// The register cannot be kept; no exact answer is given.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("`{}` cannot be read: {source}", path.display())]
    NotRead {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` cannot be made: {source}", path.display())]
    NotMade {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` holds no query: {source}; it was written by this node, so look for what changed it", path.display())]
    NotAQuery { path: PathBuf, source: QueryError },
    #[error("`{}` is longer than any query", path.display())]
    TooLong { path: PathBuf },
    #[error(transparent)]
    NotWritten(#[from] NotWhole),
    #[error("the data set has too many patients: {0}")]
    Cohort(#[from] CohortError),
}

impl ExactRegister {
    /// The register in this folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            known: Mutex::default(),
        }
    }

    /// Writes down, durably, that an exact answer is given to this query; or says why none may be. The answer may
    /// follow, or not: what was written counts.
    ///
    /// # Errors
    /// The disk fails, or holds what this node did not write.
    pub fn enter(
        &self,
        dataset: &DataSet,
        query: &Query,
        cohort: &Cohort,
        floor_patients: u32,
    ) -> Result<Result<(), Overlap>, RegisterError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_version = |known: &&mut Known| known.version == dataset.version();
        let entry = match known.get_mut(dataset.name()).filter(of_version) {
            Some(known) => known,
            None => {
                let fresh = self.read(dataset)?;
                known
                    .entry(dataset.name().clone())
                    .insert_entry(fresh)
                    .into_mut()
            }
        };
        let filter = query.document().filter.as_ref();
        if let Err(overlap) = entry.cohorts.check(filter, cohort, floor_patients) {
            return Ok(Err(overlap));
        }
        let folder = self.folder.join(dataset.name().as_str());
        let condition = filter.map(ToString::to_string).unwrap_or_default();
        let file = folder.join(format!("{}.json", Digest::of(condition.as_bytes())));
        if !file.exists() {
            let not_made = |source| RegisterError::NotMade {
                path: folder.clone(),
                source,
            };
            std::fs::create_dir_all(&folder).map_err(not_made)?;
            for folder in [&self.folder, &folder] {
                sync_folder_of(folder).map_err(not_made)?;
            }
            write_whole(&file, &folder.join("draft"), query.text().as_bytes())?;
        }
        entry.cohorts.add(filter, cohort.clone());
        Ok(Ok(()))
    }

    fn read(&self, dataset: &DataSet) -> Result<Known, RegisterError> {
        let folder = self.folder.join(dataset.name().as_str());
        let mut cohorts = ExactCohorts::new(Cohort::first(dataset.patient_count())?);
        let not_read = |path: &Path| {
            let path = path.to_owned();
            |source| RegisterError::NotRead { path, source }
        };
        let files = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            listed => Some(listed.map_err(not_read(&folder))?),
        };
        // More than these were never written; a draft may lie beside them.
        for file in files.into_iter().flatten().take(EXACT_COHORTS_MAX + 1) {
            let path = file.map_err(not_read(&folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = std::fs::metadata(&path).map_err(not_read(&path))?.len();
            if bytes > QUERY_BYTES_MAX as u64 {
                return Err(RegisterError::TooLong { path });
            }
            let text = std::fs::read(&path).map_err(not_read(&path))?;
            let query = Query::parse(&text).map_err(|source| RegisterError::NotAQuery {
                path: path.clone(),
                source,
            })?;
            let filter = query.document().filter.as_ref();
            // A column may be gone since: then the filter is about nobody that can be asked for now.
            let rows: Result<_, Misfit> = rows_where(dataset, filter);
            if let Ok(rows) = rows {
                cohorts.add(filter, patients_of(dataset, &rows));
            }
        }
        Ok(Known {
            version: dataset.version(),
            cohorts,
        })
    }
}
