//! Each mechanism of the crate, drawn from many times.

use std::collections::BTreeMap;

use consilium_privacy::Cost;
use consilium_privacy::mechanism::{
    Bounds, Contribution, gaussian_vector, noisy_count, noisy_count_cost, noisy_counts,
    noisy_histogram, noisy_histogram_threshold, noisy_mean, noisy_quantile, noisy_sum, noisy_top_k,
};

use crate::laws::{
    assert_caught, assert_right, gaussian_law, laplace_law, laplace_slice, normal_between, tally,
};

#[test]
fn counts_at_a_pure_price_have_laplace_noise() {
    let twice = Contribution::times(2).unwrap();
    let (noisy, cost) = noisy_counts(&[1_000; 60_000], twice, &Cost::pure(0.5).unwrap()).unwrap();
    assert_eq!(cost, Cost::pure(0.5).unwrap());
    let drawn = tally(noisy);
    assert_right(&drawn, &laplace_law(1_000, 4.0));
    assert_caught(&drawn, &laplace_law(1_000, 2.0));
    // A tenth too narrow is seen as well.
    assert_caught(&drawn, &laplace_law(1_000, 3.6));
}

#[test]
fn counts_at_a_zcdp_price_have_gaussian_noise() {
    // 4 counts of 3 each: an L2 distance of 6. ρ = (6/σ)²/2.
    let patient = Contribution::new(4, 3).unwrap();
    let price = Cost::zcdp(0.72).unwrap();
    let (noisy, cost) = noisy_counts(&[50; 40_000], patient, &price).unwrap();
    assert_eq!(cost, price);
    let drawn = tally(noisy);
    assert_right(&drawn, &gaussian_law(50, 5.0));
    assert_caught(&drawn, &gaussian_law(50, 2.5));
}

#[test]
fn one_count_is_as_noisy_as_many() {
    let price = Cost::pure(1.0).unwrap();
    let draws = (0..8_000).map(|_| noisy_count(3, Contribution::ONCE, &price).unwrap().0);
    let drawn = tally(draws);
    assert_right(&drawn, &laplace_law(3, 1.0));
    assert_caught(&drawn, &laplace_law(3, 0.5));
}

#[test]
fn vectors_have_discrete_gaussian_noise() {
    // 2.5 times a sensitivity of 3.1 is 7.75, rounded up to whole steps. To tell the two apart takes so many draws: of
    // 40,000, one run in seven did not.
    let (noisy, cost) = gaussian_vector(&vec![-7; 160_000], 3.1, 2.5).unwrap();
    let Cost::Zcdp { rho_pico } = cost else {
        panic!("a Gaussian costs ρ");
    };
    let rho = (3.1_f64 / 8.0).powi(2) / 2.0;
    assert!((rho_pico as f64 - rho * 1e12).abs() <= 2.0);
    let drawn = tally(noisy);
    assert_right(&drawn, &gaussian_law(-7, 8.0));
    assert_caught(&drawn, &gaussian_law(-7, 4.0));
    assert_caught(&drawn, &gaussian_law(-7, 7.75));
}

#[test]
fn wide_vectors_have_gaussian_noise_too() {
    let sigma = 3_000_000.0;
    let (noisy, _) = gaussian_vector(&vec![0; 20_000], 1_000_000.0, 3.0).unwrap();
    // In 24 slices of half a standard deviation, the law is the continuous one to 1e-7.
    let slice = |x: f64| (x / sigma * 2.0).floor() as i64;
    let drawn = tally(noisy.iter().map(|x| slice(*x as f64)));
    let law: BTreeMap<i64, f64> = (-12..12)
        .map(|i| (i, normal_between(i as f64 / 2.0, (i + 1) as f64 / 2.0)))
        .collect();
    assert_right(&drawn, &law);
    let half: BTreeMap<i64, f64> = (-12..12)
        .map(|i| (i, normal_between(i as f64, (i + 1) as f64)))
        .collect();
    assert_caught(&drawn, &half);
}

#[test]
fn a_histogram_shows_a_lone_patients_key_no_more_often_than_its_delta() {
    let delta = 0.02;
    let price = Cost::approximate(1.0, delta).unwrap();
    let threshold = noisy_histogram_threshold(Contribution::ONCE, &price).unwrap();
    // By the law: the least threshold that a count of one reaches with probability δ at most.
    let reaches = |threshold: i64| {
        laplace_law(1, 1.0)
            .range(threshold..)
            .map(|(_, probability)| probability)
            .sum::<f64>()
    };
    assert!(reaches(threshold) <= delta);
    assert!(reaches(threshold - 1) > delta, "a lower one would do");

    let lone: BTreeMap<String, u64> = (0..30_000).map(|key| (key.to_string(), 1)).collect();
    let (shown, cost) = noisy_histogram(&lone, Contribution::ONCE, &price).unwrap();
    assert!(
        matches!(cost, Cost::Approximate { epsilon_pico, .. } if epsilon_pico == 1_000_000_000_000)
    );
    let expected = reaches(threshold) * 30_000.0;
    let spread = expected.sqrt();
    assert!(
        (shown.len() as f64 - expected).abs() < 5.0 * spread,
        "{} of {expected}",
        shown.len()
    );
    assert!(shown.values().all(|count| *count >= threshold));
}

