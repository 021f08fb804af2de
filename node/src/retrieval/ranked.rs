//! The best passages of a collection, one of each owner: a patient's where records are private, a document's where they
//! are public.
//!
//! A list of passages may hold many of one owner, so it is asked for again, longer, until enough owners are in it or it
//! ends: a cut list would miss owners whose best passage comes after another's tenth.

use std::collections::HashSet;
use std::hash::Hash;

use consilium_search::vector::K_MAX;

/// How many more passages than owners are asked for first.
const PASSAGES_AN_OWNER: usize = 3;

/// The best passage of each of the best `owners` owners, best first; a passage without an owner is none. `best(k)`
/// gives the best k passages, best first, and fewer only where there are no more.
///
/// # Errors
/// Those of `best`.
pub fn one_of_each<H, K: Eq + Hash, E>(
    owners: usize,
    owner_of: impl Fn(&H) -> Option<K>,
    mut best: impl FnMut(usize) -> Result<Vec<H>, E>,
) -> Result<Vec<H>, E> {
    let mut k = owners.saturating_mul(PASSAGES_AN_OWNER).clamp(1, K_MAX);
    loop {
        let mut firsts = best(k)?;
        let is_all = firsts.len() < k || k == K_MAX;
        let mut seen = HashSet::new();
        firsts.retain(|hit| owner_of(hit).is_some_and(|owner| seen.insert(owner)));
        if firsts.len() >= owners || is_all {
            firsts.truncate(owners);
            return Ok(firsts);
        }
        k = k.saturating_mul(4).min(K_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is what sorting everything would give.
        #[test]
        fn it_is_the_best_of_each_owner(
            passages in proptest::collection::vec((0_u32..6, 0_u8..50), 0..120),
            owners in 1_usize..12,
        ) {
            let mut all: Vec<(usize, u32, u8)> = passages
                .iter()
                .enumerate()
                .map(|(row, (owner, score))| (row, *owner, *score))
                .collect();
            all.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
            let found = one_of_each(owners, |hit: &(usize, u32, u8)| Some(hit.1), |k| {
                Ok::<_, Infallible>(all.iter().take(k).copied().collect())
            })
            .unwrap();
            let mut seen = HashSet::new();
            let mut expected = all.clone();
            expected.retain(|hit| seen.insert(hit.1));
            expected.truncate(owners);
            prop_assert_eq!(found, expected);
        }
    }
}
