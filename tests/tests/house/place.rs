//! Nothing in the repository knows the machine or the network that it was written on.

use crate::tree::{Tree, assert_none, assert_seen};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn machine_paths(tree: &Tree) -> Vec<String> {
    // Put together here, or this file would break its own rule.
    let folders = ["root", "home", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let names_one = folders.iter().any(|folder| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    let begins = line[..at].chars().next_back();
                    !begins.is_some_and(|c| c.is_alphanumeric() || "._-~}/*$".contains(c))
                })
            });
            if names_one {
                complaints.push(format!(
                    "{}:{}: a path of one machine",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    complaints
}

fn registries(tree: &Tree) -> Vec<String> {
    let mirror = ["artif", "actory"].concat();
    let settings = ["index", "extra-index"].map(|what| format!("--{what}-url"));
    let mut complaints = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let lowered = line.to_lowercase();
            let of_pip = settings.iter().any(|setting| lowered.contains(setting));
            let of_cargo = file.path == "Cargo.lock"
                && line.starts_with("source = ")
                && !line.contains(REGISTRY);
            if lowered.contains(&mirror) || of_pip || of_cargo {
                complaints.push(format!(
                    "{}:{}: names a registry other than the public one",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    complaints
}

#[test]
fn no_file_knows_a_machine() {
    assert_none(&machine_paths(Tree::repository()));
    let path = [
        "see ",
        "/ro",
        "ot/data and https://example.org",
        "/ho",
        "me/ too",
    ]
    .concat();
    let address = [
        "https://example.org",
        "/ho",
        "me/a and $ROOT",
        "/wo",
        "rk/b",
    ]
    .concat();
    let tree = Tree::of(&[("a.md", &path), ("b.md", &address)]);
    assert_seen(&machine_paths(&tree), &["a.md:1"]);
}

#[test]
fn no_file_knows_a_private_registry() {
    assert_none(&registries(Tree::repository()));
    let public = format!("source = \"{REGISTRY}\"");
    let pip = ["-", "-index-url https://example.org"].concat();
    let tree = Tree::of(&[
        (
            "Cargo.lock",
            &format!("{public}\nsource = \"git+https://example.org/x\""),
        ),
        ("requirements.txt", &pip),
    ]);
    assert_seen(&registries(&tree), &["Cargo.lock:2", "requirements.txt:1"]);
}
