//! Text for people, one envelope for programs.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};

use crate::arguments::Format;
use crate::ending::{Ending, Exit};

/// The version of the envelope; it changes when a field changes meaning.
const SCHEMA_VERSION: u32 = 1;

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
    pub(crate) fn conclude(&mut self, format: Format, ended: Result<&Answer, &Ending>) {
        match (format, ended) {
            (Format::Json, ended) => {
                writeln!(self.out, "{}", envelope(ended)).ok();
            }
            (Format::Text, Ok(answer)) => answer.text.lines().for_each(|line| self.say(line)),
            (Format::Text, Err(ending)) => {
                self.note(&format!("error: {}", ending.message));
                if !ending.remedy.is_empty() {
                    self.note(&format!("help: {}", ending.remedy));
                }
            }
        }
        self.out.flush().and_then(|()| self.err.flush()).ok();
    }
}

/// The one object that `--format json` prints.
fn envelope(ended: Result<&Answer, &Ending>) -> Value {
    match ended {
        Ok(answer) => json!({
            "schema_version": SCHEMA_VERSION,
            "status": "ok",
            "exit_code": Exit::Done.code(),
            "data": answer.data,
        }),
        Err(ending) => {
            let mut envelope = json!({
                "schema_version": SCHEMA_VERSION,
                "status": "error",
                "exit_code": ending.exit.code(),
                "error": {
                    "code": ending.code,
                    "message": ending.message,
                    "remedy": ending.remedy,
                },
            });
            if let (Some(fields), Some(data)) = (envelope.as_object_mut(), &ending.data) {
                fields.insert("data".to_owned(), data.clone());
            }
            envelope
        }
    }
}

/// The words of a peer or a file, made safe for a terminal: they may not move the cursor.
/// What is invisible or turns the direction of writing could make a line say something else.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if harmless(c) { c } else { ' ' })
        .collect()
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

    fn concluded(format: Format, ended: Result<&Answer, &Ending>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        Streams {
            out: &mut out,
            err: &mut err,
            terminal: Terminal::No,
        }
        .conclude(format, ended);
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn the_envelope_of_an_answer() {
        let answer = Answer {
            data: json!({ "run_id": "r-1" }),
            text: "run `r-1`\n".into(),
        };
        let (out, err) = concluded(Format::Json, Ok(&answer));
        assert_eq!(
            out,
            "{\"schema_version\":1,\"status\":\"ok\",\"exit_code\":0,\"data\":{\"run_id\":\"r-1\"}}\n"
        );
        assert_eq!(err, "");
        assert_eq!(
            concluded(Format::Text, Ok(&answer)),
            ("run `r-1`\n".into(), String::new())
        );
    }

    #[test]
    fn the_envelope_of_an_error() {
        let ending = Ending {
            exit: Exit::Refused,
            code: "not-permitted".into(),
            message: "the policy does not cover it".into(),
            remedy: "ask the officer".into(),
            data: None,
        };
        let (out, err) = concluded(Format::Json, Err(&ending));
        assert_eq!(
            out,
            "{\"schema_version\":1,\"status\":\"error\",\"exit_code\":1,\"error\":{\"code\":\"not-permitted\",\
             \"message\":\"the policy does not cover it\",\"remedy\":\"ask the officer\"}}\n"
        );
        assert_eq!(err, "");
        let (out, err) = concluded(Format::Text, Err(&ending));
        assert_eq!(out, "");
        assert_eq!(
            err,
            "error: the policy does not cover it\nhelp: ask the officer\n"
        );
    }

    #[test]
    fn a_peers_words_cannot_move_the_cursor_or_hide() {
        assert_eq!(printable("a\x1b[2J\u{202e}b\tc"), "a [2J b c");
        let rows = [["va\x1b[1A".to_owned(), "3".to_owned()]];
        assert_eq!(table(["site", "n"], &rows), "site    n\nva [1A  3\n");
    }
}
