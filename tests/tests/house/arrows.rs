//! The arrows between the crates, as docs/ARCHITECTURE.md draws them, read from the manifests.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::tree::{File, Tree, assert_none, assert_seen};

/// Each crate's folder, and the crates that it may know. `Everything` is for what stands outside the house.
const ARROWS: &[(&str, &str, Knows)] = &[
    ("consilium-protocol", "protocol", Knows::These(&[])),
    ("consilium-privacy", "privacy", Knows::These(&[])),
    (
        "consilium-link",
        "protocol/link",
        Knows::These(&["protocol"]),
    ),
    (
        "consilium-policies",
        "policies",
        Knows::These(&["protocol", "privacy"]),
    ),
    (
        "consilium-journal",
        "policies/journal",
        Knows::These(&["protocol"]),
    ),
    (
        "consilium-node",
        "node",
        Knows::These(&[
            "protocol", "privacy", "link", "policies", "journal", "search", "encoder",
        ]),
    ),
    // Of vectors and of text only: neither knows what a patient, a policy or a network is.
    (
        "consilium-search",
        "node/search",
        Knows::These(&["protocol"]),
    ),
    ("consilium-encoder", "node/encoder", Knows::These(&[])),
    (
        "consilium-coordinator",
        "coordinator",
        Knows::These(&["protocol", "link", "policies", "journal"]),
    ),
    (
        "consilium-cli",
        "cli",
        // Of search the redaction alone: a question is scrubbed before it leaves its asker's machine.
        Knows::These(&[
            "protocol", "privacy", "link", "policies", "journal", "search",
        ]),
    ),
    ("consilium-scenarios", "scenarios", Knows::Everything),
    ("consilium-tests", "tests", Knows::Everything),
    ("consilium-fuzz", "tests/fuzz", Knows::Everything),
];

enum Knows {
    These(&'static [&'static str]),
    Everything,
}

/// Libraries with one door into the house, and the crates that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("quinn", &["consilium-link"]),
    ("rustls", &["consilium-link"]),
    ("rcgen", &["consilium-link"]),
    ("burn", &["consilium-node", "consilium-encoder"]),
    ("sled", &["consilium-node", "consilium-coordinator"]),
    ("opendp", &["consilium-privacy"]),
    ("cedar-policy", &["consilium-policies"]),
    ("instant-distance", &["consilium-search"]),
];

fn arrows(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, manifest) in manifests(tree) {
        let name = package_name(&manifest);
        let Some((_, folder, knows)) = ARROWS.iter().find(|(listed, ..)| *listed == name) else {
            complaints.push(format!(
                "{path}: `{name}` has no line in ARROWS; what may it know, and why is it a crate?"
            ));
            continue;
        };
        if path != format!("{folder}/Cargo.toml") {
            complaints.push(format!("{path}: `{name}` lives in {folder}/"));
        }
        for dependency in dependencies(&manifest) {
            let ours = dependency.strip_prefix("consilium-");
            let allowed = match (ours, knows) {
                (Some(ours), Knows::These(these)) => these.contains(&ours),
                (Some(_), Knows::Everything) => true,
                (None, _) => DOORS.iter().all(|(library, crates)| {
                    *library != dependency || crates.contains(&name.as_str())
                }),
            };
            if !allowed {
                complaints.push(format!("{path}: `{name}` may not depend on `{dependency}`"));
            }
        }
    }
    complaints
}

fn lints_are_the_workspaces(tree: &Tree) -> Vec<String> {
    let lacks = |manifest: &Table| {
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        lints.and_then(Value::as_bool) != Some(true)
    };
    manifests(tree)
        .into_iter()
        .filter(|(_, manifest)| lacks(manifest))
        .map(|(path, _)| format!("{path}: `[lints] workspace = true` is missing"))
        .collect()
}

/// The must-not-compile harness asks cargo for what this package was built with. If this package names every
/// dependency that tests add, a test run of this package alone builds nothing that the whole run does not.
fn tests_name_what_tests_add(tree: &Tree) -> Vec<String> {
    let named = tree
        .file("tests/Cargo.toml")
        .map(|file| dependencies(&parsed(file)))
        .unwrap_or_default();
    let mut complaints = Vec::new();
    for (path, manifest) in manifests(tree) {
        let added = manifest.get("dev-dependencies").and_then(Value::as_table);
        for dependency in added.into_iter().flat_map(Table::keys) {
            if !named.contains(dependency) && path != "tests/Cargo.toml" {
                complaints.push(format!("{path}: `{dependency}` is a dev-dependency here and unknown to tests/Cargo.toml"));
            }
        }
    }
    complaints
}

