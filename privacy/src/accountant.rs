//! Rényi divergence of the Poisson-subsampled Gaussian, and conversion to (ε, δ).
//!
//! The neighbouring relation is *add or remove one patient*; replacing one needs other formulas. Sampling must be real
//! Poisson sampling, each patient by itself: shuffled batches cost more than these curves say. Only whole orders are
//! computed, in sums of positive terms, so nothing cancels.

use crate::budget::{Account, Budget};
use crate::cost::{Cost, CostError, INFINITE_ORDER, SIGMA_MAX, SIGMA_MIN, STEPS_MAX};

/// One step's Rényi divergence in nats at a whole `order` of at least 2: the sum of the clipped contributions of
/// patients, each taken with probability `q`, with Gaussian noise of `sigma` times the clip (Mironov, Talwar and
/// Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism", section 3.3). The discrete Gaussian on
/// whole numbers keeps to the same formula, for shifting it by whole numbers gives the same moments.
pub fn rdp_subsampled_gaussian(q: f64, sigma: f64, order: u32) -> f64 {
    if q <= 0.0 {
        return 0.0;
    }
    if order == INFINITE_ORDER {
        return f64::INFINITY;
    }
    let alpha = f64::from(order);
    if q >= 1.0 {
        return alpha / (2.0 * sigma * sigma);
    }
    // The binomial weights add up to 1, so the moment less 1 is the sum over exp(..) - 1, which is positive: no
    // cancellation where the divergence is tiny.
    let (log_q, log_rest) = (q.ln(), (-q).ln_1p());
    let mut log_binomial = alpha.ln();
    let mut log_excess = f64::NEG_INFINITY;
    for chosen in 2..=order {
        let i = f64::from(chosen);
        log_binomial += ((alpha - i + 1.0) / i).ln();
        let exponent = i * (i - 1.0) / (2.0 * sigma * sigma);
        let log_weight = log_binomial + i * log_q + (alpha - i) * log_rest;
        log_excess = log_sum(log_excess, log_weight + log_expm1(exponent));
    }
    log_sum(log_excess, 0.0) / (alpha - 1.0)
}

/// The most Rényi divergence that ε-differential privacy allows: that of randomised response (Mironov 2017,
/// "Rényi differential privacy", Proposition 6).
pub fn rdp_pure(epsilon: f64, order: u32) -> f64 {
    if order == INFINITE_ORDER {
        return epsilon;
    }
    let alpha = f64::from(order);
    // ln(p^α (1-p)^(1-α) + (1-p)^α p^(1-α)) / (α-1), with p = e^ε / (1 + e^ε).
    let log_p = -(-epsilon).exp().ln_1p();
    let log_rest = log_p - epsilon;
    let likely = alpha * log_p + (1.0 - alpha) * log_rest;
    let unlikely = alpha * log_rest + (1.0 - alpha) * log_p;
    (log_sum(likely, unlikely) / (alpha - 1.0)).clamp(0.0, epsilon)
}

/// The least ε at `delta`, in nats, that divergences at whole orders prove, and the order that proves it (Canonne,
/// Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", Proposition 12).
pub fn epsilon(curve: impl IntoIterator<Item = (u32, f64)>, delta: f64) -> (f64, u32) {
    let proofs = curve.into_iter().map(|(order, divergence)| {
        // Two laws so near that they differ by less than δ in total variation (Bretagnolle and Huber).
        if delta * delta + (-divergence).exp_m1() >= 0.0 {
            return (0.0, order);
        }
        ((divergence + conversion(order, delta)).max(0.0), order)
    });
    proofs.fold((f64::INFINITY, INFINITE_ORDER), |least, proof| {
        if proof.0 < least.0 { proof } else { least }
    })
}

/// What the conversion to ε at `delta` adds to a divergence at `order`.
pub fn conversion(order: u32, delta: f64) -> f64 {
    if order == INFINITE_ORDER {
        return 0.0;
    }
    let alpha = f64::from(order);
    (-1.0 / alpha).ln_1p() - (delta * alpha).ln() / (alpha - 1.0)
}

