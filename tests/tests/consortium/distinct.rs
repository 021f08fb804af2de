//! Distinct patients over hospitals that share some of them: one question, and nobody's sketch but the sum.

use std::fs;
use std::ops::Range;

use serde_json::Value;

use crate::process::{Typed, types};
use crate::world::{Consortium, Person, Site};

const POLICY: &str = r#"
name = "hospital"
version = 2

[dataset.ward]
duo = ["HMB"]
unit = "patient"
floor-patients = 11
rounding = 5
budget = { epsilon = 60.0, delta = 1e-6 }
budget-patient = { epsilon = 60.0, delta = 1e-6 }

[[permit]]
id = "ward-statistics"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["statistics"]
dataset = "ward"
until = "2099-12-31"
release = ["noisy-statistics", "distinct-sketch"]
budget = { epsilon = 50.0, delta = 1e-6 }
"#;

const SCHEMA: &str = r#"
format = "csv"
patient_key = "who"
columns = [
    { name = "who", type = "text" }, { name = "age", type = "integer" }, { name = "insured", type = "text" },
]
"#;

impl Consortium {
    /// A site with these patients, each with two rows, known there by numbers of its own and everywhere by one.
    fn ward(&self, name: &str, patients: Range<u32>) -> Site {
        let mut site = self.site(name);
        let first = patients.start;
        let row = |n: u32| {
            // Everybody spells the number as her desk does.
            let insured = match name {
                "basel" => format!("ch-{n}"),
                _ => format!("CH-{n}"),
            };
            format!("{name}{},{},{insured}\n", n - first, 20 + n % 60)
        };
        let rows: String = patients.map(|n| row(n) + &row(n)).collect();
        fs::write(
            site.path("data/ward.csv"),
            format!("who,age,insured\n{rows}"),
        )
        .unwrap();
        fs::write(site.path("data/ward.toml"), SCHEMA).unwrap();
        let linkage = self.path("linkage.key");
        if !linkage.exists() {
            let file = linkage.to_str().unwrap();
            let made = types("node", ["--format", "json", "linkage-key", "--file", file]);
            assert_eq!(made.data()["key_id"].as_str().unwrap().len(), 32);
        }
        let config = site.path("node.toml");
        let declared = format!(
            "{}\n[[dataset]]\nname = \"ward\"\npath = \"data/ward.csv\"\nschema = \"data/ward.toml\"\n\
             linkage-column = \"insured\"\n[linkage]\nkey-file = {linkage:?}\n",
            fs::read_to_string(&config).unwrap()
        );
        fs::write(&config, declared).unwrap();
        site.writes_policy(POLICY);
        site.node.start();
        self.knows_as_connected(&[name]);
        site
    }
}

/// Types `consilium stats distinct` as the project does.
fn asks(person: &Person, words: &[&str]) -> Typed {
    let home = person.home.to_str().unwrap();
    let before = ["--home", home, "--format", "json", "stats"];
    let of = "--dataset ward --project cardiology --purpose HMB".split(' ');
    let line: Vec<&str> = before
        .into_iter()
        .chain(words.iter().copied())
        .chain(of)
        .collect();
    types("consilium", line)
}

fn counts(person: &Person, sites: &str, words: &[&str]) -> Value {
    let distinct = [
        "distinct",
        "--sites",
        sites,
        "--about",
        "16384",
        "--epsilon",
        "8",
    ];
    asks(person, &[&distinct, words].concat()).data()
}

/// The one figure, near the truth, within an interval of itself.
fn near(data: &Value, truth: f64) {
    let figure = &data["figures"][0];
    let number = |field: &str| figure[field].as_f64().unwrap();
    let (value, low, high) = (number("value"), number("low"), number("high"));
    assert!(low <= value && value <= high, "{data}");
    // The interval is four standard deviations wide; seven of them either way are missed once in 10¹¹ tests.
    let sd = (high - low) / 4.0;
    assert!(
        (value - truth).abs() < 7.0 * sd && sd < 0.06 * truth,
        "{data}, not {truth}"
    );
}

