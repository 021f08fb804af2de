//! Answers of sites into the figures of the consortium.
//!
//! Cells add up, and so do the variances of their noise; the figure is made from the sums. Everything here works on
//! what has left already, and costs no more.
//!
//! An interval covers the true sum over the values that were given, in at least 95 of 100 cases: noise is unbiased,
//! and its quantile is at most [`LAPLACE_95`] standard deviations for any sum of Laplace noises (one alone has the
//! heaviest tail) and [`GAUSSIAN_95`] for Gaussian ones. Rounding adds half a step for each site. What a site kept
//! back is in no interval.

use std::collections::BTreeMap;

use consilium_protocol::SiteName;
use consilium_protocol::message::{ANSWER_CELLS_MAX, Figure, Noise, SiteAnswer};
use consilium_protocol::query::Statistic;
use consilium_protocol::query::statistic::{ABOVE, BELOW, MISSING, OTHER};

/// P(|X| ≤ b ln 20) = 0.95 for X of Laplace(b), whose standard deviation is b √2: ln 20 / √2.
pub const LAPLACE_95: f64 = 2.118_3;
/// The 97.5 % quantile of the standard normal distribution.
pub const GAUSSIAN_95: f64 = 1.959_97;

/// Beyond this no count, sum or scale of a hospital lies, and sums of squares stay finite.
const MAGNITUDE_MAX: f64 = 1e30;

/// Whether a site's answer is one to this statistic: as many cells as it has, or keys for each, with numbers that
/// can be added.
#[must_use]
pub fn fits(statistic: &Statistic, answer: &SiteAnswer) -> bool {
    let numbers = answer.values.iter().flatten().chain(&answer.scales);
    if !numbers
        .into_iter()
        .all(|number| number.abs() <= MAGNITUDE_MAX)
    {
        return false;
    }
    match statistic.keys() {
        Some(keys) => answer.keys.is_empty() && answer.values.len() == keys.len(),
        None => answer.keys.len() == answer.values.len(),
    }
}

/// The figures that answers make together. Every answer [`fits`].
#[must_use]
pub fn merge(statistic: &Statistic, answers: &BTreeMap<SiteName, SiteAnswer>) -> Vec<Figure> {
    if answers.is_empty() {
        return Vec::new();
    }
    let (keys, cells) = summed(statistic, answers);
    match statistic {
        Statistic::Count => vec![
            cells
                .first()
                .copied()
                .unwrap_or_default()
                .figure("patients"),
        ],
        Statistic::Mean { low, high, .. } => mean(&cells, *low, *high),
        Statistic::Quantile { probabilities, .. } => quantiles(&keys, &cells, probabilities),
        Statistic::Top { k, .. } => top(&keys, &cells, *k as usize),
        // Sketches are no tables: see `distinct`.
        Statistic::Distinct { .. } => Vec::new(),
        Statistic::Histogram { .. } => {
            let figures = keys.iter().zip(&cells).map(|(key, cell)| cell.figure(key));
            figures.collect()
        }
    }
}

/// One cell over all sites.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    /// Sites that gave a value.
    given: u32,
    suppressed: u32,
    variance: f64,
    has_laplace: bool,
    /// Half a step of rounding for each site that rounds.
    rounding: f64,
}

impl Sum {
    fn add(&mut self, value: Option<f64>, scale: f64, noise: Noise, rounding: u32) {
        let Some(value) = value else {
            self.suppressed += 1;
            return;
        };
        self.given += 1;
        self.value += value;
        match noise {
            // Coins are no noise of a table.
            Noise::None | Noise::Coins => {}
            Noise::Laplace => {
                self.variance += 2.0 * scale * scale;
                self.has_laplace = true;
            }
            Noise::Gaussian => self.variance += scale * scale,
        }
        // A step of 1 rounds nothing.
        if rounding > 1 {
            self.rounding += f64::from(rounding) / 2.0;
        }
    }

    fn quantile_95(&self) -> f64 {
        if self.has_laplace {
            LAPLACE_95
        } else {
            GAUSSIAN_95
        }
    }

    fn half_width(&self) -> f64 {
        self.quantile_95() * self.variance.sqrt() + self.rounding
    }

