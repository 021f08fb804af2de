//! Exact answers that would tell of few patients together: the tracker.
//!
//! Two exact counts over cohorts that differ by one patient tell of that patient, however large both are (Denning,
//! Denning and Schwartz 1979, "The tracker"). So an exact answer is given over a cohort only if it differs from each
//! one that was answered about before, and from the whole data set, by none or by as many patients as the floor
//! wants. A cohort that differs by *no* patient is refused as one that differs by few, if its filter is another:
//! else the refusal itself would tell whether anybody lies between them.
//!
//! This stops differences of two. Trackers of three and more answers are blurred by rounding and bounded by
//! [`EXACT_COHORTS_MAX`], and not excluded: whoever needs a promise permits noisy answers only.

use consilium_privacy::ledger::Cohort;
use consilium_protocol::query::Filter;
use consilium_protocol::{Digest, Purpose};

/// Cohorts of one data set about which exact answers are given, ever: what many answers tell together grows with their
/// number.
pub(super) const EXACT_COHORTS_MAX: usize = 500;

/// The cohorts of one data set about which exact answers were given.
pub struct ExactCohorts {
    /// The whole data set, by no filter, is always there.
    cohorts: Vec<(Condition, Cohort)>,
}

/// What a cohort follows from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The canonical text of the filter; empty for none.
    pub filter: String,
    /// The purpose, where patients agreed to some of them.
    pub purpose: Option<String>,
}

impl Condition {
    #[must_use]
    pub fn new(filter: Option<&Filter>, purpose: Option<&Purpose>) -> Self {
        Self {
            filter: filter.map(Filter::to_string).unwrap_or_default(),
            purpose: purpose.map(|purpose| purpose.as_str().to_owned()),
        }
    }

    /// Another for each other condition.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match &self.purpose {
            None => Digest::of(self.filter.as_bytes()),
            Some(purpose) => Digest::of(format!("{purpose}\n{}", self.filter).as_bytes()),
        }
    }
}

/// Why no exact answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The cohort differs from one before by fewer patients than the floor wants, perhaps by none.
    TooClose,
    /// Exact answers were given about as many cohorts as there may be.
    TooMany,
}

impl ExactCohorts {
    /// No answer yet; `everybody` are the data set's patients.
    #[must_use]
    pub fn new(everybody: Cohort) -> Self {
        Self {
            cohorts: vec![(Condition::default(), everybody)],
        }
    }

    /// Whether an exact answer may be given about this cohort. It is not compared with what the same filter left for
    /// another purpose: that difference is the patients' own choice and not the asker's.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        condition: &Condition,
        cohort: &Cohort,
        floor_patients: u32,
    ) -> Result<(), Overlap> {
        if self.cohorts.iter().any(|(known, _)| known == condition) {
            return Ok(());
        }
        if self.cohorts.len() >= EXACT_COHORTS_MAX {
            return Err(Overlap::TooMany);
        }
        // Not below 1: two filters with the same patients are refused whatever the floor.
        let enough = u64::from(floor_patients.max(1));
        let of_others = self.cohorts.iter();
        let mut of_others = of_others.filter(|(known, _)| known.filter != condition.filter);
        match of_others.all(|(_, known)| differing(known, cohort) >= enough) {
            true => Ok(()),
            false => Err(Overlap::TooClose),
        }
    }

    /// An exact answer is given about this cohort.
    pub fn add(&mut self, condition: Condition, cohort: Cohort) {
        if self.cohorts.iter().all(|(known, _)| *known != condition) {
            self.cohorts.push((condition, cohort));
        }
    }
}

/// Patients that are in one of them only.
fn differing(a: &Cohort, b: &Cohort) -> u64 {
    let only = |a: &Cohort, b: &Cohort| a.iter().filter(|patient| !b.contains(*patient)).count();
    (only(a, b) + only(b, a)) as u64
}
