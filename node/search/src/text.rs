//! Text as it comes, made regular, and cut into passages.
//!
//! Lengths are in words: runs without a blank, a run of more than [`WORD_CHARS_MAX`] characters counting once for each
//! such part, so that a text without blanks is cut too. Everything takes time in proportion to the text. (The Unicode
//! sentence rules, UAX #29, do not: after each full stop they look ahead without end for a lower-case letter.)

use unicode_normalization::UnicodeNormalization;

/// Longer runs without a blank are cut: no word of any language, no address is longer.
const WORD_CHARS_MAX: usize = 64;

/// Words that end with a full stop in the middle of a sentence, in lower case and without it.
const ABBREVIATIONS: &[&str] = &[
    "a.k.a", "approx", "appt", "apr", "assoc", "aug", "ave", "b.i.d", "blvd", "capt", "cf", "ct",
    "dec", "dept", "dr", "drs", "e.g", "ed", "est", "etc", "feb", "fig", "figs", "fri", "ft",
    "gen", "gov", "hosp", "hr", "hrs", "i.e", "i.m", "i.v", "inc", "jan", "jr", "jul", "jun",
    "lab", "lt", "ltd", "mar", "max", "min", "mins", "mon", "mr", "mrs", "ms", "mt", "no", "nos",
    "nov", "oct", "p.o", "p.r.n", "pg", "ph.d", "pp", "prof", "pt", "pts", "q.d", "q.i.d", "ref",
    "rev", "sat", "sec", "sep", "sept", "sgt", "sr", "st", "sun", "t.i.d", "tab", "tabs", "tel",
    "thu", "tue", "u.s", "univ", "vol", "vs", "wed", "wk", "wks", "yr", "yrs",
];

/// The text in one regular form: Unicode NFC, each run of blanks one space, each run of line ends one `\n` (a paragraph
/// mark), no control or invisible formatting characters, nothing blank at either end. Idempotent.
///
/// Formatting characters go because a soft hyphen inside a name would hide the name from redaction.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = None;
    let regular = text.chars().filter_map(regular).nfc();
    for char in regular {
        match char {
            '\n' => gap = Some('\n'),
            ' ' => gap = gap.or(Some(' ')),
            _ => {
                if let Some(blank) = gap.take().filter(|_| !out.is_empty()) {
                    out.push(blank);
                }
                out.push(char);
            }
        }
    }
    out
}

/// A character as [`normalise`] keeps it; `None` to leave it out.
fn regular(char: char) -> Option<char> {
    match char {
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        _ if char.is_whitespace() => Some(' '),
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => None,
        _ if char.is_control() => None,
        _ => Some(char),
    }
}

/// A part of a text, by bytes, on borders of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    pub start: usize,
    pub end: usize,
}

/// Cuts a normalised text into passages of at most `words_max` words (one, if that is 0). They end where a sentence
/// does, unless that would leave them shorter than a quarter, begin with the last sentences of the one before as far as
/// those have no more than `overlap_words` words (at most half of `words_max`), and cover every word.
#[must_use]
pub fn passages(text: &str, words_max: usize, overlap_words: usize) -> Vec<Passage> {
    let words_max = words_max.max(1);
    let overlap_words = overlap_words.min(words_max / 2);
    let words = words(text);
    let ends = sentence_ends(text, &words);
    let mut found = Vec::new();
    let (mut start, mut covered) = (0, 0);
    while covered < words.len() {
        let full = words.len().min(start + words_max);
        let least = covered + (words_max / 4).max(1);
        // Of the sentences that end within reach, the last; else as much as there is room for.
        let end = match ends
            .get(..ends.partition_point(|end| *end <= full))
            .and_then(<[usize]>::last)
        {
            Some(end) if full < words.len() && *end >= least => *end,
            _ => full,
        };
        found.extend(between(&words, start, end));
        let back = end.saturating_sub(overlap_words);
        start = match ends.get(ends.partition_point(|end| *end < back)) {
            Some(begin) if *begin <= end => *begin,
            _ => back,
        }
        .max(start + 1);
        covered = end;
    }
    found
}

/// The sentences of a normalised text, in order; together they have every word.
#[must_use]
pub(crate) fn sentences(text: &str) -> Vec<Passage> {
    let words = words(text);
    let mut start = 0;
    sentence_ends(text, &words)
        .into_iter()
        .filter_map(|end| between(&words, std::mem::replace(&mut start, end), end))
        .collect()
}

fn between(words: &[Passage], start: usize, end: usize) -> Option<Passage> {
    let words = words.get(start..end)?;
    Some(Passage {
        start: words.first()?.start,
        end: words.last()?.end,
    })
}

fn words(text: &str) -> Vec<Passage> {
    let mut words = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (at, char) in text.char_indices() {
        if char.is_whitespace() {
            words.extend(open.take().map(|(start, _)| Passage { start, end: at }));
            continue;
        }
        open = match open {
            Some((start, WORD_CHARS_MAX)) => {
                words.push(Passage { start, end: at });
                Some((at, 1))
            }
            Some((start, chars)) => Some((start, chars + 1)),
            None => Some((at, 1)),
        };
    }
    words.extend(open.map(|(start, _)| Passage {
        start,
        end: text.len(),
    }));
    words
}

