//! Bounding what one patient adds to a sum: L2 clipping, and rounding to whole steps by chance.
//!
//! Noise is drawn on whole numbers, so each clipped contribution is first rounded, up or down with the probability
//! that keeps its mean (Kairouz, Liu and Steinke 2021, "The distributed discrete Gaussian mechanism", section 3).
//! Rounding lengthens a vector; the sensitivity says by how much at most, and a rounding that comes out longer is
//! done again. Uniform numbers come as an argument: their quality touches the rounding's fairness, never the bound.

/// Steps in a clip bound. With a noise multiplier of 0.3 or more, noise is hundreds of steps wide.
const STEPS_IN_CLIP: f64 = 65_536.0;
/// Roundings tried before the one that never lengthens.
const ROUNDINGS_MAX: usize = 8;
/// Coordinates of one vector: 2^24 model parameters.
pub const DIMENSION_MAX: usize = 1 << 24;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClipError {
    #[error("a clip bound of `{0}` is none; give a number from 1e-6 to 1e6")]
    Clip(f64),
    #[error("`{0}` coordinates are too many or none; give 1 to {DIMENSION_MAX}")]
    Dimension(usize),
    #[error("a vector of {got} coordinates does not belong to one of {expected}")]
    Length { expected: usize, got: usize },
}

/// Scales `vector` down to an L2 norm of at most `bound`, and says by how much; a vector that is not finite becomes
/// zero, for nothing is known of its length.
pub fn clip(vector: &mut [f64], bound: f64) -> f64 {
    let norm = l2_norm(vector);
    if !norm.is_finite() {
        vector.fill(0.0);
        return 0.0;
    }
    if norm <= bound {
        return 1.0;
    }
    // Less by more than the rounding of the products can add.
    let factor = bound / norm * (1.0 - 1e-12);
    for coordinate in vector {
        *coordinate *= factor;
    }
    factor
}

/// The L2 norm; infinite or not a number where a coordinate is.
pub fn l2_norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Clipped vectors of one length in whole steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedPoint {
    clip: f64,
    dimension: usize,
}

impl FixedPoint {
    /// For vectors of `dimension` coordinates, clipped to an L2 norm of `clip`.
    pub fn new(clip: f64, dimension: usize) -> Result<Self, ClipError> {
        if !(1e-6..=1e6).contains(&clip) {
            return Err(ClipError::Clip(clip));
        }
        if !(1..=DIMENSION_MAX).contains(&dimension) {
            return Err(ClipError::Dimension(dimension));
        }
        Ok(Self { clip, dimension })
    }

    /// What one step is worth.
    pub fn step(&self) -> f64 {
        self.clip / STEPS_IN_CLIP
    }

    /// The L2 norm, in steps, of one rounded contribution at most: the sensitivity of a sum of them. The lesser of
    /// the bound of all roundings and the one that a rounding keeps with probability 1 - β (Kairouz 2021, Theorem 1,
    /// with β = e^-1/2).
    pub fn sensitivity(&self) -> f64 {
        let dimension = self.dimension as f64;
        let worst = STEPS_IN_CLIP + dimension.sqrt();
        let usual = STEPS_IN_CLIP * STEPS_IN_CLIP
            + dimension / 4.0
            + (STEPS_IN_CLIP + dimension.sqrt() / 2.0);
        worst.min(usual.sqrt()).next_up()
    }

    /// `vector`, clipped and rounded to steps; its norm is never above [`FixedPoint::sensitivity`]. `uniform` draws
    /// from 0 (included) to 1.
    pub fn round(
        &self,
        vector: &[f64],
        mut uniform: impl FnMut() -> f64,
    ) -> Result<Vec<i64>, ClipError> {
        if vector.len() != self.dimension {
            return Err(ClipError::Length {
                expected: self.dimension,
                got: vector.len(),
            });
        }
        let mut clipped = vector.to_vec();
        clip(&mut clipped, self.clip);
        let in_steps = clipped.iter().map(|x| x / self.step());
        let in_steps: Vec<f64> = in_steps.collect();
        for _ in 0..ROUNDINGS_MAX {
            let rounded: Vec<i64> = in_steps
                .iter()
                .map(|x| {
                    let floor = x.floor();
                    floor as i64 + i64::from(uniform() < x - floor)
                })
                .collect();
            if self.is_within(&rounded) {
                return Ok(rounded);
            }
        }
        // Towards zero no coordinate grows.
        Ok(in_steps.iter().map(|x| x.trunc() as i64).collect())
    }

