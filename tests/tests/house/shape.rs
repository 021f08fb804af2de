//! The shape of files and functions, and words that have no place in code.

use crate::code::{functions, line_of, words};
use crate::tree::{Tree, assert_none, assert_seen};

/// A file is one subject. The aim is 500 (CONTRIBUTING.md); beyond this it is two subjects.
const FILE_LINES_MAX: usize = 600;
/// A function fits a screen: the aim is 70.
const FUNCTION_LINES_MAX: usize = 90;
/// A test may be a table of cases.
const TEST_LINES_MAX: usize = 150;
/// Beyond what rustfmt leaves of a comment; a line with a literal in it may be longer.
const LINE_CHARACTERS_MAX: usize = 120;

/// Names that say nothing of what is inside (CONTRIBUTING.md, "Names").
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "core", "manager", "managers", "helper", "helpers", "misc",
];
const EMPTY_ENDINGS: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];

fn sizes(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let path = &file.path;
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{path}: {lines} lines, and {FILE_LINES_MAX} are the most; which two subjects is it?"));
        }
        let product_lines = file.code_outside_tests().lines().count();
        for function in functions(&file.code) {
            let is_test = function.line > product_lines;
            let most = if is_test {
                TEST_LINES_MAX
            } else {
                FUNCTION_LINES_MAX
            };
            if function.lines > most {
                complaints.push(format!(
                    "{path}:{}: `{}` has {} lines, and {most} are the most",
                    function.line, function.name, function.lines
                ));
            }
        }
        for (at, line) in file.text.lines().enumerate() {
            let length = line.chars().count();
            if length > LINE_CHARACTERS_MAX && !line.contains('"') {
                complaints.push(format!(
                    "{path}:{}: {length} characters; break the line",
                    at + 1
                ));
            }
        }
    }
    complaints
}

fn names(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let stem = |part: &str| part.split('.').next().unwrap_or_default().to_lowercase();
        if let Some(part) = file
            .path
            .split('/')
            .find(|part| EMPTY_NAMES.contains(&stem(part).as_str()))
        {
            complaints.push(format!(
                "{}: `{part}` says nothing of what is inside",
                file.path
            ));
        }
    }
    for file in tree.rust() {
        let mut before = "";
        for (at, word) in words(&file.code) {
            let defines = matches!(before, "struct" | "enum" | "trait" | "type");
            if defines && EMPTY_ENDINGS.iter().any(|ending| word.ends_with(ending)) {
                complaints.push(format!(
                    "{}:{}: `{word}`: say what it does",
                    file.path,
                    line_of(&file.code, at)
                ));
            }
            before = word;
        }
    }
    complaints
}

fn unfinished(tree: &Tree) -> Vec<String> {
    let forbidden = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut complaints = Vec::new();
    for file in tree.rust() {
        for what in forbidden {
            for (at, _) in file.code.match_indices(what) {
                let part_of_a_word =
                    file.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if !part_of_a_word {
                    complaints.push(format!(
                        "{}:{}: `{what}`",
                        file.path,
                        line_of(&file.code, at)
                    ));
                }
            }
        }
    }
    complaints
}

/// A lint is switched off by `expect` with a reason, so that the exception ends when its cause does.
fn exceptions(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        for (at, _) in file
            .code
            .match_indices("#[")
            .chain(file.code.match_indices("#!["))
        {
            let attribute = file.code[at..].split(']').next().unwrap_or_default();
            let line = line_of(&file.code, at);
            let switched = |how: &str| {
                attribute.contains(&format!("[{how}(")) || attribute.contains(&format!(" {how}("))
            };
            if switched("allow") {
                complaints.push(format!(
                    "{}:{line}: `allow` never ends; write `expect` with a reason",
                    file.path
                ));
            }
            if switched("expect") && !attribute.contains("reason =") {
                complaints.push(format!("{}:{line}: `expect` without a reason", file.path));
            }
        }
    }
    complaints
}

#[test]
fn files_and_functions_fit_a_head() {
    assert_none(&sizes(Tree::repository()));
}

#[test]
fn what_is_too_long_is_seen() {
    let statements = "    f();\n".repeat(100);
    let comment = format!("//{}", " what".repeat(30));
    let literal = format!("const A: &str = \"{}\";", "what ".repeat(30));
    let tree = Tree::of(&[
        ("a.rs", &format!("fn long() {{\n{statements}}}\n")),
        ("b.rs", &"const A: u8 = 1;\n".repeat(601)),
        ("c.rs", &format!("{comment}\n{literal}\n")),
    ]);
    assert_seen(
        &sizes(&tree),
        &[
            "a.rs:1: `long` has 102 lines",
            "b.rs: 601 lines",
            "c.rs:1: 152 characters",
        ],
    );
}

#[test]
fn names_say_what_is_inside() {
    assert_none(&names(Tree::repository()));
    let tree = Tree::of(&[
        ("node/src/utils/mod.rs", ""),
        ("node/src/helpers.rs", ""),
        (
            "node/src/score.rs",
            "struct RunManager;\nuse other::FileManager;",
        ),
        ("docs/core-ideas.md", ""),
    ]);
    assert_seen(
        &names(&tree),
        &["`utils`", "`helpers.rs`", "score.rs:1: `RunManager`"],
    );
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(&unfinished(Tree::repository()));
    let tree = Tree::of(&[(
        "a.rs",
        "// todo!\nfn f() { my_dbg!(1); }\nfn g() { dbg!(todo!()) }\n#[ignore = \"slow\"]\nfn h() {}",
    )]);
    assert_seen(
        &unfinished(&tree),
        &["a.rs:3: `todo!`", "a.rs:3: `dbg!`", "a.rs:4: `#[ignore`"],
    );
}

#[test]
fn exceptions_to_lints_give_their_reason() {
    assert_none(&exceptions(Tree::repository()));
    let tree = Tree::of(&[(
        "a.rs",
        "#[expect(dead_code)]\nfn f() { x.expect(\"\"); }\n#[expect(\n    dead_code,\n    reason = \"soon\"\n)]\nfn g() {}\n#![allow(dead_code)]\n#[cfg_attr(test, expect(dead_code))]",
    )]);
    assert_seen(
        &exceptions(&tree),
        &["a.rs:1: `expect`", "a.rs:9: `expect`", "a.rs:8: `allow`"],
    );
}
