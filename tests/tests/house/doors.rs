//! One door for each danger: which files may name a library, a clock, or the world outside.

use crate::code::{line_of, words};
use crate::tree::{File, Tree, assert_none, assert_seen};

/// A crate's name in code, and where it may be named: a folder (with its last `/`) or a file.
const DOORS: &[(&str, &[&str])] = &[
    ("quinn", &["protocol/link/"]),
    ("rustls", &["protocol/link/"]),
    ("rcgen", &["protocol/link/"]),
    ("burn", &["node/src/train/", "node/encoder/"]),
    (
        "sled",
        &["node/src/gate/index.rs", "coordinator/src/index.rs"],
    ),
    ("opendp", &["privacy/src/mechanism.rs"]),
];

/// The files that may ask what time it is. Everyone else is given `now`.
const WALL_CLOCKS: &[&str] = &[
    "protocol/link/src/host.rs",
    // TLS judges certificates by the real clock, so its tests need real times.
    "protocol/link/src/tests/mod.rs",
];

/// The rooms that are pure: state, input and `now` in; actions out.
const PURE: &[&str] = &[
    "protocol/src/",
    "privacy/src/",
    "policies/src/",
    "coordinator/src/round/",
    "node/src/round",
];

/// What a pure room may not name: clocks, files, sockets, threads, randomness of the system.
const OUTSIDE: &[&str] = &[
    "SystemTime",
    "Instant",
    "fs",
    "net",
    "thread",
    "tokio",
    "getrandom",
    "OsRng",
    "ThreadRng",
    "process",
];

fn libraries(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        for (library, places) in DOORS {
            let allowed = places.iter().any(|place| is_within(&file.path, place));
            for line in crate_named(&file.code, library).filter(|_| !allowed) {
                complaints.push(format!(
                    "{}:{line}: only {places:?} may name `{library}`",
                    file.path
                ));
            }
        }
    }
    complaints
}

fn clocks(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust().filter(|file| !file.path.contains("/benches/")) {
        let named = |what: &str| file.code.find(what).map(|at| line_of(&file.code, at));
        if let Some(line) =
            named("SystemTime::now").filter(|_| !WALL_CLOCKS.contains(&file.path.as_str()))
        {
            complaints.push(format!(
                "{}:{line}: the wall clock is read in {WALL_CLOCKS:?} only",
                file.path
            ));
        }
        if let Some(line) = named("Instant::now").filter(|_| !uses_the_drivers_time(file)) {
            complaints.push(format!(
                "{}:{line}: take `now`; a driver uses tokio::time::Instant",
                file.path
            ));
        }
        if let Some(line) = named("thread::sleep") {
            complaints.push(format!(
                "{}:{line}: wait for what you wait for, with a limit",
                file.path
            ));
        }
    }
    complaints
}

fn purity(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree
        .rust()
        .filter(|file| PURE.iter().any(|room| is_within(&file.path, room)))
    {
        let code = file.code_outside_tests();
        for outside in OUTSIDE {
            let path_of =
                |at: usize| code[at + outside.len()..].starts_with("::") || is_path_end(code, at);
            for (at, _) in words(code).filter(|(at, word)| word == outside && path_of(*at)) {
                complaints.push(format!(
                    "{}:{}: a pure room may not name `{outside}`",
                    file.path,
                    line_of(code, at)
                ));
            }
        }
    }
    complaints
}

/// Whether `path` is the file `place`, or lies below it where it ends in `/` (or is the beginning of a module's
/// name: `node/src/round` is `round.rs` and `round/`).
fn is_within(path: &str, place: &str) -> bool {
    let Some(rest) = path.strip_prefix(place) else {
        return false;
    };
    rest.is_empty() || place.ends_with('/') || rest == ".rs" || rest.starts_with('/')
}

/// The lines where the crate `library` begins a path or is imported.
fn crate_named<'code>(
    code: &'code str,
    library: &'code str,
) -> impl Iterator<Item = usize> + 'code {
    words(code)
        .filter(move |(at, word)| *word == library && begins_a_crates_path(code, *at, word))
        .map(move |(at, _)| line_of(code, at))
}

fn begins_a_crates_path(code: &str, at: usize, word: &str) -> bool {
    let before = code[..at].trim_end();
    let imported = before.ends_with("use") || before.ends_with("extern crate");
    let leads = code[at + word.len()..].starts_with("::");
    let rooted = before.ends_with("::") && !before.ends_with("use ::");
    (leads || imported) && !rooted && !before.ends_with('.')
}

fn is_path_end(code: &str, at: usize) -> bool {
    code[..at].ends_with("::") || code[..at].trim_end().ends_with("use")
}

fn uses_the_drivers_time(file: &File) -> bool {
    let code = &file.code;
    let imported = code.contains("tokio::time::Instant") || code.contains("use tokio::time::{");
    imported && !code.contains("std::time::Instant")
}

#[test]
fn each_library_is_named_behind_its_door_only() {
    assert_none(&libraries(Tree::repository()));
}

#[test]
fn a_library_out_of_its_room_is_seen() {
    let tree = Tree::of(&[
        ("protocol/link/src/tls.rs", "use rustls::ServerConfig;"),
        ("node/src/train/burn.rs", "use burn::tensor::Tensor;"),
        (
            "node/src/train/mod.rs",
            "mod burn;\npub use self::burn::BurnTrainer;",
        ),
        (
            "node/src/lib.rs",
            "// burn::Tensor\nfn f() { train::burn::run(); let a = \"sled::open\"; }",
        ),
        (
            "cli/src/main.rs",
            "use sled;\nfn f() {\n    quinn::Endpoint::client();\n}",
        ),
    ]);
    assert_seen(
        &libraries(&tree),
        &["cli/src/main.rs:3", "cli/src/main.rs:1"],
    );
}

#[test]
fn clocks_are_read_where_they_may_be() {
    assert_none(&clocks(Tree::repository()));
}

#[test]
fn a_stray_clock_is_seen() {
    let tree = Tree::of(&[
        (
            "protocol/link/src/host.rs",
            "fn now() { SystemTime::now(); }",
        ),
        (
            "node/src/server.rs",
            "fn f() {\n    SystemTime::now();\n    thread::sleep(d);\n}",
        ),
        (
            "node/src/search.rs",
            "use std::time::Instant;\nfn f() { Instant::now(); }",
        ),
        (
            "node/src/driver.rs",
            "use tokio::time::Instant;\nfn f() { Instant::now(); }",
        ),
        ("node/benches/search.rs", "fn f() { Instant::now(); }"),
    ]);
    let expected = [
        "node/src/server.rs:2",
        "node/src/server.rs:3",
        "node/src/search.rs:2",
    ];
    assert_seen(&clocks(&tree), &expected);
}

#[test]
fn pure_rooms_name_nothing_outside() {
    assert_none(&purity(Tree::repository()));
}

#[test]
fn an_impure_room_is_seen() {
    let tree = Tree::of(&[
        (
            "policies/src/decide.rs",
            "use std::fs;\nfn f(net: u8) { std::net::lookup(); }",
        ),
        (
            "policies/src/case.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        ),
        ("policies/journal/src/disk.rs", "use std::fs;"),
        ("node/src/round.rs", "use tokio::time;"),
        ("node/src/round/watch.rs", "use std::time::Instant;"),
    ]);
    let expected = [
        "decide.rs:1",
        "decide.rs:2",
        "node/src/round.rs:1",
        "watch.rs:1",
    ];
    assert_seen(&purity(&tree), &expected);
}
