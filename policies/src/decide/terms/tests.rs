use consilium_privacy::{Account, Cost};
use proptest::prelude::*;

use crate::ask::{Action, Ask, Facts, FilterFacts, Researcher, StatisticKind};
use crate::bundle::Bundle;
use crate::bundle::tests::WITH_TERMS;
use crate::decide::{Permit, Verdict, decide};
use crate::files::BundleFiles;
use crate::terms::{Approval, FLOORS, Repeats};
use consilium_protocol::{Digest, Millis, Refusal, RefusalCode, Role};

const JUNE_2026: Millis = Millis(1_780_272_000_000);

fn bundle(policy: &str, rules: &str) -> Bundle {
    let files = BundleFiles {
        policy: policy.as_bytes().to_vec(),
        rules: rules.as_bytes().to_vec(),
        ..BundleFiles::default()
    };
    Bundle::read("", &files).unwrap()
}

fn counts(noisy: bool) -> Ask {
    Ask {
        project: "cardiology".parse().unwrap(),
        researcher: Researcher {
            name: "ada".parse().unwrap(),
            role: Role::Researcher,
        },
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        run: None,
        run_digest: Digest::of(b"query"),
        action: Action::Statistic {
            statistic: StatisticKind::Count,
            noisy,
        },
    }
}

fn of_cohort(cohort: u64) -> Facts {
    Facts {
        dataset_records: Some(303),
        dataset_patients: Some(303),
        cohort_patients: Some(cohort),
        ..Facts::default()
    }
}

fn costing(epsilon: f64, project_spent: f64, dataset_spent: f64) -> Facts {
    let spent = |epsilon: f64| {
        let mut account = Account::default();
        if epsilon > 0.0 {
            account.add(&Cost::pure(epsilon).unwrap());
        }
        account
    };
    let mut facts = of_cohort(3);
    facts.cost = Cost::pure(epsilon).unwrap();
    facts.spent.project = spent(project_spent);
    facts.spent.dataset = spent(dataset_spent);
    facts
}

fn permitted(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Permit(permit) => permit,
        Verdict::Refuse(refusal) => panic!("refused: {refusal}"),
    }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Permit(permit) => panic!("permitted: {permit:?}"),
        Verdict::Refuse(refusal) => refusal,
    }
}

#[test]
fn a_permit_carries_the_terms() {
    let bundle = bundle(WITH_TERMS, "");
    let permit = permitted(decide(&bundle, &counts(false), &of_cohort(40), JUNE_2026));
    let terms = permit.terms();
    assert_eq!((terms.floor_patients, terms.rounding), (11, 5));
    assert_eq!(terms.budget_project.unwrap().epsilon(), 3.0);
    assert_eq!(terms.budget_dataset.unwrap().epsilon(), 10.0);
    assert_eq!(terms.budget_patient.unwrap().epsilon(), 8.0);
    assert_eq!(
        (terms.repeats, &terms.approval),
        (Repeats::Same, &Approval::None)
    );
    assert_eq!(permit.run(), None);
}

#[test]
fn the_floor_counts_patients_behind_the_answer_and_behind_what_it_leaves_out() {
    let bundle = bundle(WITH_TERMS, "");
    let of = |facts: &Facts| decide(&bundle, &counts(false), facts, JUNE_2026);
    for few in [0, 1, 10, 293, 302] {
        let refusal = refused(of(&of_cohort(few)));
        assert_eq!(refusal.code, RefusalCode::TooFewPatients, "{few}");
        assert!(refusal.reason.contains("11"), "{refusal}");
        assert!(!refusal.reason.contains("303"), "{refusal}");
    }
    for enough in [11, 292, 303] {
        let _ = permitted(of(&of_cohort(enough)));
    }
    let unknown = Facts {
        cohort_patients: None,
        ..of_cohort(1)
    };
    assert_eq!(refused(of(&unknown)).code, RefusalCode::TooFewPatients);
    let small = Facts {
        dataset_patients: Some(10),
        ..of_cohort(10)
    };
    assert_eq!(refused(of(&small)).code, RefusalCode::TooFewPatients);
}

