//! How well an attacker's score tells two groups apart.

/// Scores of those who are in the data, and of those who are not.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    pub(crate) members: Vec<f64>,
    pub(crate) others: Vec<f64>,
}

impl Scores {
    /// The area under the ROC curve: how often a member's score is above another's, a tie counting half (Mann and
    /// Whitney 1947).
    pub(crate) fn auc(&self) -> f64 {
        let above: f64 = self
            .members
            .iter()
            .flat_map(|member| self.others.iter().map(move |other| (member, other)))
            .map(|(member, other)| match member.total_cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum();
        above / (self.members.len() * self.others.len()) as f64
    }

    /// The standard error of [`Self::auc`] where the groups are alike; near one half it is the largest there is.
    pub(crate) fn standard_error(&self) -> f64 {
        let (m, n) = (self.members.len() as f64, self.others.len() as f64);
        ((m + n + 1.0) / (12.0 * m * n)).sqrt()
    }

    /// Members whom the attacker finds when he is wrong about one other of a hundred.
    pub(crate) fn found_at_one_percent(&self) -> f64 {
        let mut others = self.others.clone();
        others.sort_by(|a, b| b.total_cmp(a));
        let at = others.len() / 100;
        let above = others.get(at).copied().unwrap_or(f64::INFINITY);
        let found = self.members.iter().filter(|score| **score > above).count();
        found as f64 / self.members.len() as f64
    }

    /// Whether the true area may be `bound`: what was measured is above it by less than three standard errors, which
    /// happens by chance in all but one of 700 runs.
    pub(crate) fn may_be_at_most(&self, bound: f64) -> bool {
        self.auc() <= bound + 3.0 * self.standard_error()
    }

    /// Prints a row, past the harness's capture where it captures.
    pub(crate) fn tell(&self, what: &str) {
        tell(&format!(
            "{what:<44} AUC {:.3} ± {:.3}, TPR at 1 % FPR {:.3} (n = {} + {})",
            self.auc(),
            self.standard_error(),
            self.found_at_one_percent(),
            self.members.len(),
            self.others.len()
        ));
    }
}

/// Prints a row of what was measured.
pub(crate) fn tell(row: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "measured  {row}").ok();
}

/// The two-sample test of Kolmogorov and Smirnov: its statistic and the p-value of the asymptotic distribution
/// (Stephens 1970).
pub(crate) fn kolmogorov_smirnov(one: &[f64], other: &[f64]) -> (f64, f64) {
    let (mut a, mut b) = (one.to_vec(), other.to_vec());
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let share = |of: &[f64], upto: f64| of.partition_point(|x| *x <= upto) as f64 / of.len() as f64;
    let greatest = a
        .iter()
        .chain(&b)
        .map(|x| (share(&a, *x) - share(&b, *x)).abs())
        .fold(0.0, f64::max);
    let effective = ((a.len() * b.len()) as f64 / (a.len() + b.len()) as f64).sqrt();
    let at = (effective + 0.12 + 0.11 / effective) * greatest;
    if at < 0.2 {
        return (greatest, 1.0);
    }
    let p: f64 = (1..=100)
        .map(|k| {
            let k = f64::from(k);
            let sign = if k as u32 % 2 == 1 { 1.0 } else { -1.0 };
            2.0 * sign * (-2.0 * k * k * at * at).exp()
        })
        .sum();
    (greatest, p.clamp(0.0, 1.0))
}

#[test]
fn figures_are_what_they_say() {
    let scores = Scores {
        members: vec![3.0, 2.0, 2.0, 5.0],
        others: vec![2.0, 1.0],
    };
    // Of eight pairs six are won and two are ties.
    assert!((scores.auc() - 7.0 / 8.0).abs() < 1e-12);
    let apart = Scores {
        members: vec![1.0; 200],
        others: vec![0.0; 200],
    };
    assert!(apart.auc() > 0.999 && apart.found_at_one_percent() > 0.999);
    assert!(!apart.may_be_at_most(0.6));
    let line: Vec<f64> = (0..200).map(f64::from).collect();
    let shifted: Vec<f64> = line.iter().map(|x| x + 60.0).collect();
    assert!(kolmogorov_smirnov(&line, &line).1 > 0.99);
    // D = 0.3 of 200 and 200: p = 2 exp(-2 (3.012 · …)²), far below 1 in 10,000.
    assert!(kolmogorov_smirnov(&line, &shifted).1 < 1e-4);
}