/// Noise multipliers are given in millionths, rounded up.
const SIGMA_UNITS: f64 = 1e6;

/// The smallest noise multiplier, in steps of a millionth, with which `steps` steps at sampling rate `q` fit `target`.
pub fn sigma_for(target: &Budget, q: f64, steps: u64) -> Result<f64, CostError> {
    sigma_for_rounds(target, q, steps, 1)
}

/// As [`sigma_for`], of `rounds` releases of `steps` steps each that are charged one by one: each is rounded up.
pub fn sigma_for_rounds(
    target: &Budget,
    q: f64,
    steps: u64,
    rounds: u32,
) -> Result<f64, CostError> {
    let all_steps = steps.saturating_mul(u64::from(rounds));
    check_subsampled(q, SIGMA_MAX, all_steps)?;
    let fits = |units: u64| -> Result<bool, CostError> {
        let round = Cost::subsampled_gaussian(q, units as f64 / SIGMA_UNITS, steps)?;
        let mut before_the_last = Account::default();
        (1..rounds).for_each(|_| before_the_last.add(&round));
        Ok(before_the_last.fits(target, &round))
    };
    let (mut too_small, mut enough) = (
        (SIGMA_MIN * SIGMA_UNITS) as u64,
        (SIGMA_MAX * SIGMA_UNITS) as u64,
    );
    if fits(too_small)? {
        return Ok(SIGMA_MIN);
    }
    if !fits(enough)? {
        return Err(CostError::Unreachable {
            epsilon: target.epsilon(),
            steps: all_steps,
        });
    }
    while enough - too_small > 1 {
        let middle = too_small + (enough - too_small) / 2;
        if fits(middle)? {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    Ok(enough as f64 / SIGMA_UNITS)
}

pub(crate) fn check_subsampled(q: f64, sigma: f64, steps: u64) -> Result<(), CostError> {
    if !(q > 0.0 && q <= 1.0) {
        return Err(CostError::Rate(q));
    }
    if !(SIGMA_MIN..=SIGMA_MAX).contains(&sigma) {
        return Err(CostError::Sigma(sigma));
    }
    if !(1..=STEPS_MAX).contains(&steps) {
        return Err(CostError::Steps(steps));
    }
    Ok(())
}

/// ln(e^a + e^b).
fn log_sum(a: f64, b: f64) -> f64 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY {
        return more;
    }
    more + (less - more).exp().ln_1p()
}

/// ln(e^x - 1) for a positive x.
fn log_expm1(x: f64) -> f64 {
    if x > 1.0 {
        x + (-(-x).exp()).ln_1p()
    } else {
        x.exp_m1().ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cost::ORDERS;

    /// Orders that one can afford to compute once, and a ledger can't afford to keep.
    fn many_orders() -> impl Iterator<Item = u32> {
        (2..=256).chain([512, 1024])
    }

    /// ε of `steps` subsampled steps over many orders, and the order that proves it.
    fn epsilon_over_many_orders(q: f64, sigma: f64, steps: f64, delta: f64) -> (f64, u32) {
        let at = |order| (order, rdp_subsampled_gaussian(q, sigma, order) * steps);
        epsilon(many_orders().map(at), delta)
    }

    fn assert_close(got: f64, expected: f64, relative: f64) {
        let error = (got - expected).abs() / expected;
        assert!(error <= relative, "{got} is not {expected}: {error:e} off");
    }

    /// One step at whole orders: dp-accounting 0.6.0, mpmath's quadrature and optirs-core agree on these. The figures
    /// are printed with 13 digits, the last of which is rounded.
    #[test]
    fn one_step_costs_what_three_other_programs_say() {
        let rows = [
            (0.01, 1.0, 2, 1.718134220745e-4),
            (0.01, 1.0, 8, 8.936439076060e-4),
            (0.01, 1.0, 16, 3.087850783696),
            (0.01, 1.0, 32, 11.24627593705),
            (0.1, 1.0, 4, 5.867260696008e-2),
            (0.04, 1.5, 16, 0.1670092793697),
            (0.001, 0.5, 4, 9.030052653009e-3),
            (0.5, 2.0, 16, 1.286773339461),
            (0.125, 4.14, 8, 3.91116204511e-3),
        ];
        for (q, sigma, order, expected) in rows {
            assert_close(rdp_subsampled_gaussian(q, sigma, order), expected, 1e-11);
        }
    }

    /// ε with whole orders 2 to 256, 512 and 1024 by dp-accounting 0.6.0, with nine decimals, of which the last is
    /// rounded.
    const TRAININGS: [(f64, f64, f64, f64, f64, u32); 12] = [
        (0.04, 1.5, 2250.0, 1e-5, 7.329876774, 4),
        (0.01, 4.0, 10_000.0, 1e-5, 1.035490066, 17),
        (0.01, 1.0, 1000.0, 1e-5, 2.107753075, 8),
        (0.01, 1.1, 10_000.0, 1e-5, 5.654308000, 5),
        (256.0 / 60_000.0, 1.1, 14_062.0, 1e-5, 2.596981179, 8),
        (0.05, 1.0, 200.0, 1e-5, 5.371115403, 4),
        (0.05, 2.0, 2000.0, 1e-5, 5.966343249, 5),
        (0.1, 2.0, 500.0, 1e-5, 6.089503111, 4),
        (0.1, 1.0, 100.0, 1e-3, 5.670336417, 3),
        (1.0, 10.0, 100.0, 1e-5, 4.752728337, 5),
        (0.001, 0.8, 5000.0, 1e-6, 1.631586391, 8),
        (0.5, 3.0, 50.0, 1e-4, 5.389638505, 4),
    ];

    /// What is printed beside it in the same table: the default (fractional) orders of the same program, never above
    /// ours.
    const BY_ALL_ORDERS: [f64; 12] = [
        7.329334702,
        1.035490066,
        2.101366525,
        5.632010670,
        2.596555870,
        5.367864072,
        5.924221557,
        6.034562203,
        5.655052819,
        4.728507067,
        1.592307763,
        5.389638505,
    ];

    #[test]
    fn trainings_cost_what_dp_accounting_says() {
        for ((q, sigma, steps, delta, expected, order), by_all) in
            TRAININGS.into_iter().zip(BY_ALL_ORDERS)
        {
            let (epsilon, best) = epsilon_over_many_orders(q, sigma, steps, delta);
            // Half of the last printed digit.
            assert!(
                (epsilon - expected).abs() <= 5.1e-10,
                "{epsilon} {expected}"
            );
            assert_eq!(best, order, "q {q} sigma {sigma}");
            assert!(epsilon >= by_all - 5.1e-10);
        }
    }

    #[test]
    fn the_ledgers_orders_never_cost_less_and_at_most_a_tenth_more() {
        for (q, sigma, steps, delta, expected, _) in TRAININGS {
            let cost = Cost::subsampled_gaussian(q, sigma, steps as u64).unwrap();
            let mut account = Account::default();
            account.add(&cost);
            let epsilon = account.epsilon(delta);
            assert!(epsilon >= expected - 5.1e-10, "{epsilon} {expected}");
            assert!(epsilon <= expected * (1.0 + 1e-9), "{epsilon} {expected}");
        }
        // Where the best order lies between two of the ledger's: an ε below 0.1, against all orders to 1024.
        for sigma in [10.0, 20.0, 40.0, 80.0, 160.0, 320.0] {
            let at = |order| (order, rdp_subsampled_gaussian(0.02, sigma, order) * 100.0);
            let (best, _) = epsilon((2..=1024).map(at), 1e-6);
            let mut account = Account::default();
            account.add(&Cost::subsampled_gaussian(0.02, sigma, 100).unwrap());
            let epsilon = account.epsilon(1e-6);
            assert!(epsilon >= best, "{sigma}: {epsilon} {best}");
            assert!(epsilon <= best * 1.1, "{sigma}: {epsilon} {best}");
        }
    }

    /// Opacus, `accountants_test.py` and the docstring of `rdp.py`.
    #[test]
    fn opacus_says_the_same_within_its_fractional_orders() {
        let (epsilon_of_training, _) = epsilon_over_many_orders(0.04, 1.5, 2250.0, 1e-5);
        assert!(epsilon_of_training >= 7.32911117143);
        assert_close(epsilon_of_training, 7.32911117143, 2e-4);

        let two_phases = (2..=32).map(|order| {
            let first = rdp_subsampled_gaussian(1e-5, 1.0, order) * 10.0;
            (
                order,
                first + rdp_subsampled_gaussian(1e-4, 3.0, order) * 4.0,
            )
        });
        let (epsilon, order) = epsilon(two_phases, 1e-5);
        assert_close(epsilon, 0.33634406, 2e-8);
        assert_eq!(order, 23);
    }

    /// Google, `rdp_privacy_accountant_test.py`.
    #[test]
    fn google_says_the_same() {
        let (of_gaussian, _) = epsilon_over_many_orders(1.0, 4.530877117, 1.0, 1e-6);
        assert_close(of_gaussian, 1.0, 1e-3);
        for (order, expected) in [(5, 2.18075656e-3), (50, 2.38460375e-2), (100, 1.67416308e2)] {
            assert_close(
                rdp_subsampled_gaussian(0.01, 2.5, order) * 50.0,
                expected,
                1e-4,
            );
        }
        let (of_flat_curve, order) = epsilon((2..=32).map(|order| (order, 1.1)), 1e-5);
        assert_close(of_flat_curve, 1.32783806176, 1e-11);
        assert_eq!(order, 32);
    }

    /// The source prints four digits, over orders that include fractional ones.
    #[test]
    fn zcdp_converts_as_published() {
        let published = [
            (0.01, 0.546),
            (0.1, 1.914),
            (0.5, 4.729),
            (0.81, 6.253),
            (1.0, 7.077),
            (2.0, 10.726),
        ];
        for (rho, expected) in published {
            let mut account = Account::default();
            account.add(&Cost::zcdp(rho).unwrap());
            let epsilon = account.epsilon(1e-5);
            assert!(epsilon >= expected - 5e-4, "{rho}: {epsilon}");
            assert!(epsilon <= expected * 1.02, "{rho}: {epsilon}");
        }
    }

    #[test]
    fn a_small_divergence_keeps_its_digits() {
        // Two terms of the sum at order 2: q²(e^(1/σ²) - 1), exactly.
        for (q, sigma) in [(1e-6, 50.0_f64), (1e-4, 1000.0), (0.3, 1e5)] {
            let moment: f64 = q * q * (1.0 / (sigma * sigma)).exp_m1();
            assert_close(rdp_subsampled_gaussian(q, sigma, 2), moment.ln_1p(), 1e-12);
        }
    }

    /// The divergence by its definition, from both laws of randomised response.
    #[test]
    fn a_pure_cost_is_randomised_responses() {
        for epsilon in [0.01_f64, 0.1, 1.0, 3.0] {
            for order in [2, 5, 32] {
                let (alpha, p) = (f64::from(order), epsilon.exp() / (1.0 + epsilon.exp()));
                let moment = p.powf(alpha) * (1.0 - p).powf(1.0 - alpha)
                    + (1.0 - p).powf(alpha) * p.powf(1.0 - alpha);
                let expected = moment.ln() / (alpha - 1.0);
                assert_close(rdp_pure(epsilon, order), expected, 1e-9);
                assert!(rdp_pure(epsilon, order) <= epsilon.min(alpha * epsilon * epsilon / 2.0));
            }
        }
    }

    #[test]
    fn a_published_noise_multiplier_is_found_again() {
        // Patients, batch, steps, δ, and σ for an ε of 1, 3 and 8. The source used fractional orders too, so
        // ours is never below it but for its rounding, and at most two in a hundred above.
        let rows = [
            (500.0, 64.0, 156, 1e-5, [6.64, 2.61, 1.30]),
            (2_000.0, 128.0, 312, 1e-5, [4.73, 1.92, 1.04]),
            (10_000.0, 256.0, 781, 1e-5, [3.05, 1.33, 0.81]),
        ];
        for (patients, batch, steps, delta, sigmas) in rows {
            for (epsilon, expected) in [1.0, 3.0, 8.0].into_iter().zip(sigmas) {
                let target = Budget::new(epsilon, delta).unwrap();
                let sigma = sigma_for(&target, batch / patients, steps).unwrap();
                assert!(sigma >= expected - 0.0051, "{sigma} {expected}");
                assert!(sigma <= expected * 1.02, "{sigma} {expected}");
            }
        }
    }

    #[test]
    fn rounds_that_are_charged_one_by_one_fit_to_the_last() {
        let target = Budget::new(3.0, 1e-5).unwrap();
        let sigma = sigma_for_rounds(&target, 0.1, 20, 50).unwrap();
        let round = Cost::subsampled_gaussian(0.1, sigma, 20).unwrap();
        let mut spent = Account::default();
        for _ in 0..50 {
            assert!(spent.fits(&target, &round));
            spent.add(&round);
        }
        assert!(!spent.fits(&target, &round));
        let at_once = sigma_for(&target, 0.1, 1_000).unwrap();
        assert!(
            (at_once..at_once + 1e-5).contains(&sigma),
            "{at_once} {sigma}"
        );
    }

    #[test]
    fn what_no_noise_keeps_is_refused() {
        let target = Budget::new(1e-9, 1e-12).unwrap();
        let refused = sigma_for(&target, 1.0, 10_000_000);
        assert!(matches!(refused, Err(CostError::Unreachable { .. })));
        assert!(matches!(
            sigma_for(&target, 0.0, 1),
            Err(CostError::Rate(_))
        ));
        assert!(matches!(
            sigma_for(&target, 0.5, 0),
            Err(CostError::Steps(0))
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_multiplier_found_keeps_the_target_and_a_smaller_one_does_not(
            epsilon in 0.1..20.0_f64,
            delta_digits in 2..9_i32,
            q in 0.0005..=1.0_f64,
            steps in 1..5_000_u64,
        ) {
            let target = Budget::new(epsilon, 10_f64.powi(-delta_digits)).unwrap();
            let sigma = sigma_for(&target, q, steps).unwrap();
            let fits = |sigma: f64| {
                let cost = Cost::subsampled_gaussian(q, sigma, steps).unwrap();
                Account::default().fits(&target, &cost)
            };
            prop_assert!(fits(sigma));
            prop_assert!(sigma <= SIGMA_MIN || !fits(sigma - 1.5e-6));
        }

        #[test]
        fn more_is_never_cheaper(
            q in 0.0001..0.9_f64,
            sigma in 0.3..50.0_f64,
            order in 2..200_u32,
        ) {
            let here = rdp_subsampled_gaussian(q, sigma, order);
            prop_assert!(here >= 0.0);
            prop_assert!(rdp_subsampled_gaussian(q * 1.1, sigma, order) >= here);
            prop_assert!(rdp_subsampled_gaussian(q, sigma * 1.1, order) <= here);
            prop_assert!(rdp_subsampled_gaussian(q, sigma, order + 1) >= here * (1.0 - 1e-12));
            prop_assert!(here <= f64::from(order) / (2.0 * sigma * sigma) * (1.0 + 1e-12));
        }
    }

    #[test]
    fn the_ledgers_orders_rise() {
        assert!(ORDERS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
