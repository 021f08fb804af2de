//! Patients with a passage near enough, and what their nearest passages vote for: by a scan of every passage, never
//! through a graph, since what a walk finds depends on other patients' rows.
//!
//! A patient counts once, by the nearest of their passages; votes go to one cell. So one patient more or less changes
//! one count by one, which is what the noise hides.

use std::collections::HashMap;

use consilium_search::vector::RowId;

/// The nearest passage of each patient that is at least `nearness` near, as a scan goes by.
#[derive(Debug)]
pub struct Nearest {
    nearness: f32,
    by_patient: HashMap<u32, (f32, RowId)>,
}

impl Nearest {
    /// `nearness` is a cosine in hundredths.
    #[must_use]
    pub fn of(nearness: u8) -> Self {
        Self {
            nearness: f32::from(nearness) / 100.0,
            by_patient: HashMap::new(),
        }
    }

    /// One passage of a patient.
    pub fn see(&mut self, patient: u32, row: RowId, similarity: f32) {
        if similarity < self.nearness {
            return;
        }
        let nearest = self.by_patient.entry(patient).or_insert((similarity, row));
        // Of two that are equally near, the one that was taken in first.
        if similarity > nearest.0 || (similarity >= nearest.0 && row < nearest.1) {
            *nearest = (similarity, row);
        }
    }

    /// Patients with such a passage.
    #[must_use]
    pub fn patients(&self) -> u64 {
        self.by_patient.len() as u64
    }

    /// How many patients' nearest passage bears each candidate. One that bears several votes for the first of them.
    #[must_use]
    pub fn votes(&self, candidates: usize, bears: impl Fn(usize, RowId) -> bool) -> Vec<u64> {
        let mut votes = vec![0; candidates];
        for (_, row) in self.by_patient.values() {
            let first = (0..candidates).find(|candidate| bears(*candidate, *row));
            if let Some(count) = first.and_then(|candidate| votes.get_mut(candidate)) {
                *count += 1;
            }
        }
        votes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_patient_counts_once_and_votes_by_the_nearest_passage() {
        let mut nearest = Nearest::of(50);
        for (patient, row, similarity) in [(1, 0, 0.6), (1, 1, 0.8), (2, 2, 0.5), (3, 3, 0.49)] {
            nearest.see(patient, RowId(row), similarity);
        }
        assert_eq!(nearest.patients(), 2);
        // Row 1 bears both, and has one vote.
        let bears = |candidate: usize, row: RowId| match candidate {
            0 => row.0 <= 1,
            _ => row.0 >= 1,
        };
        assert_eq!(nearest.votes(2, bears), [1, 1]);
    }

    proptest! {
        /// One patient more or less moves the counts by one at most, whatever their passages are.
        #[test]
        fn one_patient_is_one_vote(
            seen in proptest::collection::vec((0_u32..8, 0.0_f32..1.0), 0..60),
            without in 0_u32..8,
        ) {
            let tally = |leaves_out: Option<u32>| {
                let mut nearest = Nearest::of(40);
                for (row, (patient, similarity)) in (0..).zip(&seen) {
                    if Some(*patient) != leaves_out {
                        nearest.see(*patient, RowId(row), *similarity);
                    }
                }
                (nearest.patients(), nearest.votes(3, |candidate, row| row.0 as usize % 3 == candidate))
            };
            let ((all, all_votes), (fewer, fewer_votes)) = (tally(None), tally(Some(without)));
            prop_assert!(all - fewer <= 1);
            let moved: u64 = all_votes.iter().zip(&fewer_votes).map(|(a, b)| a.abs_diff(*b)).sum();
            prop_assert!(moved <= 1);
        }
    }
}
