//! What is measured of a ranking and of a time. Pure.

use std::time::Duration;

use serde_json::{Value, json};

/// How many hits count.
pub(super) const DEPTH: usize = 10;

/// How well known items were found, over many questions with one right answer each.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Quality {
    questions: usize,
    first: usize,
    among_ten: usize,
    gain: f64,
}

impl Quality {
    /// One question more; `place` is that of its own answer, from 0, where it was found at all.
    pub(super) fn add(&mut self, place: Option<usize>) {
        self.questions += 1;
        let Some(place) = place.filter(|place| *place < DEPTH) else {
            return;
        };
        self.first += usize::from(place == 0);
        self.among_ten += 1;
        // One document is right, so the ideal gain is 1 and nDCG is 1 / log2(rank + 1), rank from 1.
        self.gain += 1.0 / (place as f64 + 2.0).log2();
    }

    pub(super) fn questions(&self) -> usize {
        self.questions
    }

    /// Share of questions whose own answer came first.
    pub(super) fn recall_1(&self) -> f64 {
        self.share(self.first as f64)
    }

    /// Share of questions whose own answer was among the first ten.
    pub(super) fn recall_10(&self) -> f64 {
        self.share(self.among_ten as f64)
    }

    pub(super) fn ndcg_10(&self) -> f64 {
        self.share(self.gain)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "questions": self.questions,
            "recall_1": self.recall_1(),
            "recall_10": self.recall_10(),
            "ndcg_10": self.ndcg_10(),
        })
    }

    fn share(&self, sum: f64) -> f64 {
        sum / self.questions.max(1) as f64
    }
}

/// Where a document is in a ranking.
#[must_use]
pub(super) fn place_of(id: &str, found: &[String]) -> Option<usize> {
    found.iter().position(|one| one == id)
}

/// Times of many searches.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The least time that so many of a hundred searches did not exceed, in milliseconds (nearest rank).
    pub(super) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        let time = self.0.get(rank - 1).copied().unwrap_or_default();
        time.as_secs_f64() * 1000.0
    }

    pub(super) fn json(&self) -> Value {
        json!({ "searches": self.0.len(), "p50_ms": self.percentile_ms(50), "p99_ms": self.percentile_ms(99) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_item_counts_by_its_place() {
        let mut quality = Quality::default();
        for place in [Some(0), Some(2), Some(9), Some(10), None] {
            quality.add(place);
        }
        assert!((quality.recall_1() - 0.2).abs() < 1e-12);
        assert!((quality.recall_10() - 0.6).abs() < 1e-12);
        let gain = 1.0 + 0.5 + 1.0 / 11_f64.log2();
        assert!((quality.ndcg_10() - gain / 5.0).abs() < 1e-12);
        assert!(Quality::default().ndcg_10().abs() < 1e-12);
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert!((times.percentile_ms(50) - 100.0).abs() < 1e-9);
        assert!((times.percentile_ms(99) - 198.0).abs() < 1e-9);
        assert!((Times::of(vec![Duration::from_millis(3)]).percentile_ms(99) - 3.0).abs() < 1e-9);
    }
}
