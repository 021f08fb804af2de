//! How many patients so many ones in a sum of sketches mean: linear counting (Whang, Vander-Zanden, Taylor 1990) of
//! cells that show themselves through coins (Pagh and Stausholm, ICDT 2021).
//!
//! An occupied cell shows a 1 half of the time. An empty one, which each site shows as a 1 with probability qᵢ, shows a
//! 1 with (1 − c)/2 in the sum modulo 2, where c = Π(1 − 2qᵢ). So of m cells with a share e of empty ones, a share
//! (1 − c·e)/2 shows a 1 on average, and ê = (1 − 2·ones/m)/c has no bias. Of n patients in m cells, a share
//! e = (1 − 1/m)ⁿ is empty on average.

use consilium_protocol::message::Figure;

use super::merge::GAUSSIAN_95;

/// Of an estimate whose error is as large as this share of the empty cells, nothing is said.
const RELATIVE_ERROR_MAX: f64 = 0.5;

/// The figure for `ones` of `cells`, where each site shows an empty cell as a 1 with one of these probabilities.
pub(super) fn distinct(ones: u64, cells: u32, flips: impl Iterator<Item = f64>) -> Figure {
    let m = f64::from(cells);
    let contrast: f64 = flips.map(|flip| 1.0 - 2.0 * flip).product();
    let empty = (1.0 - 2.0 * ones as f64 / m) / contrast;
    // Of all shares that there can be, for the variance; the estimate itself is not clamped.
    let plausible = empty.clamp(1.0 / m, 1.0);
    let sd = variance(plausible, m, contrast).sqrt();
    let patients = |empty: f64| empty.ln() / (1.0 - 1.0 / m).ln();
    let says_something = contrast > 0.0 && empty.is_finite() && sd < RELATIVE_ERROR_MAX * empty;
    if !says_something {
        return figure(None, 0.0, 0.0);
    }
    // The logarithm is bent: E[ln ê] ≈ ln e − Var/(2e²).
    let bias = (sd / empty).powi(2) / 2.0;
    let value = patients(empty * bias.exp()).max(0.0);
    let low = patients((empty + GAUSSIAN_95 * sd).min(1.0)).max(0.0);
    // With an error below half of it, some empty cells are left.
    let high = patients((empty - GAUSSIAN_95 * sd).max(empty / (8.0 * m)));
    figure(Some(value), low.min(value), high.max(value))
}

/// Of ê: of the coins, and of which cells the patients happen to have (Whang et al., theorem A.4:
/// e(1 − e(1 + n/m))/m).
fn variance(empty: f64, m: f64, contrast: f64) -> f64 {
    let coins = (1.0 - contrast * contrast * empty) / (contrast * contrast * m);
    let load = -empty.ln();
    let places = empty * (1.0 - empty * (1.0 + load)) / m;
    coins + places.max(0.0)
}

fn figure(value: Option<f64>, low: f64, high: f64) -> Figure {
    Figure {
        name: "distinct patients".to_owned(),
        value: value.map(f64::round),
        low: low.floor(),
        high: high.ceil(),
        suppressed_at: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of the test's own (SplitMix64): what is tested has no randomness.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn shows(&mut self, probability: f64) -> bool {
            (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
        }
    }

    /// Ones in the sum of the sketches of sites that share `shared` patients and have `own` each besides.
    fn ones(dice: &mut Dice, cells: u32, sites: usize, shared: u32, own: u32, flip: f64) -> u64 {
        let mut occupied = vec![vec![false; cells as usize]; sites];
        for _ in 0..shared {
            let cell = (dice.next() % u64::from(cells)) as usize;
            occupied.iter_mut().for_each(|site| site[cell] = true);
        }
        for site in &mut occupied {
            (0..own).for_each(|_| site[(dice.next() % u64::from(cells)) as usize] = true);
        }
        let sum = (0..cells as usize).filter(|cell| {
            let bits = occupied.iter().map(|site| match site[*cell] {
                true => dice.shows(0.5),
                false => dice.shows(flip),
            });
            bits.fold(false, |sum, bit| sum ^ bit)
        });
        sum.count() as u64
    }

    /// Over many sketches of known overlap: the mean is right, and the interval holds the truth in 95 of 100.
    #[test]
    fn the_estimate_has_no_bias_and_its_interval_holds_the_truth() {
        let flip = 0.5 * (-1.0_f64).exp();
        for (sites, shared, own) in [(2, 500, 1000), (2, 2000, 0), (3, 1000, 300), (3, 0, 600)] {
            let truth = f64::from(shared + own * sites as u32);
            let mut dice = Dice(sites as u64 * 1000 + u64::from(own));
            let (trials, cells) = (200, 4096);
            let (mut sum, mut held, mut width) = (0.0, 0, 0.0);
            for _ in 0..trials {
                let ones = ones(&mut dice, cells, sites, shared, own, flip);
                let figure = distinct(ones, cells, std::iter::repeat_n(flip, sites));
                sum += figure.value.unwrap();
                held += u32::from(figure.low <= truth && truth <= figure.high);
                width += (figure.high - figure.low) / f64::from(trials);
            }
            let mean = sum / f64::from(trials);
            // Five standard errors of the mean, where an interval is four standard deviations wide.
            let tolerance = 5.0 * width / 4.0 / f64::from(trials).sqrt() + 1.0;
            assert!(
                (mean - truth).abs() < tolerance,
                "{sites} sites: {mean}, not {truth} ± {tolerance}"
            );
            // 190 of 200 on average; below 178 once in 10⁵ tests.
            assert!(held >= 178, "{sites} sites: {held} of {trials}");
        }
    }

    #[test]
    fn nothing_is_said_where_coins_leave_nothing() {
        // Twenty sites at ε = 0.1: the sum is a fair coin everywhere.
        let flip = 0.5 * (-0.1_f64).exp();
        let figure = distinct(128, 256, std::iter::repeat_n(flip, 20));
        assert_eq!((figure.value, figure.low, figure.high), (None, 0.0, 0.0));
        // A sketch that overflows.
        assert_eq!(distinct(128, 256, [0.01, 0.01].into_iter()).value, None);
        // A site that says nonsense of its coins.
        for flips in [[0.5, 0.1], [1.0, 0.1], [0.9, 0.9]] {
            let figure = distinct(100, 256, flips.into_iter());
            assert!(
                figure.low.is_finite() && figure.high.is_finite(),
                "{flips:?}"
            );
        }
    }

    #[test]
    fn nobody_is_nobody() {
        let flip = 0.5 * (-5.0_f64).exp();
        let contrast = (1.0 - 2.0 * flip).powi(2);
        let ones = (4096.0 * (1.0 - contrast) / 2.0).round() as u64;
        let figure = distinct(ones, 4096, [flip, flip].into_iter());
        assert!(
            figure.value.unwrap() <= 1.0 && figure.low == 0.0,
            "{figure:?}"
        );
    }
}
