//! Names of people, and of cities, by lists and by what stands beside them.
//!
//! Evidence is strong (a title, a given name with a surname, a name that the site gave) or weak (a listed name by
//! itself). What was found strongly is a name in the whole text. In text without capitals, as speech is written down,
//! only what cannot be a word counts as weak evidence.

use std::collections::BTreeSet;

use super::Class;
use super::lists::{self, Known};
use super::rules::label;
use super::span::Span;
use super::words::{DEGREES, EPONYM_HEADS, GREETINGS, NO_NAMES, NOT_ALONE, PLACE_CUES, TITLES};

/// Spans of names and places in what lies outside `taken` (ascending, apart), ascending and apart. `known` are words of
/// names, in small letters.
pub(super) fn find(text: &str, taken: &[Span], known: &BTreeSet<String>) -> Vec<Span> {
    let words = words(text, taken);
    let mut reading = Reading {
        has_case: has_case(text),
        text,
        marks: vec![None; words.len()],
        words,
    };
    let strong = reading.read_full_names();
    reading.read_places();
    reading.read_words(&strong, known);
    reading.spans()
}

/// A run of letters, with hyphens and apostrophes within.
struct Word<'a> {
    start: usize,
    end: usize,
    as_written: &'a str,
    /// In small letters, without a possessive `'s`.
    bare: String,
    /// What stands between this and the next word.
    gap: Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Blank,
    /// A full stop and blanks, as after a title or an initial.
    Stop,
    Comma,
    Other,
}

struct Reading<'a> {
    text: &'a str,
    has_case: bool,
    words: Vec<Word<'a>>,
    marks: Vec<Option<Class>>,
}

impl Word<'_> {
    fn has_capital(&self) -> bool {
        self.as_written.starts_with(char::is_uppercase)
    }

    fn is_shouted(&self) -> bool {
        self.as_written.len() > 1 && !self.as_written.contains(char::is_lowercase)
    }

    fn is_initial(&self) -> bool {
        self.has_capital() && self.as_written.chars().count() == 1
    }

    fn is_possessive(&self) -> bool {
        self.as_written.len() > self.bare.len()
    }
}

