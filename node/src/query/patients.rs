//! The patients of a data set as the ledger numbers them: the same number in every version of the data set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_privacy::ledger::Cohort;
use consilium_protocol::{DatasetName, Digest, Millis};

use crate::data::DataSet;
use crate::gate::{Gate, GateFault};

/// Numbers that were looked up, kept for as long as the data set is the same.
#[derive(Default)]
pub struct PatientNumbers {
    known: Mutex<BTreeMap<DatasetName, Known>>,
}

struct Known {
    version: Digest,
    numbers: Arc<Vec<u32>>,
}

impl PatientNumbers {
    /// For each patient of the data set, by its number there, its number in the ledger.
    ///
    /// # Errors
    /// The gate cannot write down those that it sees for the first time.
    pub fn of(
        &self,
        gate: &Gate,
        dataset: &DataSet,
        now: Millis,
    ) -> Result<Arc<Vec<u32>>, GateFault> {
        let identities = || dataset.patient_identities();
        self.of_identities(gate, dataset.name(), dataset.version(), identities, now)
    }

    /// The same of any collection of patients: what tells each apart, in the order of their numbers in this version.
    ///
    /// # Errors
    /// As [`PatientNumbers::of`].
    pub fn of_identities<I, K>(
        &self,
        gate: &Gate,
        name: &DatasetName,
        version: Digest,
        identities: impl FnOnce() -> I,
        now: Millis,
    ) -> Result<Arc<Vec<u32>>, GateFault>
    where
        I: IntoIterator<Item = K>,
        K: AsRef<[u8]>,
    {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(name)
            && known.version == version
        {
            return Ok(known.numbers.clone());
        }
        let identities: Vec<K> = identities().into_iter().collect();
        let keys = identities.iter().map(AsRef::as_ref);
        let numbers = Arc::new(gate.numbers(name, keys, now)?);
        let fresh = Known {
            version,
            numbers: numbers.clone(),
        };
        known.insert(name.clone(), fresh);
        Ok(numbers)
    }
}

/// Patients of a data set by their numbers in the ledger.
pub(crate) fn in_ledger(cohort: &Cohort, numbers: &[u32]) -> Cohort {
    let found = cohort
        .iter()
        .filter_map(|patient| numbers.get(patient as usize));
    // Every number is one that the ledger gave, and so within its limit.
    Cohort::of(found.copied()).unwrap_or_default()
}

/// The inverse of [`in_ledger`]: those of `cohort` whom the ledger left.
pub(super) fn in_dataset(cohort: &Cohort, left: &Cohort, numbers: &[u32]) -> Cohort {
    let mut patients = cohort.clone();
    patients.retain(|patient| {
        let number = numbers.get(patient as usize);
        number.is_some_and(|number| left.contains(*number))
    });
    patients
}
