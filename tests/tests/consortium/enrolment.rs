//! How members come, and how they leave.

use consilium_link::{Credentials, wall_clock};
use serde_json::Value;

use crate::process::eventually;
use crate::world::{Consortium, RunFile};

fn message(typed: &crate::process::Typed) -> String {
    typed.error().2
}

#[test]
fn a_fifth_hospital_joins_while_others_train_and_touches_none_of_them() {
    let consortium = Consortium::found();
    let sites = consortium.four_hospitals();
    let ada = consortium.researcher("ada");
    let names = ["cleveland", "hungarian", "switzerland", "va"];
    let run = RunFile::of(&names).with("rounds", "1000");
    let run_id = ada.submits(&run.with_local_steps(100));
    consortium.reaches_round(&run_id, 2);
    let newcomer = consortium.running_site("basel");
    assert!(
        consortium.rounds_of(&run_id).len() < 1000,
        "the run is over too early to show anything"
    );
    let model = ada.gets_model_of(&run_id);
    for round in model.card["rounds"].as_array().unwrap() {
        assert!(round["missing"].as_object().unwrap().is_empty(), "{round}");
    }
    for site in &sites {
        let connections = site.node.log().matches(" connected ").count();
        assert_eq!(connections, 1, "{}", site.node.log());
    }
    // It trains with them from now on.
    let run_id = ada.submits(&RunFile::of(&["va", "basel"]));
    ada.gets_model_of(&run_id);
    assert_eq!(newcomer.happened("pass-released").len(), 1 + 3 + 1);
}

#[test]
fn a_token_enrols_once_and_only_whom_it_names() {
    let consortium = Consortium::found();
    let token = consortium.invites("--site", "cleveland");
    let renamed = token.replace(":cleveland:", ":basel:");
    let typed = consortium.enrols("basel", &renamed);
    assert_eq!(typed.exit, 2);
    assert!(typed.out.contains("\"bad-token\""), "{typed:?}");
    assert!(!consortium.path("basel").join("node.toml").exists());

    // A try that failed spends nothing.
    consortium.enrols("cleveland", &token).data();
    let typed = consortium.enrols("cleveland-too", &token);
    assert_eq!(typed.exit, 2);
    assert!(message(&typed).contains("used already"), "{typed:?}");
    assert!(!consortium.path("cleveland-too").join("node.toml").exists());
    assert_eq!(consortium.happened("member-enrolled").len(), 2 + 1);

    // Nor can a name be invited twice while it is a member.
    let (exit, code, _) = consortium.admin().types("invite --site cleveland").error();
    assert_eq!((exit, code.as_str()), (1, "wrong-state"));
}

#[test]
fn a_token_expires() {
    let consortium = Consortium::found();
    let invited = consortium
        .admin()
        .types("invite --site cleveland --lifetime 1s")
        .data();
    let expires_at_ms = invited["expires_at_ms"].as_u64().unwrap();
    eventually("the token expires", || {
        (wall_clock().0 > expires_at_ms).then_some(())
    });
    let typed = consortium.enrols("cleveland", invited["token"].as_str().unwrap());
    assert_eq!(typed.exit, 2);
    assert!(message(&typed).contains("expired"), "{typed:?}");
    // With a new one the same folder works.
    consortium
        .enrols("cleveland", &consortium.invites("--site", "cleveland"))
        .data();
}

#[test]
fn a_node_keeps_the_folder_that_it_has() {
    let consortium = Consortium::found();
    let site = consortium.site("cleveland");
    let key = std::fs::read(site.path("identity/identity.key")).unwrap();
    let typed = consortium.enrols("cleveland", &consortium.invites("--site", "basel"));
    assert_eq!(typed.exit, 1);
    assert!(
        message(&typed).contains("holds a node already"),
        "{typed:?}"
    );
    assert_eq!(
        std::fs::read(site.path("identity/identity.key")).unwrap(),
        key
    );
    // The token was not spent.
    consortium
        .enrols("basel", &consortium.invites("--site", "basel"))
        .data();
}

#[test]
fn a_researchers_token_makes_no_node() {
    let consortium = Consortium::found();
    let typed = consortium.enrols("ada", &consortium.invites("--researcher", "ada"));
    assert_eq!(typed.exit, 1);
    assert!(message(&typed).contains("researcher `ada`"), "{typed:?}");
}

#[test]
fn an_invitation_to_another_consortium_is_not_shown_to_this_one() {
    let ours = Consortium::found();
    let theirs = Consortium::found();
    // The address is ours and the fingerprint theirs: somebody stands in the middle, or erred.
    let typed = ours.enrols("cleveland", &theirs.invites("--site", "cleveland"));
    assert_eq!(typed.exit, 2);
    assert!(message(&typed).contains("another consortium"), "{typed:?}");
    assert_eq!(ours.happened("member-enrolled").len(), 2);
}

