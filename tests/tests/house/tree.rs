//! The files that the rules read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::code::code_of;

/// Text files by their path in the repository, with `/` between folders.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text of a Rust file without comments and without what is inside literals; else empty.
    pub(crate) code: String,
}

impl Tree {
    /// The repository: what git tracks or would track, or, in an unpacked archive, every file.
    pub(crate) fn repository() -> &'static Self {
        static REPOSITORY: LazyLock<Tree> = LazyLock::new(Tree::read);
        &REPOSITORY
    }

    fn read() -> Self {
        let root = root();
        let paths = tracked(&root).unwrap_or_else(|| found(&root));
        assert!(
            paths.len() > 50,
            "only {} files found in {}",
            paths.len(),
            root.display()
        );
        let read = |path: String| {
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(File::new(path, text))
        };
        Self {
            files: paths.into_iter().filter_map(read).collect(),
        }
    }

    /// A made tree, for showing that a rule sees what it forbids.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let made = |(path, text): &(&str, &str)| File::new((*path).to_owned(), (*text).to_owned());
        Self {
            files: files.iter().map(made).collect(),
        }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") {
            code_of(&text)
        } else {
            String::new()
        };
        Self { path, text, code }
    }

    /// The code above the unit tests, which stand last in a file; nothing where the whole file is tests.
    pub(crate) fn code_outside_tests(&self) -> &str {
        let path = &self.path;
        let all_tests = ["tests/", "benches/"]
            .iter()
            .any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")));
        if all_tests || path.ends_with("/tests.rs") {
            return "";
        }
        self.code
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default()
    }
}

/// Fails with every complaint, one a line.
pub(crate) fn assert_none(complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "the house rules are broken:\n{}",
        complaints.join("\n")
    );
}

/// Fails unless there is one complaint for each of `expected`, in order, and it contains that text.
pub(crate) fn assert_seen(complaints: &[String], expected: &[&str]) {
    let all = complaints.join("\n");
    assert_eq!(complaints.len(), expected.len(), "{all}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "`{part}` is not in `{complaint}`");
    }
}

/// Read when the test runs: two checkouts may share one target folder.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo test tells the package's folder");
    Path::new(&package)
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

/// `None` where git or its folder is missing.
fn tracked(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    let paths = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned);
    output.status.success().then(|| paths.collect())
}

fn found(root: &Path) -> Vec<String> {
    let mut folders = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let ours =
                !name.starts_with('.') || matches!(name.as_str(), ".ci" | ".cargo" | ".gitignore");
            if path.is_dir() && ours && name != "target" {
                folders.push(path);
            } else if path.is_file() && ours {
                let relative = path.strip_prefix(root).unwrap().to_string_lossy();
                paths.push(relative.replace('\\', "/"));
            }
        }
    }
    paths.sort();
    paths
}
