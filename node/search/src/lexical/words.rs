//! From a text to its words.

use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
    TokenStream,
};

use super::limits::WORD_BYTES_MAX;

/// Words without which a question asks for the same.
const STOP_WORDS: &[&str] = &[
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how",
    "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "our",
    "s", "she", "should", "such", "t", "that", "the", "their", "then", "there", "these", "they",
    "this", "to", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "why",
    "will", "with", "would", "you", "your",
];

/// What both passages and questions are read by.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(StopWordFilter::remove(
            STOP_WORDS.iter().map(|word| (*word).to_owned()),
        ))
        .filter(Stemmer::new(Language::English))
        .build()
}

pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    analyzer()
        .token_stream(text)
        .process(&mut |token| words.push(token.text.clone()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_small_and_stemmed_and_those_without_meaning_are_left_out() {
        assert_eq!(
            words("What are the Symptoms of COVID-19?"),
            ["symptom", "covid", "19"]
        );
        assert_eq!(words("a AND \"b\" OR c* NOT (d:e)"), ["b", "c", "d", "e"]);
        assert_eq!(words(&"x".repeat(100)), Vec::<String>::new());
    }
}
