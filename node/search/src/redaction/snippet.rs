//! A few words of a text, to show with a hit.

use std::collections::{BTreeMap, BTreeSet};

use crate::text::sentences;

/// Tokens of the second text that are looked at: the longest of identifiers is a short text.
const TOKENS_MAX: usize = 4096;

/// The longest run of equal words of two texts, in words; case and punctuation do not count. For the rule that no span
/// of a shown snippet longer than 8 words may equal an identifier's text. Of `b` only the first 4,096 words count.
#[must_use]
pub fn shared_identifier_run(a: &str, b: &str) -> usize {
    let (a, mut b) = (words(a), words(b));
    b.truncate(TOKENS_MAX);
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, word) in b.iter().enumerate() {
        places.entry(word).or_default().push(at);
    }
    // runs[at + 1]: how many words up to this one of `a` equal those up to place `at` of `b`.
    let mut runs = vec![0usize; b.len() + 1];
    let mut filled: Vec<usize> = Vec::new();
    let mut longest = 0;
    for word in &a {
        let here = places
            .get(word.as_str())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let new: Vec<usize> = here
            .iter()
            .map(|at| runs.get(*at).copied().unwrap_or(0) + 1)
            .collect();
        for at in filled.drain(..) {
            if let Some(run) = runs.get_mut(at) {
                *run = 0;
            }
        }
        for (at, run) in here.iter().zip(new) {
            if let Some(place) = runs.get_mut(at + 1) {
                *place = run;
            }
            filled.push(at + 1);
            longest = longest.max(run);
        }
    }
    longest
}

/// Of a text the sentence that has most of the query's different words, and those after it that still fit: at most
/// `chars_max` characters, cut between words, of equal ones the first. A first word that is too long gives nothing.
#[must_use]
pub fn snippet(text: &str, query: &str, chars_max: usize) -> String {
    let wanted: BTreeSet<String> = words(query).into_iter().collect();
    let sentences = sentences(text);
    let has = |start: usize, end: usize| {
        let found: BTreeSet<String> = words(text.get(start..end).unwrap_or_default())
            .into_iter()
            .collect();
        found.intersection(&wanted).count()
    };
    let best = sentences.iter().map(|at| (has(at.start, at.end), at.start));
    let start = best
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map_or(0, |(_, start)| start);
    cut(text.get(start..).unwrap_or_default(), chars_max)
}

fn cut(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        let more = word.chars().count() + usize::from(!shown.is_empty());
        if chars + more > chars_max {
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
        chars += more;
    }
    shown
}

fn words(text: &str) -> Vec<String> {
    text.split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sentence_nearest_to_the_query_is_shown() {
        let text = "She is well. Her knee pain began in spring after a fall. It is worse at night.\nNo fever.";
        assert_eq!(
            snippet(text, "fall and knee pain", 60),
            "Her knee pain began in spring after a fall. It is worse at"
        );
        assert_eq!(snippet(text, "nothing", 12), "She is well.");
        assert_eq!(snippet(text, "knee", 2), "");
        assert_eq!(snippet("", "knee", 20), "");
    }

    #[test]
    fn the_longest_run_of_equal_words_is_found() {
        assert_eq!(
            shared_identifier_run(
                "seen at 12 Elm Street, Springfield today",
                "12 elm street springfield"
            ),
            4
        );
        assert_eq!(shared_identifier_run("a b a b c", "a b c"), 3);
        assert_eq!(shared_identifier_run("", "a"), 0);
    }

    proptest! {
        #[test]
        fn a_snippet_is_short_and_of_the_text(text in "[a-c. \n\u{e9}]{0,60}", query in "[a-c ]{0,9}", most in 0usize..30) {
            let text = crate::text::normalise(&text);
            let shown = snippet(&text, &query, most);
            prop_assert!(shown.chars().count() <= most);
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert!(flat.contains(&shown));
        }

        #[test]
        fn a_run_is_what_comparing_all_places_finds(a in "[ab ]{0,24}", b in "[ab ]{0,24}") {
            let (one, other) = (words(&a), words(&b));
            let mut longest = 0;
            for from in 0..one.len() {
                for to in from + 1..=one.len() {
                    if other.windows(to - from).any(|run| run == &one[from..to]) {
                        longest = longest.max(to - from);
                    }
                }
            }
            prop_assert_eq!(shared_identifier_run(&a, &b), longest);
            prop_assert_eq!(shared_identifier_run(&b, &a), longest);
        }
    }
}
