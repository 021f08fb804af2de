//! Random orders as a pure function of a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What an order is drawn for, so that one seed gives unrelated orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    TestRows = 1,
    Folds = 2,
    Batches = 3,
}

/// The numbers below `count` in a random order: Fisher and Yates' shuffle
/// (Knuth, The Art of Computer Programming, vol. 2, 3.4.2, algorithm P), drawn
/// from ChaCha8. `index` counts draws for the same purpose, such as epochs.
#[must_use]
pub fn permutation(purpose: Purpose, seed: u64, index: u64, count: u32) -> Vec<u32> {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        let other = below(&mut rng, last + 1);
        order.swap(last as usize, other as usize);
    }
    order
}

/// A number below `bound`, each equally likely
/// (Lemire 2019, "Fast random integer generation in an interval").
fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    let rejected_below = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= rejected_below {
            return (product >> 32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_the_seed_decides_the_order() {
        let order = permutation(Purpose::Batches, 42, 0, 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(order, permutation(Purpose::Batches, 42, 0, 1000));
        assert_ne!(order, permutation(Purpose::Batches, 43, 0, 1000));
        assert_ne!(order, permutation(Purpose::Batches, 42, 1, 1000));
        assert_ne!(order, permutation(Purpose::Folds, 42, 0, 1000));
        assert!(permutation(Purpose::Folds, 1, 0, 0).is_empty());
    }

    #[test]
    fn each_order_of_three_is_equally_likely() {
        let mut seen = std::collections::HashMap::new();
        for seed in 0..6000 {
            *seen
                .entry(permutation(Purpose::Folds, seed, 0, 3))
                .or_insert(0) += 1;
        }
        // 1000 expected of each; 150 is five standard deviations.
        assert_eq!(seen.len(), 6);
        assert!(
            seen.values().all(|count| (850..1150).contains(count)),
            "{seen:?}"
        );
    }
}
