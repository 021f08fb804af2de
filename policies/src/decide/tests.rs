use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::ask::Researcher;

/// One permit, written with the numbers and names that a test cares about.
fn permit(id: &str, changes: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[[permit]]\nid = \"{id}\"\nresearchers = [\"ada\"]\nprojects = [\"cardiology\"]\npurposes = [\"HMB\"]\n\
         actions = [\"train\"]\ndataset = \"heart-disease\"\nuntil = \"2027-12-31\"\nminimum-records = 50\n\
         maximum-parameters-per-record = 0.33\nmaximum-rounds = 100\nrelease = [\"update\", \"metrics\"]\n"
    );
    for (field, value) in changes {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{field} =")))
            .unwrap();
        text = text.replacen(line, &format!("{field} = {value}"), 1);
    }
    text
}

fn bundle(permits: &[String]) -> Bundle {
    let text = format!("name = \"cleveland\"\nversion = 1\n{}", permits.concat());
    Bundle::parse("policy.toml", text.as_bytes()).unwrap()
}

fn ada_trains() -> Ask {
    Ask {
        project: "cardiology".parse().unwrap(),
        researcher: Researcher {
            name: "ada".parse().unwrap(),
            role: Role::Researcher,
        },
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        run: Some("r1".parse().unwrap()),
        run_digest: Digest::of(b"run"),
        action: Action::Train {
            round: 3,
            rounds: 15,
        },
    }
}

fn facts(records: u64, parameters: u64) -> Facts {
    Facts {
        dataset_records: Some(records),
        parameters,
        ..Facts::default()
    }
}

fn on(day: &str) -> Millis {
    day.parse::<Day>().unwrap().begins_at()
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
fn a_covered_ask_is_permitted_by_name() {
    let bundle = bundle(&[permit("training", &[])]);
    let permit = permitted(decide(
        &bundle,
        &ada_trains(),
        &facts(199, 14),
        on("2026-06-01"),
    ));
    assert_eq!(permit.rules(), ["training".parse().unwrap()]);
    assert_eq!(permit.bundle(), bundle.digest());
    assert!(permit.releases(Release::Update) && permit.releases(Release::Metrics));
    assert_eq!(
        (permit.run().unwrap().as_str(), permit.action()),
        ("r1", ada_trains().action)
    );
}

/// The refusal of an ask, when the code, the reason's words and the rules are these.
fn tells(verdict: Verdict, code: RefusalCode, reason: &str, rules: &[&str]) {
    let refusal = refused(verdict);
    assert_eq!(refusal.code, code, "{refusal}");
    assert!(refusal.reason.contains(reason), "{refusal}");
    assert_eq!(refusal.rules, rules, "{refusal}");
    assert!(!refusal.remedy.is_empty(), "{refusal}");
}

fn ada_changed(change: fn(&mut Ask)) -> Ask {
    let mut ask = ada_trains();
    change(&mut ask);
    ask
}

#[test]
fn each_refusal_tells_its_reason_and_its_rule() {
    use RefusalCode::{NotPermitted, UnknownDataset, WrongRole};
    let plain = bundle(&[permit("training", &[])]);
    let decided = |ask: &Ask| decide(&plain, ask, &facts(199, 14), on("2026-06-01"));
    let no_dataset = Facts {
        dataset_records: None,
        parameters: 14,
        ..Facts::default()
    };
    let nowhere = decide(&plain, &ada_trains(), &no_dataset, on("2026-06-01"));
    tells(nowhere, UnknownDataset, "no data set `heart-disease`", &[]);
    let rule = &["training"][..];
    type Case<'a> = (fn(&mut Ask), RefusalCode, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        (
            |ask| ask.dataset = "lungs".parse().unwrap(),
            NotPermitted,
            "data set `lungs`",
            &[],
        ),
        (
            |ask| ask.project = "oncology".parse().unwrap(),
            NotPermitted,
            "project `oncology`",
            &[],
        ),
        (
            |ask| ask.researcher.name = "eve".parse().unwrap(),
            NotPermitted,
            "researcher `eve`",
            rule,
        ),
        (
            |ask| ask.researcher.role = Role::Admin,
            WrongRole,
            "role admin",
            &[],
        ),
        (
            |ask| ask.purpose = "GRU".parse().unwrap(),
            NotPermitted,
            "purpose GRU",
            rule,
        ),
        (
            |ask| ask.purpose = "CURIOSITY".parse().unwrap(),
            NotPermitted,
            "purpose CURIOSITY",
            rule,
        ),
        (
            |ask| ask.action = Action::Admit { rounds: 101 },
            NotPermitted,
            "101 rounds",
            rule,
        ),
        (
            |ask| {
                ask.action = Action::Train {
                    round: 101,
                    rounds: 15,
                }
            },
            NotPermitted,
            "101 rounds",
            rule,
        ),
    ];
    for (change, code, reason, rules) in cases {
        tells(decided(&ada_changed(change)), code, reason, rules);
    }
}

