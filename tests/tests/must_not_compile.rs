//! Programs that try to leak must not compile.
//!
//! Each program in `must_not_compile/` says in its first line, after `// error: `, what the compiler has to say
//! to it, and that must be the only error. Programs in `must_not_compile/control/` must compile: they show that
//! the others fail for what they do and not for want of a library.
//!
//! The compiler is called by itself, with the libraries that this test was linked with: a harness that builds its
//! own would build burn once more. Cargo is asked where they lie, and finds them up to date.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a program may name: every crate of the house, and what it would write bytes with.
const LIBRARIES: &[&str] = &[
    "consilium_protocol",
    "consilium_link",
    "consilium_policies",
    "consilium_journal",
    "consilium_node",
    "consilium_coordinator",
    "serde_json",
];

#[test]
fn programs_that_leak_do_not_compile() -> Outcome<()> {
    let programs = programs(&folder()?)?;
    assert!(
        !programs.is_empty(),
        "no programs in {}",
        folder()?.display()
    );
    let mut complaints = Vec::new();
    for program in programs {
        let name = program.display();
        let text = std::fs::read_to_string(&program)?;
        let first = text.lines().next().unwrap_or_default();
        let Some(expected) = first
            .strip_prefix("// error: ")
            .filter(|expected| !expected.is_empty())
        else {
            complaints.push(format!(
                "{name}: the first line must be `// error: ` and what the compiler says"
            ));
            continue;
        };
        match compile(&program)? {
            Verdict::Compiles => complaints.push(format!("{name} compiles")),
            Verdict::Fails(said) => {
                let errors = said.lines().filter(|line| is_an_error(line)).count();
                if !said.contains(expected) || errors != 1 {
                    complaints.push(format!(
                        "{name}: expected one error with `{expected}`, and got\n{said}"
                    ));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

#[test]
fn programs_that_keep_the_rules_compile() -> Outcome<()> {
    let programs = programs(&folder()?.join("control"))?;
    assert!(!programs.is_empty(), "no control program");
    let mut complaints = Vec::new();
    for program in programs {
        if let Verdict::Fails(said) = compile(&program)? {
            complaints.push(format!("{} must compile:\n{said}", program.display()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

enum Verdict {
    Compiles,
    /// What the compiler said.
    Fails(String),
}

fn compile(program: &Path) -> Outcome<Verdict> {
    static BUILT: OnceLock<Result<Built, String>> = OnceLock::new();
    let built = BUILT
        .get_or_init(|| Built::by_cargo().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(String::as_str)?;
    let scratch = tempfile::tempdir()?;
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "bin",
            "--crate-name",
            "program",
        ])
        .args([
            "--emit",
            "metadata",
            "--cap-lints",
            "allow",
            "--color",
            "never",
            "--out-dir",
        ])
        .arg(scratch.path());
    for folder in &built.folders {
        rustc.arg("-L").arg(joined("dependency=", folder));
    }
    for (name, library) in &built.libraries {
        rustc
            .arg("--extern")
            .arg(joined(&format!("{name}="), library));
    }
    let output = rustc.arg(program).output()?;
    if output.status.success() {
        return Ok(Verdict::Compiles);
    }
    Ok(Verdict::Fails(
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

/// What this test was linked with.
struct Built {
    libraries: Vec<(String, PathBuf)>,
    folders: Vec<PathBuf>,
}

impl Built {
    fn by_cargo() -> Outcome<Self> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "test",
            "--package",
            "consilium-tests",
            "--no-run",
            "--locked",
            "--offline",
        ]);
        cargo.arg("--message-format=json").current_dir(package()?);
        // What cargo told this process about this package is no setting of the user's.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
                .iter()
                .any(|own| text.starts_with(own))
            {
                cargo.env_remove(&name);
            }
        }
        let output = cargo.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let mut libraries = Vec::new();
        let mut folders = Vec::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            let Some((name, library)) = library(&serde_json::from_str(line)?) else {
                continue;
            };
            let folder = library
                .parent()
                .ok_or("a library lies in a folder")?
                .to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
            if LIBRARIES.contains(&name.as_str()) {
                libraries.push((name, library));
            }
        }
        let missing: Vec<_> = LIBRARIES
            .iter()
            .filter(|wanted| libraries.iter().filter(|(name, _)| name == *wanted).count() != 1)
            .collect();
        if missing.is_empty() {
            Ok(Self { libraries, folders })
        } else {
            Err(format!("cargo names none or several of {missing:?}").into())
        }
    }
}

/// The library of one of cargo's messages; libraries of build scripts are built without optimization and not ours.
fn library(message: &Value) -> Option<(String, PathBuf)> {
    let is_test = message.pointer("/profile/test")?.as_bool()?;
    let optimized = message.pointer("/profile/opt_level")?.as_str()? != "0";
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(Value::as_str);
    let library = files.find(|file| file.ends_with(".rlib"))?;
    let name = message.pointer("/target/name")?.as_str()?.replace('-', "_");
    (!is_test && optimized).then(|| (name, PathBuf::from(library)))
}

/// An error of the program, and not the closing count of errors.
fn is_an_error(line: &str) -> bool {
    line.starts_with("error") && !line.starts_with("error: aborting due to")
}

fn programs(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            programs.push(path);
        }
    }
    programs.sort();
    Ok(programs)
}

fn folder() -> Outcome<PathBuf> {
    Ok(package()?.join("must_not_compile"))
}

/// Read when the test runs: two checkouts may share one target folder.
fn package() -> Outcome<PathBuf> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run this test with cargo")?;
    Ok(PathBuf::from(folder))
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}