impl Reading<'_> {
    /// Marks what strong evidence shows; the words of it.
    fn read_full_names(&mut self) -> BTreeSet<String> {
        let mut strong: BTreeSet<String> = BTreeSet::new();
        for at in 0..self.words.len() {
            let count = self.named_from(at);
            for nth in at..at + count {
                self.mark(nth, Class::Name);
                if let Some(word) = self.words.get(nth).filter(|word| word.bare.len() > 2) {
                    strong.insert(word.bare.clone());
                }
            }
        }
        strong
    }

    /// Marks what was found before, what the site gave, and what the lists know by itself.
    fn read_words(&mut self, strong: &BTreeSet<String>, known: &BTreeSet<String>) {
        for at in 0..self.words.len() {
            let Some(word) = self.words.get(at) else {
                break;
            };
            let given =
                known.contains(&word.bare) || word.bare.split('-').any(|part| known.contains(part));
            let is_listed =
                lists::given(&word.bare).max(lists::surname(&word.bare)) == Known::Surely;
            let told = strong.contains(&word.bare) && (self.has_case || is_listed);
            let is_name = if given || told {
                !NO_NAMES.contains(&word.bare.as_str()) && self.may_be_a_name(word)
            } else {
                self.is_listed_alone(at)
            };
            if is_name && (given || !self.is_eponym(at)) {
                self.mark(at, Class::Name);
            }
        }
    }

    /// How many words from here on are a name by strong evidence, which may lie before them; 0 for none.
    fn named_from(&self, at: usize) -> usize {
        let Some(word) = self.words.get(at) else {
            return 0;
        };
        let before = at.checked_sub(1).and_then(|before| self.words.get(before));
        let title = before.filter(|title| {
            matches!(title.gap, Gap::Blank | Gap::Stop) && TITLES.contains(&title.bare.as_str())
        });
        if let Some(title) = title {
            // `doctor` and `miss` are words as well; `dr` and `mrs` are not.
            let is_plain = matches!(
                title.bare.as_str(),
                "doctor" | "miss" | "nurse" | "sister" | "professor"
            );
            let may_be = self.may_be_a_name(word)
                && !NO_NAMES.contains(&word.bare.as_str())
                && !self.is_before_degree(at);
            if may_be && (!is_plain || self.is_likely(word, title)) {
                return self.name_goes_on(at);
            }
        }
        if self.is_full_name(at) {
            return self.name_goes_on(at).max(2);
        }
        if self.is_greeted(at) {
            return self.name_goes_on(at);
        }
        if self.has_degree(at) {
            return self.name_goes_on(at);
        }
        0
    }

    /// After a title that is a word too: a capital in text that has any, a listed name in text that has none.
    fn is_likely(&self, word: &Word<'_>, title: &Word<'_>) -> bool {
        let listed = lists::given(&word.bare).max(lists::surname(&word.bare));
        if self.has_case {
            title.gap == Gap::Blank && !word.is_shouted() && word.bare.len() > 1
        } else {
            title.gap == Gap::Blank && listed == Known::Surely
        }
    }

    /// After `hi` and the like a listed name; in text without capitals not one that is a surname and a word.
    fn is_greeted(&self, at: usize) -> bool {
        let Some(word) = self.words.get(at) else {
            return false;
        };
        let hello = at.checked_sub(1).and_then(|before| self.words.get(before));
        let is_hello = hello.is_some_and(|hello| {
            matches!(hello.gap, Gap::Blank | Gap::Comma) && GREETINGS.contains(&hello.bare.as_str())
        });
        let (given, surname) = (lists::given(&word.bare), lists::surname(&word.bare));
        let is_listed = if self.has_case {
            given.max(surname) != Known::No
        } else {
            (given != Known::No || surname == Known::Surely) && word.gap != Gap::Blank
        };
        is_hello && is_listed && self.may_be_a_name(word) && !NO_NAMES.contains(&word.bare.as_str())
    }

    /// A given name and a surname, with initials between; or the two the other way about, with a comma.
    fn is_full_name(&self, at: usize) -> bool {
        let Some(first) = self.words.get(at) else {
            return false;
        };
        let mut next = at + 1;
        let mut gap = first.gap;
        while let Some(initial) = self
            .words
            .get(next)
            .filter(|word| gap == Gap::Blank && word.is_initial())
        {
            if initial.bare == "i" || next > at + 2 {
                break;
            }
            gap = if initial.gap == Gap::Stop {
                Gap::Blank
            } else {
                initial.gap
            };
            next += 1;
        }
        let Some(second) = self.words.get(next) else {
            return false;
        };
        let either_is_no_name = [first, second].iter().any(|word| {
            NO_NAMES.contains(&word.bare.as_str())
                || !self.may_be_a_name(word)
                || word.is_possessive() && word.end == first.end
        });
        if either_is_no_name || self.is_eponym(next) {
            return false;
        }
        let (given, surname) = (lists::given(&first.bare), lists::surname(&second.bare));
        match gap {
            Gap::Blank if self.has_case => match (given, surname) {
                (Known::Surely, Known::Surely | Known::Doubtful)
                | (Known::Doubtful, Known::Surely) => true,
                (Known::Surely, Known::No) => !second.is_shouted() && second.bare.len() > 2,
                (Known::Doubtful, Known::Doubtful) => !first.is_shouted(),
                _ => false,
            },
            Gap::Blank => {
                given == Known::Surely && surname != Known::No
                    || given == Known::Doubtful && surname == Known::Surely
            }
            Gap::Comma if self.has_case && next == at + 1 => {
                lists::surname(&first.bare) == Known::Surely
                    && lists::given(&second.bare) == Known::Surely
            }
            _ => false,
        }
    }

    /// From a first word of a name: it, and what of the next words is of the name too.
    fn name_goes_on(&self, at: usize) -> usize {
        let mut count = 1;
        while count < 4 {
            let (Some(last), Some(next)) =
                (self.words.get(at + count - 1), self.words.get(at + count))
            else {
                break;
            };
            let joins = last.gap == Gap::Blank
                || (last.gap == Gap::Stop && (last.is_initial() || last.bare == "st"));
            let listed = lists::given(&next.bare).max(lists::surname(&next.bare));
            let is_part = if self.has_case {
                next.has_capital()
                    && next.bare != "i"
                    && (next.is_shouted() == last.is_shouted() || next.is_initial())
                    && !TITLES.contains(&next.bare.as_str())
            } else {
                listed == Known::Surely
            };
            if !joins || last.is_possessive() || !is_part || NO_NAMES.contains(&next.bare.as_str())
            {
                break;
            }
            count += 1;
        }
        count
    }

    /// `Jane Smith, MD` and `Smith, RN`.
    fn has_degree(&self, at: usize) -> bool {
        let Some(word) = self.words.get(at).filter(|_| self.has_case) else {
            return false;
        };
        if !word.has_capital() || word.is_shouted() || NO_NAMES.contains(&word.bare.as_str()) {
            return false;
        }
        let second = self.words.get(at + 1);
        let is_degree =
            |word: Option<&Word<'_>>| word.is_some_and(|word| DEGREES.contains(&word.as_written));
        word.gap == Gap::Comma && is_degree(second)
            || word.gap == Gap::Blank
                && second.is_some_and(|second| {
                    second.gap == Gap::Comma && second.has_capital() && !second.is_shouted()
                })
                && is_degree(self.words.get(at + 2))
    }

    fn is_before_degree(&self, at: usize) -> bool {
        self.words
            .get(at)
            .is_some_and(|word| DEGREES.contains(&word.as_written))
    }

    /// A listed name that stands by itself.
    fn is_listed_alone(&self, at: usize) -> bool {
        let Some(word) = self.words.get(at) else {
            return false;
        };
        if !self.may_be_a_name(word)
            || NO_NAMES.contains(&word.bare.as_str())
            || NOT_ALONE.contains(&word.bare.as_str())
        {
            return false;
        }
        let (given, surname) = (lists::given(&word.bare), lists::surname(&word.bare));
        if self.has_case {
            let is_long = word.bare.len() > if word.is_shouted() { 4 } else { 2 };
            is_long && (given == Known::Surely || (surname == Known::Surely && !word.is_shouted()))
        } else {
            given == Known::Surely && word.bare.len() > 2
        }
    }

    /// `Crohn's disease`, `Lachman test`, `Ehlers-Danlos syndrome`.
    fn is_eponym(&self, at: usize) -> bool {
        (1..=2).any(|ahead| {
            let is_joined = (at..at + ahead).all(|word| {
                self.words.get(word).is_some_and(|word| {
                    word.gap == Gap::Blank && (word.has_capital() || !self.has_case)
                })
            });
            is_joined
                && self
                    .words
                    .get(at + ahead)
                    .is_some_and(|head| EPONYM_HEADS.contains(&head.bare.as_str()))
                && (ahead == 1 || self.has_case)
        })
    }

    fn may_be_a_name(&self, word: &Word<'_>) -> bool {
        word.bare.len() > 1 && (!self.has_case || word.has_capital())
    }

    fn read_places(&mut self) {
        for at in 0..self.words.len() {
            let Some(word) = self.words.get(at) else {
                break;
            };
            if self.marks.get(at) != Some(&None) || (self.has_case && !word.has_capital()) {
                continue;
            }
            let first = word.bare.split('-').next().unwrap_or(&word.bare);
            let ahead = self.text.get(word.start..).unwrap_or_default();
            let ahead: String = ahead
                .chars()
                .take(PLACE_CHARS)
                .flat_map(char::to_lowercase)
                .collect();
            let Some((bytes, known)) = lists::place(first, &ahead) else {
                continue;
            };
            let (start, end) = (word.start, word.start + bytes);
            let count = self
                .words
                .get(at..)
                .unwrap_or_default()
                .iter()
                .take_while(|word| word.start < end)
                .count();
            let has_capitals = self
                .words
                .get(at..at + count)
                .unwrap_or_default()
                .iter()
                .all(Word::has_capital);
            let cue = at.checked_sub(1).and_then(|before| self.words.get(before));
            let is_cued = cue.is_some_and(|cue| {
                cue.gap == Gap::Blank && PLACE_CUES.contains(&cue.bare.as_str())
            });
            let is_place = if self.has_case {
                has_capitals && (is_cued || known == Known::Surely)
            } else {
                known == Known::Surely && (is_cued || count > 1)
            };
            if is_place && !self.is_eponym(at + count - 1) && start < end {
                for nth in at..at + count {
                    self.mark(nth, Class::Place);
                }
            }
        }
    }

    fn mark(&mut self, at: usize, class: Class) {
        if let Some(mark @ None) = self.marks.get_mut(at) {
            *mark = Some(class);
        }
    }

    /// Marked words that stand together are one name.
    fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut joins = false;
        for (word, mark) in self.words.iter().zip(&self.marks) {
            let Some(class) = mark else {
                joins = false;
                continue;
            };
            match spans.last_mut() {
                Some(last) if joins && last.class == Some(*class) => {
                    last.end = word.start + word_bytes(word)
                }
                _ => spans.push(Span {
                    start: word.start,
                    end: word.start + word_bytes(word),
                    class: Some(*class),
                    becomes: label(*class).to_owned(),
                }),
            }
            joins = word.gap == Gap::Blank || (word.gap == Gap::Stop && word.is_initial());
        }
        spans
    }
}

