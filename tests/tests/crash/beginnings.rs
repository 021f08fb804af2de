//! Killed while something begins: a consortium is founded, a site enrols, a certificate is renewed. A second try works,
//! or says what to do, and doing that works.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::house::{connections, entries, has_connected};
use crate::process::{Process, Typed, eventually, role, types};
use crate::tracer::{Calls, Fate, Tracer, usable, words};
use crate::world::{Consortium, free_port};

const RENAME: &str = "?rename,?renameat,?renameat2";

/// The first such call on a file.
fn first(names: &'static str, on: PathBuf) -> Calls {
    nth(1, names, on)
}

fn nth(nth: u32, names: &'static str, on: PathBuf) -> Calls {
    Calls {
        names,
        on: Some(on),
        nth,
        onwards: false,
    }
}

/// Runs a program that is killed just before one call; whether it came there.
fn is_killed<S: AsRef<OsStr>>(name: &str, arguments: &[S], before: &Calls) -> bool {
    let program = role(name);
    let mut strace = Command::new("strace");
    strace
        .args(["-qq", "-o", "/dev/null"])
        .args(words(before, Fate::Killed));
    strace
        .arg(program.get_program())
        .args(program.get_args())
        .args(arguments);
    let ended = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // strace ends as its program did: by SIGKILL, and not with an exit code.
    ended.code().is_none()
}

#[test]
fn a_founding_that_was_killed_is_no_consortium_and_another_folder_makes_one() {
    if !usable() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let points: [fn(&Path) -> Calls; 6] = [
        |root| first("write", root.join("authority/consortium-ca.key")),
        |root| first("write", root.join("identity/identity.key")),
        |root| first(RENAME, root.join("admin/identity.crt.new")),
        |root| first("write", root.join("journal/00000000000000000000.journal")),
        |root| {
            nth(
                4,
                "fdatasync",
                root.join("journal/00000000000000000000.journal"),
            )
        },
        |root| first("write", root.join("coordinator.toml")),
    ];
    for (number, point) in points.iter().enumerate() {
        let root = scratch.path().join(format!("half-{number}"));
        let listen = format!("127.0.0.1:{}", free_port());
        let init = |root: &Path| {
            let root = root.to_str().unwrap().to_owned();
            let words = [
                "init", "--folder", &root, "--name", "heart", "--listen", &listen,
            ];
            words.map(str::to_owned)
        };
        assert!(
            is_killed("coordinator", &init(&root), &point(&root)),
            "never came to point {number}"
        );

        // What is half there is not served from, and not built upon.
        let run = types("coordinator", ["run", "--folder", root.to_str().unwrap()]);
        assert_eq!(run.exit, 1, "{run:?}");
        assert!(
            !run.err.is_empty() && !run.err.contains("panicked"),
            "{run:?}"
        );
        let again = types("coordinator", init(&root));
        assert_eq!(again.exit, 1, "{again:?}");
        assert!(again.err.contains("choose a new folder"), "{again:?}");
        let elsewhere = scratch.path().join(format!("whole-{number}"));
        let typed = types("coordinator", init(&elsewhere));
        assert_eq!(typed.exit, 0, "{typed:?}");
        let mut coordinator = Process::new("coordinator", &elsewhere);
        coordinator.start();
        eventually("the coordinator listens", || {
            coordinator.log().contains("listening").then_some(())
        });
    }
}

/// Types `consilium-node init`, to be killed or not.
fn enrolment(consortium: &Consortium, name: &str) -> [String; 9] {
    let at = |path: PathBuf| path.to_str().unwrap().to_owned();
    let words = [
        "--format",
        "json",
        "init",
        "--folder",
        "",
        "--token-file",
        "",
        "--coordinator",
        "",
    ];
    let mut words = words.map(str::to_owned);
    words[4] = at(consortium.path(name));
    words[6] = at(consortium.path(&format!("{name}.token")));
    words[8] = consortium.address();
    words
}

/// Doing what the messages say: the folder moved away, the site evicted and invited again.
fn starts_over(consortium: &Consortium, name: &str) -> Typed {
    let folder = consortium.path(name);
    if folder.exists() {
        fs::rename(&folder, consortium.path(&format!("{name}-away"))).unwrap();
    }
    let again = consortium.admin().types(&format!("invite --site {name}"));
    if again.exit != 0 {
        assert!(again.out.contains("evict it first"), "{again:?}");
        consortium
            .admin()
            .types(&format!("evict {name} --reason killed"))
            .data();
    }
    consortium.enrols(name, &consortium.invites("--site", name))
}

#[test]
fn a_site_that_was_killed_while_it_enrolled_enrols_again_or_is_told_how() {
    if !usable() {
        return;
    }
    let consortium = Consortium::found();
    type Point = fn(&Path) -> Calls;
    let points: [(&str, Point, bool); 8] = [
        (
            "asking",
            |_| Calls {
                names: "?sendmsg,?sendmmsg,?sendto",
                on: None,
                nth: 1,
                onwards: false,
            },
            true,
        ),
        (
            "key-not-written",
            |root| first("write", root.join("identity/identity.key")),
            false,
        ),
        (
            "key-not-synced",
            |root| first("fsync", root.join("identity/identity.key")),
            false,
        ),
        (
            "authority-not-renamed",
            |root| first(RENAME, root.join("identity/consortium-ca.crt.new")),
            false,
        ),
        (
            "certificate-not-written",
            |root| first("write", root.join("identity/identity.crt.new")),
            false,
        ),
        (
            "certificate-not-renamed",
            |root| first(RENAME, root.join("identity/identity.crt.new")),
            false,
        ),
        (
            "settings-not-written",
            |root| first("write", root.join("node.partial")),
            true,
        ),
        (
            "settings-not-renamed",
            |root| first(RENAME, root.join("node.partial")),
            true,
        ),
    ];
    for (name, point, works_again) in points {
        let root = consortium.path(name);
        let token = consortium.invites("--site", name);
        fs::write(consortium.path(&format!("{name}.token")), &token).unwrap();
        let words = enrolment(&consortium, name);
        assert!(
            is_killed("node", &words, &point(&root)),
            "never came to `{name}`"
        );

        let again = types("node", &words);
        if works_again {
            assert_eq!(again.exit, 0, "{name}: {again:?}");
        } else {
            assert_eq!(again.exit, 1, "{name}: {again:?}");
            assert!(
                again.out.contains("evict") && again.out.contains("invite"),
                "{name}: {again:?}"
            );
            let typed = starts_over(&consortium, name);
            assert_eq!(typed.exit, 0, "{name}: {typed:?}");
        }
        let mut node = Process::new("node", &root);
        node.start();
        has_connected(&node, 1);
    }
}