#[test]
fn a_filter_keeps_to_the_columns_and_the_number_of_conditions_that_the_officer_wrote() {
    let policy = WITH_TERMS
        .replace(
            "rounding = 5",
            "rounding = 5\nfilter-columns = [\"age\", \"sex\"]",
        )
        .replace("[\"statistics\"]", "[\"statistics\", \"search\"]")
        .replace(
            "\"exact-statistics\"]",
            "\"exact-statistics\", \"search-l2\", \"search-l4\"]",
        );
    let bundle = bundle(&policy, "");
    let of = |action: Action, columns: &[&str], conditions: u16| {
        let facts = Facts {
            filter: FilterFacts {
                columns: columns.iter().map(ToString::to_string).collect(),
                conditions,
            },
            ..of_cohort(40)
        };
        let ask = Ask {
            action,
            ..counts(false)
        };
        decide(&bundle, &ask, &facts, JUNE_2026)
    };
    let search = |level| Action::Search { level };
    let _ = permitted(of(search(2), &["age", "sex"], 3));
    let many = refused(of(search(2), &["age", "sex"], 4));
    assert_eq!(many.code, RefusalCode::NotPermitted);
    assert!(many.reason.contains("3 conditions"), "{many}");
    let other = refused(of(search(2), &["age", "name"], 2));
    assert_eq!(other.code, RefusalCode::NotPermitted);
    assert!(other.reason.contains("`age`, `sex` only"), "{other}");
    // Statistics have floors and noise for that; what is public has nothing to pick out.
    let statistic = counts(false).action;
    let _ = permitted(of(statistic, &["age"], 20));
    let _ = refused(of(statistic, &["name"], 1));
    let _ = permitted(of(search(4), &["name"], 20));
}

#[test]
fn an_answer_with_noise_is_not_refused_for_its_cohort() {
    let bundle = bundle(WITH_TERMS, "");
    let asked = decide(&bundle, &counts(true), &costing(0.1, 0.0, 0.0), JUNE_2026);
    let _ = permitted(asked);
}

#[test]
fn budgets_end_and_are_told_without_what_is_left() {
    let bundle = bundle(WITH_TERMS, "");
    let of = |facts: &Facts| decide(&bundle, &counts(true), facts, JUNE_2026);
    let _ = permitted(of(&costing(0.1, 2.9, 9.9)));
    let project = refused(of(&costing(0.2, 2.9, 5.0)));
    assert_eq!(project.code, RefusalCode::BudgetExhausted);
    assert!(project.reason.contains("may spend ε = 3 "), "{project}");
    assert!(!project.reason.contains("0.1"), "{project}");
    assert_eq!(project.rules, ["questions"]);
    let dataset = refused(of(&costing(0.2, 0.0, 9.9)));
    assert_eq!(dataset.code, RefusalCode::BudgetExhausted);
    assert!(dataset.reason.contains("ε = 10 "), "{dataset}");
}

#[test]
fn what_costs_needs_a_budget_even_where_any_data_set_is_meant() {
    let policy = WITH_TERMS.replace("dataset = \"heart-disease\"", "dataset = \"*\"");
    let bundle = bundle(&policy, "");
    let mut ask = counts(true);
    ask.dataset = "lungs".parse().unwrap();
    let refusal = refused(decide(&bundle, &ask, &costing(0.1, 0.0, 0.0), JUNE_2026));
    assert!(refusal.reason.contains("no terms"), "{refusal}");
}

#[test]
fn a_forbid_wins_over_every_permit_and_tells_its_reason() {
    let rules = "@id(\"few-questions\") @reason(\"the board wants cheap questions only\")\n\
                 forbid (principal, action in Action::\"statistics\", resource) when { context.cost > 200000 };";
    let bundle = bundle(WITH_TERMS, rules);
    let of = |epsilon| {
        decide(
            &bundle,
            &counts(true),
            &costing(epsilon, 0.0, 0.0),
            JUNE_2026,
        )
    };
    let _ = permitted(of(0.2));
    let refusal = refused(of(0.201));
    assert_eq!(refusal.code, RefusalCode::Forbidden);
    assert_eq!(refusal.rules, ["few-questions"]);
    assert_eq!(refusal.reason, "the board wants cheap questions only");
}

