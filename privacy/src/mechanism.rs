//! Noise that keeps to a price. The only file that names OpenDP.
//!
//! Every release has a companion that prices it without data. There is no setting for the scale of the noise: it
//! follows from what one patient can change at most and from the price. `price` is a [`Cost::Pure`] (Laplace noise,
//! exponential selection) or a [`Cost::Zcdp`] (Gaussian noise, Gumbel selection); the cost that comes back is
//! OpenDP's own privacy map for the scale that was used, rounded up, and is never above the price.
//!
//! Noise is drawn from whole numbers, exactly, with bytes of OpenSSL's private generator. How long a draw takes
//! depends on what is drawn: whoever answers strangers answers at fixed times.
//!
//! OpenDP's measurements can't cross threads, so each is built, used and dropped inside one call.

use std::collections::{BTreeMap, HashMap};

use opendp::core::{Domain, Function, Measurement, Metric, MetricSpace};
use opendp::domains::{AtomDomain, MapDomain, VectorDomain};
use opendp::error::{Error as OpenDpError, Fallible};
use opendp::measurements::{
    make_gaussian, make_laplace, make_laplace_threshold, make_noisy_top_k, make_private_quantile,
    make_randomized_response_bool,
};
use opendp::measures::{Approximate, MaxDivergence, ZeroConcentratedDivergence};
use opendp::metrics::{
    AbsoluteDistance, L1Distance, L01InfDistance, L2Distance, LInfDistance, SymmetricDistance,
};

pub use crate::contribution::{Bounds, CONTRIBUTIONS_MAX, Contribution};

use crate::contribution::GRID;
use crate::cost::Cost;
use crate::fixed_point::{ATTO, PICO, pico_up, units_up};
use crate::occupancy::{flip_for, halved};

/// Candidates of one selection.
pub const CANDIDATES_MAX: usize = 100_000;
/// Keys that one histogram may show.
pub const KEYS_MAX: usize = 1_000_000;
/// The least price of noise, in pico-nats: below a millionth the noise would leave the range of whole numbers.
const PRICE_MIN_PICO: u64 = 1_000_000;
/// A standard deviation in whole steps: six of them stay far inside an i64.
const SCALE_MAX: f64 = 1e15;
/// A threshold no hospital's count passes.
const THRESHOLD_MAX: i64 = 1 << 50;

/// Parameters that no mechanism can keep, or a fault of the generator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MechanismError {
    #[error(
        "noise has a price of at least a millionth, in ε or in ρ (a histogram of unknown keys: in ε and δ)"
    )]
    Price,
    #[error("a patient who contributes `{0}` times can't be hidden; give 1 to {CONTRIBUTIONS_MAX}")]
    Contributions(u32),
    #[error("the best `{k}` of {candidates} candidates can't be chosen")]
    Best { k: usize, candidates: usize },
    #[error(
        "`{0}` candidates are too many or none; give 1 to {CANDIDATES_MAX}, in rising order without repeats"
    )]
    Candidates(usize),
    #[error("`{0}` keys are too many for one histogram; at most {KEYS_MAX}")]
    Keys(usize),
    #[error("a quantile of `{0}` is none; give a number above 0 and below 1")]
    Quantile(f64),
    #[error("`{lower}` to `{upper}` bounds no values; give two finite numbers in rising order")]
    Bounds { lower: f64, upper: f64 },
    #[error("a value is not a number")]
    NotANumber,
    #[error("a noise multiplier of `{0}` is none")]
    Sigma(f64),
    #[error("a threshold that keeps a δ of `{0}` doesn't exist")]
    Threshold(f64),
    #[error("noise could not be drawn: {0}")]
    Draw(String),
}

impl From<OpenDpError> for MechanismError {
    fn from(error: OpenDpError) -> Self {
        // The variant alone: a message could repeat a value.
        Self::Draw(format!("{:?}", error.variant))
    }
}

type Histogram = Priced<HashMap<String, i64>, HashMap<String, i64>>;
type Released<T> = Result<(T, Cost), MechanismError>;

