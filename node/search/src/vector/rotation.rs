//! A fixed rotation that spreads what a few coordinates hold over all of them.
//!
//! A fast Walsh-Hadamard transform after random signs (Ailon and Chazelle, 2006), over the first coordinates and then
//! over the last, as many as a power of two: together every one of them. Lengths and products stay what they were.

use super::fast::{self, Kernel, Products};
use super::made::Numbers;

/// Passes, each with signs of its own.
const PASSES: usize = 2;

/// The signs are the same in every build: sketches are made anew whenever a segment is opened.
const SEED: u64 = 0x5eed;

#[derive(Default)]
pub(super) struct Rotation {
    dimension: usize,
    /// [`PASSES`] times `dimension` of 1 and −1.
    signs: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(dimension: usize) -> Self {
        let mut numbers = Numbers(SEED);
        let mut sign = || match numbers.draw() >> 63 {
            0 => 1.0,
            _ => -1.0,
        };
        let signs = (0..PASSES * dimension).map(|_| sign()).collect();
        Self { dimension, signs }
    }

    /// Turns a row of `dimension` coordinates.
    pub(super) fn turn(&self, row: &mut [f32]) {
        fast::run(Turn {
            rotation: self,
            row,
        });
    }
}

struct Turn<'a> {
    rotation: &'a Rotation,
    row: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self, _: impl Products) {
        let dimension = self.rotation.dimension.min(self.row.len());
        let Some(power) = dimension.checked_ilog2() else {
            return;
        };
        let passes = self.rotation.signs.chunks_exact(dimension);
        for (from, signs) in [0, dimension - (1 << power)].into_iter().zip(passes) {
            for (x, sign) in self.row.iter_mut().zip(signs) {
                *x *= sign;
            }
            if let Some(part) = self.row.get_mut(from..from + (1 << power)) {
                hadamard(part);
            }
        }
    }
}

/// The transform of a power of two of coordinates, in place, scaled so that lengths stay.
#[inline(always)]
fn hadamard(row: &mut [f32]) {
    let mut half = 1;
    while half < row.len() {
        for block in row.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (row.len() as f32).sqrt();
    for x in row {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    proptest! {
        #[test]
        fn products_stay(
            (a, b) in (1usize..100).prop_flat_map(|dimension| {
                let row = || prop::collection::vec(-1f32..1.0, dimension);
                (row(), row())
            }),
        ) {
            let rotation = Rotation::new(a.len());
            let (mut turned_a, mut turned_b) = (a.clone(), b.clone());
            rotation.turn(&mut turned_a);
            rotation.turn(&mut turned_b);
            prop_assert!((dot(&a, &b) - dot(&turned_a, &turned_b)).abs() < 1e-3);
        }
    }

    #[test]
    fn one_coordinate_is_spread_over_many() {
        for at in [0, 100, 200, 383] {
            let mut row = vec![0.0; 384];
            row[at] = 1.0;
            Rotation::new(384).turn(&mut row);
            assert!(row.iter().filter(|x| x.abs() > 1e-6).count() >= 256);
        }
    }
}
