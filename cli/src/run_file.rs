//! The run file: a template to begin from, values that replace its own, and where an error is.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use consilium_protocol::limits::RUN_TEXT_BYTES_MAX;
use consilium_protocol::run::{RunError, RunSpec};
use toml::{Table, Value};

use crate::ending::{CliError, NoAnswer};
use crate::output::Answer;

/// What `consilium run new` writes: a run that parses, with each choice explained.
const TEMPLATE: &str = include_str!("run_template.toml");

/// Writes the template into a new file.
pub(crate) fn write_new(path: &Path) -> Result<Answer, NoAnswer> {
    write_template(path)?;
    let shown = path.display();
    Ok(Answer {
        data: serde_json::json!({ "file": path }),
        text: format!("wrote `{shown}`; change it, then: consilium run submit {shown}\n"),
    })
}

fn write_template(path: &Path) -> Result<(), CliError> {
    let not_written = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::Exists {
            path: path.to_owned(),
        },
        _ => CliError::NotWritten {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = File::create_new(path).map_err(not_written)?;
    file.write_all(TEMPLATE.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| {
            // Half a template would only be in the way.
            fs::remove_file(path).ok();
            not_written(source)
        })
}

/// The text to sign and send, with the values that replace the file's; checked as every site
/// will check it.
pub(crate) fn read(path: &Path, overrides: &[String]) -> Result<(Vec<u8>, RunSpec), CliError> {
    let not_read = |source| CliError::NotRead {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(RUN_TEXT_BYTES_MAX as u64 + 1)
                .read_to_end(&mut text)
        })
        .map_err(not_read)?;
    if !overrides.is_empty() {
        text = overridden(&text, overrides)
            .map_err(|problem| match problem {
                Problem::File(error) => located(path, &text, error),
                Problem::Override(error) => error,
            })?
            .into_bytes();
    }
    match RunSpec::parse(&text) {
        Ok(spec) => Ok((text, spec)),
        // The lines of the merged text are not the file's.
        Err(error) if !overrides.is_empty() => Err(CliError::RunFile {
            place: format!("`{}` with its overrides", path.display()),
            error,
        }),
        Err(error) => Err(located(path, &text, error)),
    }
}

enum Problem {
    File(RunError),
    Override(CliError),
}

/// The text with these `dotted.key=value` in place of its own.
fn overridden(text: &[u8], overrides: &[String]) -> Result<String, Problem> {
    if text.len() > RUN_TEXT_BYTES_MAX {
        return Err(Problem::File(RunError::TooLong { bytes: text.len() }));
    }
    let syntax = |message: String| Problem::File(RunError::Syntax { message });
    let text = std::str::from_utf8(text).map_err(|_| Problem::File(RunError::NotText))?;
    let mut table: Table =
        toml::from_str(text).map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
    for given in overrides {
        set(&mut table, given).map_err(|problem| {
            Problem::Override(CliError::Override {
                given: given.clone(),
                problem,
            })
        })?;
    }
    let body = toml::to_string(&table).map_err(|error| syntax(error.to_string()))?;
    // Whoever reads the run later sees that it is not the file as it was written.
    let given = overrides.join(" ").replace(char::is_control, " ");
    Ok(format!("# changed with --run-config {given}\n{body}"))
}

