//! What a person types at `consilium`, and what is answered.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use consilium_cli::Streams;
use serde_json::Value;

use super::HouseError;

/// Somebody with a home: a key, a certificate, the coordinator's address.
#[derive(Debug, Clone)]
pub struct Member {
    home: PathBuf,
}

/// Where progress goes while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// To this process's standard error, as a person would see it.
    Openly,
    /// Nowhere.
    Quietly,
}

/// How a command ended whose answer a person read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Answered,
    /// With this exit code, and the reason on standard error.
    Failed(u8),
}

impl Member {
    /// The member whose home this is.
    #[must_use]
    pub fn at(home: PathBuf) -> Self {
        Self { home }
    }

    /// Where its key and certificate lie.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Types `consilium WORDS` and reads the answer, which goes to this process's own streams as people see it.
    pub fn reads(&self, words: &[&str]) -> Exit {
        let home = self.home.as_os_str().to_owned();
        let arguments = ["consilium", "--home"]
            .map(OsString::from)
            .into_iter()
            .chain([home])
            .chain(words.iter().map(OsString::from));
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        match consilium_cli::execute(arguments, &mut streams(&mut out, &mut err, Typed::Openly)) {
            0 => Exit::Answered,
            code => Exit::Failed(code),
        }
    }

    /// Types `consilium WORDS`, and gives the `data` of the answer.
    ///
    /// # Errors
    /// [`HouseError::Command`] with the code, the message and the remedy of the answer.
    pub fn types(&self, words: &[&str], typed: Typed) -> Result<Value, HouseError> {
        let home = self.home.as_os_str().to_owned();
        let before = ["consilium", "--format", "json", "--home"].map(OsString::from);
        let arguments = before
            .into_iter()
            .chain([home])
            .chain(words.iter().map(OsString::from));
        let mut out = Vec::new();
        match typed {
            Typed::Openly => consilium_cli::execute(
                arguments,
                &mut streams(&mut out, &mut std::io::stderr(), typed),
            ),
            Typed::Quietly => consilium_cli::execute(
                arguments,
                &mut streams(&mut out, &mut std::io::sink(), typed),
            ),
        };
        answer(&out, words)
    }
}

/// Types what needs no member.
///
/// # Errors
/// As [`Member::types`].
pub fn anybody_types(words: &[&str]) -> Result<Value, HouseError> {
    let before = ["consilium", "--format", "json"].map(OsString::from);
    let mut out = Vec::new();
    let arguments = before.into_iter().chain(words.iter().map(OsString::from));
    consilium_cli::execute(
        arguments,
        &mut streams(&mut out, &mut std::io::sink(), Typed::Quietly),
    );
    answer(&out, words)
}

fn streams<'a>(out: &'a mut dyn Write, err: &'a mut dyn Write, typed: Typed) -> Streams<'a> {
    Streams {
        out,
        err,
        terminal: match typed {
            Typed::Openly => consilium_cli::Terminal::of_this_process(),
            Typed::Quietly => consilium_cli::Terminal::No,
        },
    }
}

fn answer(out: &[u8], words: &[&str]) -> Result<Value, HouseError> {
    let mut envelope: Value = serde_json::from_slice(out).unwrap_or(Value::Null);
    if envelope.get("exit_code").and_then(Value::as_u64) == Some(0) {
        return Ok(envelope
            .get_mut("data")
            .map(Value::take)
            .unwrap_or_default());
    }
    let data = envelope.get_mut("data").map(Value::take);
    let said = |field: &str| {
        let text = envelope
            .get("error")
            .and_then(|error| error.get(field))
            .and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Err(HouseError::Command {
        typed: words.join(" "),
        code: said("code"),
        message: said("message"),
        remedy: said("remedy"),
        data: Box::new(data.unwrap_or_default()),
    })
}
