//! `GUIDE.md` says what is so: its examples are read by the parser that nodes use.

use consilium_protocol::{Millis, RefusalCode};

use crate::check::{Severity, check};
use crate::duo::DuoCode;
use crate::files::BundleFiles;
use crate::rules::SCHEMA;
use crate::terms::{FLOORS, ROUNDINGS};
use crate::{Bundle, Officer, Release};

const GUIDE: &str = include_str!("../GUIDE.md");

/// The one example of this kind.
fn example(kind: &str) -> &'static str {
    let fence = format!("```{kind}\n");
    let mut found = GUIDE.split(&fence).skip(1);
    let (text, _) = found.next().unwrap().split_once("```").unwrap();
    assert!(found.next().is_none(), "two examples of {kind}");
    text
}

#[test]
fn every_example_is_of_a_kind_that_is_tested() {
    let opened = GUIDE.lines().filter(|line| line.starts_with("```"));
    let kinds: Vec<&str> = opened.step_by(2).collect();
    assert_eq!(
        kinds,
        [
            "```toml policy",
            "```cedar",
            "```toml cases",
            "```toml node"
        ]
    );
}

#[test]
fn the_worked_example_decides_as_it_says_and_has_nothing_to_warn_of() {
    let files = BundleFiles {
        policy: example("toml policy").into(),
        rules: example("cedar").into(),
        cases: example("toml cases").into(),
        ..BundleFiles::default()
    };
    let found = check("", &files, Millis(1_780_272_000_000));
    let grave: Vec<String> = found
        .iter()
        .filter(|finding| finding.severity > Severity::Note)
        .map(ToString::to_string)
        .collect();
    assert_eq!(grave, [""; 0]);
    let bundle = Bundle::read("", &files).unwrap();
    assert_eq!(bundle.cedar().written().len(), 4);
    assert_eq!(bundle.cases().count(), 4);
}

#[test]
fn the_pinned_officers_are_officers() {
    let node: toml::Value = toml::from_str(example("toml node")).unwrap();
    let officers = node["policy"]["officers"].as_array().unwrap();
    for officer in officers {
        officer.as_str().unwrap().parse::<Officer>().unwrap();
    }
}

#[test]
fn every_word_is_explained() {
    let mut words: Vec<String> = Release::ALL
        .map(|release| format!("`{}`", release.as_str()))
        .to_vec();
    let mut codes: Vec<String> = DuoCode::ALL.map(|code| code.to_string()).to_vec();
    words.append(&mut codes);
    let list = |steps: &[u32]| {
        let words: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let (last, others) = words.split_last().unwrap();
        format!("{} or {last}", others.join(", "))
    };
    words.extend([list(&FLOORS), list(&ROUNDINGS)]);
    for code in [
        RefusalCode::NotPermitted,
        RefusalCode::Forbidden,
        RefusalCode::Expired,
        RefusalCode::TooFewRecords,
        RefusalCode::TooFewPatients,
        RefusalCode::TooManyParameters,
        RefusalCode::BudgetExhausted,
        RefusalCode::NeedsApproval,
        RefusalCode::AwaitsRelease,
        RefusalCode::BrokenRule,
        RefusalCode::NoBundle,
        RefusalCode::UnreadableBundle,
    ] {
        words.push(format!("`{code}`"));
    }
    // Every quantity of the schema: `  name: Long,` or `  name?: Long,`.
    let context = SCHEMA.split_once("type Ask = {").unwrap().1;
    let context = context.split_once("};").unwrap().0;
    for line in context
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        if let Some((name, _)) = line.trim().split_once(':') {
            words.push(format!("`{}`", name.trim_end_matches('?')));
        }
    }
    for word in words {
        assert!(GUIDE.contains(&word), "the guide does not say {word}");
    }
}
