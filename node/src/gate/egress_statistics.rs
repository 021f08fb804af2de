//! What leaves as the answer to a query: counts and sums, with noise, or exact above the floor.
//!
//! With noise, every cell is told, the empty ones too: what is left out would tell. The cost is known before a
//! record is read ([`price`]), and noise is drawn once: the gate keeps the answer and gives the same one to the same
//! question.
//!
//! Exact, every cell that leaves has at least the floor's patients behind it; others are hidden, and more with them
//! so that no total tells them; what is told is rounded. An exact quantile has its candidates drawn together until
//! enough patients lie in each interval.

use consilium_policies::entry::Receipt;
use consilium_policies::{Action, Permit, Release, Terms};
use consilium_privacy::Cost;
use consilium_privacy::floor::{Floor, round_to};
use consilium_privacy::mechanism::{
    Bounds, Contribution, MechanismError, noisy_count, noisy_count_cost, noisy_counts,
    noisy_histogram, noisy_histogram_cost, noisy_sum, noisy_sum_cost,
};
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::message::{ANSWER_CELLS_MAX, Noise, Response, SiteAnswer};
use consilium_protocol::query::{Accuracy, Cells, Statistic};
use consilium_protocol::{Digest, Refusal, RefusalCode, wire};

use super::Egress;
use super::egress::{NotKept, keep_response, kept_response, sealed::Sealed};
use crate::query::Tally;

/// Probability that a histogram of unknown keys shows one that a single patient has. Far below one over the patients of
/// any hospital.
pub const UNKNOWN_KEYS_DELTA: f64 = 1e-9;

/// Exact means are told to this share of the range between their bounds.
const MEAN_STEPS: f64 = 1000.0;

/// A statistic over patients, exact as it was computed. No `Debug`: it has not complied yet.
pub struct StatisticsAnswer {
    pub tally: Tally,
    pub statistic: Statistic,
    pub accuracy: Accuracy,
    /// Patients that the filter left.
    pub cohort_patients: u64,
}