/// What [`noisy_count`] costs at `price`: the same figure, known before any record is read.
pub fn noisy_count_cost(patient: Contribution, price: &Cost) -> Result<Cost, MechanismError> {
    Ok(noisy_integers(patient.l1(), patient.l2(), price)?.cost)
}

/// `count` with discrete Laplace or Gaussian noise. It may be negative.
pub fn noisy_count(count: u64, patient: Contribution, price: &Cost) -> Released<i64> {
    let (noisy, cost) = noisy_counts(&[count], patient, price)?;
    Ok((noisy.first().copied().unwrap_or(0), cost))
}

/// Counts for keys that are public beforehand (the categories of a declared column), each with noise. Zeros are
/// released too. All of them together cost what [`noisy_count_cost`] says.
pub fn noisy_counts(counts: &[u64], patient: Contribution, price: &Cost) -> Released<Vec<i64>> {
    if counts.len() > KEYS_MAX {
        return Err(MechanismError::Keys(counts.len()));
    }
    let counts = counts.iter().copied().map(to_i64).collect();
    noisy_integers(patient.l1(), patient.l2(), price)?.release(&counts)
}

/// What [`noisy_histogram`] costs at `price`.
pub fn noisy_histogram_cost(patient: Contribution, price: &Cost) -> Result<Cost, MechanismError> {
    Ok(thresholded(patient, price)?.0.cost)
}

/// The least noisy count that [`noisy_histogram`] shows at `price`.
pub fn noisy_histogram_threshold(
    patient: Contribution,
    price: &Cost,
) -> Result<i64, MechanismError> {
    Ok(thresholded(patient, price)?.1)
}

/// Counts for keys that are known from the data alone, so that a key's presence is itself private: each count gets
/// Laplace noise, and only keys above a threshold are shown. `price` is a [`Cost::Approximate`], its δ the
/// probability that a key shows which only one patient has. The keys come back in their own order, which tells
/// nothing of the records'.
pub fn noisy_histogram(
    counts: &BTreeMap<String, u64>,
    patient: Contribution,
    price: &Cost,
) -> Released<BTreeMap<String, i64>> {
    if counts.len() > KEYS_MAX {
        return Err(MechanismError::Keys(counts.len()));
    }
    // A key with no patients is a key that is not there.
    let present = counts.iter().filter(|(_, count)| **count > 0);
    let counts: HashMap<String, i64> = present
        .map(|(key, count)| (key.clone(), to_i64(*count)))
        .collect();
    let (shown, cost) = thresholded(patient, price)?.0.release(&counts)?;
    Ok((shown.into_iter().collect(), cost))
}

/// What [`noisy_top_k`] costs at `price`, for all `k` together.
pub fn noisy_top_k_cost(
    candidates: usize,
    k: usize,
    each: u32,
    price: &Cost,
) -> Result<Cost, MechanismError> {
    Ok(top_k(candidates, k, each, price)?.cost)
}

/// The places of the `k` public candidates with the most votes, best first. One patient adds at most `each` votes to
/// each candidate, to as many candidates as she likes: she raises counts or leaves them, so they differ by `each` at
/// most.
pub fn noisy_top_k(votes: &[u64], k: usize, each: u32, price: &Cost) -> Released<Vec<usize>> {
    top_k(votes.len(), k, each, price)?.release(&votes.to_vec())
}

/// What [`noisy_quantile`] costs at `price`.
pub fn noisy_quantile_cost(
    candidates: &[f64],
    quantile: f64,
    times: u32,
    price: &Cost,
) -> Result<Cost, MechanismError> {
    Ok(private_quantile(candidates, quantile, times, price)?.cost)
}

/// The public candidate nearest to a quantile of `values` (0.5 is the median). One patient gave at most `times` of
/// them.
pub fn noisy_quantile(
    values: &[f64],
    candidates: &[f64],
    quantile: f64,
    times: u32,
    price: &Cost,
) -> Released<f64> {
    if values.iter().any(|value| value.is_nan()) {
        return Err(MechanismError::NotANumber);
    }
    private_quantile(candidates, quantile, times, price)?.release(&values.to_vec())
}

