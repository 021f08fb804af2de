//! What lies between a BERT's matrix products, for the CPU: burn's CPU device computes error function and exponential
//! one number at a time, and three tenths of all time went there. These loops have no branch and no call, so that the
//! compiler makes vector instructions of them. Their results differ from exact ones by a few roundings of a 32-bit
//! float; tests hold them against 64 bits.

/// GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415, §2), x Φ(x), in place.
pub(super) fn gelu(numbers: &mut [f32]) {
    for x in numbers {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// The softmax of each row of `scores` times `scale`, in place. `scores` is `[texts, heads, length, length]` in one;
/// keys at and beyond their text's own length are padding and get 0.
pub(super) fn softmax(
    scores: &mut [f32],
    lengths: &[usize],
    heads: usize,
    length: usize,
    scale: f32,
) {
    for (text, own) in scores.chunks_mut(heads * length * length).zip(lengths) {
        for row in text.chunks_mut(length) {
            let (keys, padding) = row.split_at_mut((*own).min(length));
            let highest = keys.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for x in &mut *keys {
                *x = exp((*x - highest) * scale);
            }
            let whole = 1.0 / sum(keys);
            for x in keys {
                *x *= whole;
            }
            padding.fill(0.0);
        }
    }
}

/// Eight sums at once, which vector instructions can add.
fn sum(numbers: &[f32]) -> f32 {
    let (eights, rest) = numbers.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The error function as a quotient of polynomials, with the coefficients of Eigen (MathFunctionsImpl.h); beyond ±4 it
/// is ±1 in 32 bits.
#[inline]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142e-10;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p * s + coefficient;
    }
    let mut q = -1.456_607_2e-5;
    for coefficient in [
        -2.133_740_6e-4,
        -1.682_826_9e-3,
        -7.373_329e-3,
        -1.426_474e-2,
    ] {
        q = q * s + coefficient;
    }
    x * p / q
}

/// e to the power of a number that is not above 0: a power of two from the exponent's bits times a polynomial of the
/// remainder, with the coefficients of Cephes (expf.c).
#[inline]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: a float of this size has no fraction, so that adding it rounds, and its lowest bits are the integer.
    const ROUND: f32 = 12_582_912.0;
    // Below, the result is less than a millionth of a millionth of a row's largest.
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_66,
        0.5,
    ] {
        p = p * rest + coefficient;
    }
    let power = rounded.to_bits().wrapping_add(127) << 23;
    f32::from_bits(power) * (p * rest * rest + rest + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taylor's series, in 64 bits; good to |x| of 4.
    fn erf_exact(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_error_function_is_exact_to_rounding() {
        for step in -450..=450 {
            let x = step as f32 / 100.0;
            let exact = if x.abs() > 4.0 {
                x.signum().into()
            } else {
                erf_exact(x.into())
            };
            assert!((f64::from(erf(x)) - exact).abs() < 6e-7, "{x}");
        }
        let mut two = [2.0, -2.0, 0.0, 100.0, -100.0];
        gelu(&mut two);
        let expected = [1.954_499_7, -0.045_500_26, 0.0, 100.0, 0.0];
        for (ours, exact) in two.iter().zip(expected) {
            assert!((ours - exact).abs() < 1e-5, "{ours} is not {exact}");
        }
    }

    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for step in 0..8700 {
            let x = -(step as f32) / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 4e-7, "{x}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn rows_of_a_softmax_sum_to_one_and_padding_has_none() {
        // Two texts, one head, length 3; the second text has one token.
        let mut scores = [
            1.0, 2.0, 3.0, 0.0, 0.0, 0.0, -50.0, 50.0, 0.0, 5.0, 9.0, 9.0, 5.0, 9.0, 9.0, 5.0, 9.0,
            9.0,
        ];
        softmax(&mut scores, &[3, 1], 1, 3, 1.0);
        let expected = [0.090_030_57, 0.244_728_48, 0.665_240_94];
        for (ours, exact) in scores.iter().zip(expected) {
            assert!((ours - exact).abs() < 1e-6);
        }
        for row in scores.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(scores[9..], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