    fn figure(&self, name: &str) -> Figure {
        let half = self.half_width();
        let is_given = self.given > 0;
        Figure {
            name: name.to_owned(),
            value: is_given.then_some(self.value),
            low: if is_given { self.value - half } else { 0.0 },
            high: if is_given { self.value + half } else { 0.0 },
            suppressed_at: self.suppressed,
        }
    }
}

fn summed(
    statistic: &Statistic,
    answers: &BTreeMap<SiteName, SiteAnswer>,
) -> (Vec<String>, Vec<Sum>) {
    if let Some(keys) = statistic.keys() {
        let mut cells = vec![Sum::default(); keys.len()];
        for answer in answers.values() {
            let given = answer.values.iter().zip(&answer.scales);
            for (cell, (value, scale)) in cells.iter_mut().zip(given) {
                cell.add(*value, *scale, answer.noise, answer.rounding);
            }
        }
        return (keys, cells);
    }
    // Each site tells its own keys. Which ones it does not tell, nobody knows: the rare ones, or none.
    let mut named: BTreeMap<&str, Sum> = BTreeMap::new();
    for answer in answers.values() {
        let given = answer.values.iter().zip(&answer.scales);
        for (key, (value, scale)) in answer.keys.iter().zip(given) {
            let cell = named.entry(key).or_default();
            cell.add(*value, *scale, answer.noise, answer.rounding);
        }
    }
    let mut cells: Vec<(&str, Sum)> = named.into_iter().collect();
    cells.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
    cells.truncate(ANSWER_CELLS_MAX);
    cells
        .into_iter()
        .map(|(key, mut cell)| {
            // A site that names no such key has kept it back, as far as anybody can see.
            cell.suppressed = u32::try_from(answers.len()).unwrap_or(u32::MAX) - cell.given;
            (key.to_owned(), cell)
        })
        .unzip()
}

/// middle + S/N, with the variance of a ratio by the delta method:
/// (Var S + (S/N)² Var N) / N² (Casella and Berger 2002, Statistical Inference, 5.5.4).
fn mean(cells: &[Sum], low: f64, high: f64) -> Vec<Figure> {
    let (count, sum) = match cells {
        [count, sum] => (*count, *sum),
        _ => return Vec::new(),
    };
    let middle = low + (high - low) / 2.0;
    let patients = count.figure("patients");
    // With noise as large as the count itself, a quotient says nothing.
    let says_something = count.given > 0 && count.value >= 1.0 && count.value > count.half_width();
    let figure = if says_something {
        let distance = sum.value / count.value;
        let variance = sum.variance + distance * distance * count.variance;
        let half = count.quantile_95() * variance.sqrt() / count.value;
        let within = |value: f64| value.clamp(low, high);
        Figure {
            name: "mean".to_owned(),
            value: Some(within(middle + distance)),
            low: within(middle + distance - half),
            high: within(middle + distance + half),
            suppressed_at: count.suppressed,
        }
    } else {
        Figure {
            name: "mean".to_owned(),
            value: None,
            low,
            high,
            suppressed_at: count.suppressed,
        }
    };
    vec![figure, patients]
}

/// The smallest candidate at or below which a share `p` of all counted patients lies; and the candidates at which noise
/// leaves that open. Cells before a candidate count with weight 1 − p and those after it with −p, so the noise of
/// F(candidate) − p·N is that of one weighted sum.
fn quantiles(keys: &[String], cells: &[Sum], probabilities: &[f64]) -> Vec<Figure> {
    let suppressed_at = cells.iter().map(|cell| cell.suppressed).max().unwrap_or(0);
    let total: f64 = cells.iter().map(|cell| cell.value).sum();
    let variance: f64 = cells.iter().map(|cell| cell.variance).sum();
    let quantile_95 = cells.first().map_or(0.0, Sum::quantile_95);
    let rounding: f64 = cells.iter().map(|cell| cell.rounding).fold(0.0, f64::max);
    let candidates: Vec<f64> = keys.iter().filter_map(|key| key.parse().ok()).collect();
    let ends = candidates.first().copied().zip(candidates.last().copied());
    let (first, last) = ends.unwrap_or((0.0, 0.0));
    let is_given = cells.iter().any(|cell| cell.given > 0) && total >= 1.0;
    probabilities
        .iter()
        .map(|&p| {
            let (mut below, mut variance_below) = (0.0, 0.0);
            let (mut value, mut low, mut high) = (None, None, None);
            for (cell, &candidate) in cells.iter().zip(&candidates) {
                below += cell.value;
                variance_below += cell.variance;
                let excess = below - p * total;
                let noise = (1.0 - p).powi(2) * variance_below
                    + p * p * (variance - variance_below).max(0.0);
                let half = quantile_95 * noise.sqrt() + rounding;
                if excess >= 0.0 && value.is_none() {
                    value = Some(candidate);
                }
                if excess + half >= 0.0 && low.is_none() {
                    low = Some(candidate);
                }
                if excess - half >= 0.0 && high.is_none() {
                    high = Some(candidate);
                }
            }
            Figure {
                name: format!("p{p}"),
                value: is_given.then(|| value.unwrap_or(last)),
                low: low.unwrap_or(first),
                high: high.unwrap_or(last),
                suppressed_at,
            }
        })
        .collect()
}

