use super::*;
use crate::bundle::tests::WITH_TERMS;
use crate::explain::tests::bundle;

const NOW: Millis = Millis(1_780_272_000_000);

fn changed(from: &str, to: &str) -> Changes {
    assert!(WITH_TERMS.contains(from), "{from}");
    let new = WITH_TERMS.replacen(from, to, 1);
    diff(&bundle(WITH_TERMS, ""), &bundle(&new, ""), NOW)
}

#[test]
fn the_same_lets_out_the_same() {
    let changes = changed("version = 4", "version = 5");
    assert!(changes.is_empty(), "{changes}");
}

#[test]
fn a_wider_permit_opens_and_back_closes() {
    let wider = WITH_TERMS.replace("[\"ada\"]", "[\"ada\", \"grace\"]");
    let (old, new) = (bundle(WITH_TERMS, ""), bundle(&wider, ""));
    let opened = diff(&old, &new, NOW);
    assert!(
        opened.opened.contains(
            &"grace of the project `cardiology`, for the purpose HMB, can get `noisy-statistics` from `heart-disease`"
                .to_owned()
        ),
        "{opened}"
    );
    assert!(opened.closed.is_empty(), "{opened}");
    let closed = diff(&new, &old, NOW);
    assert_eq!(closed.closed, opened.opened);
}

#[test]
fn everybody_is_told_as_such() {
    let changes = changed("[\"ada\"]", "[\"*\"]");
    assert!(
        changes.opened[0].starts_with("any other researcher of"),
        "{changes}"
    );
    let changes = changed("[\"cardiology\"]", "[\"*\"]");
    assert!(
        changes
            .opened
            .iter()
            .any(|told| told.contains("any project that is not named")),
        "{changes}"
    );
}

#[test]
fn who_loses_it_for_good_is_told_once() {
    let narrower = changed("[\"ada\"]", "[\"grace\"]");
    let noisy = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("`noisy-statistics`"))
            .count()
    };
    assert_eq!(
        (noisy(&narrower.closed), noisy(&narrower.opened)),
        (1, 1),
        "{narrower}"
    );
}

#[test]
fn an_approval_makes_a_certain_answer_an_uncertain_one() {
    let changes = changed(
        "agreed =",
        "approval = \"before\"\nofficers = [\"olga\"]\nagreed =",
    );
    assert!(changes.opened.is_empty(), "{changes}");
    assert!(!changes.closed.is_empty(), "{changes}");
    assert!(
        changes.numbers.contains(
            &"permit `questions`, approval: none becomes before, which lets out less".to_owned()
        ),
        "{changes}"
    );
}

#[test]
fn numbers_are_told_with_their_direction() {
    for (from, to, says) in [
        (
            "floor-patients = 11",
            "floor-patients = 5",
            "data set `heart-disease`, floor-patients: 11 becomes 5, which lets out more",
        ),
        (
            "floor-patients = 11",
            "floor-patients = 20",
            "11 becomes 20, which lets out less",
        ),
        (
            "rounding = 5",
            "rounding = 10",
            "rounding: 5 becomes 10, which lets out less",
        ),
        (
            "epsilon = 3.0",
            "epsilon = 4.0",
            "permit `questions`, budget: ε = 3 at δ = 0.000001 becomes ε = 4 at δ = 0.000001, which lets out more",
        ),
        (
            "2027-12-31",
            "2028-12-31",
            "until: 2027-12-31 becomes 2028-12-31, which lets out more",
        ),
        (
            "repeats = \"same\"",
            "repeats = \"refused\"",
            "same becomes refused, which lets out less",
        ),
    ] {
        let changes = changed(from, to);
        assert!(
            changes.numbers.iter().any(|told| told.contains(says)),
            "{to}: {changes}"
        );
    }
}

#[test]
fn rules_that_come_and_go_are_told() {
    let rule =
        "@id(\"x\") forbid (principal, action, resource) when { context.purpose == \"HMB\" };";
    let (without, with) = (bundle(WITH_TERMS, ""), bundle(WITH_TERMS, rule));
    let closed = diff(&without, &with, NOW);
    assert!(
        !closed.closed.is_empty() && closed.opened.is_empty(),
        "{closed}"
    );
    assert!(
        closed.numbers[0].starts_with("rule `x` is new: "),
        "{closed}"
    );
    let opened = diff(&with, &without, NOW);
    assert_eq!(opened.numbers, ["rule `x` is gone"]);
}