#[test]
fn a_node_renews_its_certificate_by_itself_and_outlives_many() {
    let consortium = Consortium::found_with(&[(
        "certificate-lifetime-s = 7_776_000",
        "certificate-lifetime-s = 24",
    )]);
    let mut site = consortium.running_site("cleveland");
    let first = Credentials::load(&site.path("identity")).unwrap();
    // Longer than the certificate of the connection's first handshake, and than the interval at which the
    // coordinator looks at its members again.
    let renewed = || consortium.happened("certificate-renewed").len();
    eventually("three renewals", || {
        assert!(site.node.is_running(), "{}", site.node.log());
        (renewed() >= 3).then_some(())
    });
    consortium.knows_as_connected(&["cleveland"]);
    let latest = Credentials::load(&site.path("identity")).unwrap();
    assert!(latest.expires_at() > first.expires_at());
    assert_ne!(latest.fingerprint(), first.fingerprint());
    assert_eq!(latest.identity(), first.identity());
    let log = site.node.log();
    assert!(!log.contains("could not be renewed"), "{log}");
    // It was never sent away: one handshake carried it all the way.
    assert_eq!(log.matches(" connected ").count(), 1, "{log}");
    // What is on disk opens the door again.
    site.node.kill_9();
    site.node.start();
    eventually("it says hello again", || {
        (site.node.log().matches(" connected ").count() == 2).then_some(())
    });
}

#[test]
fn an_evicted_site_is_shown_out_at_once_and_a_run_that_needs_it_ends() {
    let consortium = Consortium::found();
    let mut cleveland = consortium.running_site("cleveland");
    let mut va = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    let run = RunFile::of(&["cleveland", "va"])
        .with("rounds", "1000")
        .with("round-deadline-s", "20")
        .with_local_steps(400);
    let run_id = ada.submits(&run);
    consortium.reaches_round(&run_id, 2);
    consortium
        .admin()
        .types("evict va --reason contract-ended")
        .data();
    // A live connection closes, well within its minute; the node says why and does not try for ever.
    assert_eq!(va.node.ends(), 1);
    assert!(
        va.node.log().contains("contract-ended"),
        "{}",
        va.node.log()
    );
    let why = ada.hears_why_it_failed(&run_id);
    assert!(why.contains("`va`"), "{why}");

    va.node.start();
    assert_eq!(va.node.ends(), 1);
    let members = consortium.admin().types("members").data()["members"].take();
    let members = members.as_array().unwrap();
    let of = |name: &str| -> &Value { members.iter().find(|m| m["name"] == name).unwrap() };
    assert_eq!(
        (&of("va")["state"], &of("va")["connected"]),
        (&"evicted".into(), &false.into())
    );
    assert_eq!(of("cleveland")["connected"], true);
    // It can be named in no further run; the others train on.
    let (exit, code, _) = ada.submits_with(&run, "").error();
    assert_eq!((exit, code.as_str()), (1, "unknown-site"));
    ada.gets_model_of(&ada.submits(&RunFile::of(&["cleveland"])));
    assert!(cleveland.node.is_running());
}

#[test]
fn an_evicted_researcher_is_turned_away() {
    let consortium = Consortium::found();
    let ada = consortium.researcher("ada");
    let grace = consortium.researcher("grace");
    ada.types("run list").data();
    consortium
        .admin()
        .types("evict ada --role researcher --reason left")
        .data();
    let (exit, code, message) = ada.types("run list").error();
    assert_eq!((exit, code.as_str()), (2, "not-admitted"), "{message}");
    grace.types("run list").data();
    // Nobody locks the consortium's door from inside.
    let (exit, _, message) = consortium
        .admin()
        .types("evict root --role admin --reason oops")
        .error();
    assert_eq!(exit, 1);
    assert!(message.contains("may not evict itself"), "{message}");
}

#[test]
fn a_check_beside_a_running_node_takes_nobodys_place() {
    let consortium = Consortium::found();
    let site = consortium.running_site("va");
    let findings = site.checks().data()["findings"].take();
    let tls = findings.as_array().unwrap().iter();
    let tls = tls.clone().find(|f| f["check"] == "tls").unwrap();
    assert_eq!(tls["standing"], "good", "{findings}");
    // The node is asked over the connection that it had before.
    let ada = consortium.researcher("ada");
    ada.gets_model_of(&ada.submits(&RunFile::of(&["va"])));
    let log = site.node.log();
    assert!(!log.contains("disconnected"), "{log}");
    assert_eq!(log.matches(" connected ").count(), 1, "{log}");
}
