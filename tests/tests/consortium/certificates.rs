//! Who is believed: certificates that are over, foreign, or of the wrong role.

use std::fs;

use consilium_link::{Credentials, wall_clock};

use crate::process::eventually;
use crate::world::{Consortium, replace};

#[test]
fn an_expired_certificate_opens_nothing() {
    let consortium = Consortium::found_with(&[(
        "certificate-lifetime-s = 7_776_000",
        "certificate-lifetime-s = 2",
    )]);
    let mut site = consortium.site("cleveland");
    let ada = consortium.researcher("ada");
    // A certificate is good for its last second whole.
    let over_at = Credentials::load(&ada.home)
        .unwrap()
        .expires_at()
        .plus_ms(1000);
    eventually("the certificates end", || {
        (wall_clock() > over_at).then_some(())
    });
    let (exit, code, message) = ada.types("run list").error();
    assert_eq!(
        (exit, code.as_str()),
        (2, "certificate-expired"),
        "{message}"
    );
    // A node says so and ends: only a person can help it.
    site.node.start();
    assert_eq!(site.node.ends(), 1);
    assert!(
        site.node.log().contains("certificate has expired"),
        "{}",
        site.node.log()
    );
    let findings = site.checks().envelope()["data"]["findings"].take();
    let identity = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["check"] == "identity")
        .unwrap();
    assert_eq!(identity["standing"], "bad");
    assert!(
        identity["remedy"]
            .as_str()
            .unwrap()
            .contains("new invitation"),
        "{identity}"
    );
}

#[test]
fn a_member_of_another_consortium_is_a_stranger_here() {
    let ours = Consortium::found();
    let theirs = Consortium::found();
    let ada = ours.researcher("ada");
    let eve = theirs.researcher("eve");
    let config = eve.home.join("consilium.toml");
    replace(&config, &theirs.address(), &ours.address());
    // She finds out that we are not who she looks for.
    let (exit, code, message) = eve.types("run list").error();
    assert_eq!((exit, code.as_str()), (2, "wrong-consortium"), "{message}");
    // Made to believe us, she is not believed.
    let authority = "consortium-ca.crt";
    fs::copy(ada.home.join(authority), eve.home.join(authority)).unwrap();
    let (exit, _, message) = eve.types("run list").error();
    assert_eq!(exit, 2);
    assert!(
        message.contains("not issued by the consortium"),
        "{message}"
    );
    ada.types("run list").data();
}

#[test]
fn each_role_may_do_its_own_and_nothing_else() {
    let consortium = Consortium::found();
    let ada = consortium.researcher("ada");
    let site = consortium.site("cleveland");
    let wrong_role = |typed: crate::process::Typed| {
        let (exit, code, message) = typed.error();
        assert_eq!((exit, code.as_str()), (1, "wrong-role"), "{message}");
    };
    wrong_role(ada.types("invite --site basel"));
    wrong_role(ada.types("evict cleveland --reason greed"));
    // The keys of a hospital's node are no researcher's.
    let home = site.path("identity");
    fs::write(
        home.join("consilium.toml"),
        format!("coordinator = \"{}\"\n", consortium.address()),
    )
    .unwrap();
    let node = crate::world::Person { home };
    wrong_role(node.types("run list"));
    wrong_role(node.types("members"));
    // A founder invites and evicts, and signs no run.
    let run = crate::world::RunFile::of(&["cleveland"]);
    wrong_role(consortium.admin().submits_with(&run, ""));
    assert!(consortium.happened("run-submitted").is_empty());
    assert!(consortium.happened("member-evicted").is_empty());
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let consortium = Consortium::found();
    let mut site = consortium.site("cleveland");
    let key = site.path("identity/identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    site.node.start();
    assert_eq!(site.node.ends(), 1);
    assert!(site.node.log().contains("chmod 600"), "{}", site.node.log());
}
