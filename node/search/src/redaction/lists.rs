//! The names and places that are known beforehand; node/search/lists/README.md says where from.

use std::collections::HashMap;
use std::sync::LazyLock;

const GIVEN: &str = include_str!("../../lists/given.txt");
const SURNAMES: &str = include_str!("../../lists/surnames.txt");
const PLACES: &str = include_str!("../../lists/places.txt");

/// Whether an entry can be told from a word by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    No,
    /// It is also a word, or a name of a test or a disease: something beside it must say that it is a name.
    Doubtful,
    Surely,
}

struct Lists {
    given: HashMap<&'static str, Known>,
    surnames: HashMap<&'static str, Known>,
    /// By first word, with all words.
    places: HashMap<&'static str, Vec<(&'static str, Known)>>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let mut places: HashMap<&str, Vec<_>> = HashMap::new();
    for (place, known) in PLACES.lines().map(entry) {
        let first = place.split([' ', '-']).next().unwrap_or(place);
        places.entry(first).or_default().push((place, known));
    }
    for same in places.values_mut() {
        same.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    }
    Lists {
        given: GIVEN.lines().map(entry).collect(),
        surnames: SURNAMES.lines().map(entry).collect(),
        places,
    }
});

fn entry(line: &str) -> (&str, Known) {
    match line.strip_suffix(" ~") {
        Some(word) => (word, Known::Doubtful),
        None => (line, Known::Surely),
    }
}

/// What is known of a word in small letters as a given name.
pub(super) fn given(word: &str) -> Known {
    LISTS.given.get(word).copied().unwrap_or(Known::No)
}

/// What is known of a word in small letters as a surname; one with a hyphen as far as its parts are.
pub(super) fn surname(word: &str) -> Known {
    let part = |part: &str| LISTS.surnames.get(part).copied().unwrap_or(Known::No);
    match word.split_once('-') {
        Some((one, other)) => part(one).min(part(other)),
        None => part(word),
    }
}

/// The longest place that the text, in small letters, begins with; the word that it begins with is given too.
pub(super) fn place(first_word: &str, text: &str) -> Option<(usize, Known)> {
    let whole = |place: &str| {
        let after = text.strip_prefix(place)?.chars().next();
        (!after.is_some_and(char::is_alphanumeric)).then_some(place.len())
    };
    let places = LISTS.places.get(first_word)?;
    places
        .iter()
        .find_map(|(place, known)| Some((whole(place)?, *known)))
}
