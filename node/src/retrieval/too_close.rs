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

/// Farther than this, a text that stands out is another text of an unusual subject: of 240 honest questions about
/// clinical notes 15 % had such a nearest hit, and 3 % one that is nearer than this, while the tests together knew as
/// many known notes as without this bar, to the last one (built-in encoder; the bar was chosen by these figures).
pub const LEAD_COSINE_MIN: f32 = 0.7;

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
    let is_near = similarities.first().is_some_and(|s| *s > LEAD_COSINE_MIN);
    usize::from(is_near && leads(&scores))
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

    /// Numbers between 0 and 1.
    fn uniform(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Greatest first, of `n` values with an exponential tail, for which the test is exact but for the scale.
    fn exponential(seed: u64, n: usize) -> Vec<f64> {
        let mut uniform = uniform(seed);
        let mut values: Vec<f64> = (0..n).map(|_| 0.25 - 0.08 * uniform().ln()).collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    /// Greatest first, of `n` values as the similarities of many texts spread.
    fn honest(seed: u64, n: usize) -> Vec<f32> {
        let mut uniform = uniform(seed);
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
        let stands_out = |seed: &u64| leads(&exponential(*seed + 1, 500));
        let lost = (0..trials).filter(stands_out).count();
        // 33 ± 5.5 by simulation: the scale is an estimate, and that without the first makes it small.
        assert!((11..=55).contains(&lost), "{lost} of {trials}");
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
    fn what_stands_out_from_afar_is_an_unusual_subject() {
        let mut values = honest(7, 500);
        values.insert(0, 0.69);
        assert_eq!(withheld(&values), 0);
        values[0] = 0.71;
        assert_eq!(withheld(&values), 1);
    }

    #[test]
    fn among_few_nobody_is_hidden() {
        assert_eq!(withheld(&[]), 0);
        assert_eq!(withheld(&[0.4]), 1);
        assert_eq!(withheld(&[0.4, 0.39, 0.38]), 3);
        assert_eq!(withheld(&[0.4; 30]), 0);
    }
}
