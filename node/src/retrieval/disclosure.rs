//! What is told of a private passage: a name that means nothing outside, about how near it is, and at level 3 a short
//! part of it, redacted again.

use consilium_protocol::Digest;
use consilium_protocol::message::{BUCKETS, HANDLE_BYTES, SNIPPET_CHARS_MAX};
use consilium_search::redaction::{Redactor, shared_identifier_run, snippet};

/// Equal tokens in a row that a snippet may share with what a site listed as identifying: beyond, it is no chance.
pub const SHARED_TOKENS_MAX: usize = 8;

/// A passage's handle in one answer: whoever asks two questions cannot find out that both were answered with the same
/// passage, nor that one is missing from the second. `secret` is the site's alone, so the site can tell from the
/// search in its journal and the handle which passage it was.
#[must_use]
pub fn handle(
    secret: &[u8; 32],
    search: Digest,
    document: &str,
    passage: u32,
) -> [u8; HANDLE_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&search.0);
    hasher.update(&(document.len() as u64).to_le_bytes());
    hasher.update(document.as_bytes());
    hasher.update(&passage.to_le_bytes());
    let mut handle = [0; HANDLE_BYTES];
    hasher.finalize_xof().fill(&mut handle);
    handle
}

/// The similarity in sixteenths from 0 to 1; what is below 0 is in the first.
#[must_use]
pub fn bucket(similarity: f32) -> u8 {
    let sixteenths = (similarity.max(0.0) * f32::from(BUCKETS)) as u8;
    sixteenths.min(BUCKETS - 1)
}

/// The part of a passage that is told at level 3: nearest to the question, redacted a second time, and empty where the
/// site's own list of what must never leave says so.
#[must_use]
pub fn told(redactor: &Redactor, passage: &str, question: &str, never: &[String]) -> String {
    let redacted = redactor.redact(passage).text;
    let part: String = snippet(&redacted, question, SNIPPET_CHARS_MAX)
        .chars()
        .take(SNIPPET_CHARS_MAX)
        .collect();
    let lower = part.to_lowercase();
    let names_it = never.iter().any(|identifying| {
        lower.contains(&identifying.to_lowercase())
            || shared_identifier_run(&part, identifying) > SHARED_TOKENS_MAX
    });
    match names_it {
        true => String::new(),
        false => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_the_same_in_one_answer_and_another_in_another() {
        let of = |search: &[u8], document: &str, passage| {
            handle(&[7; 32], Digest::of(search), document, passage)
        };
        assert_eq!(of(b"s", "d1", 0), of(b"s", "d1", 0));
        let others = [of(b"t", "d1", 0), of(b"s", "d2", 0), of(b"s", "d1", 1)];
        assert!(others.iter().all(|other| *other != of(b"s", "d1", 0)));
    }

    #[test]
    fn similarities_are_told_to_a_sixteenth() {
        let cases = [
            (-1.0, 0),
            (0.0, 0),
            (0.0624, 0),
            (0.0626, 1),
            (0.5, 8),
            (0.99, 15),
            (1.0, 15),
        ];
        for (similarity, told) in cases {
            assert_eq!(bucket(similarity), told, "{similarity}");
        }
    }

    #[test]
    fn what_must_never_leave_empties_the_snippet() {
        let redactor = Redactor::new();
        let passage = "The patient has gout in the left foot. CANARY-4711 is on the chart.";
        let question = "gout in the foot canary chart";
        assert!(told(&redactor, passage, question, &[]).contains("gout"));
        assert_eq!(
            told(&redactor, passage, question, &["canary-4711".into()]),
            ""
        );
    }
}