/// Sets one `dotted.key=value`.
fn set(table: &mut Table, given: &str) -> Result<(), String> {
    let (path, raw) = given
        .split_once('=')
        .ok_or("write key=value, such as rounds=5 or training.learning-rate=0.1")?;
    let (tables, key) = match path.trim().rsplit_once('.') {
        Some((tables, key)) => (Some(tables), key),
        None => (None, path.trim()),
    };
    let mut at = table;
    for name in tables.iter().flat_map(|tables| tables.split('.')) {
        if name.is_empty() {
            return Err("a part of the key is empty".to_owned());
        }
        at = at
            .entry(name)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{name}` is a value of its own and has no keys"))?;
    }
    if key.is_empty() {
        return Err("a part of the key is empty".to_owned());
    }
    // What is no TOML value is a word without its quotes.
    let value = raw
        .trim()
        .parse()
        .unwrap_or_else(|_| Value::from(raw.trim()));
    at.insert(key.to_owned(), value);
    Ok(())
}

/// The error with the file and, where it is known, the line.
fn located(path: &Path, text: &[u8], error: RunError) -> CliError {
    let line = match &error {
        RunError::OutOfRange { field, .. } | RunError::Invalid { field, .. } => {
            line_of(text, field)
        }
        RunError::SiteTwice { .. } => line_of(text, "participants"),
        RunError::ColumnTwice { .. } => line_of(text, "data.features"),
        RunError::Model(_) => line_of(text, "model"),
        // These say themselves where, or concern the file as a whole.
        RunError::Syntax { .. } | RunError::TooLong { .. } | RunError::NotText => None,
    };
    let place = match line {
        Some(line) => format!("`{}`, line {line}", path.display()),
        None => format!("`{}`", path.display()),
    };
    CliError::RunFile { place, error }
}

/// The first line, from 1, that sets this field or, failing that, the nearest table around it.
fn line_of(text: &[u8], field: &str) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let field = field.split(' ').next()?;
    let mut section = String::new();
    let mut nearest: Option<(usize, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let path = match (line.trim().strip_prefix('['), line.split_once('=')) {
            (Some(header), _) => {
                let name = header
                    .trim_start_matches('[')
                    .split(']')
                    .next()
                    .unwrap_or_default();
                section = format!("{}.", name.trim());
                name.trim().to_owned()
            }
            (None, Some((key, _))) => format!("{section}{}", key.trim()),
            (None, None) => continue,
        };
        let around = field
            .strip_prefix(&path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if around && nearest.is_none_or(|(length, _)| path.len() > length) {
            nearest = Some((path.len(), index + 1));
        }
    }
    nearest.map(|(_, line)| line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(overrides: &[&str]) -> Result<RunSpec, String> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heart.toml");
        write_template(&path).unwrap();
        read(&path, &overrides)
            .map(|(_, spec)| spec)
            .map_err(|error| error.to_string())
    }

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heart.toml");
        fs::write(&path, text).unwrap();
        read(&path, &[]).unwrap_err().to_string()
    }

    #[test]
    fn the_template_is_a_run_and_is_sent_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heart.toml");
        write_template(&path).unwrap();
        let (text, spec) = read(&path, &[]).unwrap();
        assert_eq!(text, TEMPLATE.as_bytes());
        assert_eq!(spec.document().rounds, 15);
        assert_eq!(spec.document().inputs(), 13);
        assert!(matches!(
            write_template(&path),
            Err(CliError::Exists { .. })
        ));
    }

    #[test]
    fn overrides_replace_the_files_values_by_dotted_key() {
        let spec = with(&[
            "rounds=5",
            "training.learning-rate=0.1",
            "name=tuned",
            r#"participants=["va"]"#,
            "quorum=1",
            r#"strategy={name = "FedProx", mu = 1}"#,
            "validation.folds=5",
            "validation.fold=0",
        ])
        .unwrap();
        let document = spec.document();
        assert_eq!((document.rounds, document.name.as_str()), (5, "tuned"));
        assert_eq!(document.training.learning_rate, 0.1);
        assert_eq!(document.participants.len(), 1);
        assert_eq!(document.strategy.name(), "FedProx");
        assert_eq!(
            document.validation.map(|validation| validation.folds),
            Some(5)
        );
        // What was not replaced stays.
        assert_eq!(
            document.training.local_steps,
            with(&[]).unwrap().document().training.local_steps
        );
    }

    #[test]
    fn an_override_that_makes_no_sense_is_named() {
        for (given, says) in [
            ("rounds", "key=value"),
            ("=5", "empty"),
            ("training.=5", "empty"),
            (".rounds=5", "empty"),
            ("rounds.more=5", "`rounds` is a value"),
            ("rounds=0", "`rounds` is 0"),
            ("round=5", "round"),
            ("rounds=5\nseed = 1", "rounds"),
        ] {
            let error = with(&[given]).unwrap_err();
            assert!(error.contains(says), "{given}: {error}");
        }
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        for (from, to, says) in [
            ("\nrounds = 15", "\nrounds = 0", "`rounds` is 0"),
            (
                "local-steps = 100",
                "local-steps = 999999999",
                "`training.local-steps`",
            ),
            (
                "\n[training]",
                "\n[training]\nspeed = 3",
                "unknown field `speed`",
            ),
            (r#""hungarian", "#, r#""cleveland", "#, "`cleveland` twice"),
        ] {
            assert!(TEMPLATE.contains(from), "{from}");
            let error = error_of(&TEMPLATE.replacen(from, to, 1));
            assert!(error.contains("heart.toml`"), "{error}");
            assert!(error.contains("line "), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_field_is_found_in_its_own_table_and_nowhere_else() {
        let text =
            b"rounds = 1\n# local-steps = 2\n[training]\nlocal-steps = 3\n[data]\nlabel = 1\n";
        assert_eq!(line_of(text, "rounds"), Some(1));
        assert_eq!(line_of(text, "training.local-steps"), Some(4));
        assert_eq!(line_of(text, "training.batch-size"), Some(3));
        assert_eq!(line_of(text, "data.features.one-hot"), Some(5));
        assert_eq!(line_of(text, "local-steps"), None);
        assert_eq!(line_of(text, "name (characters)"), None);
    }

    proptest! {
        #[test]
        fn no_override_and_no_text_is_a_panic(given in ".{0,40}", text in ".{0,200}") {
            set(&mut Table::new(), &given).ok();
            overridden(text.as_bytes(), &[given]).ok();
            line_of(text.as_bytes(), "training.local-steps");
        }

        #[test]
        fn a_number_set_is_the_number_read(value in 1u32..=100_000) {
            let spec = with(&[&format!("rounds={value}")]);
            prop_assert_eq!(spec.unwrap().document().rounds, value);
        }
    }
}
