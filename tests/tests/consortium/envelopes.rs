//! What the three programs print for other programs: one form, whatever happened.

use serde_json::Value;

use crate::process::types;

/// Types it with `--format json`; the exit code, and the error of the one object that comes back.
fn fails(program: &str, words: &[&str]) -> (i32, Value) {
    let words = [words, &["--format", "json"]].concat();
    let typed = types(program, words);
    let envelope = typed.envelope();
    let fields = |object: &Value| -> Vec<String> {
        let mut fields: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        fields.retain(|field| field != "data");
        fields.sort_unstable();
        fields
    };
    assert_eq!(
        fields(&envelope),
        ["error", "exit_code", "schema_version", "status"]
    );
    let error = envelope["error"].clone();
    assert_eq!(fields(&error), ["code", "message", "remedy"]);
    for field in ["code", "message", "remedy"] {
        assert!(
            error[field].as_str().is_some_and(|text| !text.is_empty()),
            "{envelope}"
        );
    }
    (typed.exit, error)
}

#[test]
fn the_coordinators_answers_and_errors_have_the_common_form() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("coordinator");
    let root = root.to_str().unwrap();
    let init = ["init", "--folder", root, "--name", "heart"];
    let founded = types("coordinator", [&["--format", "json"], &init[..]].concat()).data();
    assert_eq!(founded["administrator"], "root");
    let (exit, error) = fails("coordinator", &init);
    assert_eq!((exit, &error["code"]), (1, &Value::from("exists")));
    assert_eq!(error["remedy"], "choose a new folder");
    let nowhere = folder.path().join("nowhere");
    let (exit, error) = fails(
        "coordinator",
        &["run", "--folder", nowhere.to_str().unwrap()],
    );
    assert_eq!(
        (exit, &error["code"]),
        (1, &Value::from("bad-configuration"))
    );
    let (exit, error) = fails("coordinator", &["fly"]);
    assert_eq!((exit, &error["code"]), (64, &Value::from("usage")));
    assert_eq!(
        error["remedy"],
        "see what can be typed: consilium-coordinator --help"
    );
    // People read the same in two lines.
    let said = types("coordinator", init);
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    assert!(lines[0].starts_with("error: ") && lines[1] == "help: choose a new folder");
}

#[test]
fn the_nodes_answers_and_errors_have_the_common_form() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let empty = folder.path().to_str().unwrap();
    let (exit, error) = fails("node", &["run", "--folder", empty]);
    assert_eq!(
        (exit, &error["code"]),
        (1, &Value::from("bad-configuration"))
    );
    std::fs::write(at("token"), "no token").unwrap();
    let (token, node) = (at("token"), at("node"));
    let init = ["init", "--folder", &node, "--coordinator", "127.0.0.1:1"];
    let (exit, error) = fails("node", &[&init[..], &["--token-file", &token]].concat());
    assert_eq!((exit, &error["code"]), (1, &Value::from("bad-token")));
    let (exit, error) = fails("node", &["check", "--folder", empty]);
    assert_eq!((exit, &error["code"]), (1, &Value::from("check-failed")));
    let (exit, error) = fails("node", &["fly"]);
    assert_eq!((exit, &error["code"]), (64, &Value::from("usage")));
    assert_eq!(
        error["remedy"],
        "see what can be typed: consilium-node --help"
    );
}

#[test]
fn the_command_lines_errors_have_the_common_form() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let (exit, error) = fails("consilium", &["--home", home, "members"]);
    assert_eq!((exit, &error["code"]), (2, &Value::from("not-enrolled")));
    let (exit, error) = fails("consilium", &["fly"]);
    assert_eq!((exit, &error["code"]), (64, &Value::from("usage")));
}
