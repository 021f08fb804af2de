//! Data as hospitals really have it: not there, empty, another table, full of errors.

use std::fs;

use crate::process::eventually;
use crate::world::{Consortium, RunFile, Site, data_file};

/// The node starts and says what is wrong; `check` says it with a remedy; a run names the site, and the other site is
/// as good as before.
fn is_told(consortium: &Consortium, mut site: Site, says: &str) {
    let typed = site.checks();
    assert_eq!(typed.exit, 1, "{typed:?}");
    let findings = typed.envelope()["data"]["findings"].take();
    let data = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["check"] == "data")
        .unwrap();
    assert_eq!(data["standing"], "bad", "{data}");
    assert!(data["found"].as_str().unwrap().contains(says), "{data}");
    assert!(!data["remedy"].as_str().unwrap().is_empty(), "{data}");

    site.node.start();
    consortium.knows_as_connected(&[&site.name]);
    let log = site.node.log();
    assert!(
        log.contains("a data set cannot be used") && log.contains(says),
        "{log}"
    );

    let ada = consortium.researcher("ada");
    let why = ada.hears_why_it_failed(&ada.submits(&RunFile::of(&["va", &site.name])));
    assert!(why.contains(&format!("`{}`", site.name)), "{why}");
    assert!(site.node.is_running());
    let with_quorum = RunFile::of(&["va", &site.name]).with("quorum", "1");
    let model = ada.gets_model_of(&ada.submits(&with_quorum));
    assert!(
        model.card["refused"].get(&site.name).is_some(),
        "{}",
        model.card["refused"]
    );
}

#[test]
fn a_data_file_that_is_not_there_is_named() {
    let consortium = Consortium::found();
    let _va = consortium.running_site("va");
    let site = consortium.site("cleveland");
    site.gets_data("");
    fs::remove_file(site.path("data/heart.csv")).unwrap();
    is_told(&consortium, site, "heart.csv");
}

#[test]
fn an_empty_data_file_is_named() {
    let consortium = Consortium::found();
    let _va = consortium.running_site("va");
    let site = consortium.site("cleveland");
    site.gets_data("");
    is_told(&consortium, site, "heart.csv");
}

#[test]
fn a_table_of_other_columns_is_refused_whole() {
    let consortium = Consortium::found();
    let _va = consortium.running_site("va");
    let site = consortium.site("cleveland");
    site.gets_data(&"cleveland;52;yes\n".repeat(100));
    is_told(&consortium, site, "heart.csv");
}

#[test]
fn a_table_with_too_many_bad_rows_is_refused_whole_and_no_value_of_it_is_told() {
    let consortium = Consortium::found();
    let _va = consortium.running_site("va");
    let site = consortium.site("cleveland");
    let good = fs::read_to_string(data_file("processed.cleveland.data")).unwrap();
    // A column's values in the place of another's.
    let bad = "4711.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n";
    site.gets_data(&(good + &bad.repeat(40)));
    let checked = site.checks();
    assert!(!checked.out.contains("4711"), "{checked:?}");
    let log = site.node.folder().with_extension("log");
    is_told(&consortium, site, "bad");
    let log = fs::read_to_string(log).unwrap_or_default();
    assert!(!log.contains("4711"), "{log}");
}

#[test]
fn a_run_that_asks_for_a_column_that_is_not_there_is_refused_by_the_site() {
    let consortium = Consortium::found();
    let va = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    let features = r#"[{ column = "age" }, { column = "shoe-size" }]"#;
    let label = r#"{ column = "num", greater-than = 0 }"#;
    let data = format!("{{ features = {features}, label = {label} }}");
    let why = ada.hears_why_it_failed(&ada.submits(&RunFile::of(&["va"]).with("data", &data)));
    assert!(why.contains("`va`"), "{why}");
    assert!(!va.happened("pass-refused").is_empty());
    eventually("the node goes on", || {
        (ada.types("run list").exit == 0).then_some(())
    });
}
