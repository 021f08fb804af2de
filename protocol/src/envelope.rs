//! What the three programs print when a command has ended: lines for people, or one object for programs.
//!
//! ```text
//! {"schema_version":1,"status":"ok","exit_code":0,"data":{...}}
//! {"schema_version":1,"status":"error","exit_code":1,"error":{"code":"...","message":"...","remedy":"..."}}
//! ```

use std::ffi::OsString;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::Refusal;

/// The version of the object; it changes when a field changes meaning.
const SCHEMA_VERSION: u32 = 1;

/// The exit code of what is not a valid command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// For whom a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Person,
    Program,
}

/// How a command ended that did not do what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub exit_code: u8,
    /// A word for programs; it never changes meaning.
    pub code: String,
    /// What happened, and to what.
    pub message: String,
    /// What to do about it; empty where nothing is known.
    pub remedy: String,
    /// What was found all the same.
    pub data: Option<Value>,
}

impl Failure {
    /// An error in the house's form: what happened, then `; `, then what to do about it.
    #[must_use]
    pub fn of_text(exit_code: u8, code: &str, text: &str) -> Self {
        let (message, remedy) = text.rsplit_once("; ").unwrap_or((text, ""));
        Self {
            exit_code,
            code: code.to_owned(),
            message: message.to_owned(),
            remedy: remedy.to_owned(),
            data: None,
        }
    }

    /// Somebody decided so.
    #[must_use]
    pub fn of_refusal(exit_code: u8, refusal: Refusal) -> Self {
        let rules = match refusal.rules.is_empty() {
            true => String::new(),
            false => format!(" (rule {})", refusal.rules.join(", ")),
        };
        Self {
            exit_code,
            code: refusal.code.to_string(),
            message: format!("refused: {}{rules}", refusal.reason),
            remedy: refusal.remedy,
            data: None,
        }
    }

    /// A command line that `program` does not understand, as its parser says it.
    #[must_use]
    pub fn of_usage(program: &str, said: &str) -> Self {
        let message = said.lines().next().unwrap_or_default();
        Self {
            exit_code: EXIT_USAGE,
            code: "usage".to_owned(),
            message: message.trim_start_matches("error: ").to_owned(),
            remedy: format!("see what can be typed: {program} --help"),
            data: None,
        }
    }

    fn object(&self) -> Value {
        let mut object = json!({
            "schema_version": SCHEMA_VERSION,
            "status": "error",
            "exit_code": self.exit_code,
            "error": { "code": self.code, "message": self.message, "remedy": self.remedy },
        });
        if let (Some(fields), Some(data)) = (object.as_object_mut(), &self.data) {
            fields.insert("data".to_owned(), data.clone());
        }
        object
    }
}

/// Prints how a command ended: its `text` or `data` to `out`, or its failure to whom it concerns.
///
/// A reader that went away is no failure of ours, and nothing is returned.
pub fn conclude(
    reader: Reader,
    ended: Result<(&str, &Value), &Failure>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) {
    let printed = match (reader, ended) {
        (Reader::Program, Ok((_, data))) => {
            let object = json!({
                "schema_version": SCHEMA_VERSION, "status": "ok", "exit_code": 0, "data": data,
            });
            writeln!(out, "{object}")
        }
        (Reader::Program, Err(failure)) => writeln!(out, "{}", failure.object()),
        (Reader::Person, Ok((text, _))) => print(text, out),
        (Reader::Person, Err(failure)) => complain(failure, err),
    };
    printed
        .and_then(|()| out.flush())
        .and_then(|()| err.flush())
        .ok();
}

fn print(text: &str, to: &mut dyn Write) -> io::Result<()> {
    text.lines()
        .try_for_each(|line| writeln!(to, "{}", printable(line)))
}

fn complain(failure: &Failure, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "error: {}", printable(&failure.message))?;
    match failure.remedy.is_empty() {
        true => Ok(()),
        false => writeln!(to, "help: {}", printable(&failure.remedy)),
    }
}

/// A flat object as lines for people: a line for each field, or for each line of a field that is a list.
#[must_use]
pub fn lines_of(data: &Value) -> String {
    let mut text = String::new();
    for (field, value) in data.as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            match value {
                Value::String(line) => text += &format!("{field}: {line}\n"),
                other => text += &format!("{field}: {other}\n"),
            }
        }
    }
    text
}