/// After how many words a sentence ends; ascending, the last being all of them.
fn sentence_ends(text: &str, words: &[Passage]) -> Vec<usize> {
    let mut ends = Vec::new();
    for (at, pair) in words.windows(2).enumerate() {
        let [word, next] = pair else { continue };
        let gap = text.get(word.end..next.start).unwrap_or_default();
        let (word, next) = (piece(text, *word), piece(text, *next));
        if gap.contains('\n') || (!gap.is_empty() && ends_sentence(word, next)) {
            ends.push(at + 1);
        }
    }
    if !words.is_empty() {
        ends.push(words.len());
    }
    ends
}

fn ends_sentence(word: &str, next: &str) -> bool {
    let bare = word.trim_end_matches(['"', '\'', ')', ']', '\u{201d}', '\u{2019}']);
    let Some(stem) = bare.strip_suffix('.') else {
        return bare.ends_with(['?', '!', '\u{2026}', '\u{3002}']);
    };
    // Speech that was written down has stops between blanks, and no capitals.
    if stem.is_empty() {
        return true;
    }
    if next.starts_with(char::is_lowercase) {
        return false;
    }
    let stem = stem.trim_start_matches(['"', '\'', '(', '[', '\u{201c}', '\u{2018}']);
    let is_initial = stem.chars().count() == 1 && stem.chars().all(char::is_uppercase);
    !is_initial
        && ABBREVIATIONS
            .binary_search(&stem.to_lowercase().as_str())
            .is_err()
}

fn piece(text: &str, at: Passage) -> &str {
    text.get(at.start..at.end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str, words_max: usize, overlap_words: usize) -> Vec<&str> {
        passages(text, words_max, overlap_words)
            .into_iter()
            .map(|at| piece(text, at))
            .collect()
    }

    #[test]
    fn abbreviations_are_found_by_halving() {
        assert!(ABBREVIATIONS.is_sorted());
    }

    #[test]
    fn text_is_made_regular() {
        assert_eq!(
            normalise("\u{feff} Mar\u{ad}tha\t  Collins\r\n\r\n\u{a0}e\u{301}tat\u{0} "),
            "Martha Collins\n\u{e9}tat"
        );
        assert_eq!(normalise(" \n\t "), "");
    }

    #[test]
    fn a_passage_ends_with_a_sentence_and_not_with_a_doctors_title() {
        let text =
            "She saw Dr. Gutierrez on Monday. He wrote to J. Smith, M.D. about it. All was well.";
        assert_eq!(
            cut(text, 9, 0),
            [
                "She saw Dr. Gutierrez on Monday.",
                "He wrote to J. Smith, M.D. about it.",
                "All was well."
            ]
        );
        assert_eq!(
            cut("how are you ? fine . and you ?", 4, 0),
            ["how are you ?", "fine .", "and you ?"]
        );
    }

    #[test]
    fn the_last_sentences_are_said_again() {
        assert_eq!(
            cut("One two three. Four five. Six seven eight. Nine.", 5, 2),
            [
                "One two three. Four five.",
                "Four five. Six seven eight.",
                "Nine."
            ]
        );
    }

    #[test]
    fn a_text_without_blanks_is_cut_too() {
        let text = "x".repeat(1000);
        let parts = cut(&text, 2, 1);
        assert!(
            parts.iter().all(|part| part.len() <= 2 * WORD_CHARS_MAX),
            "{parts:?}"
        );
        assert_eq!(parts.last().map(|part| text.ends_with(part)), Some(true));
    }

    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("Dr.".to_owned()),
            Just("\n".to_owned()),
            Just(". ".to_owned()),
            Just("e\u{301}".to_owned()),
            "[A-Za-z]{1,9}[.?]? ?",
            "\\PC{0,3}",
            "[a-z]{60,140}",
        ];
        prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn to_be_regular_is_to_stay(text in "(?s).{0,60}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn passages_keep_their_length_and_cover_every_word(
            text in texts(),
            words_max in 0usize..20,
            overlap in 0usize..30,
        ) {
            let text = normalise(&text);
            let all = words(&text);
            let parts = passages(&text, words_max, overlap);
            let mut covered = 0;
            for part in &parts {
                let within = all.iter().filter(|word| word.start >= part.start && word.end <= part.end).count();
                prop_assert!(within >= 1 && within <= words_max.max(1));
                prop_assert!(text.get(part.start..part.end).is_some());
                // Nothing but blanks between what is covered and what comes next.
                prop_assert!(part.start <= covered || text[covered..part.start].trim().is_empty());
                prop_assert!(part.end > covered);
                covered = part.end;
            }
            prop_assert!(text[covered..].trim().is_empty());
        }

        #[test]
        fn sentences_have_every_word(text in texts()) {
            let text = normalise(&text);
            let joined: String = sentences(&text).into_iter().map(|at| piece(&text, at)).collect();
            let kept = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            prop_assert_eq!(kept(&joined), kept(&text));
        }
    }
}
