use consilium_privacy::Cost;
use consilium_protocol::{Digest, Refusal, Role};

use super::*;
use crate::ask::{Action, Researcher, StatisticKind};
use crate::bundle::tests::WITH_TERMS;
use crate::explain::tests::bundle;

const JUNE_2026: Millis = Millis(1_780_272_000_000);

fn count() -> Ask {
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
            noisy: true,
        },
    }
}

fn costing(epsilon: f64) -> Facts {
    Facts {
        dataset_records: Some(303),
        dataset_patients: Some(303),
        cohort_patients: Some(40),
        cost: Cost::pure(epsilon).unwrap(),
        ..Facts::default()
    }
}

fn permitted(seq: u64, epsilon: f64) -> Recorded {
    let entry = PassReserved {
        ask: count(),
        facts: costing(epsilon),
        rules: vec!["questions".parse().unwrap()],
        bundle: Digest::of(b"old"),
        request: None,
        vault: None,
        approved_by: None,
    };
    Recorded::reserved(seq, JUNE_2026, entry)
}

fn refused(seq: u64, code: RefusalCode, reserved: Option<u64>) -> Option<Recorded> {
    let entry = PassRefused {
        reserved,
        ask: count(),
        facts: costing(0.5),
        bundle: Some(Digest::of(b"old")),
        refusal: Refusal::new(code, "no", ""),
        detail: None,
    };
    Recorded::refused(seq, JUNE_2026, entry)
}

#[test]
fn a_bundle_that_decides_the_same_flips_nothing() {
    let past = [permitted(1, 1.0), permitted(3, 1.0)];
    let replay = replay(&bundle(WITH_TERMS, ""), past);
    assert_eq!((replay.asked, replay.flips.len()), (2, 0));
}

#[test]
fn what_was_spent_is_counted_again() {
    let smaller = bundle(&WITH_TERMS.replace("epsilon = 3.0", "epsilon = 1.5"), "");
    let past = [permitted(1, 1.0), permitted(3, 1.0), permitted(5, 0.5)];
    let replay = replay(&smaller, past);
    let [flip] = &replay.flips[..] else {
        panic!("{replay}")
    };
    // The second no longer fits, and as it is not spent the third does.
    assert_eq!((flip.seq, flip.opens), (3, false));
    assert_eq!(flip.was, "permitted by questions");
    assert!(flip.now.contains("budget-exhausted"), "{flip}");
    let told = replay.to_string();
    assert!(
        told.starts_with("3 past requests decided again: 0 would now be permitted, 1 would now be refused\n- entry 3 of 2026-06-01: `ada`"),
        "{told}"
    );
}

#[test]
fn a_wider_bundle_opens() {
    let past = refused(7, RefusalCode::NotPermitted, None);
    let replay = replay(&bundle(WITH_TERMS, ""), past);
    assert!(replay.flips[0].opens, "{replay}");
}

#[test]
fn what_no_policy_decided_is_left_alone() {
    assert_eq!(refused(2, RefusalCode::BadUpdate, Some(1)), None);
    let undecided = [RefusalCode::NoBundle, RefusalCode::NeedsApproval];
    let past = undecided.map(|code| refused(2, code, None).unwrap());
    assert_eq!(replay(&bundle(WITH_TERMS, ""), past).asked, 0);
}
