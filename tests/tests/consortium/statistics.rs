//! Questions over the federation: one at the command line, four hospitals, each under its own policy.

use serde_json::Value;

use crate::process::{Typed, types};
use crate::world::{Consortium, HOSPITALS, Person, Site, data_file};

/// What an officer permits here: noise within a budget, and exact answers above a floor.
const STATISTICS: &str = r#"
name = "hospital"
version = 2

[dataset.heart-disease]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
rounding = 5
budget = { epsilon = 60.0, delta = 1e-6 }
budget-patient = { epsilon = 60.0, delta = 1e-6 }

[[permit]]
id = "heart-disease-statistics"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["statistics"]
dataset = "heart-disease"
until = "2099-12-31"
release = ["exact-statistics", "noisy-statistics"]
budget = { epsilon = 50.0, delta = 1e-6 }
"#;

/// Types `consilium stats` as the project does; `words` are apart, as a shell would have them.
fn asks(person: &Person, words: &[&str]) -> Typed {
    let home = person.home.to_str().unwrap();
    let of = [
        "--dataset",
        "heart-disease",
        "--project",
        "cardiology",
        "--purpose",
        "HMB",
    ];
    let line: Vec<&str> = [&["--home", home, "--format", "json", "stats"], words, &of].concat();
    types("consilium", line)
}

/// A figure's value and interval.
fn figure(data: &Value, name: &str) -> (f64, f64, f64) {
    let figures = data["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["name"] == name);
    let figure = figure.unwrap_or_else(|| panic!("no `{name}` in {data}"));
    let number = |field: &str| figure[field].as_f64().unwrap_or(f64::NAN);
    (number("value"), number("low"), number("high"))
}

/// The complete rows of some hospitals, as the files have them.
fn rows(hospitals: &[&str]) -> Vec<Vec<f64>> {
    let read = |name: &&str| std::fs::read_to_string(data_file(&format!("processed.{name}.data")));
    let texts: Vec<String> = hospitals.iter().map(|name| read(name).unwrap()).collect();
    let cells = |line: &str| -> Vec<f64> {
        let cells = line.split(',');
        cells
            .map(|cell| cell.trim().parse().unwrap_or(f64::NAN))
            .collect()
    };
    let rows = texts.iter().flat_map(|text| text.lines()).map(cells);
    // slope, ca and thal may be missing.
    rows.filter(|row| (0..14).all(|at| !row[at].is_nan() || (10..13).contains(&at)))
        .collect()
}

/// Four hospitals with statistics permitted, and a researcher.
fn hospitals() -> (Consortium, Vec<Site>, Person) {
    let consortium = Consortium::found();
    let sites = consortium.four_hospitals();
    sites.iter().for_each(|site| site.writes_policy(STATISTICS));
    let ada = consortium.researcher("ada");
    (consortium, sites, ada)
}

/// What noise does at most in all but one of a hundred million tests: 20 scales of the Laplace.
fn near(found: f64, truth: f64, scale: f64) {
    assert!(
        (found - truth).abs() <= 20.0 * scale,
        "{found} is far from {truth}"
    );
}

#[test]
fn a_question_is_answered_by_all_hospitals_together() {
    let (consortium, sites, ada) = hospitals();
    let all = rows(&HOSPITALS);
    let old = all.iter().filter(|row| row[0] >= 60.0).count() as f64;
    let data = asks(&ada, &["count", "--where", "age >= 60", "--epsilon", "2"]).data();
    let (patients, low, high) = figure(&data, "patients");
    // Four sites, each with a scale of 1/2.
    near(patients, old, 2.0);
    assert!(
        low < patients && patients < high && high - low < 10.0,
        "{data}"
    );
    assert_eq!(data["answered"].as_array().unwrap().len(), 4);
    assert_eq!(data["answered"][0]["noise"], "laplace");

    let data = asks(&ada, &["mean", "age", "--range", "20:90", "--epsilon", "4"]).data();
    let ages: f64 = all.iter().map(|row| row[0]).sum();
    let (mean, low, high) = figure(&data, "mean");
    // Each site's sum has a scale of 35/2.
    near(mean, ages / all.len() as f64, 4.0 * 17.5 / all.len() as f64);
    assert!(low < mean && mean < high, "{data}");

    let data = asks(
        &ada,
        &[
            "histogram",
            "num",
            "--categories",
            "0,1,2,3,4",
            "--epsilon",
            "2",
        ],
    )
    .data();
    for num in 0..5_u8 {
        let truth = all.iter().filter(|row| row[13] == f64::from(num)).count() as f64;
        near(figure(&data, &num.to_string()).0, truth, 2.0);
    }
    near(figure(&data, "(missing)").0, 0.0, 2.0);

    let data = asks(
        &ada,
        &[
            "top",
            "cp",
            "--candidates",
            "1,2,3,4",
            "-k",
            "1",
            "--epsilon",
            "4",
        ],
    )
    .data();
    assert_eq!(data["figures"].as_array().unwrap().len(), 1);
    assert_eq!(data["figures"][0]["name"], "4", "{data}");

    let words = [
        "quantile",
        "age",
        "--candidates",
        "30:80:5",
        "-p",
        "0.5",
        "--epsilon",
        "4",
    ];
    let data = asks(&ada, &words).data();
    let (median, low, high) = figure(&data, "p0.5");
    assert!(
        (50.0..=60.0).contains(&median) && low <= median && median <= high,
        "{data}"
    );

    // Recorded at the coordinator by digest, at each hospital by what it cost; nowhere with a figure.
    let asked = consortium.happened("query-asked");
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[0]["statistic"], "count");
    let answered = consortium.happened("query-answered");
    assert_eq!(answered[4]["answered"].as_array().unwrap().len(), 4);
    for record in asked.iter().chain(&answered) {
        assert!(!record.to_string().contains("age"), "{record}");
    }
    for site in &sites {
        assert_eq!(site.happened("pass-released").len(), 5);
    }
}

