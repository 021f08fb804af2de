//! How long to wait before dialling again. Pure: the randomness is the caller's seed.

/// The first wait's upper bound.
pub const BACKOFF_FIRST_MS: u64 = 250;

/// The longest wait: a coordinator that returns is found again within this time.
pub const BACKOFF_CAP_MS: u64 = 20_000;

/// Exponential back-off with full jitter: each wait is uniform between zero and a bound
/// that doubles up to a cap, so that a hundred nodes that lost one coordinator do not
/// all return in the same instant (M. Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015).
#[derive(Debug, Clone)]
pub struct Backoff {
    bound_ms: u64,
    state: u64,
}

impl Backoff {
    /// A new sequence of waits; the same seed gives the same waits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            bound_ms: BACKOFF_FIRST_MS,
            state: seed,
        }
    }

    /// The next wait. At least a millisecond, so that it never becomes a busy loop.
    pub fn next_ms(&mut self) -> u64 {
        let wait_ms = self.draw() % self.bound_ms + 1;
        self.bound_ms = (self.bound_ms * 2).min(BACKOFF_CAP_MS);
        wait_ms
    }

    /// Begins again at the first bound: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.bound_ms = BACKOFF_FIRST_MS;
    }

    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): enough to spread nodes apart.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_double_up_to_the_cap_and_begin_again(seed: u64) {
            let mut backoff = Backoff::new(seed);
            let mut bound_ms = BACKOFF_FIRST_MS;
            for _ in 0..40 {
                let wait_ms = backoff.next_ms();
                prop_assert!((1..=bound_ms).contains(&wait_ms));
                bound_ms = (bound_ms * 2).min(BACKOFF_CAP_MS);
            }
            backoff.reset();
            prop_assert!(backoff.next_ms() <= BACKOFF_FIRST_MS);
        }

        #[test]
        fn two_nodes_do_not_wait_alike(seed in 0..u64::MAX) {
            let waits = |seed| {
                let mut backoff = Backoff::new(seed);
                (0..8).map(|_| backoff.next_ms()).collect::<Vec<_>>()
            };
            prop_assert_eq!(waits(seed), waits(seed));
            prop_assert_ne!(waits(seed), waits(seed + 1));
        }
    }
}
