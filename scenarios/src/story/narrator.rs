//! How a story is told line by line: who does what and why, the command as it is typed, the essential answer.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::house::{HouseError, Member, Typed, anybody_types};
use crate::story::StoryError;
use crate::story::told::result;

/// Tells, and remembers every figure that it told.
pub(super) struct Narrator {
    root: PathBuf,
    chapters: usize,
    figures: Map<String, Value>,
}

/// Why a command was refused, for programs and for people.
pub(super) struct No {
    pub(super) code: String,
    pub(super) message: String,
}

impl Narrator {
    /// For a story whose folders all lie in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            chapters: 0,
            figures: Map::new(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the story's folder, as it is typed.
    pub(super) fn path(&self, name: &str) -> String {
        self.root.join(name).to_string_lossy().into_owned()
    }

    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        result(&format!("\n{}. {title}\n", self.chapters));
    }

    /// Who does what, and why.
    pub(super) fn says(&self, text: &str) {
        result(text);
    }

    /// An answer that is the same in every telling.
    pub(super) fn answered(&self, line: &str) {
        result(&format!("  > {}", self.short(line)));
    }

    /// An answer that is not.
    pub(super) fn varies(&self, line: &str) {
        result(&format!("  ~ {}", self.short(line)));
    }

    /// A member types a command, and is answered.
    pub(super) fn types(&self, who: &Member, words: &[&str]) -> Result<Value, StoryError> {
        self.shows(words);
        Ok(who.types(words, Typed::Quietly)?)
    }

    /// Somebody who needs no certificate types a command, and is answered.
    pub(super) fn offline(&self, words: &[&str]) -> Result<Value, StoryError> {
        self.shows(words);
        Ok(anybody_types(words)?)
    }

    /// As [`Narrator::types`], where the answer must be no.
    pub(super) fn is_refused(&self, who: &Member, words: &[&str]) -> Result<No, StoryError> {
        self.shows(words);
        no(who.types(words, Typed::Quietly), words)
    }

    /// As [`Narrator::offline`], where the answer must be no.
    pub(super) fn is_refused_offline(&self, words: &[&str]) -> Result<No, StoryError> {
        self.shows(words);
        no(anybody_types(words), words)
    }

    /// Remembers a figure that was told.
    pub(super) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    pub(super) fn figures(&self) -> Value {
        Value::Object(self.figures.clone())
    }

    /// A command of an operator's, as it is typed.
    pub(super) fn shows_at_node(&self, words: &str) {
        result(&format!("  $ consilium-node {words}"));
    }

    fn shows(&self, words: &[&str]) {
        let quoted = words.iter().map(|word| match word.contains(' ') {
            true => format!("\"{word}\""),
            false => (*word).to_owned(),
        });
        let typed: Vec<String> = quoted.collect();
        result(&format!("  $ consilium {}", self.short(&typed.join(" "))));
    }

    /// Without the folder that all paths begin with.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.root.display()), "")
    }
}

/// The refusal that the story tells of.
pub(super) fn no(answer: Result<Value, HouseError>, words: &[&str]) -> Result<No, StoryError> {
    match answer {
        Err(HouseError::Command { code, message, .. }) => Ok(No { code, message }),
        Err(error) => Err(error.into()),
        Ok(_) => Err(StoryError::unexpected(format!(
            "`consilium {}` should have been refused",
            words.join(" ")
        ))),
    }
}

/// A part of an answer that must be there.
pub(super) fn part<'a>(answer: &'a Value, pointer: &'static str) -> Result<&'a Value, StoryError> {
    answer.pointer(pointer).ok_or_else(|| {
        HouseError::Answer {
            typed: "…".to_owned(),
            field: pointer,
        }
        .into()
    })
}

/// A text of an answer.
pub(super) fn text<'a>(answer: &'a Value, pointer: &'static str) -> Result<&'a str, StoryError> {
    Ok(part(answer, pointer)?.as_str().unwrap_or_default())
}

/// A number of an answer.
pub(super) fn number(answer: &Value, pointer: &'static str) -> Result<f64, StoryError> {
    Ok(part(answer, pointer)?.as_f64().unwrap_or(f64::NAN))
}

/// The texts of a list in an answer.
pub(super) fn texts(answer: &Value, pointer: &'static str) -> Result<Vec<String>, StoryError> {
    let list = part(answer, pointer)?.as_array();
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    Ok(texts.map(str::to_owned).collect())
}