/// What [`noisy_sum`] costs at `price`.
pub fn noisy_sum_cost(times: u32, price: &Cost) -> Result<Cost, MechanismError> {
    Ok(noisy_grid(times, price)?.cost)
}

/// The sum of `values`, clamped into `bounds` and rounded to a millionth of the farther bound. One patient gave at most
/// `times` of them.
pub fn noisy_sum(values: &[f64], bounds: Bounds, times: u32, price: &Cost) -> Released<f64> {
    let step = bounds.lower.abs().max(bounds.upper.abs()) / GRID;
    let steps = bounds.steps(values, 0.0, step)?;
    let (noisy, cost) = noisy_grid(times, price)?.release(&vec![steps])?;
    Ok((noisy.first().copied().unwrap_or(0) as f64 * step, cost))
}

/// A mean, and of how many values: both noisy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    pub mean: f64,
    pub count: i64,
}

/// What [`noisy_mean`] costs at `price`.
pub fn noisy_mean_cost(times: u32, price: &Cost) -> Result<Cost, MechanismError> {
    let (for_sum, for_count) = halves(price)?;
    let sum = noisy_sum_cost(times, &for_sum)?;
    let count = noisy_count_cost(Contribution::times(times)?, &for_count)?;
    both(&sum, &count)
}

/// The mean of `values`, clamped into `bounds`. One patient gave at most `times` of them. Half of the price is for the
/// sum of the distances from the middle, which one patient changes least, half for the count.
pub fn noisy_mean(values: &[f64], bounds: Bounds, times: u32, price: &Cost) -> Released<Mean> {
    let (for_sum, for_count) = halves(price)?;
    let middle = bounds.lower + (bounds.upper - bounds.lower) / 2.0;
    let step = (bounds.upper - bounds.lower) / 2.0 / GRID;
    let steps = bounds.steps(values, middle, step)?;
    let (distance, sum_cost) = noisy_grid(times, &for_sum)?.release(&vec![steps])?;
    let (count, count_cost) =
        noisy_count(values.len() as u64, Contribution::times(times)?, &for_count)?;
    let distance = distance.first().copied().unwrap_or(0) as f64 * step;
    let mean = (middle + distance / count.max(1) as f64).clamp(bounds.lower, bounds.upper);
    Ok((Mean { mean, count }, both(&sum_cost, &count_cost)?))
}

/// The standard deviation, in whole steps, that hides a vector of L2 norm `sensitivity` with a noise multiplier of
/// `sigma`. It is rounded up to a whole number, with which draws are several times faster.
pub fn gaussian_vector_scale(sensitivity: f64, sigma: f64) -> Result<f64, MechanismError> {
    let scale = (sensitivity * sigma).next_up().ceil();
    if !(sensitivity > 0.0 && sigma > 0.0 && scale <= SCALE_MAX) {
        return Err(MechanismError::Sigma(sigma));
    }
    Ok(scale)
}

/// What [`gaussian_vector`] costs, taken by itself and without sampling.
pub fn gaussian_vector_cost(sensitivity: f64, sigma: f64) -> Result<Cost, MechanismError> {
    let scale = gaussian_vector_scale(sensitivity, sigma)?;
    Ok(zcdp(pico_up(gaussian(scale)?.map(&sensitivity)?)))
}

/// `values` with discrete Gaussian noise of `sigma` times `sensitivity`, the L2 norm of what one patient adds to it
/// at most, rounding included. Under Poisson sampling, [`Cost::subsampled_gaussian`] is what it costs instead. A
/// value that noise would carry out of the range of an i64 stays at its end, so keep the sum far from it.
pub fn gaussian_vector(values: &Vec<i64>, sensitivity: f64, sigma: f64) -> Released<Vec<i64>> {
    let scale = gaussian_vector_scale(sensitivity, sigma)?;
    let measurement = gaussian(scale)?;
    let cost = zcdp(pico_up(measurement.map(&sensitivity)?));
    Ok((measurement.invoke(values)?, cost))
}