#[test]
fn who_refuses_and_who_is_down_is_named_with_the_reason() {
    let (_consortium, mut sites, ada) = hospitals();
    let found = |name: &str| sites.iter().position(|site| site.name == name).unwrap();
    let (va, hungarian) = (found("va"), found("hungarian"));
    sites[va].writes_policy(&STATISTICS.replace("[\"cardiology\"]", "[\"oncology\"]"));
    sites[hungarian].node.kill_9();
    let typed = asks(&ada, &["count", "--epsilon", "2", "--timeout", "20s"]);
    let data = typed.data();
    let names = |list: &str| -> Vec<&str> {
        let sites = data[list].as_array().unwrap().iter();
        sites.map(|site| site["site"].as_str().unwrap()).collect()
    };
    assert_eq!(names("answered"), ["cleveland", "switzerland"]);
    assert_eq!(names("refused"), ["va"]);
    assert_eq!(names("missing"), ["hungarian"]);
    let refusal = &data["refused"][0]["refusal"];
    assert_eq!(refusal["code"], "not-permitted");
    assert!(
        refusal["reason"].as_str().unwrap().contains("cardiology"),
        "{refusal}"
    );
    let truth = rows(&["cleveland", "switzerland"]).len() as f64;
    near(figure(&data, "patients").0, truth, 1.0);
    // Of those named, nobody answers: that is no result.
    let (exit, code, message) = asks(&ada, &["count", "--sites", "va"]).error();
    assert_eq!((exit, code.as_str()), (1, "no-site-answered"));
    assert!(
        message.contains("va refused") && message.contains("cardiology"),
        "{message}"
    );
}

#[test]
fn a_hospital_that_hangs_is_late_and_the_others_count() {
    let (_consortium, sites, ada) = hospitals();
    let hanging = sites.iter().find(|site| site.name == "va").unwrap();
    hanging.node.signal("-STOP");
    let data = asks(&ada, &["count", "--epsilon", "2", "--timeout", "5s"]).data();
    assert_eq!(data["answered"].as_array().unwrap().len(), 3, "{data}");
    assert_eq!(data["missing"][0]["site"], "va");
    assert_eq!(data["missing"][0]["cause"], "late");
    hanging.node.signal("-CONT");
}

#[test]
fn the_same_question_has_the_same_answer_and_costs_once() {
    let (_consortium, sites, ada) = hospitals();
    let first = asks(&ada, &["count", "--where", "age >= 60 and sex = 1"]).data();
    let again = asks(
        &ada,
        &["count", "--where", "sex = 1.0 and not (not (age >= 6e1))"],
    )
    .data();
    assert_eq!(first["query_sha256"], again["query_sha256"]);
    assert_eq!(first["figures"], again["figures"]);
    for site in &sites {
        assert_eq!(site.happened("pass-reserved").len(), 1);
        assert_eq!(site.happened("pass-repeated").len(), 1);
    }
    // Said so that only a proof would show it to be the same: charged, with noise of its own.
    let other = asks(&ada, &["count", "--where", "age > 59 and sex = 1"]).data();
    assert_ne!(first["query_sha256"], other["query_sha256"]);
    assert!(
        sites
            .iter()
            .all(|site| site.happened("pass-reserved").len() == 2)
    );
}