fn top(keys: &[String], cells: &[Sum], k: usize) -> Vec<Figure> {
    let mut ranked: Vec<(&String, &Sum)> = keys
        .iter()
        .zip(cells)
        .filter(|(key, cell)| {
            cell.given > 0 && ![BELOW, ABOVE, OTHER, MISSING].contains(&key.as_str())
        })
        .collect();
    // Equal counts by name, so that the same answers rank the same.
    ranked.sort_by(|(a, x), (b, y)| y.value.total_cmp(&x.value).then_with(|| a.cmp(b)));
    let best = ranked.into_iter().take(k);
    best.map(|(key, cell)| cell.figure(key)).collect()
}

#[cfg(test)]
mod tests {
    use consilium_protocol::Digest;
    use consilium_protocol::query::{Bins, Cells};

    use super::*;

    fn answer(values: &[Option<f64>], scale: f64, noise: Noise, rounding: u32) -> SiteAnswer {
        SiteAnswer {
            keys: Vec::new(),
            values: values.to_vec(),
            scales: vec![scale; values.len()],
            noise,
            rounding,
            bundle: Digest([1; 32]),
        }
    }

    fn exact(values: &[f64]) -> SiteAnswer {
        let values: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
        answer(&values, 0.0, Noise::None, 0)
    }

    fn merged(statistic: &Statistic, answers: Vec<SiteAnswer>) -> Vec<Figure> {
        let sites = (0..).map(|n| format!("s{n}").parse().unwrap());
        let answers: BTreeMap<SiteName, SiteAnswer> = sites.zip(answers).collect();
        assert!(answers.values().all(|answer| fits(statistic, answer)));
        merge(statistic, &answers)
    }

    fn column() -> String {
        "age".into()
    }

    fn histogram() -> Statistic {
        Statistic::Histogram {
            column: column(),
            cells: Cells::Categories(vec!["0".into(), "1".into()]),
        }
    }

    #[test]
    fn counts_add_up_and_so_do_variances() {
        let noisy = |value| answer(&[Some(value)], 2.0, Noise::Laplace, 0);
        let figures = merged(&Statistic::Count, vec![noisy(100.0), noisy(-3.0)]);
        assert_eq!(figures.len(), 1);
        assert_eq!(
            (figures[0].name.as_str(), figures[0].value),
            ("patients", Some(97.0))
        );
        // Two noises of b = 2: a standard deviation of √(2·2·4) = 4.
        assert!((figures[0].high - 97.0 - LAPLACE_95 * 4.0).abs() < 1e-9);
        // One alone: b ln 20, as the distribution has it.
        let alone = merged(&Statistic::Count, vec![noisy(100.0)]);
        assert!((alone[0].high - 100.0 - 2.0 * 20_f64.ln()).abs() < 1e-3);
        assert!(merged(&Statistic::Count, vec![]).is_empty());
    }

    #[test]
    fn what_was_kept_back_is_said_and_rounding_widens() {
        let first = answer(&[Some(20.0), None, Some(0.0), None], 0.0, Noise::None, 5);
        let second = answer(&[Some(15.0), Some(10.0), None, None], 0.0, Noise::None, 5);
        let figures = merged(&histogram(), vec![first, second]);
        let seen = |at: usize| {
            let figure: &Figure = &figures[at];
            (figure.value, figure.low, figure.high, figure.suppressed_at)
        };
        assert_eq!(seen(0), (Some(35.0), 30.0, 40.0, 0));
        assert_eq!(seen(1), (Some(10.0), 7.5, 12.5, 1));
        assert_eq!(seen(3), (None, 0.0, 0.0, 2));
        assert_eq!(figures[2].name, OTHER);
    }