/// Letters of a place's name that are looked at.
const PLACE_CHARS: usize = 48;

/// Without the possessive, which stays.
fn word_bytes(word: &Word<'_>) -> usize {
    let written = word.as_written;
    written.len() - possessive(written)
}

fn possessive(written: &str) -> usize {
    ["'s", "\u{2019}s", "'S", "\u{2019}S"]
        .iter()
        .find(|end| written.ends_with(**end))
        .map_or(0, |end| end.len())
}

fn words<'a>(text: &'a str, taken: &[Span]) -> Vec<Word<'a>> {
    let mut words: Vec<Word<'a>> = Vec::new();
    let mut open: Option<usize> = None;
    let mut taken = taken.iter().peekable();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        while taken.next_if(|span| span.end <= at).is_some() {}
        let is_free = taken.peek().is_none_or(|span| span.start > at);
        let next_is_letter = chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
        let is_part = is_free
            && (char.is_alphabetic()
                || (open.is_some() && next_is_letter && matches!(char, '-' | '\'' | '\u{2019}')));
        match (open, is_part) {
            (None, true) => open = Some(at),
            (Some(start), false) => {
                push(&mut words, text, start, at);
                open = None;
            }
            _ => {}
        }
    }
    if let Some(start) = open {
        push(&mut words, text, start, text.len());
    }
    words
}

fn push<'a>(words: &mut Vec<Word<'a>>, text: &'a str, start: usize, end: usize) {
    if let Some(last) = words.last_mut() {
        last.gap = gap(text.get(last.end..start).unwrap_or_default());
    }
    let as_written = text.get(start..end).unwrap_or_default();
    let bare = as_written
        .get(..as_written.len() - possessive(as_written))
        .unwrap_or(as_written);
    words.push(Word {
        start,
        end,
        as_written,
        bare: bare.to_lowercase(),
        gap: Gap::Other,
    });
}

fn gap(between: &str) -> Gap {
    if between.len() > 4 {
        return Gap::Other;
    }
    match between.trim_matches(' ') {
        "" => Gap::Blank,
        "." => Gap::Stop,
        "," => Gap::Comma,
        _ => Gap::Other,
    }
}

/// Whether capitals tell anything: in speech that was written down there are none, and in a shouted note nothing else.
fn has_case(text: &str) -> bool {
    let (mut upper, mut lower) = (0usize, 0usize);
    for char in text.chars() {
        upper += usize::from(char.is_uppercase());
        lower += usize::from(char.is_lowercase());
    }
    upper * 100 >= lower && lower * 2 >= upper
}
