//! A sketch of who is there: cells, of which a patient occupies one. How strongly coins have to hide them.
//!
//! An occupied cell shows a fair coin, an empty one a 1 with probability q. One patient turns at most one cell from the
//! second to the first, so the likelihood of what is shown changes by ½/q at most (a 1) or 2(1 − q) (a 0), and
//! ½/q ≥ 2(1 − q) for every q: the cost is ε = ln(1/(2q)), pure. It is what randomised response with truth 1 − q costs,
//! ε' = ln((1 − q)/q), amplified by the fair coin that leaves a patient's cell as it was half of the time:
//! ε = ln(1 + ½(e^ε' − 1)) (Li, Qardaji, Su 2012, Theorem 1). So OpenDP's own map prices it. Linear sketches over GF(2)
//! under differential privacy are of Pagh and Stausholm (ICDT 2021).

/// Probabilities are multiples of 2⁻⁴⁸: exact in a float, also as 1 − q.
const STEP: f64 = 1.0 / 281_474_976_710_656.0;

/// Steps that are tried above the first guess; each makes the cost smaller.
const TRIES: u32 = 8;

/// Probabilities q, rising, of which the first that OpenDP prices within ε is right.
pub(crate) fn flip_for(epsilon: f64) -> impl Iterator<Item = f64> {
    let wanted = (0.5 * (-epsilon).exp() / STEP).ceil().max(1.0);
    (0..TRIES).map(move |step| ((wanted + f64::from(step)) * STEP).min(0.5))
}

/// The ε of randomised response of `epsilon` on a bit that is a fair coin if the patient is there: rounded up.
pub(crate) fn halved(epsilon: f64) -> f64 {
    // Each function is right to a few units in the last place.
    let odds = epsilon.exp_m1() * (1.0 + 4.0 * f64::EPSILON);
    (0.5 * odds).ln_1p() * (1.0 + 4.0 * f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use crate::Cost;
    use crate::mechanism::{noisy_occupancy, noisy_occupancy_cost};

    #[test]
    fn the_amplified_price_is_that_of_the_likelihoods() {
        for epsilon in [0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0] {
            let (cost, q) = noisy_occupancy_cost(&Cost::pure(epsilon).unwrap()).unwrap();
            let Cost::Pure { epsilon_pico } = cost else {
                panic!("{cost:?}")
            };
            let told = epsilon_pico as f64 / 1e12;
            let truth = (0.5 / q).ln().max((2.0 * (1.0 - q)).ln());
            assert!(told >= truth * (1.0 - 1e-12), "{epsilon}: {told} {truth}");
            // Nothing is given away either, but for a probability's own step.
            assert!(
                told <= epsilon && told > epsilon - 1e-5,
                "{epsilon}: {told}"
            );
        }
        assert!(noisy_occupancy_cost(&Cost::zcdp(0.5).unwrap()).is_err());
        assert!(noisy_occupancy_cost(&Cost::None).is_err());
    }

    /// χ² of one degree of freedom, α = 1e-6: 23.9.
    #[test]
    fn cells_show_what_they_are_priced_for() {
        let price = Cost::pure(1.0).unwrap();
        let (_, q) = noisy_occupancy_cost(&price).unwrap();
        let n = 40_000;
        for (occupied, p) in [(false, q), (true, 0.5)] {
            let (shown, _) = noisy_occupancy(&vec![occupied; n], &price).unwrap();
            let ones = shown.into_iter().filter(|bit| *bit).count() as f64;
            let expected = p * n as f64;
            let chi2 = (ones - expected).powi(2) / (expected * (1.0 - p));
            assert!(
                chi2 < 23.9,
                "{occupied}: {ones} of {n}, expected {expected}"
            );
        }
    }
}