/// The words of a peer or a file, made safe for a terminal: they may not move the cursor.
/// What is invisible or turns the direction of writing could make a line say something else.
#[must_use]
pub fn printable(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if harmless(c) { c } else { ' ' })
        .collect()
}

/// Who reads what comes of a command line that was not understood.
#[must_use]
pub fn reader_named_in(args: &[OsString]) -> Reader {
    let mut pairs = args.windows(2);
    let program = args.iter().any(|arg| arg == "--format=json")
        || pairs
            .any(|pair| matches!(pair, [option, value] if option == "--format" && value == "json"));
    match program {
        true => Reader::Program,
        false => Reader::Person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RefusalCode;

    fn concluded(reader: Reader, ended: Result<(&str, &Value), &Failure>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        conclude(reader, ended, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(err))
    }

    #[test]
    fn the_object_of_an_answer() {
        let data = json!({ "run_id": "r-1" });
        let answer = Ok(("run `r-1`\n", &data));
        let object = "{\"schema_version\":1,\"status\":\"ok\",\"exit_code\":0,\"data\":{\"run_id\":\"r-1\"}}\n";
        assert_eq!(
            concluded(Reader::Program, answer),
            (object.into(), String::new())
        );
        assert_eq!(
            concluded(Reader::Person, answer),
            ("run `r-1`\n".into(), String::new())
        );
    }

    #[test]
    fn the_object_of_a_failure() {
        let mut failure =
            Failure::of_text(1, "not-permitted", "the policy; it is; ask the officer");
        let object = "{\"schema_version\":1,\"status\":\"error\",\"exit_code\":1,\"error\":{\"code\":\"not-permitted\",\
             \"message\":\"the policy; it is\",\"remedy\":\"ask the officer\"}}\n";
        assert_eq!(
            concluded(Reader::Program, Err(&failure)),
            (object.into(), String::new())
        );
        let said = "error: the policy; it is\nhelp: ask the officer\n";
        assert_eq!(
            concluded(Reader::Person, Err(&failure)),
            (String::new(), said.into())
        );
        failure.data = Some(json!({ "rows": 3 }));
        let (out, _) = concluded(Reader::Program, Err(&failure));
        assert!(out.ends_with("},\"data\":{\"rows\":3}}\n"), "{out}");
        let bare = Failure::of_text(1, "system", "it broke");
        let (_, err) = concluded(Reader::Person, Err(&bare));
        assert_eq!(err, "error: it broke\n");
    }

    #[test]
    fn a_refusal_names_its_rules() {
        let refusal = Refusal::new(RefusalCode::BadToken, "used", "ask again");
        let failure = Failure::of_refusal(2, refusal.by_rules(vec!["r1".into()]));
        assert_eq!(failure.message, "refused: used (rule r1)");
        assert_eq!(
            (failure.code.as_str(), failure.remedy.as_str()),
            ("bad-token", "ask again")
        );
    }

    #[test]
    fn a_command_line_that_is_none_is_answered_as_it_asked() {
        let typed = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let read = |words: &[&str]| reader_named_in(&typed(words));
        assert_eq!(read(&["fly", "--format", "json"]), Reader::Program);
        assert_eq!(read(&["--format=json", "fly"]), Reader::Program);
        assert_eq!(read(&["fly", "--format", "text"]), Reader::Person);
        let failure = Failure::of_usage("consilium-node", "error: no such `fly`\n\nUsage: ...");
        assert_eq!((failure.exit_code, failure.code.as_str()), (64, "usage"));
        assert_eq!(failure.message, "no such `fly`");
    }

    #[test]
    fn lists_become_lines() {
        let data =
            json!({ "site": "va", "records": 3, "next": ["check", "run"], "rows": [{ "a": 1 }] });
        assert_eq!(
            lines_of(&data),
            "site: va\nrecords: 3\nnext: check\nnext: run\nrows: {\"a\":1}\n"
        );
    }

    #[test]
    fn a_peers_words_cannot_move_the_cursor_or_hide() {
        assert_eq!(printable("a\x1b[2J\u{202e}b\tc"), "a [2J b c");
        let failure = Failure::of_text(1, "x", "va\x1b[1A");
        let (_, err) = concluded(Reader::Person, Err(&failure));
        assert_eq!(err, "error: va [1A\n");
    }
}
