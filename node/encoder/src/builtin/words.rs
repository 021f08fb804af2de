//! A text as words, and a word as pieces of the vocabulary. `train/corpus.py` has the same rules for training.

use std::collections::HashMap;
use std::ops::ControlFlow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::limits;

/// Calls `each` with every word until it breaks off: lower case, accents stripped, runs of letters and digits; every
/// other character that is neither blank nor a control stands alone.
pub(super) fn for_each_word(
    text: &str,
    mut each: impl FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut word = String::new();
    let mut alone = [0; 4];
    // Lower case first: a capital may have one letter, and its small form a letter and an accent.
    let letters = text.chars().flat_map(char::to_lowercase).nfd();
    for letter in letters {
        if letter.is_alphanumeric() {
            word.push(letter);
        } else if !is_combining_mark(letter) {
            if !word.is_empty() {
                each(&word)?;
                word.clear();
            }
            if !letter.is_whitespace() && !letter.is_control() {
                each(letter.encode_utf8(&mut alone))?;
            }
        }
    }
    if word.is_empty() {
        ControlFlow::Continue(())
    } else {
        each(&word)
    }
}

/// Pieces by their text. A piece that goes on in the middle of a word is held without its `##`, apart from those that
/// begin one.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    first: HashMap<Box<str>, u32>,
    further: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece: no longer slice need be looked up.
    longest: usize,
}

impl Vocabulary {
    /// Of pieces in the order of their ids.
    pub(super) fn of<'a>(pieces: impl Iterator<Item = &'a str>) -> Self {
        let mut made = Self::default();
        for (id, piece) in (0..).zip(pieces) {
            let (home, text) = match piece.strip_prefix("##") {
                Some(text) if !text.is_empty() => (&mut made.further, text),
                _ => (&mut made.first, piece),
            };
            home.insert(text.into(), id);
            made.longest = made.longest.max(text.len());
        }
        made
    }

    /// The piece that is the whole word.
    pub(super) fn whole(&self, word: &str) -> Option<u32> {
        self.first.get(word).copied()
    }

    /// Writes a word's pieces to `into`, the longest that fits first, as WordPiece does (Wu et al. 2016,
    /// arXiv 1609.08144, §4.1). False, and nothing written, if no pieces cover the word or it is too long for one.
    pub(super) fn split(&self, word: &str, into: &mut Vec<u32>) -> bool {
        let before = into.len();
        let mut rest = word;
        let mut home = &self.first;
        let fits = word.chars().nth(limits::WORD_CHARS_MAX).is_none();
        while fits && !rest.is_empty() {
            let Some((id, taken)) = self.longest_of(home, rest) else {
                break;
            };
            into.push(id);
            rest = rest.get(taken..).unwrap_or_default();
            home = &self.further;
        }
        if fits && rest.is_empty() {
            return true;
        }
        into.truncate(before);
        false
    }

    fn longest_of(&self, home: &HashMap<Box<str>, u32>, rest: &str) -> Option<(u32, usize)> {
        let mut end = rest.floor_char_boundary(self.longest);
        while end > 0 {
            let piece = rest.get(..end)?;
            if let Some(id) = home.get(piece) {
                return Some((*id, end));
            }
            end = rest.floor_char_boundary(end - 1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let all = for_each_word(text, |word| {
            words.push(word.to_owned());
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
        words
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            words("Ménière's disease, 5\u{a0}mg\u{0}/d (b12)"),
            [
                "meniere", "'", "s", "disease", ",", "5", "mg", "/", "d", "(", "b12", ")"
            ]
        );
        assert_eq!(words("\t \n"), Vec::<String>::new());
    }

    #[test]
    fn a_word_falls_into_the_longest_pieces() {
        let vocabulary =
            Vocabulary::of(["[other]", "neph", "nephr", "##itis", "##r", "a"].into_iter());
        let mut ids = Vec::new();
        assert!(vocabulary.split("nephritis", &mut ids));
        assert_eq!(ids, [2, 3]);
        assert!(
            !vocabulary.split("nephrology", &mut ids)
                && !vocabulary.split(&"a".repeat(65), &mut ids)
        );
        assert_eq!(ids, [2, 3], "a word that is not covered leaves no piece");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let vocabulary = Vocabulary::of(["[other]", "a", "##a", "é"].into_iter());
            for word in words(&text) {
                vocabulary.split(&word, &mut Vec::new());
            }
        }
    }
}
