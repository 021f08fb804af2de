//! Figures over seeds: scores by hospital, their means and spreads. Pure.

use serde_json::{Value, json};

/// How a model does on one hospital's test rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Share that is right at a probability of 0.5.
    pub(super) accuracy: f64,
    /// Area under the ROC curve.
    pub(super) auc: Option<f64>,
}

/// A figure that was measured once for each seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    each: Vec<f64>,
}

impl Spread {
    /// Of these measurements.
    #[must_use]
    pub(super) fn of(each: Vec<f64>) -> Self {
        Self { each }
    }

    /// Zero of none.
    #[must_use]
    pub(super) fn mean(&self) -> f64 {
        mean(self.each.iter().copied())
    }

    /// The population standard deviation, as FLamby's table has it.
    #[must_use]
    pub(super) fn sd(&self) -> f64 {
        let mean = self.mean();
        self::mean(self.each.iter().map(|value| (value - mean).powi(2))).sqrt()
    }

    /// `.7953 ± .0025`, or without a spread where there is one measurement.
    #[must_use]
    pub(super) fn words(&self) -> String {
        match self.each.len() {
            0 => "–".to_owned(),
            1 => short(self.mean()),
            _ => format!("{} ± {}", short(self.mean()), short(self.sd())),
        }
    }

    /// Mean, spread and every measurement; null where nothing was measured.
    #[must_use]
    pub(super) fn json(&self) -> Value {
        if self.each.is_empty() {
            return Value::Null;
        }
        json!({ "mean": self.mean(), "sd": self.sd(), "per_seed": self.each })
    }
}

/// A share without its leading zero, to four places; 1 keeps its own.
#[must_use]
pub(super) fn short(share: f64) -> String {
    let text = format!("{share:.4}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

/// One method: by seed, a score for each hospital in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Method {
    pub(super) name: String,
    by_seed: Vec<Vec<Score>>,
}

impl Method {
    /// A method's scores by seed.
    #[must_use]
    pub(super) fn new(name: impl Into<String>, by_seed: Vec<Vec<Score>>) -> Self {
        Self {
            name: name.into(),
            by_seed,
        }
    }

    /// Accuracy at the hospital of this number.
    #[must_use]
    pub(super) fn accuracy(&self, hospital: usize) -> Spread {
        self.over_seeds(|scores| scores.get(hospital).map(|score| score.accuracy))
    }

    /// AUC at the hospital of this number.
    #[must_use]
    pub(super) fn auc(&self, hospital: usize) -> Spread {
        self.over_seeds(|scores| scores.get(hospital).and_then(|score| score.auc))
    }

    /// Mean accuracy of the hospitals, each counting the same.
    #[must_use]
    pub(super) fn mean(&self) -> Spread {
        self.over_seeds(|scores| Some(mean(scores.iter().map(|score| score.accuracy))))
    }

    /// Mean accuracy, each hospital counting by its test rows.
    #[must_use]
    pub(super) fn weighted(&self, test_rows: &[u64]) -> Spread {
        let all: u64 = test_rows.iter().sum();
        self.over_seeds(|scores| {
            let right: f64 = scores
                .iter()
                .zip(test_rows)
                .map(|(score, rows)| score.accuracy * *rows as f64)
                .sum();
            Some(right / all.max(1) as f64)
        })
    }

    /// Mean AUC of the hospitals that have one.
    #[must_use]
    pub(super) fn auc_mean(&self) -> Spread {
        self.over_seeds(|scores| {
            let known: Vec<f64> = scores.iter().filter_map(|score| score.auc).collect();
            (!known.is_empty()).then(|| mean(known.iter().copied()))
        })
    }

    fn over_seeds(&self, figure: impl Fn(&[Score]) -> Option<f64>) -> Spread {
        Spread::of(
            self.by_seed
                .iter()
                .filter_map(|scores| figure(scores))
                .collect(),
        )
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(accuracies: [f64; 2], aucs: [Option<f64>; 2]) -> Vec<Score> {
        accuracies
            .into_iter()
            .zip(aucs)
            .map(|(accuracy, auc)| Score { accuracy, auc })
            .collect()
    }

    #[test]
    fn figures_are_means_over_seeds_of_means_over_hospitals() {
        let method = Method::new(
            "m",
            vec![
                scores([0.5, 1.0], [Some(0.6), None]),
                scores([0.7, 0.8], [Some(0.8), Some(0.9)]),
            ],
        );
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(method.accuracy(0).mean(), 0.6);
        close(method.accuracy(0).sd(), 0.1);
        close(method.mean().mean(), 0.75);
        close(method.weighted(&[3, 1]).mean(), (0.625 + 0.725) / 2.0);
        close(method.auc(1).mean(), 0.9);
        close(method.auc_mean().mean(), (0.6 + 0.85) / 2.0);
        assert_eq!(method.accuracy(9).words(), "–");
    }

    #[test]
    fn a_figure_is_written_as_the_published_table_writes_it() {
        assert_eq!(Spread::of(vec![0.79, 0.8]).words(), ".7950 ± .0050");
        assert_eq!(Spread::of(vec![0.5]).words(), ".5000");
        assert_eq!(short(1.0), "1.0000");
    }
}
