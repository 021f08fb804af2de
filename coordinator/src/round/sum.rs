//! The accumulator: what one round's updates add up to, bit for bit the same in
//! whatever order they come.
//!
//! Floating-point addition is not associative, so a sum of floats depends on who
//! was first. Here every contribution becomes a whole number of 2⁻³⁶ and whole
//! numbers are added: order cannot matter, and after a crash the same updates
//! make the same model.
//!
//! A value takes 48 bits, split in a `u32` and an `i16`: six bytes, 1.5 times the
//! `f32` that it aggregates, and the only thing of the model's size in memory.
//!
//! # It cannot overflow
//! A contribution is `q = round(v · f · 2³⁶)` with `|v| ≤ 2047` ([`VALUE_ABS_MAX`]) and
//! `f` the site's fraction. Fractions are fixed before the round: `weight / total`, each
//! rounded to `f64`, so for n ≤ 1024 sites `Σf ≤ 1 + n·2⁻⁵³`. Each site is folded once between
//! two clearings. Product and rounding to a whole number err by at most 2⁻⁶ + ½ < 1 each, so
//! `|Σq| ≤ 2047·2³⁶·(1 + n·2⁻⁵³) + n < 2047·2³⁶ + 2048 < 2048·2³⁶ = 2⁴⁷`.
//! The same holds for every part of the sum, in any order.
//!
//! # How exact it is
//! Each contribution errs by at most 2⁻³⁷ (1 + 2⁻⁵), so a mean over n sites that carry
//! the fraction F of the weight errs by at most n · 2⁻³⁷ · (1 + 2⁻⁵) / F: for four
//! sites 3·10⁻¹¹, less than half a unit in the last place of an `f32` above 0.001.

use std::ops::Range;

/// Largest change of one parameter in one round, in absolute value. Nobody trains
/// so far in one round; beyond it the accumulator could overflow.
pub const VALUE_ABS_MAX: f32 = 2047.0;

/// One as the accumulator counts: 2³⁶.
const ONE: f64 = (1_u64 << 36) as f64;

/// 1.5 · 2⁵². Added to a product below 2⁵¹ it leaves no bit behind the binary point, so
/// the addition itself rounds to the nearest whole number (ties to even, IEEE
/// 754's only mode in Rust), and the difference of the bit patterns is that number.
/// Unlike `round() as i64` this compiles to vector instructions on every x86-64 and arm64.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Sums of the changes that came so far, one 48-bit fixed-point number a value.
pub struct Accumulator {
    low: Vec<u32>,
    high: Vec<i16>,
}

/// A value that cannot be added, by its index in the chunk. The value itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsummable {
    /// Infinite, not a number, or beyond [`VALUE_ABS_MAX`].
    Value { index: usize },
    /// The chunk is not a whole number of values or reaches beyond the model.
    Length,
}

impl Accumulator {
    /// An accumulator of zeros for this many values; 6 bytes each.
    #[must_use]
    pub fn zeros(values: usize) -> Self {
        Self {
            low: vec![0; values],
            high: vec![0; values],
        }
    }

    /// The same memory as zeros for this many values: a run allocates once, not each round.
    #[must_use]
    pub fn cleared(mut self, values: usize) -> Self {
        self.low.clear();
        self.low.resize(values, 0);
        self.high.clear();
        self.high.resize(values, 0);
        self
    }

    /// How many values it sums.
    #[must_use]
    pub fn len(&self) -> usize {
        self.low.len()
    }

    /// Whether it sums nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.low.is_empty()
    }

    /// The memory that its sums take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.low.as_slice()) + size_of_val(self.high.as_slice())
    }

    /// Forgets all that was folded.
    pub fn clear(&mut self) {
        self.low.fill(0);
        self.high.fill(0);
    }

    /// Adds a chunk of little-endian `f32` that begins at value `first`, times `fraction`.
    /// All of it or, when any value is unfit, nothing.
    ///
    /// The caller sees to it that the fractions of all that is folded between two
    /// clearings add up to no more than 1.
    ///
    /// # Errors
    /// [`Unsummable`] says which value is unfit.
    pub fn fold(&mut self, first: usize, chunk: &[u8], fraction: f64) -> Result<(), Unsummable> {
        let (values, rest) = chunk.as_chunks::<4>();
        let range = first..first.saturating_add(values.len());
        let (Some(low), Some(high), []) = (
            self.low.get_mut(range.clone()),
            self.high.get_mut(range),
            rest,
        ) else {
            return Err(Unsummable::Length);
        };
        // Two passes: nothing is touched before everything is known to be fit. The
        // first has no early exit so that it vectorises; NaN fails the comparison.
        let fit = |value: &[u8; 4]| f32::from_le_bytes(*value).abs() <= VALUE_ABS_MAX;
        if !values.iter().fold(true, |all, value| all & fit(value)) {
            let index = values.iter().position(|value| !fit(value)).unwrap_or(0);
            return Err(Unsummable::Value { index });
        }
        let scale = fraction * ONE;
        for ((low, high), value) in low.iter_mut().zip(high).zip(values) {
            let product = f64::from(f32::from_le_bytes(*value)) * scale;
            let whole = (product + ROUNDER)
                .to_bits()
                .wrapping_sub(ROUNDER.to_bits())
                .cast_signed();
            let sum = fixed_point(*low, *high).wrapping_add(whole);
            *low = sum as u32;
            *high = (sum >> 32) as i16;
        }
        Ok(())
    }
}

/// What a closed round's accepted updates add up to.
pub struct WeightedSum {
    sum: Accumulator,
    /// Fraction of the weight of all participants that was accepted: in (0, 1].
    fraction: f64,
    /// Sites accepted over sites that take part, for SCAFFOLD.
    participation: f64,
}

