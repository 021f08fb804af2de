//! How much one patient can change an answer at most, which is what noise must hide.

use crate::mechanism::MechanismError;

/// Contributions of one patient to one release.
pub const CONTRIBUTIONS_MAX: u32 = 10_000;

/// Steps between the bounds of a mean, or from zero to the farther bound of a sum. Coarse beside any noise, fine
/// beside any measurement.
pub(crate) const GRID: f64 = 1_048_576.0;

/// What one patient changes in a set of counts: at most `groups` of them, each by at most `each`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    pub(crate) groups: u32,
    pub(crate) each: u32,
}

impl Contribution {
    /// A patient counted once.
    pub const ONCE: Self = Self { groups: 1, each: 1 };

    pub fn new(groups: u32, each: u32) -> Result<Self, MechanismError> {
        for bound in [groups, each, groups.saturating_mul(each)] {
            if !(1..=CONTRIBUTIONS_MAX).contains(&bound) {
                return Err(MechanismError::Contributions(bound));
            }
        }
        Ok(Self { groups, each })
    }

    /// A patient who adds to one count up to `times` times.
    pub fn times(times: u32) -> Result<Self, MechanismError> {
        Self::new(1, times)
    }

    /// The L1 distance between counts with and without the patient.
    pub(crate) fn l1(self) -> i64 {
        i64::from(self.groups) * i64::from(self.each)
    }

    /// The L2 distance, rounded up.
    pub(crate) fn l2(self) -> f64 {
        (f64::from(self.groups).sqrt() * f64::from(self.each)).next_up()
    }
}

/// Public bounds, into which every value is clamped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Bounds {
    pub fn new(lower: f64, upper: f64) -> Result<Self, MechanismError> {
        let width = upper - lower;
        if !(width > 0.0 && width.is_finite()) {
            return Err(MechanismError::Bounds { lower, upper });
        }
        Ok(Self { lower, upper })
    }

    /// Whole steps of `step` from `origin` to each clamped value, added up.
    pub(crate) fn steps(
        self,
        values: &[f64],
        origin: f64,
        step: f64,
    ) -> Result<i64, MechanismError> {
        if values.iter().any(|value| value.is_nan()) {
            return Err(MechanismError::NotANumber);
        }
        let steps = values.iter().map(|value| {
            let clamped = value.clamp(self.lower, self.upper);
            // Rounding may go one step past a bound; the clamp keeps to the sensitivity.
            ((clamped - origin) / step).round().clamp(-GRID, GRID) as i64
        });
        Ok(steps.fold(0, i64::saturating_add))
    }
}
