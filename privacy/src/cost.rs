//! What a release costs one patient at most, in fixed point and rounded up.

use std::ops::AddAssign;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::accountant;
use crate::fixed_point::{ATTO, PICO, nats_up, nearest_up, pico_up};

/// The order at infinity: pure differential privacy, where a Gaussian costs infinitely much and the conversion is free.
pub const INFINITE_ORDER: u32 = u32::MAX;

/// The Rényi orders of every curve. They are written in ledgers and never change: a curve means nothing without them.
/// Dense where training at hospital scale ends up (3 to 40), wide for tiny costs, infinite for pure ones.
pub const ORDERS: [u32; 60] = [
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    29,
    30,
    31,
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
    45,
    46,
    47,
    48,
    56,
    64,
    80,
    96,
    112,
    128,
    160,
    192,
    256,
    320,
    512,
    1024,
    INFINITE_ORDER,
];

/// Steps of one priced release: more is a mistake.
pub const STEPS_MAX: u64 = 10_000_000;

/// Rényi divergence at [`ORDERS`] in pico-nats (1e-12), each rounded up. `u64::MAX` is infinite, and never fits a
/// budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Curve([u64; ORDERS.len()]);

impl Curve {
    pub const ZERO: Self = Self([0; ORDERS.len()]);

    /// The curve of `divergence`, in nats at each finite order, raised by more than its rounding can have taken from
    /// it.
    fn at_orders(divergence: impl Fn(u32) -> f64, at_infinity: u64) -> Self {
        Self(ORDERS.map(|order| match order {
            INFINITE_ORDER => at_infinity,
            order => pico_up(divergence(order) * (1.0 + 1e-11) + 1e-14),
        }))
    }

    /// Each order with its divergence in pico-nats.
    pub fn points(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        ORDERS.into_iter().zip(self.0)
    }
}

impl Default for Curve {
    fn default() -> Self {
        Self::ZERO
    }
}

impl AddAssign<&Self> for Curve {
    fn add_assign(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

impl Serialize for Curve {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

impl<'de> Deserialize<'de> for Curve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = Vec::<u64>::deserialize(deserializer)?;
        let wrong = |points: Vec<u64>| {
            serde::de::Error::custom(format!(
                "a curve has {} points, not {}",
                ORDERS.len(),
                points.len()
            ))
        };
        points.try_into().map(Self).map_err(wrong)
    }
}

/// What one release costs one patient at most. Every figure is rounded up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Cost {
    /// Nothing computed from records leaves, or what leaves is not under a budget.
    #[default]
    None,
    /// ε-differential privacy, in pico-nats.
    Pure { epsilon_pico: u64 },
    /// (ε, δ) of a thresholded histogram: pure but for the event, of probability δ, that a rare key shows; δ in 1e-18.
    Approximate { epsilon_pico: u64, delta_atto: u64 },
    /// ρ-zero-concentrated differential privacy, in pico-nats.
    Zcdp { rho_pico: u64 },
    /// Any Rényi curve: training.
    Renyi { curve: Box<Curve> },
    /// A patient's own record is pointed at or quoted. No differential privacy holds for whoever is shown, so this is
    /// bookkeeping and no promise: each costs [`DISCLOSURE_EPSILON`] of the patient's own budget at every order, so
    /// that disclosures never compose better than one by one, and costs nobody else anything.
    Disclosure,
}

/// Parameters that describe no release.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CostError {
    #[error("an ε of `{0}` is no cost; give a number above 0 and at most {EPSILON_MAX}")]
    Epsilon(f64),
    #[error("a ρ of `{0}` is no cost; give a number above 0 and at most {EPSILON_MAX}")]
    Rho(f64),
    #[error("a δ of `{0}` is no probability of failure; give a number between 0 and 1")]
    Delta(f64),
    #[error("a sampling rate of `{0}` is none; give a number above 0 and at most 1")]
    Rate(f64),
    #[error("a noise multiplier of `{0}` is none; give a number from {SIGMA_MIN} to {SIGMA_MAX}")]
    Sigma(f64),
    #[error("`{0}` steps are too many or none; give 1 to {STEPS_MAX}")]
    Steps(u64),
    #[error("no noise multiplier up to {SIGMA_MAX} keeps an ε of `{epsilon}` over `{steps}` steps")]
    Unreachable { epsilon: f64, steps: u64 },
}