    #[test]
    fn a_mean_is_that_of_all_patients_and_not_of_sites() {
        let statistic = Statistic::Mean {
            column: column(),
            low: 0.0,
            high: 100.0,
        };
        // 10 patients of 60, 90 patients of 40: distances from 50 are 100 and -900.
        let figures = merged(
            &statistic,
            vec![exact(&[10.0, 100.0]), exact(&[90.0, -900.0])],
        );
        assert_eq!(
            (figures[0].name.as_str(), figures[0].value),
            ("mean", Some(42.0))
        );
        assert_eq!(figures[1].value, Some(100.0));
        // Noise as large as the count: no mean, and the interval is all that the bounds say.
        let lost = answer(&[Some(3.0), Some(50.0)], 20.0, Noise::Laplace, 0);
        let figures = merged(&statistic, vec![lost]);
        assert_eq!(
            (figures[0].value, figures[0].low, figures[0].high),
            (None, 0.0, 100.0)
        );
    }

    #[test]
    fn a_quantile_is_that_of_the_sum() {
        let statistic = Statistic::Quantile {
            column: column(),
            probabilities: vec![0.0, 0.25, 0.5, 1.0],
            low: 0.0,
            high: 40.0,
            step: 10.0,
        };
        let figures = merged(
            &statistic,
            vec![
                exact(&[0.0, 4.0, 0.0, 0.0, 0.0]),
                exact(&[0.0, 0.0, 0.0, 12.0, 0.0]),
            ],
        );
        let values: Vec<Option<f64>> = figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [Some(0.0), Some(10.0), Some(30.0), Some(30.0)]);
        assert_eq!(figures[2].name, "p0.5");
        // With noise the interval holds the value, and several candidates.
        let noisy = [0.0, 40.0, 30.0, 20.0, 10.0].map(Some);
        let figures = merged(&statistic, vec![answer(&noisy, 8.0, Noise::Laplace, 0)]);
        let median = &figures[2];
        assert_eq!(median.value, Some(20.0));
        assert!(median.low < 20.0 && median.high > 20.0, "{median:?}");
    }

    #[test]
    fn the_ranking_is_by_the_sum() {
        let statistic = Statistic::Top {
            column: column(),
            k: 2,
            candidates: vec!["a".into(), "b".into(), "c".into()],
        };
        // Nobody's first is everybody's second.
        let figures = merged(
            &statistic,
            vec![exact(&[10.0, 9.0, 0.0]), exact(&[0.0, 9.0, 10.0])],
        );
        let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn unknown_keys_are_those_that_sites_tell() {
        let statistic = Statistic::Histogram {
            column: column(),
            cells: Cells::Unknown,
        };
        let named = |keys: &[&str], values: &[f64]| SiteAnswer {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..exact(values)
        };
        let figures = merged(
            &statistic,
            vec![
                named(&["flu", "cold"], &[30.0, 12.0]),
                named(&["cold"], &[25.0]),
            ],
        );
        let seen: Vec<_> = figures
            .iter()
            .map(|f| (f.name.as_str(), f.value, f.suppressed_at))
            .collect();
        assert_eq!(seen, [("cold", Some(37.0), 0), ("flu", Some(30.0), 1)]);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        let bins = Statistic::Histogram {
            column: column(),
            cells: Cells::Bins(Bins {
                low: 0.0,
                high: 10.0,
                width: 5.0,
            }),
        };
        assert!(fits(&bins, &exact(&[1.0; 5])));
        assert!(!fits(&bins, &exact(&[1.0; 4])));
        assert!(!fits(&Statistic::Count, &exact(&[1.0, 2.0])));
        assert!(!fits(&Statistic::Count, &exact(&[1e31])));
        let keyed = SiteAnswer {
            keys: vec!["x".into()],
            ..exact(&[1.0])
        };
        assert!(!fits(&Statistic::Count, &keyed));
    }
}
