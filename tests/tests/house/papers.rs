//! What is written about the house is true: names exist, links lead somewhere.

use std::collections::BTreeSet;

use crate::tree::{File, Tree, assert_none, assert_seen};

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
const THREATS: &str = "docs/THREATS.md";
/// The one command that tests everything, as the README and the CI both say it.
const TEST_COMMAND: &str = "cargo test --workspace --locked";

fn architecture_names_everything(tree: &Tree) -> Vec<String> {
    let Some(architecture) = tree.file(ARCHITECTURE) else {
        return vec![format!("{ARCHITECTURE} is missing")];
    };
    let mut complaints = Vec::new();
    for file in &tree.files {
        let folder = file.path.strip_suffix("/Cargo.toml");
        if folder.is_some_and(|folder| !architecture.text.contains(&format!("{folder}/"))) {
            complaints.push(format!(
                "{ARCHITECTURE} does not name the crate in `{}`",
                file.path
            ));
        }
        let decision = file.path.strip_prefix("docs/decisions/");
        if decision
            .is_some_and(|decision| !architecture.text.contains(&format!("decisions/{decision}")))
        {
            complaints.push(format!("{ARCHITECTURE} does not link {}", file.path));
        }
    }
    complaints
}

/// Links between pages, and paths in backticks of pages in docs/, lead to a file or folder that is there.
fn references(tree: &Tree) -> Vec<String> {
    let places = places(tree);
    let mut complaints = Vec::new();
    for page in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&page.text) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty()
                && !target.contains(':')
                && !places.contains(&joined(folder, target))
            {
                complaints.push(format!("{}: the link to `{link}` leads nowhere", page.path));
            }
        }
        for path in page
            .text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|_| page.path.starts_with("docs/"))
        {
            if is_a_source_path(path) && !places.contains(path) {
                complaints.push(format!("{}: there is no `{path}`", page.path));
            }
        }
    }
    complaints
}

/// A test that the threats' page names after its file is in that file.
fn named_tests(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for page in tree.files.iter().filter(|file| file.path == THREATS) {
        let mut file: Option<&File> = None;
        for quoted in page.text.split('`').skip(1).step_by(2) {
            if is_a_source_path(quoted) {
                file = tree.file(quoted);
            } else if quoted.contains('_')
                && quoted
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                let there = file.is_some_and(|file| file.code.contains(&format!("fn {quoted}(")));
                if !there {
                    complaints.push(format!(
                        "{}: the file named before has no test `{quoted}`",
                        page.path
                    ));
                }
            }
        }
    }
    complaints
}

fn one_test_command(tree: &Tree) -> Vec<String> {
    ["README.md", "CONTRIBUTING.md", ".ci/run"]
        .into_iter()
        .filter(|path| {
            !tree
                .file(path)
                .is_some_and(|file| file.text.contains(TEST_COMMAND))
        })
        .map(|path| format!("{path} does not say `{TEST_COMMAND}`"))
        .collect()
}

/// Every file and every folder above one.
fn places(tree: &Tree) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for file in &tree.files {
        let mut path = file.path.as_str();
        places.insert(path.to_owned());
        while let Some((folder, _)) = path.rsplit_once('/') {
            places.insert(folder.to_owned());
            path = folder;
        }
    }
    places
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
}

fn is_a_source_path(text: &str) -> bool {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let source = [".rs", ".toml", ".md", ".proto"]
        .iter()
        .any(|ending| text.ends_with(ending));
    plain && source && text.contains('/')
}

/// `target` as seen from `folder`, with `..` taken away.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_architecture_names_every_crate_and_decision() {
    assert_none(&architecture_names_everything(Tree::repository()));
    let tree = Tree::of(&[
        (
            ARCHITECTURE,
            "node/ is one institution; see [why](decisions/0001-a.md)",
        ),
        ("node/Cargo.toml", ""),
        ("cli/Cargo.toml", ""),
        ("docs/decisions/0001-a.md", ""),
        ("docs/decisions/0002-b.md", ""),
    ]);
    assert_seen(
        &architecture_names_everything(&tree),
        &["cli/Cargo.toml", "0002-b.md"],
    );
}

#[test]
fn pages_lead_to_what_is_there() {
    assert_none(&references(Tree::repository()));
    let tree = Tree::of(&[
        (
            "README.md",
            "[a](docs/A.md#part) [b](https://example.org) [c](docs/C.md) [d](docs)",
        ),
        (
            "docs/A.md",
            "[up](../README.md) `docs/A.md` `src/gone.rs` `a::b` `protocol/link`",
        ),
    ]);
    assert_seen(&references(&tree), &["`docs/C.md`", "`src/gone.rs`"]);
}

#[test]
fn tests_named_in_pages_exist() {
    assert_none(&named_tests(Tree::repository()));
    let tree = Tree::of(&[
        (THREATS, "| `node/a.rs` `a_leak_is_seen` `no_such_test` |"),
        ("node/a.rs", "#[test]\nfn a_leak_is_seen() {}"),
    ]);
    assert_seen(&named_tests(&tree), &["`no_such_test`"]);
}

#[test]
fn the_readme_and_the_ci_test_alike() {
    assert_none(&one_test_command(Tree::repository()));
    let tree = Tree::of(&[
        (".ci/run", TEST_COMMAND),
        ("README.md", "cargo test"),
        ("CONTRIBUTING.md", TEST_COMMAND),
    ]);
    assert_seen(&one_test_command(&tree), &["README.md"]);
}