#[test]
fn a_budget_ends_and_says_so() {
    let consortium = Consortium::found();
    let site = consortium.running_site("cleveland");
    site.writes_policy(
        &STATISTICS.replace("budget = { epsilon = 50.0", "budget = { epsilon = 2.5"),
    );
    let ada = consortium.researcher("ada");
    for age in ["60", "61"] {
        asks(
            &ada,
            &[
                "count",
                "--where",
                &format!("age >= {age}"),
                "--epsilon",
                "1",
            ],
        )
        .data();
    }
    let typed = asks(&ada, &["count", "--where", "age >= 62", "--epsilon", "1"]);
    let (exit, code, message) = typed.error();
    assert_eq!((exit, code.as_str()), (1, "no-site-answered"));
    assert!(message.contains("budget-exhausted"), "{message}");
    // What was answered is answered still.
    asks(&ada, &["count", "--where", "age >= 60", "--epsilon", "1"]).data();
}

#[test]
fn a_patient_whose_own_budget_is_spent_is_left_out_in_silence() {
    let consortium = Consortium::found();
    let site = consortium.running_site("cleveland");
    let from = "budget-patient = { epsilon = 60.0";
    assert!(STATISTICS.contains(from));
    site.writes_policy(&STATISTICS.replace(from, "budget-patient = { epsilon = 3.0"));
    let ada = consortium.researcher("ada");
    let all = rows(&["cleveland"]);
    let men = all.iter().filter(|row| row[1] == 1.0).count() as f64;
    let data = asks(&ada, &["count", "--where", "sex = 1", "--epsilon", "2"]).data();
    near(figure(&data, "patients").0, men, 0.5);
    // The men have no ε of 2 left; the women have.
    let data = asks(&ada, &["count", "--epsilon", "2"]).data();
    near(figure(&data, "patients").0, all.len() as f64 - men, 0.5);
    let answered = &data["answered"][0];
    assert_eq!(answered.as_object().unwrap().len(), 3, "{answered}");
}

#[test]
fn an_exact_answer_is_rounded_and_hides_the_small_and_the_tracker_gets_none() {
    let consortium = Consortium::found();
    let site = consortium.running_site("cleveland");
    site.writes_policy(STATISTICS);
    let ada = consortium.researcher("ada");
    let all = rows(&["cleveland"]);
    let men = all.iter().filter(|row| row[1] == 1.0).count() as f64;
    let data = asks(&ada, &["count", "--where", "sex = 1", "--exact"]).data();
    let (found, low, high) = figure(&data, "patients");
    assert!(found % 5.0 == 0.0 && (found - men).abs() <= 2.5, "{data}");
    assert!(low <= men && men <= high, "{data}");
    // One man is 77: with and without him would tell of him.
    let oldest = all.iter().filter(|row| row[0] == 77.0).count();
    assert_eq!(oldest, 1);
    for close in ["sex = 1 and age != 77", "sex = 1 and age != 78"] {
        let (_, _, message) = asks(&ada, &["count", "--where", close, "--exact"]).error();
        assert!(message.contains("too-few-patients"), "{close}: {message}");
    }
    // Few and none are refused in the same words.
    let refused = |filter: &str| {
        let (exit, code, message) = asks(&ada, &["count", "--where", filter, "--exact"]).error();
        (exit, code, message)
    };
    assert_eq!(refused("age = 77"), refused("age = 119"));
    // 13 patients have num = 4 at most; whatever is hidden, something is hidden with it.
    let data = asks(
        &ada,
        &[
            "histogram",
            "ca",
            "--categories",
            "0,1,2,3",
            "--where",
            "num = 4 or num = 3",
            "--exact",
        ],
    )
    .data();
    let hidden = data["figures"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["value"].is_null())
        .count();
    assert!(hidden >= 2, "{data}");
}

#[test]
fn a_question_that_is_none_is_told_where() {
    let consortium = Consortium::found();
    let site = consortium.running_site("cleveland");
    site.writes_policy(STATISTICS);
    let ada = consortium.researcher("ada");
    let (exit, code, message) = asks(&ada, &["count", "--where", "age >="]).error();
    assert_eq!((exit, code.as_str()), (64, "bad-filter"));
    assert!(message.contains("character 7"), "{message}");
    let (exit, code, _) = asks(&ada, &["mean", "age", "--range", "9:1"]).error();
    assert_eq!((exit, code.as_str()), (64, "bad-query"));
    let (_, _, message) = asks(&ada, &["count", "--where", "shoe = 1"]).error();
    assert!(
        message.contains("invalid-query") && message.contains("`shoe`"),
        "{message}"
    );
    let (_, _, message) = asks(&ada, &["count", "--where", "cp = 9", "--exact"]).error();
    assert!(
        message.contains("invalid-query") && message.contains("`9`"),
        "{message}"
    );
    let (exit, code, _) = asks(&ada, &["count", "--sites", "nowhere"]).error();
    assert_eq!((exit, code.as_str()), (1, "unknown-site"));
    // Nothing of this cost anything.
    let reserved = site.happened("pass-reserved");
    assert!(
        reserved
            .iter()
            .all(|entry| entry["facts"].get("cost").is_none()),
        "{reserved:?}"
    );
}