#[test]
fn each_bound_that_is_missed_is_told() {
    use RefusalCode::{Expired, NotPermitted, TooFewRecords, TooManyParameters};
    let june = on("2026-06-01");
    let one = |changes| bundle(&[permit("training", changes)]);
    let plain = one(&[]);
    let ada = ada_trains();
    let rule = &["training"][..];
    let of_size = |records, parameters| decide(&plain, &ada, &facts(records, parameters), june);
    let late = decide(&plain, &ada, &facts(199, 14), on("2028-01-01"));
    tells(late, Expired, "ended with 2027-12-31", rule);
    tells(
        of_size(30, 14),
        TooFewRecords,
        "fewer training records here than the 50",
        rule,
    );
    tells(of_size(0, 14), TooFewRecords, "than the 50", rule);
    tells(
        of_size(60, 28),
        TooManyParameters,
        "28 parameters has more than 0.33",
        rule,
    );
    let evaluates = ada_changed(|ask| ask.action = Action::Evaluate);
    let updates_only = one(&[("release", "[\"update\"]")]);
    tells(
        decide(&updates_only, &evaluates, &facts(199, 14), june),
        NotPermitted,
        "no metrics",
        rule,
    );
    let metrics_only = one(&[("release", "[\"metrics\"]")]);
    tells(
        decide(&metrics_only, &ada, &facts(199, 14), june),
        NotPermitted,
        "no update",
        rule,
    );
    let empty = bundle(&[]);
    tells(
        decide(&empty, &ada, &facts(199, 14), june),
        NotPermitted,
        "permits nothing yet",
        &[],
    );
}

#[test]
fn a_refusal_never_tells_how_few_records_there_are() {
    let bundle = bundle(&[permit("training", &[])]);
    for records in [1, 37, 49] {
        let refusal = refused(decide(
            &bundle,
            &ada_trains(),
            &facts(records, 14),
            on("2026-06-01"),
        ));
        let same_for_none = refused(decide(
            &bundle,
            &ada_trains(),
            &facts(0, 14),
            on("2026-06-01"),
        ));
        assert_eq!(refusal, same_for_none);
    }
    let (sixty, seventy) = (facts(60, 28), facts(70, 28));
    assert_eq!(
        refused(decide(&bundle, &ada_trains(), &sixty, on("2026-06-01"))),
        refused(decide(&bundle, &ada_trains(), &seventy, on("2026-06-01"))),
    );
}

#[test]
fn the_bounds_themselves_are_permitted() {
    let bundle = bundle(&[permit(
        "training",
        &[("maximum-parameters-per-record", "0.29")],
    )]);
    let last_moment = Millis(on("2028-01-01").0 - 1);
    let mut ask = ada_trains();
    ask.action = Action::Admit { rounds: 100 };
    // 0.29 x 100 is 28.999… in binary; 29 parameters for 100 records are still within 0.29.
    for (records, parameters) in [(100, 29), (50, 14)] {
        let verdict = decide(&bundle, &ask, &facts(records, parameters), last_moment);
        assert!(matches!(verdict, Verdict::Permit(_)), "{verdict:?}");
    }
}

#[test]
fn permits_add_up_whatever_their_order() {
    let narrow = permit("narrow", &[("release", "[\"update\"]")]);
    let wide = permit("wide", &[]);
    let other = permit("other", &[("projects", "[\"oncology\"]")]);
    for permits in [[&narrow, &wide, &other], [&other, &wide, &narrow]] {
        let bundle = bundle(&permits.map(Clone::clone));
        let permit = permitted(decide(
            &bundle,
            &ada_trains(),
            &facts(199, 14),
            on("2026-06-01"),
        ));
        assert!(permit.releases(Release::Metrics));
        assert_eq!(permit.rules().len(), 2);
    }
}

#[test]
fn the_nearest_permit_gives_the_reason() {
    let bundle = bundle(&[
        permit("other-project", &[("projects", "[\"oncology\"]")]),
        permit("strict", &[("minimum-records", "500")]),
        permit("lenient", &[("minimum-records", "100")]),
        permit("ended", &[("until", "\"2020-01-01\"")]),
    ]);
    let refusal = refused(decide(
        &bundle,
        &ada_trains(),
        &facts(60, 14),
        on("2026-06-01"),
    ));
    assert_eq!(refusal.rules, ["lenient"]);
    assert!(refusal.reason.contains("100"), "{refusal}");
}