impl WeightedSum {
    /// The sum of updates that carry `fraction` of the weight and come from
    /// `participation` of the sites.
    pub(super) fn new(sum: Accumulator, fraction: f64, participation: f64) -> Self {
        Self {
            sum,
            fraction,
            participation,
        }
    }

    /// How many values were summed: of all vectors on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sum.len()
    }

    /// Whether nothing was summed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sum.is_empty()
    }

    /// Sites accepted over sites that take part: Karimireddy et al. 2020's |S|/N.
    #[must_use]
    pub fn participation(&self) -> f64 {
        self.participation
    }

    /// The weighted means of the values in `range`, as far as there are any:
    /// sum / (2³⁶ · accepted fraction).
    pub fn means(&self, range: Range<usize>) -> impl Iterator<Item = f64> + '_ {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        let low = self.sum.low.get(range.clone()).unwrap_or_default();
        let high = self.sum.high.get(range).unwrap_or_default();
        let unit = ONE * self.fraction;
        low.iter()
            .zip(high)
            .map(move |(&low, &high)| fixed_point(low, high) as f64 / unit)
    }

    /// The memory, for the next round.
    #[must_use]
    pub fn into_accumulator(self) -> Accumulator {
        self.sum
    }
}

fn fixed_point(low: u32, high: i16) -> i64 {
    (i64::from(high) << 32) | i64::from(low)
}

#[cfg(test)]
mod tests {
    use consilium_protocol::model::to_le_bytes;
    use proptest::prelude::*;

    use super::*;

    fn sums(accumulator: &Accumulator) -> Vec<i64> {
        let halves = accumulator.low.iter().zip(&accumulator.high);
        halves.map(|(&low, &high)| fixed_point(low, high)).collect()
    }

    #[test]
    fn equal_changes_average_to_themselves() {
        let change = [0.5_f32, -0.25, 1e-3, -2047.0, 0.0];
        let mut accumulator = Accumulator::zeros(5);
        for fraction in [0.25, 0.5, 0.25] {
            accumulator
                .fold(0, &to_le_bytes(&change), fraction)
                .unwrap();
        }
        let sum = WeightedSum::new(accumulator, 1.0, 1.0);
        for (mean, value) in sum.means(0..5).zip(change) {
            assert!(
                (mean - f64::from(value)).abs() <= 3.0 * 2_f64.powi(-36),
                "{mean} {value}"
            );
        }
        assert_eq!(sum.means(3..9).count(), 2);
        assert_eq!(sum.means(7..9).count(), 0);
    }

    #[test]
    fn a_mean_is_over_the_weight_that_came() {
        let mut accumulator = Accumulator::zeros(1);
        accumulator.fold(0, &to_le_bytes(&[3.0]), 0.25).unwrap();
        let sum = WeightedSum::new(accumulator, 0.25, 0.5);
        assert_eq!(sum.means(0..1).collect::<Vec<_>>(), [3.0]);
    }

    #[test]
    fn an_unfit_chunk_changes_nothing() {
        let mut accumulator = Accumulator::zeros(4);
        accumulator.fold(1, &to_le_bytes(&[1.0]), 1.0).unwrap();
        let before = sums(&accumulator);
        for (unfit, index) in [
            ([f32::NAN, 1.0], 0),
            ([1.0, f32::INFINITY], 1),
            ([f32::NEG_INFINITY, 1.0], 0),
            ([0.0, 2048.0], 1),
            ([2047.0001, 0.0], 0),
        ] {
            assert_eq!(
                accumulator.fold(0, &to_le_bytes(&unfit), 0.5),
                Err(Unsummable::Value { index }),
                "{unfit:?}"
            );
        }
        let one = to_le_bytes(&[1.0]);
        assert_eq!(accumulator.fold(4, &one, 0.5), Err(Unsummable::Length));
        assert_eq!(
            accumulator.fold(usize::MAX, &one, 0.5),
            Err(Unsummable::Length)
        );
        assert_eq!(accumulator.fold(0, &one[..3], 0.5), Err(Unsummable::Length));
        assert_eq!(sums(&accumulator), before);
        accumulator.clear();
        assert_eq!(sums(&accumulator), [0; 4]);
    }

    #[test]
    fn a_thousand_sites_at_the_limit_do_not_overflow() {
        for value in [VALUE_ABS_MAX, -VALUE_ABS_MAX] {
            let mut accumulator = Accumulator::zeros(1);
            for _ in 0..1023 {
                accumulator
                    .fold(0, &to_le_bytes(&[value]), 1.0 / 1023.0)
                    .unwrap();
            }
            let sum = WeightedSum::new(accumulator, 1.0, 1.0);
            let mean: Vec<f64> = sum.means(0..1).collect();
            assert!((mean[0] - f64::from(value)).abs() < 1e-7, "{mean:?}");
        }
    }

    proptest! {
        /// Against the plain definition, with 128 bits to spare.
        #[test]
        fn the_sum_is_that_of_whole_numbers(
            changes in proptest::collection::vec((-2047.0_f32..=2047.0, 1_u64..1 << 40), 1..40),
        ) {
            let total: u64 = changes.iter().map(|(_, records)| records).sum();
            let mut accumulator = Accumulator::zeros(1);
            let mut wanted = 0_i128;
            for (value, records) in &changes {
                let fraction = *records as f64 / total as f64;
                accumulator.fold(0, &to_le_bytes(&[*value]), fraction).unwrap();
                wanted += (f64::from(*value) * (fraction * ONE)).round_ties_even() as i128;
            }
            prop_assert!(wanted.abs() < 1 << 47);
            prop_assert_eq!(i128::from(sums(&accumulator)[0]), wanted);
        }
    }
}