#[test]
fn a_histogram_of_large_groups_has_laplace_noise_and_shows_no_empty_key() {
    let price = Cost::approximate(0.5, 1e-6).unwrap();
    let mut counts: BTreeMap<String, u64> = (0..30_000)
        .map(|key| (format!("{key:05}"), 10_000))
        .collect();
    counts.insert("nobody".into(), 0);
    let (shown, _) = noisy_histogram(&counts, Contribution::ONCE, &price).unwrap();
    assert_eq!(shown.len(), 30_000);
    let drawn = tally(shown.into_values());
    assert_right(&drawn, &laplace_law(10_000, 2.0));
    assert_caught(&drawn, &laplace_law(10_000, 1.0));
}

const VOTES: [u64; 4] = [7, 5, 9, 8];

/// The exponential mechanism (Gumbel noise), twice without putting back.
fn two_by_weight(scale: f64) -> BTreeMap<(usize, usize), f64> {
    let weight = |i: usize| (VOTES[i] as f64 / scale).exp();
    let all: f64 = (0..4).map(weight).sum();
    let pairs = (0..4).flat_map(|i| (0..4).filter(move |j| *j != i).map(move |j| (i, j)));
    pairs
        .map(|(i, j)| ((i, j), weight(i) / all * weight(j) / (all - weight(i))))
        .collect()
}

/// Permute-and-flip (McKenna and Sheldon 2020, algorithm 1) among `left`, by enumerating its permutations.
fn permute_and_flip(left: &[usize], scale: f64) -> BTreeMap<usize, f64> {
    fn walk(
        rest: &[usize],
        reached: f64,
        accept: &dyn Fn(usize) -> f64,
        law: &mut BTreeMap<usize, f64>,
    ) {
        for (place, candidate) in rest.iter().enumerate() {
            let here = reached / rest.len() as f64;
            *law.entry(*candidate).or_insert(0.0) += here * accept(*candidate);
            let mut others = rest.to_vec();
            others.remove(place);
            walk(&others, here * (1.0 - accept(*candidate)), accept, law);
        }
    }
    let most = left.iter().map(|i| VOTES[*i]).max().unwrap();
    let accept = |i: usize| (-((most - VOTES[i]) as f64) / scale).exp();
    let mut law = BTreeMap::new();
    walk(left, 1.0, &accept, &mut law);
    law
}

fn two_by_flips(scale: f64) -> BTreeMap<(usize, usize), f64> {
    let mut law = BTreeMap::new();
    for (first, probability) in permute_and_flip(&[0, 1, 2, 3], scale) {
        let left: Vec<usize> = (0..4).filter(|i| *i != first).collect();
        for (second, then) in permute_and_flip(&left, scale) {
            law.insert((first, second), probability * then);
        }
    }
    law
}

fn two_best(price: &Cost) -> BTreeMap<(usize, usize), u64> {
    tally((0..12_000).map(|_| {
        let (best, cost) = noisy_top_k(&VOTES, 2, 1, price).unwrap();
        assert_eq!(cost, *price);
        (best[0], best[1])
    }))
}

#[test]
fn the_best_candidates_at_a_zcdp_price_follow_the_exponential_mechanism() {
    // ρ = k/(8 scale²).
    let drawn = two_best(&Cost::zcdp(2.0 / (8.0 * 4.0)).unwrap());
    assert_right(&drawn, &two_by_weight(2.0));
    assert_caught(&drawn, &two_by_weight(1.0));
    assert_caught(&drawn, &two_by_weight(4.0));
}

#[test]
fn the_best_candidates_at_a_pure_price_follow_permute_and_flip() {
    // ε = k/scale, for votes that a patient can only raise.
    let drawn = two_best(&Cost::pure(1.0).unwrap());
    assert_right(&drawn, &two_by_flips(2.0));
    assert_caught(&drawn, &two_by_flips(1.0));
    assert_caught(&drawn, &two_by_flips(4.0));
}