/// What [`noisy_occupancy`] costs at `price`, which is a [`Cost::Pure`], and the probability with which an empty cell
/// shows as a 1.
pub fn noisy_occupancy_cost(price: &Cost) -> Result<(Cost, f64), MechanismError> {
    let Cost::Pure { epsilon_pico } = *price else {
        return Err(MechanismError::Price);
    };
    if epsilon_pico < PRICE_MIN_PICO {
        return Err(MechanismError::Price);
    }
    let map = |flip: f64| -> Fallible<u64> {
        Ok(pico_up(halved(
            make_randomized_response_bool(1.0 - flip, false)?.map(&1)?,
        )))
    };
    for flip in flip_for(epsilon_pico as f64 / PICO) {
        let cost = map(flip)?;
        if cost <= epsilon_pico {
            return Ok((pure(cost), flip));
        }
    }
    Err(MechanismError::Price)
}

/// Which cells are occupied, one patient in one cell: an occupied cell shows a fair coin, an empty one a 1 with the
/// probability of [`noisy_occupancy_cost`]. So the sum modulo 2 of several such tables shows a fair coin wherever any
/// of them is occupied, and says nothing of how many are.
pub fn noisy_occupancy(cells: &[bool], price: &Cost) -> Released<Vec<bool>> {
    let (cost, flip) = noisy_occupancy_cost(price)?;
    let empty = make_randomized_response_bool(1.0 - flip, false)?;
    let occupied = make_randomized_response_bool(0.5, false)?;
    let shown = cells.iter().map(|is_occupied| match is_occupied {
        true => occupied.invoke(&false),
        false => empty.invoke(&false),
    });
    Ok((shown.collect::<Fallible<_>>()?, cost))
}

/// A mechanism whose scale keeps to a price, and what it costs.
struct Priced<In, Out> {
    function: Function<In, Out>,
    cost: Cost,
}

impl<In, Out> Priced<In, Out> {
    fn release(&self, data: &In) -> Released<Out> {
        Ok((self.function.eval(data)?, self.cost.clone()))
    }

    /// The measurement of the smallest scale whose privacy map stays within an ε.
    fn pure<DI, MI>(
        epsilon_pico: u64,
        distance: &MI::Distance,
        make: impl Fn(f64) -> Fallible<Measurement<DI, MI, MaxDivergence, Out>>,
    ) -> Result<Self, MechanismError>
    where
        DI: Domain<Carrier = In>,
        MI: Metric,
        (DI, MI): MetricSpace,
    {
        let map = |scale: f64| make(scale)?.map(distance);
        let (scale, epsilon_pico) = scale_for(epsilon_pico, Shrinks::Linearly, map)?;
        Ok(Self {
            function: make(scale)?.function.clone(),
            cost: Cost::Pure { epsilon_pico },
        })
    }

    /// The measurement of the smallest scale whose privacy map stays within a ρ.
    fn zcdp<DI, MI>(
        rho_pico: u64,
        distance: &MI::Distance,
        make: impl Fn(f64) -> Fallible<Measurement<DI, MI, ZeroConcentratedDivergence, Out>>,
    ) -> Result<Self, MechanismError>
    where
        DI: Domain<Carrier = In>,
        MI: Metric,
        (DI, MI): MetricSpace,
    {
        let map = |scale: f64| make(scale)?.map(distance);
        let (scale, rho_pico) = scale_for(rho_pico, Shrinks::WithSquare, map)?;
        Ok(Self {
            function: make(scale)?.function.clone(),
            cost: zcdp(rho_pico),
        })
    }
}

/// How a cost shrinks as the scale grows.
#[derive(Clone, Copy)]
enum Shrinks {
    Linearly,
    WithSquare,
}

/// The smallest scale (but for rounding) whose cost by `map`, in pico-nats rounded up, is within `price_pico`, and
/// that cost.
fn scale_for(
    price_pico: u64,
    shrinks: Shrinks,
    map: impl Fn(f64) -> Fallible<f64>,
) -> Result<(f64, u64), MechanismError> {
    if price_pico < PRICE_MIN_PICO {
        return Err(MechanismError::Price);
    }
    let ratio = map(1.0)? * PICO / price_pico as f64;
    let mut scale = match shrinks {
        Shrinks::Linearly => ratio,
        Shrinks::WithSquare => ratio.sqrt(),
    };
    // Rounding leaves the first guess a hair on either side; each step widens it by a few parts in 10^16.
    for _ in 0..64 {
        let cost_pico = pico_up(map(scale)?);
        if cost_pico <= price_pico {
            return Ok((scale, cost_pico));
        }
        scale *= 1.0 + 4.0 * f64::EPSILON;
    }
    Err(MechanismError::Price)
}

