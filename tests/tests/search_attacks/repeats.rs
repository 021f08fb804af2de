//! One question a thousand times; many people of one project; too many questions in a minute.

use consilium_protocol::RefusalCode;
use consilium_protocol::search::Ranking;

use crate::figures::tell;
use crate::hospital::{Declared, Heard, Hospital, asked, count, handles, policy};
use crate::notes::{all, honest_questions};

/// ε of the data set's ledger that a project has spent.
fn spent(hospital: &Hospital, project: &str) -> f64 {
    let ledger = hospital.node().gate.ledger(&"notes".parse().unwrap());
    ledger.project(project).epsilon(1e-6)
}

#[test]
fn a_thousand_repeats_get_one_answer_at_one_price() {
    let notes: Vec<_> = all().into_iter().take(300).collect();
    let hospital = Hospital::of(&notes, &Declared::default());
    let mallory = hospital.researcher("mallory", "cohort");
    for wanted in [count(20), handles(5, Ranking::Both)] {
        let asked = asked("low back pain after lifting", wanted);
        let first = hospital.answers(&mallory, &asked);
        assert!(!first.is_repeated);
        let (cost, charges) = (spent(&hospital, "cohort"), charged(&hospital));
        for _ in 1..1000 {
            let again = hospital.answers(&mallory, &asked);
            assert!(again.is_repeated);
            assert_eq!(again.heard, first.heard);
        }
        assert_eq!(spent(&hospital, "cohort").to_bits(), cost.to_bits());
        assert_eq!(charged(&hospital), charges);
    }
    tell("1,000 repeats: 1 answer and 1 charge, at levels 0 and 2");
}

/// Charges that the data set's ledger holds.
fn charged(hospital: &Hospital) -> u64 {
    let ledger = hospital.node().gate.ledger(&"notes".parse().unwrap());
    ledger.reservations()
}

#[test]
fn sixteen_people_of_a_project_spend_one_budget() {
    let notes: Vec<_> = all().into_iter().take(300).collect();
    let declared = Declared {
        policy: policy(4.0, 2.0),
        ..Declared::default()
    };
    let hospital = Hospital::of(&notes, &declared);
    let people: Vec<_> = (0..16)
        .map(|at| hospital.researcher(&format!("mallory-{at}"), "cohort"))
        .collect();
    let questions = honest_questions();
    let (mut answered, mut refused) = (0, 0);
    for (at, question) in questions.iter().take(160).enumerate() {
        let asked = asked(question, count(30));
        match hospital.answers(&people[at % people.len()], &asked).heard {
            Heard::Counts(_) => answered += 1,
            Heard::Refused(refusal) => {
                assert_eq!(refusal.code, RefusalCode::BudgetExhausted, "{refusal}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let spent = spent(&hospital, "cohort");
    tell(&format!(
        "16 people of one project: {answered} counts answered, {refused} refused, ε {spent:.3} of 2 spent"
    ));
    assert!(answered > 0 && refused > 0, "{answered} {refused}");
    assert!(spent <= 2.0, "{spent}");
    // One alone gets as much, and whoever comes from another project has a budget of its own.
    let bob = hospital.researcher("bob", "others");
    let asked = asked("chest pain", count(30));
    assert!(matches!(
        hospital.answers(&bob, &asked).heard,
        Heard::Counts(_)
    ));
}

#[test]
fn the_sixty_first_search_of_a_project_in_a_minute_is_refused_whoever_asks() {
    let notes: Vec<_> = all().into_iter().take(60).collect();
    let hospital = Hospital::of(&notes, &Declared::default());
    let people = [
        hospital.researcher("mallory", "cohort"),
        hospital.researcher("trudy", "cohort"),
    ];
    let search = |person: usize| {
        let asked = asked("gout", handles(3, Ranking::Both));
        let search = consilium_protocol::search::Search::new(asked).unwrap();
        hospital
            .hears(&hospital.signed(&people[person], &search))
            .heard
    };
    for at in 0..60 {
        assert!(matches!(search(at % 2), Heard::Hits(_)));
        hospital.later(500);
    }
    match search(0) {
        Heard::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::Busy, "{refusal}"),
        other => panic!("{other:?}"),
    }
    hospital.later(60_000);
    assert!(matches!(search(0), Heard::Hits(_)));
}
