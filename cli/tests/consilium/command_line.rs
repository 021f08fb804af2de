//! What is no command line, what needs no coordinator, and what has none.

use std::fs;

use consilium_link::CloseCode;
use consilium_protocol::Role;

use crate::world::{Consortium, type_in};

#[test]
fn help_is_an_answer_and_tells_the_exit_codes() {
    let help = type_in(["--help"]);
    assert_eq!(help.exit, 0);
    for told in ["Exit codes", "64", "schema_version", "consilium run submit"] {
        assert!(help.out.contains(told), "{told}: {}", help.out);
    }
    let version = type_in(["--version"]);
    assert_eq!((version.exit, version.err.as_str()), (0, ""));
    assert!(version.out.starts_with("consilium "));
}

#[test]
fn a_wrong_command_line_is_sixty_four() {
    for line in [
        &["fly"][..],
        &["run"],
        &["run", "show"],
        &["run", "show", "../r"],
        &["invite"],
        &["run", "wait", "r-1", "--timeout", "soon"],
    ] {
        let typed = type_in(line.iter().copied());
        assert_eq!(typed.exit, 64, "{line:?}");
        assert_eq!(typed.out, "", "{line:?}");
    }
    let envelope = type_in(["run", "show", "--format", "json"]).envelope();
    assert_eq!(envelope["error"]["code"], "usage");
    assert_eq!(
        type_in(["--format=json", "fly"]).envelope()["exit_code"],
        64
    );
}

#[test]
fn a_new_run_file_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heart.toml");
    let new = || type_in(["run", "new", file.to_str().unwrap()]);
    assert_eq!(new().exit, 0);
    fs::write(&file, "mine").unwrap();
    let again = new();
    assert_eq!(again.exit, 1);
    assert!(
        again.err.contains("exists already") && again.err.contains("help: "),
        "{}",
        again.err
    );
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn without_a_member_there_is_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("nobody");
    let typed = type_in([
        "--format",
        "json",
        "--home",
        home.to_str().unwrap(),
        "members",
    ]);
    let envelope = typed.envelope();
    assert_eq!(typed.exit, 2);
    assert_eq!(envelope["error"]["code"], "not-enrolled");
    assert!(
        envelope["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains("consilium enrol")
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_two() {
    let consortium = Consortium::new();
    let home = consortium.home(Role::Researcher, "ada");
    fs::write(home.join("consilium.toml"), "coordinator = \"hub\"").unwrap();
    let typed = consortium
        .types(&home, "run list --format json")
        .await
        .unwrap();
    assert_eq!(typed.exit, 2);
    assert_eq!(typed.envelope()["error"]["code"], "bad-address");
}

#[tokio::test]
async fn an_evicted_member_is_told_so() {
    let mut consortium = Consortium::new();
    let typed = consortium.ada("run list");
    let connection = consortium.accept().await;
    connection.close(CloseCode::NotAdmitted, "ada was evicted");
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 2);
    assert!(typed.err.contains("ada was evicted"), "{}", typed.err);
    assert!(
        typed.err.contains("help: ask an administrator"),
        "{}",
        typed.err
    );
}

#[tokio::test]
async fn another_consortium_is_not_believed() {
    let (ours, theirs) = (Consortium::new(), Consortium::new());
    let home = ours.home(Role::Researcher, "ada");
    let config = format!("coordinator = \"{}\"", theirs.address());
    fs::write(home.join("consilium.toml"), config).unwrap();
    let typed = ours.types(&home, "run list --format json").await.unwrap();
    assert_eq!(typed.exit, 2);
    assert_eq!(typed.envelope()["error"]["code"], "wrong-consortium");
}
