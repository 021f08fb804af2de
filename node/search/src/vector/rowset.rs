//! Row numbers, and sets of them: what a filter, a consent or an erasure is made of.

use super::limits::ROW_ID_END;

/// The number that the site's catalogue gave to a passage. Ascending, and never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// A set of rows, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every row below `end`.
    #[must_use]
    pub fn below(end: u32) -> Self {
        let end = end.min(ROW_ID_END);
        let mut words = vec![u64::MAX; end as usize / 64];
        if !end.is_multiple_of(64) {
            words.push((1 << (end % 64)) - 1);
        }
        Self { words }
    }

    /// Puts a row in; true when it was not there. A row that no index can hold is left out.
    pub fn insert(&mut self, row: RowId) -> bool {
        if row.0 >= ROW_ID_END {
            return false;
        }
        let (at, bit) = place(row);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let Some(word) = self.words.get_mut(at) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a row out; true when it was there.
    pub fn remove(&mut self, row: RowId) -> bool {
        let (at, bit) = place(row);
        let Some(word) = self.words.get_mut(at) else {
            return false;
        };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    #[inline]
    #[must_use]
    pub fn contains(&self, row: RowId) -> bool {
        let (at, bit) = place(row);
        self.words.get(at).is_some_and(|word| word & bit != 0)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Leaves only what is in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        let pairs = self.words.iter_mut().zip(&other.words);
        pairs.for_each(|(word, other)| *word &= other);
    }

    /// Takes out what is in `other`.
    pub fn subtract(&mut self, other: &Self) {
        let pairs = self.words.iter_mut().zip(&other.words);
        pairs.for_each(|(word, other)| *word &= !other);
    }

    /// The rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(at, word)| bits(*word).map(move |bit| RowId(at as u32 * 64 + bit)))
    }

    /// The words that hold the rows `first` to `last`, each with the number of its first row, and cut to them.
    pub(super) fn words_within(
        &self,
        first: u32,
        last: u32,
    ) -> impl Iterator<Item = (u32, u64)> + '_ {
        let (from, to) = (first as usize / 64, last as usize / 64);
        let held = self
            .words
            .get(from..self.words.len().min(to + 1))
            .unwrap_or_default();
        held.iter().enumerate().map(move |(nth, word)| {
            let start = (from + nth) as u32 * 64;
            let mut word = *word;
            if start < first {
                word &= u64::MAX << (first - start);
            }
            if last - start < 63 {
                word &= (1 << (last - start + 1)) - 1;
            }
            (start, word)
        })
    }
}

impl FromIterator<RowId> for RowSet {
    fn from_iter<I: IntoIterator<Item = RowId>>(rows: I) -> Self {
        let mut set = Self::new();
        for row in rows {
            set.insert(row);
        }
        set
    }
}

/// The rows that one search may return: those of the filter, where there is one, less the erased.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed<'a> {
    pub(super) of: Option<&'a RowSet>,
    pub(super) erased: Option<&'a RowSet>,
}

impl Allowed<'_> {
    #[inline]
    pub(super) fn admits(&self, row: u32) -> bool {
        self.of.is_none_or(|set| set.contains(RowId(row)))
            && self.erased.is_none_or(|set| !set.contains(RowId(row)))
    }

    pub(super) fn is_everything(&self) -> bool {
        self.of.is_none() && self.erased.is_none()
    }

    /// How many rows of `first..=last` it allows, when the segment holds `present` rows there. Exact when the segment
    /// has no gaps, and never too small.
    pub(super) fn count_within(&self, first: u32, last: u32, present: usize) -> usize {
        let allowed: usize = match (self.of, self.erased) {
            (None, None) => present,
            (None, Some(erased)) => present.saturating_sub(
                erased
                    .words_within(first, last)
                    .map(|(_, word)| word.count_ones() as usize)
                    .sum(),
            ),
            (Some(of), _) => self
                .filtered_words(of, first, last)
                .map(|(_, word)| word.count_ones() as usize)
                .sum(),
        };
        allowed.min(present)
    }

    /// The words of the filter between two rows, less the erased.
    pub(super) fn filtered_words<'a>(
        &'a self,
        of: &'a RowSet,
        first: u32,
        last: u32,
    ) -> impl Iterator<Item = (u32, u64)> + 'a {
        of.words_within(first, last).map(|(start, word)| {
            let erased = self
                .erased
                .and_then(|set| set.words.get(start as usize / 64));
            (start, word & !erased.copied().unwrap_or(0))
        })
    }
}

/// The set bits of a word, lowest first.
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        (bit < 64).then(|| {
            word &= word - 1;
            bit
        })
    })
}

fn place(row: RowId) -> (usize, u64) {
    (row.0 as usize / 64, 1 << (row.0 % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_below_an_end_is_in_and_no_other() {
        for end in [0, 1, 63, 64, 65, 128] {
            let set = RowSet::below(end);
            assert_eq!(set.len(), end as usize);
            assert!(!set.contains(RowId(end)));
        }
    }

    proptest! {
        #[test]
        fn a_row_set_is_a_set(rows in prop::collection::btree_set(0u32..700, 0..80), cut in (0u32..800, 0u32..800)) {
            let set: RowSet = rows.iter().copied().map(RowId).collect();
            let (first, last) = (cut.0.min(cut.1), cut.0.max(cut.1));
            let within: BTreeSet<u32> = set
                .words_within(first, last)
                .flat_map(|(start, word)| bits(word).map(move |bit| start + bit))
                .collect();
            prop_assert_eq!(within, rows.range(first..=last).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(set.iter().map(|row| row.0).collect::<Vec<_>>(), rows.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn sets_are_cut_as_sets_are(
            a in prop::collection::btree_set(0u32..300, 0..60),
            b in prop::collection::btree_set(0u32..300, 0..60),
        ) {
            let set = |rows: &BTreeSet<u32>| rows.iter().copied().map(RowId).collect::<RowSet>();
            let (mut both, mut rest) = (set(&a), set(&a));
            both.intersect(&set(&b));
            rest.subtract(&set(&b));
            prop_assert!(both.iter().map(|row| row.0).eq(a.intersection(&b).copied()));
            prop_assert!(rest.iter().map(|row| row.0).eq(a.difference(&b).copied()));
        }
    }
}