/// What one disclosure of a record takes of its patient's budget: a budget of ε = 4 has room for twenty.
pub const DISCLOSURE_EPSILON: f64 = 0.2;

/// Above it no promise is left, and the fixed point still holds 18,000 such costs.
pub const EPSILON_MAX: f64 = 1_000.0;
/// Below it the noise hides nothing and the curve only measures overflow.
pub const SIGMA_MIN: f64 = 0.01;
/// A noise multiplier no training survives.
pub const SIGMA_MAX: f64 = 1e6;

impl Cost {
    /// ε-differential privacy.
    pub fn pure(epsilon: f64) -> Result<Self, CostError> {
        if !(epsilon > 0.0 && epsilon <= EPSILON_MAX) {
            return Err(CostError::Epsilon(epsilon));
        }
        Ok(Self::Pure {
            epsilon_pico: nearest_up(epsilon, PICO),
        })
    }

    /// (ε, δ)-differential privacy of a release that is ε-private but for an event of probability δ.
    pub fn approximate(epsilon: f64, delta: f64) -> Result<Self, CostError> {
        if !(epsilon > 0.0 && epsilon <= EPSILON_MAX) {
            return Err(CostError::Epsilon(epsilon));
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(CostError::Delta(delta));
        }
        Ok(Self::Approximate {
            epsilon_pico: nearest_up(epsilon, PICO),
            delta_atto: nearest_up(delta, ATTO),
        })
    }

    /// ρ-zero-concentrated differential privacy (Bun and Steinke 2016, Definition 1.1).
    pub fn zcdp(rho: f64) -> Result<Self, CostError> {
        if !(rho > 0.0 && rho <= EPSILON_MAX) {
            return Err(CostError::Rho(rho));
        }
        Ok(Self::Zcdp {
            rho_pico: nearest_up(rho, PICO),
        })
    }

    /// `steps` sums of Poisson-sampled, clipped contributions: each patient is in a step with probability `q`, and
    /// the noise's standard deviation is `sigma` times the clip.
    pub fn subsampled_gaussian(q: f64, sigma: f64, steps: u64) -> Result<Self, CostError> {
        accountant::check_subsampled(q, sigma, steps)?;
        let divergence = |order| {
            // Multiplied before the one rounding up: ten thousand steps must not cost ten thousand roundings.
            accountant::rdp_subsampled_gaussian(q, sigma, order) * steps as f64
        };
        let curve = Box::new(Curve::at_orders(divergence, u64::MAX));
        Ok(Self::Renyi { curve })
    }

    /// The Rényi divergence of this cost; what happens with probability [`Cost::delta_atto`] is not in it.
    pub fn curve(&self) -> Curve {
        match self {
            Self::None => Curve::ZERO,
            Self::Pure { epsilon_pico } | Self::Approximate { epsilon_pico, .. } => {
                let epsilon = nats_up(*epsilon_pico);
                let divergence = |order| accountant::rdp_pure(epsilon, order);
                Curve::at_orders(divergence, *epsilon_pico)
            }
            Self::Zcdp { rho_pico: 0 } => Curve::ZERO,
            // The divergence is ρα (Bun and Steinke 2016, Definition 1.1); `u32::MAX` stands for infinity.
            Self::Zcdp { rho_pico } => Curve(ORDERS.map(|order| match order {
                INFINITE_ORDER => u64::MAX,
                order => rho_pico.saturating_mul(u64::from(order)),
            })),
            Self::Renyi { curve } => **curve,
            Self::Disclosure => Curve([nearest_up(DISCLOSURE_EPSILON, PICO); ORDERS.len()]),
        }
    }

    /// The probability, in 1e-18, that the curve does not hold.
    pub fn delta_atto(&self) -> u64 {
        match self {
            Self::Approximate { delta_atto, .. } => *delta_atto,
            Self::None
            | Self::Pure { .. }
            | Self::Zcdp { .. }
            | Self::Renyi { .. }
            | Self::Disclosure => 0,
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it costs only the patients that it names: nothing is learned of the others, so neither the data set's
    /// nor a project's budget is touched.
    pub fn is_of_its_patients_alone(&self) -> bool {
        matches!(self, Self::Disclosure)
    }
}
