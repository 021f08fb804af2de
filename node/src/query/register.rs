//! Which exact answers were given, on disk: a node that is restarted must not forget.
//!
//! One file for each condition, named by its digest and holding the canonical text of the first query that had it,
//! which says nothing of a record. The cohorts are computed anew from the data at the first exact query after a start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use consilium_link::{NotWhole, sync_folder_of, write_whole};
use consilium_privacy::ledger::{Cohort, CohortError};
use consilium_protocol::query::limits::QUERY_BYTES_MAX;
use consilium_protocol::query::{Query, QueryError};
use consilium_protocol::{DatasetName, Digest};

use super::overlap::{Condition, EXACT_COHORTS_MAX, ExactCohorts, Overlap};
use super::rows_where;
use super::tally::patients_of;
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

/// Those about whom exact answers are given: the patients of a data set, or of a text collection. The two share their
/// names, so one register is enough.
pub trait Population {
    /// What is asked about some of them.
    type Question;

    fn name(&self) -> &DatasetName;

    fn version(&self) -> Digest;

    fn patient_count(&self) -> u32;

    /// Reads a question back that was written down by its text.
    ///
    /// # Errors
    /// It is none.
    fn read(&self, text: &[u8]) -> Result<Self::Question, QueryError>;

    fn text<'q>(&self, question: &'q Self::Question) -> &'q str;

    /// What its cohort follows from.
    fn condition(&self, question: &Self::Question) -> Condition;

    /// Whom its filter leaves now; nobody who can be asked about where a column of it is gone.
    fn cohort(&self, question: &Self::Question) -> Option<Cohort>;
}

impl Population for DataSet {
    type Question = Query;

    fn name(&self) -> &DatasetName {
        Self::name(self)
    }

    fn version(&self) -> Digest {
        Self::version(self)
    }

    fn patient_count(&self) -> u32 {
        Self::patient_count(self)
    }

    fn read(&self, text: &[u8]) -> Result<Query, QueryError> {
        Query::parse(text)
    }

    fn text<'q>(&self, question: &'q Query) -> &'q str {
        question.text()
    }

    fn condition(&self, question: &Query) -> Condition {
        Condition::new(question.document().filter.as_ref(), None)
    }

    fn cohort(&self, question: &Query) -> Option<Cohort> {
        let rows = rows_where(self, question.document().filter.as_ref()).ok()?;
        Some(patients_of(self, &rows))
    }
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
    pub fn enter<P: Population>(
        &self,
        population: &P,
        question: &P::Question,
        cohort: &Cohort,
        floor_patients: u32,
    ) -> Result<Result<(), Overlap>, RegisterError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_version = |known: &&mut Known| known.version == population.version();
        let entry = match known.get_mut(population.name()).filter(of_version) {
            Some(known) => known,
            None => {
                let fresh = self.read(population)?;
                known
                    .entry(population.name().clone())
                    .insert_entry(fresh)
                    .into_mut()
            }
        };
        let condition = population.condition(question);
        if let Err(overlap) = entry.cohorts.check(&condition, cohort, floor_patients) {
            return Ok(Err(overlap));
        }
        let folder = self.folder.join(population.name().as_str());
        let file = folder.join(format!("{}.json", condition.digest()));
        if !file.exists() {
            let not_made = |source| RegisterError::NotMade {
                path: folder.clone(),
                source,
            };
            std::fs::create_dir_all(&folder).map_err(not_made)?;
            for folder in [&self.folder, &folder] {
                sync_folder_of(folder).map_err(not_made)?;
            }
            let text = population.text(question).as_bytes();
            write_whole(&file, &folder.join("draft"), text)?;
        }
        entry.cohorts.add(condition, cohort.clone());
        Ok(Ok(()))
    }

    fn read<P: Population>(&self, population: &P) -> Result<Known, RegisterError> {
        let folder = self.folder.join(population.name().as_str());
        let mut cohorts = ExactCohorts::new(Cohort::first(population.patient_count())?);
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
            let question = population
                .read(&text)
                .map_err(|source| RegisterError::NotAQuery {
                    path: path.clone(),
                    source,
                })?;
            if let Some(cohort) = population.cohort(&question) {
                cohorts.add(population.condition(&question), cohort);
            }
        }
        Ok(Known {
            version: population.version(),
            cohorts,
        })
    }
}