#[test]
fn what_is_left_reaches_the_rules() {
    let rules = "@id(\"reserve\") forbid (principal, action, resource)\n\
                 when { context has projectLeft && context.projectLeft < 1000000 };";
    let bundle = bundle(WITH_TERMS, rules);
    let of = |spent| {
        decide(
            &bundle,
            &counts(true),
            &costing(0.1, spent, spent),
            JUNE_2026,
        )
    };
    let _ = permitted(of(1.5));
    assert_eq!(refused(of(2.5)).rules, ["reserve"]);
}

#[test]
fn a_rule_that_cannot_be_evaluated_refuses_in_its_name() {
    let rules = "@id(\"overflows\") forbid (principal, action, resource)\n\
                 when { context.records * 9000000000000000000 > 5 };";
    let bundle = bundle(WITH_TERMS, rules);
    let refusal = refused(decide(&bundle, &counts(false), &of_cohort(40), JUNE_2026));
    assert_eq!(refusal.code, RefusalCode::BrokenRule);
    assert_eq!(refusal.rules, ["overflows"]);
}

#[test]
fn permits_of_rules_cedar_are_needed_where_there_are_some() {
    let rules = "@id(\"only-search\") permit (principal, action == Action::\"search\", resource);";
    let bundle = bundle(WITH_TERMS, rules);
    let refusal = refused(decide(&bundle, &counts(false), &of_cohort(40), JUNE_2026));
    assert_eq!(refusal.code, RefusalCode::NotPermitted);
    assert!(refusal.reason.contains("rules.cedar"), "{refusal}");
}

/// What each code does to an ask for HMB by a named researcher of a named project, and to one that differs.
#[test]
fn every_consent_code_does_what_it_says() {
    type Case<'a> = (&'a str, bool, &'a str, &'a str, bool);
    let cases: [Case<'_>; 17] = [
        // codes, agreed, researchers, purpose, permitted
        ("\"NRES\"", false, "ada", "POA", true),
        ("\"GRU\"", false, "ada", "HMB", true),
        ("\"GRU\"", false, "ada", "CC", false),
        ("\"GRU\", \"CC\"", false, "ada", "CC", true),
        ("\"HMB\"", false, "ada", "HMB", true),
        ("\"HMB\"", false, "ada", "GRU", false),
        ("\"HMB\"", false, "ada", "POA", false),
        ("\"DS\"", false, "ada", "DS", false),
        ("\"DS\"", true, "ada", "DS", true),
        ("\"POA\"", false, "ada", "HMB", false),
        ("\"NRES\", \"NPOA\"", false, "ada", "POA", false),
        ("\"CC\"", false, "ada", "HMB", false),
        ("\"HMB\", \"US\"", false, "ada", "HMB", true),
        ("\"HMB\", \"US\"", false, "*", "HMB", false),
        ("\"HMB\", \"PS\"", false, "ada", "HMB", true),
        ("\"HMB\", \"IRB\"", false, "ada", "HMB", false),
        ("\"HMB\", \"IRB\"", true, "ada", "HMB", true),
    ];
    for (codes, agreed, who, purpose, expected) in cases {
        let agreed = if agreed {
            "agreed = [\"DS\", \"IRB\"]"
        } else {
            ""
        };
        let policy = WITH_TERMS
            .replace("\"HMB\", \"PUB\"", codes)
            .replace(
                "purposes = [\"HMB\"]",
                "purposes = [\"HMB\", \"GRU\", \"DS\", \"POA\", \"CC\"]",
            )
            .replace("[\"ada\"]", &format!("[\"{who}\"]"))
            .replace("agreed = [\"PUB\"]", agreed);
        let mut ask = counts(false);
        ask.purpose = purpose.parse().unwrap();
        let verdict = decide(&bundle(&policy, ""), &ask, &of_cohort(40), JUNE_2026);
        match verdict {
            Verdict::Permit(_) => assert!(expected, "{codes} {purpose} {who}"),
            Verdict::Refuse(refusal) => {
                assert!(!expected, "{codes} {purpose} {who}: {refusal}");
                assert_eq!(refusal.code, RefusalCode::Forbidden);
                assert!(refusal.rules[0].starts_with("duo."), "{refusal}");
            }
        }
    }
}

