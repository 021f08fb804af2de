//! Questions that a person asks at the prompt, and reads the answers of.

use std::io::{BufRead, IsTerminal, Write};

use super::collections::{PEOPLE, PROJECT, PURPOSE};
use crate::house::{Exit, Member};
use crate::story::StoryError;
use crate::story::told::{result, step};

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 4096;

/// What is asked before anybody is let to the prompt: a question, and what is typed after it.
const ASKED: [(&str, &[&str]); 3] = [
    ("why do my fingers turn white in the cold?", &["-k", "3"]),
    (
        "how is a brain tumour in a child treated?",
        &["-k", "3", "--by", "vectors"],
    ),
    (
        "BRCA1",
        &[
            "-k",
            "3",
            "--by",
            "words",
            "--filter",
            "semantic-type = 'T191'",
        ],
    ),
];

/// Asks what the story asks; then the person, if there is one.
///
/// # Errors
/// If a question of the story's was not answered.
pub(super) fn talk(ada: &Member) -> Result<(), StoryError> {
    for (question, words) in ASKED {
        if asked(ada, question, words) != Exit::Answered {
            return Err(StoryError::unexpected(format!(
                "`{question}` was not answered"
            )));
        }
    }
    let input = std::io::stdin();
    if !input.is_terminal() {
        step("Standard input is no terminal, so nobody is asked for questions of their own.");
        return Ok(());
    }
    step("Ask questions of your own; an empty line goes on.");
    while let Some(question) = typed(&mut input.lock()) {
        // What was wrong was told; the person may ask otherwise.
        asked(ada, &question, &["-k", "3"]);
    }
    Ok(())
}

/// One question, as it is typed and as it is answered.
pub(super) fn asked(ada: &Member, question: &str, words: &[&str]) -> Exit {
    let before = [
        "search",
        question,
        "--collection",
        PEOPLE,
        "--project",
        PROJECT,
        "--purpose",
        PURPOSE,
    ];
    let words = [&before[..], words].concat();
    let quoted = words
        .iter()
        .map(|word| match word.contains([' ', '?', '\'']) {
            true => format!("\"{word}\""),
            false => (*word).to_owned(),
        });
    result(&format!(
        "\n$ consilium {}",
        quoted.collect::<Vec<_>>().join(" ")
    ));
    ada.reads(&words)
}

/// The next line; none where it is empty or there is no more.
fn typed(input: &mut dyn BufRead) -> Option<String> {
    write!(std::io::stderr(), "? ").ok();
    std::io::stderr().flush().ok();
    let mut line = String::new();
    let mut limited = std::io::Read::take(input, LINE_BYTES_MAX);
    limited.read_line(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_ends_the_talk() {
        let mut input = &b"what is gout?\n\nmore\n"[..];
        assert_eq!(typed(&mut input), Some("what is gout?".to_owned()));
        assert_eq!(typed(&mut input), None);
        assert_eq!(typed(&mut &b""[..]), None);
    }
}
