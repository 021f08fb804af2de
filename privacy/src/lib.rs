//! The mathematics of privacy: what a release costs, and noise that keeps to it.
//!
//! The unit is one patient, added or removed, inside one site. What a release costs a patient is a [`Cost`]; costs add
//! up in an [`Account`], which a [`Budget`] bounds. The crate is pure but for the noise itself, which OpenDP
//! draws from the operating system's generator inside each function of [`mechanism`].
//!
//! - [`cost`]: Rényi curves in fixed point, and the cost of one release.
//! - [`budget`]: budgets, and the filter that tells whether one more release still fits.
//! - [`ledger`]: what was spent on a data set, by whom and on whom.
//! - [`accountant`]: Rényi divergence of the Poisson-subsampled Gaussian, and conversion to (ε, δ).
//! - [`mechanism`]: counts, histograms, best candidates, quantiles, sums, means and vectors with noise.
//! - `occupancy`: how strongly the cells of a sketch are hidden in coins.
//! - [`clip`]: bounding what one patient adds to a vector sum, in whole steps.
//! - [`floor`]: cohort floors, rounding, and hiding what would give a small cell away.

pub mod accountant;
pub mod budget;
pub mod clip;
mod contribution;
pub mod cost;
mod fixed_point;
pub mod floor;
pub mod ledger;
pub mod mechanism;
mod occupancy;

pub use budget::{Account, Budget, BudgetError};
pub use cost::{Cost, CostError, Curve, INFINITE_ORDER, ORDERS};
