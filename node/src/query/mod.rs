//! One query, answered from this site's records.
//!
//! | file | subject |
//! |---|---|
//! | `filter` | which rows a filter holds of |
//! | `tally` | the statistic over the patients that are left, exact, before the gate |
//! | `patients` | their numbers in the ledger |
//! | `overlap` | exact answers that would tell of few patients together |
//! | `register` | which exact answers were given, on disk |
//! | `distinct` | this site's part in a count of distinct patients over several sites |
//! | `answer` | from a signed query to what the gate releases |
//!
//! Everything here but `answer`, `distinct`, `patients` and `register` is pure. What `tally` makes has no `Debug` and
//! leaves only as what `gate::egress_statistics` lets through.

mod answer;
mod distinct;
mod filter;
mod overlap;
mod patients;
mod register;
mod tally;

pub use answer::answer;
pub use distinct::{MaskKeys, masked_sketch, sketch_key};
pub use filter::{Misfit, rows_where};
pub use overlap::{Condition, ExactCohorts, Overlap};
pub use patients::PatientNumbers;
pub(crate) use patients::in_ledger;
pub use register::{ExactRegister, Population, RegisterError};
pub use tally::{Tally, patients_of, tally};

#[cfg(test)]
mod tests;