fn noisy_integers(
    l1: i64,
    l2: f64,
    price: &Cost,
) -> Result<Priced<Vec<i64>, Vec<i64>>, MechanismError> {
    let domain = || VectorDomain::new(AtomDomain::<i64>::default());
    match *price {
        Cost::Pure { epsilon_pico } => Priced::pure(epsilon_pico, &l1, |scale| {
            make_laplace(domain(), L1Distance::<i64>::default(), scale, None)
        }),
        Cost::Zcdp { rho_pico } => Priced::zcdp(rho_pico, &l2, gaussian),
        Cost::None | Cost::Approximate { .. } | Cost::Renyi { .. } | Cost::Disclosure => {
            Err(MechanismError::Price)
        }
    }
}

/// Noise for one sum of at most `times` values of [`GRID`] steps each from one patient.
fn noisy_grid(times: u32, price: &Cost) -> Result<Priced<Vec<i64>, Vec<i64>>, MechanismError> {
    let distance = Contribution::times(times)?.l1() * GRID as i64;
    noisy_integers(distance, distance as f64, price)
}

type Gaussian = Measurement<
    VectorDomain<AtomDomain<i64>>,
    L2Distance<f64>,
    ZeroConcentratedDivergence,
    Vec<i64>,
>;

fn gaussian(scale: f64) -> Fallible<Gaussian> {
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    make_gaussian(domain, L2Distance::<f64>::default(), scale, None)
}

fn thresholded(patient: Contribution, price: &Cost) -> Result<(Histogram, i64), MechanismError> {
    let Cost::Approximate {
        epsilon_pico,
        delta_atto,
    } = *price
    else {
        return Err(MechanismError::Price);
    };
    let make = |scale: f64, threshold: i64| {
        let domain = MapDomain::new(
            AtomDomain::<String>::default(),
            AtomDomain::<i64>::default(),
        );
        let metric = L01InfDistance::<AbsoluteDistance<i64>>::default();
        make_laplace_threshold::<_, _, Approximate<MaxDivergence>>(
            domain, metric, scale, threshold, None,
        )
    };
    let each = i64::from(patient.each);
    let distance = (patient.groups, patient.l1(), each);
    // The threshold does not change the ε; this one is merely valid.
    let epsilon = |scale: f64| Ok(make(scale, each)?.map(&distance)?.0);
    let (scale, epsilon_pico) = scale_for(epsilon_pico, Shrinks::Linearly, epsilon)?;
    // OpenDP 0.16 understates this δ: it takes the probability that noise is *above* the distance from a lone
    // patient's count to the threshold, yet shows a key whose count *reaches* it (opendp/opendp#2922). One threshold
    // lower it tells the truth.
    let delta = |threshold: i64| -> Fallible<u64> {
        let (_, delta) = make(scale, threshold - 1)?.map(&distance)?;
        Ok(units_up(delta, ATTO))
    };
    let (mut too_low, mut enough) = (each, each + 1);
    while delta(enough)? > delta_atto {
        if enough > THRESHOLD_MAX {
            return Err(MechanismError::Threshold(delta_atto as f64 / ATTO));
        }
        (too_low, enough) = (enough, enough * 2);
    }
    while enough - too_low > 1 {
        let middle = too_low + (enough - too_low) / 2;
        if delta(middle)? > delta_atto {
            too_low = middle;
        } else {
            enough = middle;
        }
    }
    let cost = Cost::Approximate {
        epsilon_pico,
        delta_atto: delta(enough)?,
    };
    let function = make(scale, enough)?.function.clone();
    Ok((Priced { function, cost }, enough))
}

