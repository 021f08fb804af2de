//! Where a command writes, and tables. How its end is printed is the protocol's `envelope`.

use std::io::{IsTerminal, Write};

use consilium_protocol::envelope::{self, Failure, Reader, printable};
use serde_json::Value;

use crate::arguments::Format;

/// Where a command writes: results to `out`, progress and complaints to `err`.
pub struct Streams<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// Whether `err` is this process's terminal, where a bar can be drawn.
    pub terminal: Terminal,
}

/// Whether somebody looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// A bar can be drawn.
    Yes,
    /// A file, a pipe or a test: plain lines.
    No,
}

/// What a command found, for people and for programs.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    /// Whole lines; empty where everything was said on the way.
    pub(crate) text: String,
}

impl Terminal {
    /// As this process's standard error is.
    #[must_use]
    pub fn of_this_process() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Yes
        } else {
            Self::No
        }
    }
}

impl Streams<'_> {
    /// Prints a result line. A reader that went away is no failure of ours.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.out, "{}", printable(line)).ok();
    }

    /// Prints a line of progress or complaint.
    pub(crate) fn note(&mut self, line: &str) {
        writeln!(self.err, "{}", printable(line)).ok();
    }

    /// Prints how a command ended.
    pub(crate) fn conclude(&mut self, format: Format, ended: Result<&Answer, &Failure>) {
        let reader = match format {
            Format::Json => Reader::Program,
            Format::Text => Reader::Person,
        };
        let ended = ended.map(|answer| (answer.text.as_str(), &answer.data));
        envelope::conclude(reader, ended, self.out, self.err);
    }
}

/// Rows under their headings, each column as wide as its widest cell.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let cells: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned))
        .chain(
            rows.iter()
                .map(|row| row.each_ref().map(|cell| printable(cell))),
        )
        .collect();
    let mut widths = [0; N];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_cannot_break_a_table() {
        let rows = [["va\x1b[1A".to_owned(), "3".to_owned()]];
        assert_eq!(table(["site", "n"], &rows), "site    n\nva [1A  3\n");
    }
}
