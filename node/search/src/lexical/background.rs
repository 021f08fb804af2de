//! How much each word weighs, and how long a passage is: the same at every site, from open texts.
//!
//! A line of the table is a stemmed word and its weight in hundredths: ln(1 + (N - n + 0.5) / (n + 0.5)) for a word
//! that n of N passages have. Whole numbers, so that machines whose logarithms differ in the last bit do not differ in
//! a score. `cargo run -p consilium-search --example background` makes the table.

use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("../../lists/background.txt");

pub(super) struct Background {
    weights: HashMap<&'static str, u32>,
    rarest: u32,
    mean_words: u32,
}

pub(super) static BACKGROUND: LazyLock<Background> = LazyLock::new(|| {
    let mut background = Background {
        weights: HashMap::new(),
        rarest: 1,
        mean_words: 1,
    };
    for line in TABLE.lines() {
        let Some((word, number)) = line.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        match word {
            "#mean-words" => background.mean_words = number,
            "#rarest" => background.rarest = number,
            _ => {
                background.weights.insert(word, number);
            }
        }
    }
    background
});

impl Background {
    /// A word's weight; of one that the table has not, that of a word that no passage has.
    pub(super) fn weight(&self, word: &str) -> f64 {
        f64::from(self.weights.get(word).copied().unwrap_or(self.rarest)) / 100.0
    }

    /// Words of a passage of usual length, title included.
    pub(super) fn mean_words(&self) -> f64 {
        f64::from(self.mean_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_weigh_more_and_unknown_ones_most() {
        assert!(BACKGROUND.weights.len() > 10_000);
        assert!(BACKGROUND.weight("patient") < BACKGROUND.weight("nephropathi"));
        assert!(
            BACKGROUND
                .weights
                .values()
                .all(|weight| (1..=BACKGROUND.rarest).contains(weight))
        );
        assert_eq!(
            BACKGROUND.weight("qqzzxx"),
            f64::from(BACKGROUND.rarest) / 100.0
        );
        assert!((20..400).contains(&BACKGROUND.mean_words));
    }
}