#[test]
fn a_coordinator_that_was_killed_while_a_site_enrolled_knows_it_or_takes_its_token_again() {
    if !usable() {
        return;
    }
    let mut consortium = Consortium::found();
    let segment = consortium
        .coordinator
        .folder()
        .join("journal/00000000000000000000.journal");
    for (name, call, fate) in [
        ("not-written", "write", Fate::Killed),
        ("not-synced", "fdatasync", Fate::Killed),
        ("synced", "fdatasync", Fate::Held),
    ] {
        let token = consortium.invites("--site", name);
        fs::write(consortium.path(&format!("{name}.token")), &token).unwrap();
        let words = enrolment(&consortium, name);
        let log = consortium.path("trace");
        let tracer = Tracer::attach(
            consortium.coordinator.pid(),
            &first(call, segment.clone()),
            fate,
            &log,
        )
        .unwrap();
        let mut asking = role("node")
            .args(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the coordinator falls", || {
            let fell = tracer.holds() || !consortium.coordinator.is_running();
            fell.then_some(())
        });
        consortium.coordinator.kill_9();
        asking.kill().unwrap();
        asking.wait().unwrap();
        drop(tracer);
        let known = entries(consortium.coordinator.folder());
        let known = known
            .iter()
            .any(|e| e.kind == "member-enrolled" && e.payload["name"] == name);
        assert_eq!(known, name != "not-written");

        consortium.coordinator.start();
        consortium.is_up();
        let again = types("node", &words);
        if known {
            assert!(again.out.contains("used already"), "{again:?}");
            assert!(again.out.contains("consilium invite"), "{again:?}");
            let typed = starts_over(&consortium, name);
            assert_eq!(typed.exit, 0, "{typed:?}");
        } else {
            assert_eq!(again.exit, 0, "{again:?}");
        }
        let mut node = Process::new("node", &consortium.path(name));
        node.start();
        has_connected(&node, 1);
    }
}

/// Certificates that are renewed after two thirds of it. The last third is for whoever was killed to come back.
const LIFETIME: &str = "certificate-lifetime-s = 60";

#[test]
fn whoever_is_killed_while_a_certificate_is_renewed_the_site_stays_a_member() {
    if !usable() {
        return;
    }
    let lifetime = [("certificate-lifetime-s = 7_776_000", LIFETIME)];
    type Point = fn(&Consortium, &Path) -> (bool, Calls, Fate);
    let points: [(&str, Point); 6] = [
        ("not-recorded", |c, _| {
            (true, first("write", segment(c)), Fate::Killed)
        }),
        ("recorded-not-synced", |c, _| {
            (true, first("fdatasync", segment(c)), Fate::Killed)
        }),
        ("recorded", |c, _| {
            (true, first("fdatasync", segment(c)), Fate::Held)
        }),
        ("not-written", |_, root| {
            (
                false,
                first("write", root.join("identity/identity.crt.new")),
                Fate::Killed,
            )
        }),
        ("not-renamed", |_, root| {
            (
                false,
                first(RENAME, root.join("identity/identity.crt.new")),
                Fate::Killed,
            )
        }),
        ("renamed", |_, root| {
            (
                false,
                first(RENAME, root.join("identity/identity.crt.new")),
                Fate::Held,
            )
        }),
    ];
    thread::scope(|scope| {
        for (name, point) in points {
            scope.spawn(move || {
                let mut consortium = Consortium::found_with(&lifetime);
                let mut site = consortium.site(name);
                site.node.start();
                has_connected(&site.node, 1);
                let old = fs::read(site.path("identity/identity.crt")).unwrap();
                let (coordinator_falls, calls, fate) = point(&consortium, &site.path(""));
                let log = consortium.path("trace");
                let falling = if coordinator_falls {
                    &mut consortium.coordinator
                } else {
                    &mut site.node
                };
                let tracer = Tracer::attach(falling.pid(), &calls, fate, &log).unwrap();
                eventually("it is time to renew, and somebody falls", || {
                    let fell = tracer.holds() || !falling.is_running();
                    fell.then_some(())
                });
                falling.kill_9();
                drop(tracer);
                falling.start();
                eventually("the new certificate is written down", || {
                    assert!(site.node.is_running(), "{}", site.node.log());
                    (fs::read(site.path("identity/identity.crt")).unwrap() != old).then_some(())
                });
                // With it, and with nothing else, the site comes back.
                let lives = connections(&site.node);
                site.node.kill_9();
                site.node.start();
                has_connected(&site.node, lives + 1);
            });
        }
    });
}

fn segment(consortium: &Consortium) -> PathBuf {
    consortium
        .coordinator
        .folder()
        .join("journal/00000000000000000000.journal")
}