#[test]
fn quantiles_follow_the_exponential_mechanism() {
    let values: Vec<f64> = (0..40).map(f64::from).collect();
    let candidates = [5.0, 15.0, 25.0, 28.0, 31.0, 38.0];
    let (quantile, scale) = (0.75, 4.0);
    // One row moves a score by at most 0.75, two candidates by twice that against each other. ρ = (1.5/scale)²/8.
    let price = Cost::zcdp((1.5 / scale) * (1.5 / scale) / 8.0).unwrap();
    let draws = (0..12_000).map(|_| {
        let (chosen, cost) = noisy_quantile(&values, &candidates, quantile, 1, &price).unwrap();
        assert!(matches!((cost, &price), (Cost::Zcdp { rho_pico: a }, Cost::Zcdp { rho_pico: b }) if a <= *b));
        chosen as i64
    });
    let drawn = tally(draws);
    let law = |scale: f64| -> BTreeMap<i64, f64> {
        let weight = |candidate: f64| {
            let below = values.iter().filter(|x| **x < candidate).count() as f64;
            let above = values.iter().filter(|x| **x > candidate).count() as f64;
            (-((1.0 - quantile) * below - quantile * above).abs() / scale).exp()
        };
        let all: f64 = candidates.map(weight).iter().sum();
        candidates.map(|c| (c as i64, weight(c) / all)).into()
    };
    assert_right(&drawn, &law(scale));
    assert_caught(&drawn, &law(scale / 2.0));
}

#[test]
fn sums_and_means_have_laplace_noise_of_the_values_bounds() {
    let even: BTreeMap<i64, f64> = (0..20).map(|slice| (slice, 0.05)).collect();
    let bounds = Bounds::new(-10.0, 40.0).unwrap();
    let price = Cost::pure(0.5).unwrap();
    // 90 is clamped to 40.
    let values = [10.0, 20.0, 90.0];
    let sums: Vec<f64> = (0..5_000)
        .map(|_| noisy_sum(&values, bounds, 1, &price).unwrap().0)
        .collect();
    let slices = |scale: f64| tally(sums.iter().map(|sum| laplace_slice(sum - 70.0, scale)));
    assert_right(&slices(40.0 / 0.5), &even);
    assert_caught(&slices(20.0 / 0.5), &even);

    // Half the price for the sum of distances from 15, each at most 25, and half for the count.
    let many: Vec<f64> = (0..10_000).map(|i| f64::from(i % 50) - 10.0).collect();
    let means: Vec<f64> = (0..3_000)
        .map(|_| {
            let (answer, cost) = noisy_mean(&many, bounds, 1, &price).unwrap();
            assert_eq!(cost, price);
            (answer.mean - 15.0) * answer.count as f64 + 0.5 * 10_000.0
        })
        .collect();
    let slices = |scale: f64| tally(means.iter().map(|sum| laplace_slice(*sum, scale)));
    assert_right(&slices(25.0 / 0.25), &even);
    assert_caught(&slices(12.5 / 0.25), &even);
}

#[test]
fn the_price_is_known_before_the_data_and_impossible_ones_are_refused() {
    for (epsilon, times) in [(0.1, 1), (0.25, 7), (3.0, 100), (1e-3, 2)] {
        let price = Cost::pure(epsilon).unwrap();
        let patient = Contribution::times(times).unwrap();
        let (_, cost) = noisy_count(10, patient, &price).unwrap();
        assert_eq!(cost, noisy_count_cost(patient, &price).unwrap());
        assert_eq!(cost, price, "all of the price is used, and no more");
    }
    let renyi = Cost::subsampled_gaussian(0.5, 1.0, 1).unwrap();
    for price in [Cost::None, renyi, Cost::Pure { epsilon_pico: 1 }] {
        assert!(noisy_count(10, Contribution::ONCE, &price).is_err());
        assert!(noisy_mean(&[1.0], Bounds::new(0.0, 1.0).unwrap(), 1, &price).is_err());
        assert!(noisy_top_k(&VOTES, 1, 1, &price).is_err());
    }
    let price = Cost::pure(1.0).unwrap();
    assert!(Contribution::new(0, 1).is_err());
    assert!(Contribution::new(1_000, 1_000).is_err());
    assert!(noisy_top_k(&VOTES, 5, 1, &price).is_err());
    assert!(noisy_top_k(&[], 1, 1, &price).is_err());
    assert!(noisy_histogram(&BTreeMap::new(), Contribution::ONCE, &price).is_err());
    assert!(Bounds::new(1.0, 1.0).is_err());
    assert!(Bounds::new(f64::NEG_INFINITY, 1.0).is_err());
    let bounds = Bounds::new(0.0, 1.0).unwrap();
    assert!(noisy_sum(&[f64::NAN], bounds, 1, &price).is_err());
    for candidates in [vec![], vec![2.0, 1.0], vec![1.0, 1.0], vec![f64::NAN]] {
        assert!(noisy_quantile(&[1.0], &candidates, 0.5, 1, &price).is_err());
    }
    assert!(noisy_quantile(&[f64::NAN], &[1.0], 0.5, 1, &price).is_err());
    assert!(noisy_quantile(&[1.0], &[1.0], 1.0, 1, &price).is_err());
    for (sensitivity, sigma) in [(0.0, 1.0), (1.0, 0.0), (1.0, f64::NAN), (1e10, 1e10)] {
        assert!(gaussian_vector(&vec![0], sensitivity, sigma).is_err());
    }
}