fn top_k(
    candidates: usize,
    k: usize,
    each: u32,
    price: &Cost,
) -> Result<Priced<Vec<u64>, Vec<usize>>, MechanismError> {
    if !(1..=CANDIDATES_MAX).contains(&candidates) {
        return Err(MechanismError::Candidates(candidates));
    }
    if !(1..=candidates).contains(&k) {
        return Err(MechanismError::Best { k, candidates });
    }
    let each = u64::from(Contribution::times(each)?.each);
    let domain = || VectorDomain::new(AtomDomain::<u64>::default()).with_size(candidates);
    // `true`: adding a patient moves all counts one way. It halves the noise, and would be wrong for replacing one.
    let metric = || LInfDistance::<u64>::new(true);
    match *price {
        Cost::Pure { epsilon_pico } => Priced::pure(epsilon_pico, &each, |scale| {
            make_noisy_top_k(domain(), metric(), MaxDivergence, k, scale, false)
        }),
        Cost::Zcdp { rho_pico } => Priced::zcdp(rho_pico, &each, |scale| {
            make_noisy_top_k(
                domain(),
                metric(),
                ZeroConcentratedDivergence,
                k,
                scale,
                false,
            )
        }),
        Cost::None | Cost::Approximate { .. } | Cost::Renyi { .. } | Cost::Disclosure => {
            Err(MechanismError::Price)
        }
    }
}

fn private_quantile(
    candidates: &[f64],
    quantile: f64,
    times: u32,
    price: &Cost,
) -> Result<Priced<Vec<f64>, f64>, MechanismError> {
    let rising = candidates
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a < b));
    let finite = candidates.iter().all(|candidate| candidate.is_finite());
    if !(1..=CANDIDATES_MAX).contains(&candidates.len()) || !rising || !finite {
        return Err(MechanismError::Candidates(candidates.len()));
    }
    if !(quantile > 0.0 && quantile < 1.0) {
        return Err(MechanismError::Quantile(quantile));
    }
    let rows = Contribution::times(times)?.each;
    let domain = || VectorDomain::new(AtomDomain::<f64>::new_non_nan());
    let candidates = || candidates.to_vec();
    match *price {
        Cost::Pure { epsilon_pico } => Priced::pure(epsilon_pico, &rows, |scale| {
            make_private_quantile(
                domain(),
                SymmetricDistance,
                MaxDivergence,
                candidates(),
                quantile,
                scale,
            )
        }),
        Cost::Zcdp { rho_pico } => Priced::zcdp(rho_pico, &rows, |scale| {
            make_private_quantile(
                domain(),
                SymmetricDistance,
                ZeroConcentratedDivergence,
                candidates(),
                quantile,
                scale,
            )
        }),
        Cost::None | Cost::Approximate { .. } | Cost::Renyi { .. } | Cost::Disclosure => {
            Err(MechanismError::Price)
        }
    }
}

fn halves(price: &Cost) -> Result<(Cost, Cost), MechanismError> {
    let split = |pico: u64| (pico / 2, pico - pico / 2);
    match *price {
        Cost::Pure { epsilon_pico } => {
            let (first, second) = split(epsilon_pico);
            Ok((pure(first), pure(second)))
        }
        Cost::Zcdp { rho_pico } => {
            let (first, second) = split(rho_pico);
            Ok((zcdp(first), zcdp(second)))
        }
        Cost::None | Cost::Approximate { .. } | Cost::Renyi { .. } | Cost::Disclosure => {
            Err(MechanismError::Price)
        }
    }
}

fn both(first: &Cost, second: &Cost) -> Result<Cost, MechanismError> {
    match (first, second) {
        (Cost::Pure { epsilon_pico: a }, Cost::Pure { epsilon_pico: b }) => {
            Ok(pure(a.saturating_add(*b)))
        }
        (Cost::Zcdp { rho_pico: a }, Cost::Zcdp { rho_pico: b }) => Ok(zcdp(a.saturating_add(*b))),
        _ => Err(MechanismError::Price),
    }
}

fn pure(epsilon_pico: u64) -> Cost {
    Cost::Pure { epsilon_pico }
}

fn zcdp(rho_pico: u64) -> Cost {
    Cost::Zcdp { rho_pico }
}

fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