    /// Whether a rounded contribution keeps to the sensitivity.
    pub fn is_within(&self, rounded: &[i64]) -> bool {
        let square: i128 = rounded
            .iter()
            .map(|x| i128::from(*x) * i128::from(*x))
            .sum();
        (square as f64) <= self.sensitivity() * self.sensitivity()
    }

    /// Steps back to the unit of the clip bound.
    pub fn value(&self, steps: i64) -> f64 {
        steps as f64 * self.step()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SplitMix64: fair enough for a rounding's test, and it gives the same numbers each time.
    fn uniforms(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    proptest! {
        #[test]
        fn a_clipped_vector_is_within_its_bound(
            vector in prop::collection::vec(-1e9..1e9_f64, 1..200),
            bound in 1e-6..1e6_f64,
        ) {
            let mut clipped = vector.clone();
            clip(&mut clipped, bound);
            prop_assert!(l2_norm(&clipped) <= bound);
        }

        #[test]
        fn a_rounded_contribution_keeps_to_the_sensitivity(
            vector in prop::collection::vec(-10.0..10.0_f64, 1..300),
            clip in 0.01..10.0_f64,
            seed: u64,
        ) {
            let fixed = FixedPoint::new(clip, vector.len()).unwrap();
            let rounded = fixed.round(&vector, uniforms(seed)).unwrap();
            let square: i128 = rounded.iter().map(|x| i128::from(*x).pow(2)).sum();
            prop_assert!((square as f64).sqrt() <= fixed.sensitivity());
        }
    }

    #[test]
    fn an_unlucky_rounding_is_replaced_by_one_that_never_lengthens() {
        // Half a step short of the clip in many coordinates: rounding all of them up is too long.
        let dimension = 1_000_000;
        let fixed = FixedPoint::new(1.0, dimension).unwrap();
        let each = 1.0 / (dimension as f64).sqrt();
        let always_up = || 0.0;
        let rounded = fixed.round(&vec![each; dimension], always_up).unwrap();
        assert!(fixed.is_within(&rounded));
        assert_eq!(rounded[0], (each / fixed.step()).trunc() as i64);
    }

    #[test]
    fn rounding_keeps_the_mean() {
        let fixed = FixedPoint::new(1.0, 1).unwrap();
        let quarter_steps = [100.25 * fixed.step()];
        let mut uniform = uniforms(7);
        let trials = 40_000;
        let sum: i64 = (0..trials)
            .map(|_| fixed.round(&quarter_steps, &mut uniform).unwrap()[0])
            .sum();
        let mean = sum as f64 / f64::from(trials);
        // Five standard deviations.
        assert!((mean - 100.25).abs() < 5.0 * (0.1875 / f64::from(trials)).sqrt());
    }

    #[test]
    fn a_gradient_that_is_not_finite_counts_for_nothing() {
        let fixed = FixedPoint::new(1.0, 3).unwrap();
        for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let rounded = fixed.round(&[0.5, broken, 0.1], uniforms(1)).unwrap();
            assert_eq!(rounded, [0, 0, 0]);
        }
    }

    #[test]
    fn the_sensitivity_is_hardly_above_the_clip() {
        for dimension in [1, 14, 1_000, 1_000_000] {
            let fixed = FixedPoint::new(1.0, dimension).unwrap();
            let excess = fixed.sensitivity() * fixed.step() - 1.0;
            assert!((0.0..0.001).contains(&excess), "{dimension}: {excess}");
        }
    }
}