/// One version of each library: manifests say `workspace = true` and the root says which.
fn versions_stand_in_one_place(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, manifest) in manifests(tree) {
        for (_, table) in dependency_tables(&manifest) {
            for (name, wanted) in table {
                let inherited = wanted.get("workspace").and_then(Value::as_bool) == Some(true);
                if !inherited {
                    complaints.push(format!("{path}: `{name}` must say `workspace = true`"));
                }
            }
        }
    }
    complaints
}

/// Every manifest of a package; the root's is none.
fn manifests(tree: &Tree) -> BTreeMap<&str, Table> {
    let of_package = |file: &File| file.path.ends_with("/Cargo.toml");
    tree.files
        .iter()
        .filter(|file| of_package(file))
        .map(|file| (file.path.as_str(), parsed(file)))
        .collect()
}

fn parsed(file: &File) -> Table {
    file.text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

fn package_name(manifest: &Table) -> String {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    name.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn dependencies(manifest: &Table) -> BTreeSet<String> {
    dependency_tables(manifest)
        .into_iter()
        .flat_map(|(_, table)| table.keys().cloned())
        .collect()
}

fn dependency_tables(manifest: &Table) -> Vec<(&'static str, &Table)> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table);
    let by_target = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(by_target)
        .flat_map(|table| kinds.map(|kind| (kind, table.get(kind).and_then(Value::as_table))))
        .filter_map(|(kind, table)| Some((kind, table?)))
        .collect()
}

#[test]
fn crates_know_only_whom_they_may() {
    assert_none(&arrows(Tree::repository()));
}

#[test]
fn every_crate_is_there() {
    let tree = Tree::repository();
    let found: BTreeSet<String> = manifests(tree).values().map(package_name).collect();
    let listed: BTreeSet<String> = ARROWS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
}

#[test]
fn a_forbidden_arrow_is_seen() {
    let tree = Tree::of(&[
        (
            "coordinator/Cargo.toml",
            "[package]\nname = \"consilium-coordinator\"\n[dependencies]\nconsilium-link.workspace = true\n[dev-dependencies]\nconsilium-node.workspace = true",
        ),
        (
            "node/Cargo.toml",
            "[package]\nname = \"consilium-node\"\n[dependencies]\nburn.workspace = true\n[target.'cfg(unix)'.dependencies]\nquinn.workspace = true",
        ),
        ("shed/Cargo.toml", "[package]\nname = \"consilium-shed\""),
    ]);
    let expected = [
        "`consilium-coordinator` may not depend on `consilium-node`",
        "`consilium-node` may not depend on `quinn`",
        "`consilium-shed` has no line",
    ];
    assert_seen(&arrows(&tree), &expected);
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    assert_none(&lints_are_the_workspaces(Tree::repository()));
    let tree = Tree::of(&[
        ("a/Cargo.toml", "[lints]\nworkspace = true"),
        ("b/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\""),
    ]);
    assert_seen(&lints_are_the_workspaces(&tree), &["b/Cargo.toml"]);
}

#[test]
fn what_tests_add_is_named_once_more_here() {
    assert_none(&tests_name_what_tests_add(Tree::repository()));
    let tree = Tree::of(&[
        (
            "node/Cargo.toml",
            "[dev-dependencies]\nproptest = \"1\"\ntempfile = \"3\"",
        ),
        ("tests/Cargo.toml", "[dependencies]\ntempfile = \"3\""),
    ]);
    assert_seen(&tests_name_what_tests_add(&tree), &["`proptest`"]);
}

#[test]
fn each_library_has_one_version_in_one_place() {
    assert_none(&versions_stand_in_one_place(Tree::repository()));
    let tree = Tree::of(&[(
        "a/Cargo.toml",
        "[dependencies]\nbytes = \"1\"\nserde = { workspace = true, features = [\"rc\"] }",
    )]);
    assert_seen(&versions_stand_in_one_place(&tree), &["`bytes`"]);
}