#[test]
fn a_patient_of_several_hospitals_counts_once() {
    let consortium = Consortium::found();
    let sites = [
        consortium.ward("basel", 0..3000),
        consortium.ward("cleveland", 1000..4000),
        consortium.ward("zurich", 3500..5000),
    ];
    let ada = consortium.researcher("ada");
    // 6,000 at two, of whom 2,000 at both; 7,500 at three.
    near(&counts(&ada, "basel,cleveland", &[]), 4000.0);
    let three = counts(&ada, "basel,cleveland,zurich", &[]);
    near(&three, 5000.0);
    let names: Vec<&str> = three["answered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|by| by["site"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["basel", "cleveland", "zurich"]);
    assert_eq!(three["answered"][0]["noise"], "coins");
    // Half of everybody, whoever is where.
    near(
        &counts(&ada, "basel,cleveland", &["--where", "age < 50"]),
        2000.0,
    );

    // The same question: the same bits under other masks, and no further cost.
    let again = counts(&ada, "basel,cleveland,zurich", &[]);
    assert_eq!(again["figures"], three["figures"]);
    for site in &sites {
        assert_eq!(site.happened("pass-repeated").len(), 1);
    }
    assert_eq!(sites[0].happened("pass-reserved").len(), 3);
    assert_eq!(sites[2].happened("pass-reserved").len(), 1);
    let asked = consortium.happened("query-asked");
    assert_eq!(
        (asked.len(), asked[0]["statistic"].as_str()),
        (4, Some("distinct"))
    );
}

#[test]
fn who_stands_in_the_way_is_named_and_nobody_pays() {
    let consortium = Consortium::found();
    let mut sites = [
        consortium.ward("basel", 0..300),
        consortium.ward("cleveland", 100..400),
        consortium.ward("zurich", 350..500),
    ];
    let ada = consortium.researcher("ada");
    let all = [
        "distinct",
        "--sites",
        "basel,cleveland,zurich",
        "--epsilon",
        "8",
    ];
    // Without the word in its policy, a hospital lets no sketch leave.
    sites[1].writes_policy(&POLICY.replace(", \"distinct-sketch\"", ""));
    let (exit, code, message) = asks(&ada, &all).error();
    assert_eq!((exit, code.as_str()), (1, "no-site-answered"));
    assert!(
        message.contains("cleveland refused") && message.contains("distinct-sketch"),
        "{message}"
    );
    assert!(
        message.contains("without them: --sites basel,zurich"),
        "{message}"
    );
    sites[1].writes_policy(POLICY);
    sites[2].node.kill_9();
    let (_, code, message) = asks(&ada, &[&all[..], &["--timeout", "20s"]].concat()).error();
    assert_eq!(code, "no-site-answered");
    assert!(message.contains("zurich is missing"), "{message}");
    for site in &sites {
        assert!(site.happened("pass-reserved").is_empty(), "{}", site.name);
    }
    let data = asks(
        &ada,
        &["distinct", "--sites", "basel,cleveland", "--epsilon", "8"],
    )
    .data();
    near(&data, 400.0);
}

#[test]
fn a_question_that_masks_cannot_answer_is_told_why() {
    let consortium = Consortium::found();
    let basel = consortium.ward("basel", 0..300);
    let cleveland = consortium.ward("cleveland", 100..400);
    // A site that has never heard of linkage.
    let _va = consortium.running_site("va");
    let ada = consortium.researcher("ada");
    let error = |words: &[&str]| asks(&ada, words).error();
    let (exit, code, message) = error(&["distinct", "--sites", "basel"]);
    assert_eq!((exit, code.as_str()), (64, "bad-query"));
    assert!(message.contains("over 2 to 32 sites"), "{message}");
    let (_, code, _) = error(&["distinct", "--sites", "basel,cleveland", "--exact"]);
    assert_eq!(code, "bad-query");
    let (_, _, message) = error(&["distinct", "--sites", "basel,va"]);
    assert!(message.contains("va refused: unknown-dataset"), "{message}");
    // What names a patient everywhere is for nothing else.
    let (_, _, message) = error(&["count", "--where", "insured = 'CH-1'"]);
    assert!(message.contains("tells patients apart"), "{message}");
    // Another linkage key would count everybody twice: it is seen before anybody pays.
    let other = consortium.path("other.key");
    let file = other.to_str().unwrap();
    types("node", ["--format", "json", "linkage-key", "--file", file]).data();
    let mut cleveland = cleveland;
    crate::world::replace(
        &cleveland.path("node.toml"),
        consortium.path("linkage.key").to_str().unwrap(),
        file,
    );
    cleveland.node.kill_9();
    cleveland.node.start();
    consortium.knows_as_connected(&["cleveland"]);
    let (_, _, message) = error(&["distinct", "--sites", "basel,cleveland"]);
    assert!(message.contains("another linkage key"), "{message}");
    for site in [&basel, &cleveland] {
        assert!(site.happened("pass-released").is_empty());
    }
}

#[test]
fn a_project_hears_what_it_has_left_and_no_other_does() {
    let consortium = Consortium::found();
    let sites = [
        consortium.ward("basel", 0..300),
        consortium.ward("cleveland", 0..300),
    ];
    let ada = consortium.researcher("ada");
    sites[1].writes_policy(&POLICY.replace("[\"cardiology\"]", "[\"oncology\"]"));
    asks(&ada, &["count", "--epsilon", "2", "--sites", "basel"]).data();
    let data = ada.types("budget show --project cardiology").data();
    let left = &data["answered"][0];
    assert_eq!(left["site"], "basel");
    let ward = &left["datasets"][0];
    assert_eq!(
        (&ward["dataset"], ward["budget_epsilon"].as_f64()),
        (&"ward".into(), Some(50.0))
    );
    let (spent, left) = (
        ward["spent_epsilon"].as_f64().unwrap(),
        ward["left_epsilon"].as_f64().unwrap(),
    );
    assert!(
        (spent - 2.0).abs() < 1e-6 && (left - 48.0).abs() < 1e-3,
        "{data}"
    );
    assert_eq!(data["refused"][0]["site"], "cleveland");
    assert_eq!(data["refused"][0]["refusal"]["code"], "not-permitted");
    let (exit, code, message) = ada
        .types("budget show --project cardiology --site cleveland")
        .error();
    assert_eq!((exit, code.as_str()), (1, "no-site-answered"));
    assert!(message.contains("cleveland refused"), "{message}");
    // Asking costs nothing, and is written down on both sides.
    assert_eq!(sites[0].happened("pass-reserved").len(), 1);
    let told = sites[0].happened("budget-told");
    assert_eq!((told.len(), &told[0]["datasets"][0]), (1, &"ward".into()));
    assert_eq!(sites[1].happened("budget-told").len(), 2);
    assert_eq!(consortium.happened("budget-asked").len(), 2);
}
