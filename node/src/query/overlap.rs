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

/// Cohorts of one data set about which exact answers are given, ever: what many answers tell together grows with their
/// number.
pub(super) const EXACT_COHORTS_MAX: usize = 500;

/// The cohorts of one data set about which exact answers were given.
pub struct ExactCohorts {
    /// By the canonical text of their filter; the whole data set, by none, is always there.
    cohorts: Vec<(String, Cohort)>,
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
            cohorts: vec![(String::new(), everybody)],
        }
    }

    /// Whether an exact answer may be given about this cohort.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        filter: Option<&Filter>,
        cohort: &Cohort,
        floor_patients: u32,
    ) -> Result<(), Overlap> {
        let text = text_of(filter);
        if self.cohorts.iter().any(|(known, _)| *known == text) {
            return Ok(());
        }
        if self.cohorts.len() >= EXACT_COHORTS_MAX {
            return Err(Overlap::TooMany);
        }
        // Not below 1: two filters with the same patients are refused whatever the floor.
        let enough = u64::from(floor_patients.max(1));
        let far = |(_, known): &(String, Cohort)| differing(known, cohort) >= enough;
        match self.cohorts.iter().all(far) {
            true => Ok(()),
            false => Err(Overlap::TooClose),
        }
    }

    /// An exact answer is given about this cohort.
    pub fn add(&mut self, filter: Option<&Filter>, cohort: Cohort) {
        let text = text_of(filter);
        if self.cohorts.iter().all(|(known, _)| *known != text) {
            self.cohorts.push((text, cohort));
        }
    }
}

/// Patients that are in one of them only.
fn differing(a: &Cohort, b: &Cohort) -> u64 {
    let only = |a: &Cohort, b: &Cohort| a.iter().filter(|patient| !b.contains(*patient)).count();
    (only(a, b) + only(b, a)) as u64
}

fn text_of(filter: Option<&Filter>) -> String {
    filter.map(Filter::to_string).unwrap_or_default()
}