#[test]
fn use_ends_with_the_data_sets_last_day() {
    let policy = WITH_TERMS
        .replace(
            "[\"HMB\", \"PUB\"]",
            "[\"HMB\", \"TS\"]\nuntil = \"2026-05-31\"",
        )
        .replace("agreed = [\"PUB\"]", "");
    let bundle = bundle(&policy, "");
    let late = refused(decide(&bundle, &counts(false), &of_cohort(40), JUNE_2026));
    assert_eq!(late.code, RefusalCode::Expired);
    let in_time = Millis(JUNE_2026.0 - 1);
    let _ = permitted(decide(&bundle, &counts(false), &of_cohort(40), in_time));
}

#[test]
fn an_approval_that_one_permit_wants_holds_for_what_both_release() {
    let permit = WITH_TERMS.split_once("[[permit]]").unwrap().1;
    let wanting = permit.replace("questions", "looked-at").replace(
        "agreed =",
        "approval = \"outbox\"\nofficers = [\"olga\"]\nagreed =",
    );
    let bundle = bundle(&format!("{WITH_TERMS}[[permit]]{wanting}"), "");
    let permit = permitted(decide(&bundle, &counts(false), &of_cohort(40), JUNE_2026));
    let Approval::Outbox { officers } = &permit.terms().approval else {
        panic!("an outbox expected")
    };
    assert_eq!(officers.len(), 1);
}

#[test]
fn the_journal_keeps_steps_and_decides_the_same_again() {
    let bundle = bundle(WITH_TERMS, "");
    for cohort in [0, 1, 2, 10, 11, 14, 200, 292, 293, 302, 303] {
        let facts = of_cohort(cohort);
        let text = serde_json::to_string(&facts).unwrap();
        let read: Facts = serde_json::from_str(&text).unwrap();
        assert!(
            !text.contains(&format!("-step\":{cohort},"))
                || FLOORS.contains(&(cohort as u32))
                || cohort == 0
        );
        let of = |facts: &Facts| {
            matches!(
                decide(&bundle, &counts(false), facts, JUNE_2026),
                Verdict::Permit(_)
            )
        };
        assert_eq!(of(&facts), of(&read), "{cohort}: {text}");
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

proptest! {
    #[test]
    fn a_forbid_that_holds_wins_over_any_permits(permits in 1..6_usize, records in 0..1000_u64) {
        let permit = WITH_TERMS.split_once("[[permit]]").unwrap().1;
        let more: String = (0..permits)
            .map(|n| format!("[[permit]]{}", permit.replace("questions", &format!("p{n}"))))
            .collect();
        let rules = "@id(\"never\") forbid (principal, action, resource);";
        let facts = Facts { dataset_records: Some(records), ..of_cohort(40) };
        let with_forbid = bundle(&format!("{WITH_TERMS}{more}"), rules);
        let refusal = refused(decide(&with_forbid, &counts(false), &facts, JUNE_2026));
        prop_assert_eq!(refusal.rules, vec!["never".to_owned()]);
    }

    #[test]
    fn deciding_is_total(
        records in any::<Option<u64>>(),
        parameters in any::<u64>(),
        patients in any::<Option<u64>>(),
        cohort in any::<Option<u64>>(),
        complement in any::<Option<u64>>(),
        epsilon in 1e-12..100.0_f64,
        spent in 1e-12..100.0_f64,
        level in any::<u8>(),
        kind in 0..4,
        now in any::<u64>(),
    ) {
        let rules = "@id(\"r\") forbid (principal, action, resource) when { context.records * 2 < context.parameters };";
        let bundle = bundle(WITH_TERMS, rules);
        let mut ask = counts(epsilon > 1.0);
        ask.action = match kind {
            0 => Action::Search { level },
            1 => Action::Train { round: u32::MAX, rounds: 1 },
            2 => Action::Evaluate,
            _ => ask.action,
        };
        let mut facts = costing(epsilon, spent, spent);
        facts.dataset_records = records;
        facts.parameters = parameters;
        facts.dataset_patients = patients;
        facts.cohort_patients = cohort;
        facts.complement_patients = complement;
        let _ = decide(&bundle, &ask, &facts, Millis(now));
    }
}