/// A price that cannot be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PriceError {
    #[error("a histogram of unknown keys has Laplace noise; give an epsilon")]
    UnknownKeysNeedEpsilon,
    #[error("a count of distinct patients has coins for noise; give an epsilon")]
    SketchNeedsEpsilon,
    #[error(transparent)]
    Mechanism(#[from] MechanismError),
    #[error(transparent)]
    Cost(#[from] consilium_privacy::CostError),
}

/// What an answer costs each patient at most, known before any record is read.
///
/// # Errors
/// There is no such answer.
pub fn price(statistic: &Statistic, accuracy: Accuracy) -> Result<Cost, PriceError> {
    let Some(price) = asked_price(statistic, accuracy)? else {
        return Ok(Cost::None);
    };
    Ok(match statistic {
        Statistic::Histogram {
            cells: Cells::Unknown,
            ..
        } => noisy_histogram_cost(Contribution::ONCE, &price)?,
        Statistic::Mean { .. } => {
            let (for_count, for_sum) = halves(&price);
            both(
                &noisy_count_cost(Contribution::ONCE, &for_count)?,
                &noisy_sum_cost(1, &for_sum)?,
            )
        }
        _ => noisy_count_cost(Contribution::ONCE, &price)?,
    })
}

/// The price that the query names; `None` where it wants no noise.
fn asked_price(statistic: &Statistic, accuracy: Accuracy) -> Result<Option<Cost>, PriceError> {
    let is_unknown = matches!(
        statistic,
        Statistic::Histogram {
            cells: Cells::Unknown,
            ..
        }
    );
    Ok(match accuracy {
        Accuracy::Exact => None,
        Accuracy::Epsilon(epsilon) if is_unknown => {
            Some(Cost::approximate(epsilon, UNKNOWN_KEYS_DELTA)?)
        }
        Accuracy::Epsilon(epsilon) => Some(Cost::pure(epsilon)?),
        Accuracy::Rho(_) if is_unknown => return Err(PriceError::UnknownKeysNeedEpsilon),
        Accuracy::Rho(rho) => Some(Cost::zcdp(rho)?),
    })
}

impl Sealed for StatisticsAnswer {}

impl Egress for StatisticsAnswer {
    type Wire = SiteAnswer;

    fn comply(self, permit: &Permit) -> Result<SiteAnswer, Refusal> {
        let Action::Statistic { noisy, .. } = permit.action() else {
            return Err(not_what_was_permitted());
        };
        let wanted = match noisy {
            true => Release::NoisyStatistics,
            false => Release::ExactStatistics,
        };
        if noisy != self.accuracy.is_noisy() || !permit.releases(wanted) {
            return Err(not_what_was_permitted());
        }
        let asked = asked_price(&self.statistic, self.accuracy)
            .map_err(|error| no_noise(&error.to_string()))?;
        let told = match asked {
            Some(price) => self
                .with_noise(&price)
                .map_err(|error| no_noise(&error.to_string()))?,
            None => self.above_the_floor(permit.terms())?,
        };
        Ok(SiteAnswer {
            bundle: permit.bundle(),
            ..told
        })
    }

    fn receipt(answer: &SiteAnswer) -> Result<Receipt, FrameError> {
        let frame = frame::encode(&wire::Response::from(Response::SiteAnswer(answer.clone())))?;
        Ok(Receipt {
            what: "statistic".to_owned(),
            frame: Digest::of(&frame),
            tensors: None,
            // How many patients it is about is the answer itself.
            records: 0,
            metrics_withheld: false,
        })
    }

    fn keep(answer: &SiteAnswer) -> Result<Vec<u8>, FrameError> {
        keep_response(Response::SiteAnswer(answer.clone()))
    }

    fn kept(bytes: &[u8]) -> Result<SiteAnswer, NotKept> {
        match kept_response(bytes)? {
            Response::SiteAnswer(answer) => Ok(answer),
            _ => Err(NotKept::OtherKind),
        }
    }
}

impl StatisticsAnswer {
    pub(super) fn with_noise(self, price: &Cost) -> Result<SiteAnswer, MechanismError> {
        let patient = Contribution::ONCE;
        match self.tally {
            Tally::Counts(counts) => {
                let (noisy, _) = noisy_counts(&counts, patient, price)?;
                let cells = noisy.into_iter().map(|count| (count as f64, 1.0));
                Ok(noisy_answer(Vec::new(), cells.collect(), price))
            }
            Tally::Named(counts) => {
                let (noisy, _) = noisy_histogram(&counts, patient, price)?;
                let mut shown: Vec<(String, i64)> = noisy.into_iter().collect();
                // Of more than fit in an answer, the largest: this looks at noisy counts alone.
                shown.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                shown.truncate(ANSWER_CELLS_MAX);
                let (keys, counts): (Vec<_>, Vec<_>) = shown.into_iter().unzip();
                let cells = counts.into_iter().map(|count| (count as f64, 1.0));
                Ok(noisy_answer(keys, cells.collect(), price))
            }
            Tally::Distances(distances) => {
                let half_range = half_range(&self.statistic);
                let (for_count, for_sum) = halves(price);
                let (count, _) = noisy_count(distances.len() as u64, patient, &for_count)?;
                let bounds = Bounds::new(-half_range, half_range)?;
                let (sum, _) = noisy_sum(&distances, bounds, 1, &for_sum)?;
                let cells = vec![(count as f64, 1.0), (sum, half_range)];
                Ok(noisy_answer(Vec::new(), cells, &for_count))
            }
        }
    }

    /// The policy's, and no finer than the floor where few patients have no value: else what a count of all and a
    /// count of those with a value differ by would tell how few. Lists hide cells for them instead.
    fn rounding(&self, terms: &Terms) -> u32 {
        let with_value = match (&self.tally, &self.statistic) {
            (Tally::Distances(distances), _) => distances.len() as u64,
            (Tally::Counts(counts), Statistic::Quantile { .. }) => counts.iter().sum(),
            _ => self.cohort_patients,
        };
        let without = self.cohort_patients.saturating_sub(with_value);
        match (1..u64::from(terms.floor_patients)).contains(&without) {
            true => terms.rounding.max(terms.floor_patients),
            false => terms.rounding,
        }
    }

    fn above_the_floor(self, terms: &Terms) -> Result<SiteAnswer, Refusal> {
        let floor = Floor::new(terms.floor_patients.max(1))
            .map_err(|error| no_noise(&error.to_string()))?;
        if !floor.admits(self.cohort_patients) {
            return Err(too_few(terms.floor_patients));
        }
        let rounding = self.rounding(terms);
        let told = |count: u64| round_to(count, rounding) as f64;
        let (keys, values) = match self.tally {
            Tally::Counts(counts) => {
                let values = match &self.statistic {
                    Statistic::Quantile { .. } => grouped(&counts, floor, told),
                    _ => listed(&counts, self.cohort_patients, floor, told)?,
                };
                (Vec::new(), values)
            }
            Tally::Named(counts) => {
                let (keys, counts): (Vec<String>, Vec<u64>) = counts.into_iter().unzip();
                let values = listed(&counts, self.cohort_patients, floor, told)?;
                let shown = keys
                    .into_iter()
                    .zip(values)
                    .filter(|(_, value)| value.is_some());
                shown.take(ANSWER_CELLS_MAX).unzip()
            }
            Tally::Distances(distances) => {
                let patients = distances.len() as u64;
                if !floor.admits(patients) {
                    return Err(too_few(terms.floor_patients));
                }
                let step = 2.0 * half_range(&self.statistic) / MEAN_STEPS;
                let mean = distances.iter().sum::<f64>() / patients as f64;
                let (count, mean) = (told(patients), (mean / step).round() * step);
                (Vec::new(), vec![Some(count), Some(count * mean)])
            }
        };
        Ok(SiteAnswer {
            keys,
            scales: vec![0.0; values.len()],
            values,
            noise: Noise::None,
            rounding,
            bundle: Digest([0; 32]),
        })
    }
}

/// Counts that are large enough and give no small one away; what lies in none of the cells counts as one more.
fn listed(
    counts: &[u64],
    cohort_patients: u64,
    floor: Floor,
    told: impl Fn(u64) -> f64,
) -> Result<Vec<Option<f64>>, Refusal> {
    let mut cells = counts.to_vec();
    let beside = cohort_patients.saturating_sub(counts.iter().sum());
    if beside > 0 {
        cells.push(beside);
    }
    let shown = floor
        .list(&cells)
        .map_err(|error| no_noise(&error.to_string()))?;
    let cells = shown.cells.into_iter().take(counts.len());
    Ok(cells.map(|cell| cell.map(&told)).collect())
}

/// Neighbouring counts drawn together until each group is large enough, told at the group's last; the last group takes
/// what is left over.
fn grouped(counts: &[u64], floor: Floor, told: impl Fn(u64) -> f64) -> Vec<Option<f64>> {
    let mut groups: Vec<(usize, u64)> = Vec::new();
    let mut open = 0;
    for (at, count) in counts.iter().enumerate() {
        open += count;
        if floor.admits(open) {
            groups.push((at, open));
            open = 0;
        }
    }
    if let Some((at, count)) = groups.last_mut()
        && open > 0
    {
        *at = counts.len().saturating_sub(1);
        *count += open;
    }
    let mut values = vec![Some(0.0); counts.len()];
    if groups.is_empty() {
        values.fill(None);
    }
    for (at, count) in groups {
        if let Some(value) = values.get_mut(at) {
            *value = Some(told(count));
        }
    }
    values
}

/// Values with what one patient changes in each at most.
fn noisy_answer(keys: Vec<String>, cells: Vec<(f64, f64)>, price: &Cost) -> SiteAnswer {
    let (noise, scale) = scale_of(price);
    SiteAnswer {
        keys,
        values: cells.iter().map(|(value, _)| Some(*value)).collect(),
        scales: cells.iter().map(|(_, change)| change * scale).collect(),
        noise,
        rounding: 0,
        bundle: Digest([0; 32]),
    }
}

/// The scale of the noise that hides a change of 1 at this price: b of the Laplace, σ of the Gaussian.
fn scale_of(price: &Cost) -> (Noise, f64) {
    const PICO: f64 = 1e12;
    match *price {
        Cost::Pure { epsilon_pico } | Cost::Approximate { epsilon_pico, .. } => {
            (Noise::Laplace, PICO / epsilon_pico.max(1) as f64)
        }
        Cost::Zcdp { rho_pico } => (
            Noise::Gaussian,
            (PICO / (2.0 * rho_pico.max(1) as f64)).sqrt(),
        ),
        Cost::None | Cost::Renyi { .. } | Cost::Disclosure => (Noise::None, 0.0),
    }
}

/// Half of a price for each of two releases.
fn halves(price: &Cost) -> (Cost, Cost) {
    let half = match *price {
        Cost::Pure { epsilon_pico } => Cost::Pure {
            epsilon_pico: epsilon_pico / 2,
        },
        Cost::Zcdp { rho_pico } => Cost::Zcdp {
            rho_pico: rho_pico / 2,
        },
        ref other => other.clone(),
    };
    (half.clone(), half)
}

fn both(first: &Cost, second: &Cost) -> Cost {
    match (first, second) {
        (Cost::Pure { epsilon_pico: a }, Cost::Pure { epsilon_pico: b }) => Cost::Pure {
            epsilon_pico: a.saturating_add(*b),
        },
        (Cost::Zcdp { rho_pico: a }, Cost::Zcdp { rho_pico: b }) => Cost::Zcdp {
            rho_pico: a.saturating_add(*b),
        },
        // Nothing else is priced by halves; what cannot be added never fits a budget.
        _ => Cost::Pure {
            epsilon_pico: u64::MAX,
        },
    }
}

fn half_range(statistic: &Statistic) -> f64 {
    match statistic {
        Statistic::Mean { low, high, .. } => (high - low) / 2.0,
        _ => 0.0,
    }
}

fn not_what_was_permitted() -> Refusal {
    Refusal::new(
        RefusalCode::NotPermitted,
        "the answer to a query does not leave under this permit",
        "this is a fault of the node's software; tell its operator",
    )
}

fn no_noise(problem: &str) -> Refusal {
    Refusal::new(
        RefusalCode::InvalidQuery,
        format!("no answer can be made: {problem}"),
        "ask with another epsilon, or for other cells",
    )
}

/// In the words of `decide`, so that nobody can tell which of the two has looked.
fn too_few(floor: u32) -> Refusal {
    Refusal::new(
        RefusalCode::TooFewPatients,
        format!(
            "fewer than {floor} patients stand behind the answer, and the site answers from {floor} on"
        ),
        "ask about more patients, or leave this site out of the participants",
    )
}

#[cfg(test)]
mod tests;
