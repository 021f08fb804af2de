//! One ranking out of several over the same rows.

use std::collections::{BTreeMap, BTreeSet};

use consilium_protocol::search::merge::RECIPROCAL_RANK_CONSTANT;

use crate::vector::RowId;

/// Reciprocal rank fusion: a row's score is the sum of 1 / (`constant` + rank) over the lists that have it, ranks
/// counting from 1 (Cormack, Clarke, Buettcher, SIGIR 2009, §2). Best first, equal ones by row. A row that stands in a
/// list twice counts where it stands first. A `constant` below 0 counts as 0, one that is no number as
/// [`RECIPROCAL_RANK_CONSTANT`].
#[must_use]
pub fn reciprocal_rank(lists: &[&[RowId]], constant: f64) -> Vec<(RowId, f64)> {
    let constant = if constant.is_nan() {
        RECIPROCAL_RANK_CONSTANT
    } else {
        constant.max(0.0)
    };
    let mut scores: BTreeMap<RowId, f64> = BTreeMap::new();
    for list in lists {
        let mut met = BTreeSet::new();
        for (place, row) in list.iter().enumerate() {
            if met.insert(*row) {
                *scores.entry(*row).or_default() += 1.0 / (constant + (place + 1) as f64);
            }
        }
    }
    let mut fused: Vec<_> = scores.into_iter().collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(numbers: &[u32]) -> Vec<RowId> {
        numbers.iter().copied().map(RowId).collect()
    }

    fn order(lists: &[&[RowId]]) -> Vec<u32> {
        reciprocal_rank(lists, RECIPROCAL_RANK_CONSTANT)
            .into_iter()
            .map(|(row, _)| row.0)
            .collect()
    }

    #[test]
    fn what_both_lists_hold_comes_before_what_one_holds_first() {
        let (words, meaning) = (rows(&[7, 2, 9]), rows(&[5, 2, 8]));
        assert_eq!(order(&[&words, &meaning]), [2, 5, 7, 8, 9]);
        let fused = reciprocal_rank(&[&words, &meaning], 60.0);
        assert_eq!(fused.first(), Some(&(RowId(2), 2.0 / 62.0)));
    }

    fn lists() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(0u32..30, 0..20), 0..5)
    }

    proptest! {
        #[test]
        fn every_row_comes_once_best_first_whatever_the_lists_order(lists in lists(), constant in -5.0f64..100.0) {
            let lists: Vec<Vec<RowId>> = lists.iter().map(|list| rows(list)).collect();
            let forward: Vec<&[RowId]> = lists.iter().map(Vec::as_slice).collect();
            let backward: Vec<&[RowId]> = lists.iter().rev().map(Vec::as_slice).collect();
            let fused = reciprocal_rank(&forward, constant);
            let expected: BTreeSet<RowId> = lists.iter().flatten().copied().collect();
            prop_assert_eq!(fused.iter().map(|(row, _)| *row).collect::<BTreeSet<_>>(), expected.clone());
            prop_assert_eq!(fused.len(), expected.len());
            prop_assert!(fused.windows(2).all(|pair| pair[0].1 > pair[1].1
                || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0)));
            for ((_, a), (_, b)) in fused.iter().zip(reciprocal_rank(&backward, constant)) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }

        #[test]
        fn one_list_keeps_its_order(list in prop::collection::btree_set(0u32..99, 0..40), turn in 0usize..40) {
            let mut list: Vec<u32> = list.into_iter().collect();
            let turn = turn.min(list.len());
            list.rotate_left(turn);
            prop_assert_eq!(order(&[&rows(&list)]), list);
        }
    }
}
