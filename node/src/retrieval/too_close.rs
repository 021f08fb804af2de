//! Whether the nearest record stands out so far that whoever asks must have had it: then its being found says only that
//! it is here, which is what must not be told.
//!
//! Someone who knows a note and wants to know whether a site has its patient searches for the note. An honest
//! question is near to many records and not much nearer to one (Choi and others 2025, "Mirabel", fit a Gumbel
//! distribution to what the nearest would be by chance). Of distributions whose greatest value is Gumbel, the gap
//! between the greatest and the second of many values is exponential, with the scale of their tail (Weissman 1978,
//! "Estimation of parameters and large quantiles based on the k largest observations", section 2), and that scale is
//! the mean excess of the other great ones over the least of them. So a few dozen similarities that the search has
//! anyway are enough.

/// A gap as great as this or greater comes by chance once in a hundred questions; that hit is then withheld.
pub const SIGNIFICANCE: f64 = 0.01;

/// Nearer than this, a text is another wording of the record at most.
pub const COSINE_MAX: f32 = 0.95;

/// Similarities besides the nearest from which the tail is judged.
pub const TAIL: usize = 48;

/// Fewer than this say nothing of a tail.
const TAIL_MIN: usize = 8;

/// How many of the nearest are withheld. `similarities` are those of different patients, greatest first.
#[must_use]
pub fn withheld(similarities: &[f32]) -> usize {
    let above = similarities.iter().take_while(|s| **s > COSINE_MAX).count();
    if above > 0 {
        return above;
    }
    // Among so few nobody is hidden.
    if similarities.len() <= TAIL_MIN {
        return similarities.len();
    }
    let scores: Vec<f64> = similarities.iter().map(|s| f64::from(*s)).collect();
    usize::from(leads(&scores))
}

/// Whether chance explains the first one's lead over the rest less than once in [`SIGNIFICANCE`]; of fewer than nine
/// nothing can be said. `scores` are those of different patients, greatest first.
#[must_use]
pub fn leads(scores: &[f64]) -> bool {
    let [first, rest @ ..] = scores else {
        return false;
    };
    let tail = rest.get(..TAIL).unwrap_or(rest);
    let (Some(second), Some(least)) = (tail.first(), tail.last()) else {
        return false;
    };
    if tail.len() < TAIL_MIN {
        return false;
    }
    let excess: f64 = tail.iter().map(|score| score - least).sum();
    let scale = excess / (tail.len() - 1) as f64;
    let lead = first - second;
    // Where all of them are equal, any lead stands out.
    lead > 0.0 && (-lead / scale.max(f64::MIN_POSITIVE)).exp() < SIGNIFICANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greatest first, of `n` pseudo-random values of a Gumbel-like upper tail.
    fn honest(seed: u64, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut normal = || {
            let sum: f64 = (0..12).map(|_| uniform()).sum();
            sum - 6.0
        };
        let mut values: Vec<f32> = (0..n).map(|_| (0.25 + 0.08 * normal()) as f32).collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    #[test]
    fn an_honest_question_loses_its_best_hit_about_once_in_a_hundred() {
        let trials = 2000;
        let lost = (0..trials)
            .filter(|seed| withheld(&honest(*seed + 1, 500)) > 0)
            .count();
        // Binomial around 1 %: 20 ± 4.5; the tail of a normal is lighter than an exponential, so fewer.
        assert!(lost <= 45, "{lost} of {trials}");
    }

    #[test]
    fn a_record_that_the_asker_had_is_withheld() {
        let mut values = honest(7, 500);
        values.insert(0, 0.9);
        assert_eq!(withheld(&values), 1);
        values.insert(0, 0.97);
        values.insert(0, 0.99);
        assert_eq!(withheld(&values), 2);
    }

    #[test]
    fn among_few_nobody_is_hidden() {
        assert_eq!(withheld(&[]), 0);
        assert_eq!(withheld(&[0.4]), 1);
        assert_eq!(withheld(&[0.4, 0.39, 0.38]), 3);
        assert_eq!(withheld(&[0.4; 30]), 0);
    }
}
