use super::*;
use crate::bundle::tests::WITH_TERMS;

const NOW: Millis = Millis(1_780_272_000_000);

const CASES: &str = r#"
[[case]]
name = "a count"
researcher = "ada"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
action = "count"
on = "2026-06-01"
records = 303
patients = 303
cohort = 40
expect = "permit"
rules = ["questions"]
"#;

fn found(policy: &str, rules: &str, cases: &str) -> Vec<String> {
    let files = BundleFiles {
        policy: policy.as_bytes().to_vec(),
        rules: rules.as_bytes().to_vec(),
        cases: cases.as_bytes().to_vec(),
        ..BundleFiles::default()
    };
    let findings = check("policy", &files, NOW);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_careful_bundle_has_no_findings() {
    assert_eq!(found(WITH_TERMS, "", CASES), [""; 0]);
}

#[test]
fn what_cannot_be_read_is_the_one_finding() {
    let found = found(&WITH_TERMS.replace("2027-12-31", "2027-13-31"), "", CASES);
    assert_eq!(
        found,
        [
            "error: policy/policy.toml, line 21: `until`: `2027-13-31`: a day is written year-month-day, like 2027-12-31, and exists in the calendar"
        ]
    );
}

#[test]
fn risky_terms_are_told_by_line() {
    for (from, to, says) in [
        (
            "floor-patients = 11",
            "floor-patients = 3",
            "warning: policy/policy.toml, line 5: the floor of `heart-disease` is 3 patients",
        ),
        (
            "rounding = 5",
            "rounding = 1",
            "lets exact statistics leave without rounding",
        ),
        (
            "epsilon = 10.0",
            "epsilon = 40.0",
            "all projects together is ε = 40",
        ),
        (
            "epsilon = 3.0, delta = 1e-6",
            "epsilon = 3.0, delta = 0.01",
            "the budget of the permit `questions` has δ = 0.01",
        ),
        (
            "epsilon = 3.0",
            "epsilon = 12.0",
            "note: policy/policy.toml, line 15: the permit `questions` gives a project ε = 12, and all projects together have 10",
        ),
        (
            "2027-12-31",
            "2025-12-31",
            "the permit `questions` ended with 2025-12-31",
        ),
        (
            "2027-12-31",
            "2026-06-10",
            "ends with 2026-06-10, within 30 days",
        ),
        ("2027-12-31", "2047-12-31", "in more than five years"),
        ("[\"cardiology\"]", "[\"*\"]", "is for any project"),
        (
            "dataset = \"heart-disease\"",
            "dataset = \"*\"",
            "is for any data set",
        ),
        (
            "agreed = [\"PUB\"]",
            "",
            "`noisy-statistics` of the permit `questions` can never be used: permit `questions` for the purpose HMB: the rule `duo.pub` forbids it",
        ),
        (
            "[\"HMB\", \"PUB\"]",
            "[\"POA\"]",
            "`exact-statistics` of the permit `questions` can never be used",
        ),
    ] {
        assert!(WITH_TERMS.contains(from), "{from}");
        let found = found(&WITH_TERMS.replacen(from, to, 1), "", CASES);
        assert!(
            found.iter().any(|finding| finding.contains(says)),
            "{to}: {found:#?}"
        );
    }
}

#[test]
fn cases_that_go_otherwise_are_errors_and_none_a_warning() {
    let surprised = found(WITH_TERMS, "", &CASES.replace("cohort = 40", "cohort = 4"));
    assert!(
        surprised[0].starts_with("error: policy/cases.toml: the case `a count`: expected permit"),
        "{surprised:#?}"
    );
    let none = found(WITH_TERMS, "", "");
    assert!(none[0].contains("there are no cases"), "{none:#?}");
}

#[test]
fn a_forbid_without_a_reason_is_noted() {
    let rules = "@id(\"x\") forbid (principal, action, resource) when { context.rounds > 500 };";
    let found = found(WITH_TERMS, rules, CASES);
    assert!(
        found[0].starts_with("note: policy/rules.cedar, line 1: the rule `x` has no reason"),
        "{found:#?}"
    );
}
