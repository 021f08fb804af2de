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
fn fewer_columns_to_filter_by_are_told_as_closed_and_back_as_opened() {
    let listed = WITH_TERMS.replace("rounding = 5", "rounding = 5\nfilter-columns = [\"age\"]");
    let (old, new) = (bundle(WITH_TERMS, ""), bundle(&listed, ""));
    let told = diff(&old, &new, NOW).to_string();
    assert!(
        told.contains("filter-columns: any column becomes [age]"),
        "{told}"
    );
    let told = diff(&new, &old, NOW).to_string();
    assert!(
        told.contains("filter-columns: [age] becomes any column"),
        "{told}"
    );
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
    // Nothing is taken from anybody for good, and nothing is said to be.
    assert!(changes.opened.is_empty(), "{changes}");
    assert!(changes.closed.is_empty(), "{changes}");
    assert!(!changes.looser.is_empty(), "{changes}");
    let text = changes.to_string();
    assert!(
        text.starts_with(
            "let out now only if an officer or a rule's quantities allow it, and certain before:\n- ada of"
        ),
        "{text}"
    );
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
    let rule = "@id(\"x\") @reason(\"not for research\") forbid (principal, action, resource) when { context.purpose == \"HMB\" };";
    let (without, with) = (bundle(WITH_TERMS, ""), bundle(WITH_TERMS, rule));
    let closed = diff(&without, &with, NOW);
    assert!(
        !closed.closed.is_empty() && closed.opened.is_empty(),
        "{closed}"
    );
    assert_eq!(
        closed.numbers,
        ["rule `x` is new: it forbids under conditions: not for research (rules.cedar, line 1)"]
    );
    let opened = diff(&with, &without, NOW);
    assert_eq!(
        opened.numbers,
        ["rule `x`, which forbade, is gone: not for research"]
    );
    // An officer reads no Cedar, whatever changes in it.
    let other = bundle(WITH_TERMS, &rule.replace("HMB", "GRU"));
    let changed = diff(&with, &other, NOW);
    assert!(
        changed.numbers[0].starts_with("rule `x` is another now: it forbids"),
        "{changed}"
    );
    assert!(!changed.to_string().contains("principal"), "{changed}");
}

#[test]
fn what_becomes_certain_is_told_apart_from_what_is_opened() {
    let with_approval = WITH_TERMS.replacen(
        "agreed =",
        "approval = \"before\"\nofficers = [\"olga\"]\nagreed =",
        1,
    );
    let (certain, asks_first) = (bundle(WITH_TERMS, ""), bundle(&with_approval, ""));
    let firmer = diff(&asks_first, &certain, NOW);
    assert!(
        firmer.opened.is_empty() && firmer.closed.is_empty(),
        "{firmer}"
    );
    let looser = diff(&certain, &asks_first, NOW).looser;
    assert!(!looser.is_empty());
    let conditional =
        |line: &String| format!("{line}, if an officer or a rule's quantities allow it");
    assert_eq!(
        firmer.firmer.iter().map(conditional).collect::<Vec<_>>(),
        looser
    );
}

#[test]
fn a_first_permit_in_the_rules_is_told_to_narrow() {
    let permit = "@id(\"p\") permit (principal, action, resource);";
    let (without, with) = (bundle(WITH_TERMS, ""), bundle(WITH_TERMS, permit));
    let says = |changes: Changes, what: &str| {
        assert!(
            changes.numbers.iter().any(|told| told.contains(what)),
            "{changes}"
        );
    };
    says(diff(&without, &with, NOW), "has permits of its own now");
    says(
        diff(&with, &without, NOW),
        "has no permits of its own any more",
    );
}