/// Values near the ask and its facts, so that about half of all conditions hold.
fn any_permit() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    (
        prop_oneof![Just("[\"ada\"]"), Just("[\"*\"]"), Just("[\"grace\"]")],
        prop_oneof![
            Just("[\"cardiology\"]"),
            Just("[\"*\"]"),
            Just("[\"oncology\"]")
        ],
        prop_oneof![
            Just("[\"HMB\", \"GRU\"]"),
            Just("[\"HMB\"]"),
            Just("[\"GRU\"]")
        ],
        prop_oneof![Just("\"heart-disease\""), Just("\"*\""), Just("\"lungs\"")],
        prop_oneof![Just("\"2027-12-31\""), Just("\"2026-01-01\"")],
        prop_oneof![Just("20"), Just("199"), Just("500")],
        prop_oneof![Just("0.33"), Just("0.01"), Just("7")],
        prop_oneof![Just("100"), Just("14"), Just("1")],
        prop_oneof![
            Just("[\"update\"]"),
            Just("[\"update\", \"metrics\"]"),
            Just("[\"metrics\"]")
        ],
    )
        .prop_map(
            |(who, projects, purposes, dataset, until, records, parameters, rounds, release)| {
                vec![
                    ("researchers", who),
                    ("projects", projects),
                    ("purposes", purposes),
                    ("dataset", dataset),
                    ("until", until),
                    ("minimum-records", records),
                    ("maximum-parameters-per-record", parameters),
                    ("maximum-rounds", rounds),
                    ("release", release),
                ]
            },
        )
}

fn numbered(permits: &[Vec<(&str, &str)>]) -> Vec<String> {
    let with_id = |(n, changes): (usize, &Vec<(&str, &str)>)| permit(&format!("p{n}"), changes);
    permits.iter().enumerate().map(with_id).collect()
}

/// What may leave under a verdict: nothing at all when it is a refusal.
fn releases(verdict: &Verdict) -> BTreeSet<Release> {
    match verdict {
        Verdict::Permit(permit) => permit.releases.clone(),
        Verdict::Refuse(_) => BTreeSet::new(),
    }
}

/// The same permit with one condition that is harder to meet or one release fewer.
fn restricted(changes: &mut [(&'static str, &'static str)], which: Index) {
    let at = which.index(changes.len());
    let (field, value) = &mut changes[at];
    *value = match *field {
        "researchers" => "[\"grace\"]",
        "projects" => "[\"oncology\"]",
        "purposes" => "[\"GRU\"]",
        "dataset" => "\"lungs\"",
        "until" => "\"2026-01-01\"",
        "minimum-records" => "500",
        "maximum-parameters-per-record" => "0.01",
        "maximum-rounds" => "1",
        // Fewer releases, not others: from both to the first; a single one stays.
        _ if *value == "[\"metrics\"]" => value,
        _ => "[\"update\"]",
    };
}

proptest! {
    #[test]
    fn less_policy_never_permits_more(
        permits in proptest::collection::vec(any_permit(), 1..5),
        which in any::<Index>(),
        condition in any::<Index>(),
        evaluate in any::<bool>(),
        records in prop_oneof![Just(30_u64), Just(199), Just(501)],
    ) {
        let mut ask = ada_trains();
        if evaluate {
            ask.action = Action::Evaluate;
        }
        let decide_by = |permits: &[Vec<(&'static str, &'static str)>]| {
            decide(&bundle(&numbered(permits)), &ask, &facts(records, 14), on("2026-06-01"))
        };
        let before = releases(&decide_by(&permits));

        let mut fewer = permits.clone();
        fewer.remove(which.index(permits.len()));
        prop_assert!(releases(&decide_by(&fewer)).is_subset(&before));

        let mut stricter = permits.clone();
        restricted(&mut stricter[which.index(permits.len())], condition);
        prop_assert!(releases(&decide_by(&stricter)).is_subset(&before));
    }

    #[test]
    fn the_same_question_gets_the_same_answer_and_time_only_takes_away(
        permits in proptest::collection::vec(any_permit(), 0..5),
        earlier in 0..4_000_000_000_000_u64,
        later_by in 0..4_000_000_000_000_u64,
    ) {
        let bundle = bundle(&numbered(&permits));
        let at = |now| decide(&bundle, &ada_trains(), &facts(199, 14), Millis(now));
        let told = |verdict: Verdict| format!("{verdict:?}");
        prop_assert_eq!(told(at(earlier)), told(at(earlier)));
        prop_assert!(releases(&at(earlier + later_by)).is_subset(&releases(&at(earlier))));
    }
}
