//! The exact laws, and how far a tally of draws may be from them.

use std::collections::BTreeMap;

/// The standard normal's upper quantile at 1e-6.
const Z: f64 = 4.753_424;
/// Cells of a χ² test expect at least this many draws.
const EXPECTED_MIN: f64 = 25.0;

/// The χ² statistic of `drawn` against `law`, over the limit for its degrees of freedom: above 1, the build is wrong.
fn chi_square_over_limit<T: Ord>(drawn: &BTreeMap<T, u64>, law: &BTreeMap<T, f64>) -> f64 {
    let draws: u64 = drawn.values().sum();
    let (mut statistic, mut cells) = (0.0, 0_u32);
    let (mut rare_drawn, mut rare_expected) = (0.0, 0.0);
    let mut named = 0;
    for (outcome, probability) in law {
        let count = drawn.get(outcome).copied().unwrap_or(0);
        named += count;
        let expected = probability * draws as f64;
        if expected < EXPECTED_MIN {
            rare_drawn += count as f64;
            rare_expected += expected;
        } else {
            statistic += (count as f64 - expected).powi(2) / expected;
            cells += 1;
        }
    }
    // What the law leaves out belongs to the rare outcomes.
    rare_drawn += (draws - named) as f64;
    rare_expected += (1.0 - law.values().sum::<f64>()).max(0.0) * draws as f64;
    if rare_expected >= EXPECTED_MIN {
        statistic += (rare_drawn - rare_expected).powi(2) / rare_expected;
        cells += 1;
    } else if rare_drawn > rare_expected + 6.0 * rare_expected.sqrt() + 10.0 {
        // Too few are expected for a cell, and far too many came.
        return f64::INFINITY;
    }
    assert!(cells >= 2, "a test of one outcome tests nothing");
    let freedom = f64::from(cells - 1);
    // Wilson and Hilferty 1931.
    let spread = 2.0 / (9.0 * freedom);
    statistic / (freedom * (1.0 - spread + Z * spread.sqrt()).powi(3))
}

pub(crate) fn tally<T: Ord>(draws: impl IntoIterator<Item = T>) -> BTreeMap<T, u64> {
    let mut drawn = BTreeMap::new();
    for draw in draws {
        *drawn.entry(draw).or_insert(0) += 1;
    }
    drawn
}

/// A law on whole numbers around `centre` with these weights, made to sum to one.
fn law_around(centre: i64, reach: i64, weight: impl Fn(f64) -> f64) -> BTreeMap<i64, f64> {
    let total: f64 = (-reach..=reach).map(|x| weight(x as f64)).sum();
    (-reach..=reach)
        .map(|x| (centre + x, weight(x as f64) / total))
        .collect()
}

pub(crate) fn laplace_law(centre: i64, scale: f64) -> BTreeMap<i64, f64> {
    law_around(centre, (scale * 60.0) as i64 + 10, |x| {
        (-x.abs() / scale).exp()
    })
}

pub(crate) fn gaussian_law(centre: i64, sigma: f64) -> BTreeMap<i64, f64> {
    let weight = |x: f64| (-x * x / (2.0 * sigma * sigma)).exp();
    law_around(centre, (sigma * 15.0) as i64 + 10, weight)
}

pub(crate) fn assert_right<T: Ord>(drawn: &BTreeMap<T, u64>, law: &BTreeMap<T, f64>) {
    let over = chi_square_over_limit(drawn, law);
    assert!(over < 1.0, "χ² is {over:.2} times its limit");
}

pub(crate) fn assert_caught<T: Ord>(drawn: &BTreeMap<T, u64>, law: &BTreeMap<T, f64>) {
    let over = chi_square_over_limit(drawn, law);
    assert!(over > 1.0, "χ² is only {over:.2} times its limit");
}

/// The standard normal's mass between `a` and `b`, by Simpson's rule.
pub(crate) fn normal_between(a: f64, b: f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let pieces = 200;
    let width = (b - a) / f64::from(pieces);
    let weights = (0..=pieces).map(|i| {
        let weight = match i {
            0 => 1.0,
            i if i == pieces => 1.0,
            i if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * density(a + f64::from(i) * width)
    });
    weights.sum::<f64>() * width / 3.0
}

/// Twenty slices of equal mass of a Laplace law of the given scale: the slice of `x`.
pub(crate) fn laplace_slice(x: f64, scale: f64) -> i64 {
    let below = if x < 0.0 {
        (x / scale).exp() / 2.0
    } else {
        1.0 - (-x / scale).exp() / 2.0
    };
    (below * 20.0).floor().min(19.0) as i64
}
