//! Comparing what was told with a kept text, but for what differs from one telling to the next.

/// With every number and digest of the lines that may differ taken out.
fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| match line.starts_with("  ~ ") {
        true => line
            .split_whitespace()
            .map(masked_word)
            .collect::<Vec<_>>()
            .join(" "),
        false => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// A word with a digit in it is a number, a digest or a time.
fn masked_word(word: &str) -> &str {
    match word.contains(|c: char| c.is_ascii_digit()) {
        true => "#",
        false => word,
    }
}

/// Compares line by line; `name` is the kept text's file.
pub(crate) fn assert_told_as_kept(printed: &str, kept: &str, name: &str) {
    let (printed, kept) = (masked(printed), masked(kept));
    for (at, (told, kept)) in (1..).zip(printed.lines().zip(kept.lines())) {
        assert_eq!(told, kept, "line {at} of {name}");
    }
    assert_eq!(printed.lines().count(), kept.lines().count());
}
