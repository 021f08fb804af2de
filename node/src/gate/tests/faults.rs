//! What happens when the journal, the work or the process breaks.

use super::*;

#[test]
fn work_that_breaks_is_a_fault_and_work_that_declines_is_a_refusal() {
    let site = Site::cleveland();
    let ask = ada(Action::Train {
        round: 1,
        rounds: 15,
    });
    let broken = site.gate.pass(&ask, &facts(), JUNE_2026, |_| {
        Err::<TrainedUpdate, _>(WorkError::failed("the gpu is lost"))
    });
    let fault = fault(broken);
    assert_eq!(
        fault.to_string(),
        "the work of a pass failed: the gpu is lost"
    );
    assert!(!fault.told_outside().what.contains("gpu"));
    let entry: PassFailed = site.last(PASS_FAILED);
    assert_eq!(
        (entry.reserved, entry.cause.as_str()),
        (1, "the gpu is lost")
    );

    let no_column = Refusal::new(
        RefusalCode::InvalidRun,
        "there is no column `chol`",
        "use another",
    );
    let declined = site.gate.pass(&ask, &facts(), JUNE_2026, |_| {
        Err::<TrainedUpdate, _>(no_column.clone().into())
    });
    assert_eq!(refusal(declined), no_column);
    let entry: PassRefused = site.last(PASS_REFUSED);
    assert_eq!((entry.reserved, entry.refusal), (Some(3), no_column));
}

#[test]
fn without_a_reservation_work_never_runs() {
    for verb in [Verb::Write, Verb::Sync] {
        let site = Site::cleveland();
        let _ = site.train(1).unwrap();
        site.journal_breaks_at_next(verb);
        let outcome = site.gate.pass(
            &ada(Action::Train {
                round: 2,
                rounds: 15,
            }),
            &facts(),
            JUNE_2026,
            |_| -> Result<TrainedUpdate, WorkError> { panic!("work was done") },
        );
        let fault = fault(outcome);
        assert!(
            matches!(
                fault,
                GateFault::Journal {
                    doing: PASS_RESERVED,
                    ..
                }
            ),
            "{fault}"
        );
    }
}

#[test]
fn without_a_settlement_nothing_is_released() {
    for verb in [Verb::Write, Verb::Sync] {
        let site = Site::cleveland();
        let worked = Cell::new(false);
        let outcome = site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &facts(),
            JUNE_2026,
            |_| {
                worked.set(true);
                site.journal_breaks_at_next(verb);
                Ok(update())
            },
        );
        let fault = fault(outcome);
        assert!(
            matches!(
                fault,
                GateFault::Journal {
                    doing: PASS_RELEASED,
                    ..
                }
            ),
            "{fault}"
        );
        assert!(worked.get());
    }
}

#[test]
fn a_new_policy_that_cannot_be_journalled_decides_nothing() {
    let site = Site::cleveland();
    site.journal_breaks_at_next(Verb::Sync);
    let fault = fault(site.train(1));
    assert!(
        matches!(
            fault,
            GateFault::Journal {
                doing: BUNDLE_INSTALLED,
                ..
            }
        ),
        "{fault}"
    );
}

#[test]
fn a_pass_cut_off_by_a_crash_stays_spent_and_is_told_once() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    let mut at_work = None;
    let _ = site.gate.pass(
        &ada(Action::Train {
            round: 2,
            rounds: 15,
        }),
        &facts(),
        JUNE_2026,
        |_| {
            at_work = Some(site.disk.after_crash(7));
            Ok(update())
        },
    );

    let site = site.restarted_on(at_work.unwrap());
    assert_eq!(site.opened.abandoned, 1);
    let entry: PassAbandoned = site.last(PASS_ABANDONED);
    assert_eq!(
        (entry.reserved, entry.ask.action),
        (
            3,
            Action::Train {
                round: 2,
                rounds: 15
            }
        )
    );
    let reserved: PassReserved = site.entries()[3].parse().unwrap();
    assert_eq!((reserved.ask, reserved.facts), (entry.ask, facts()));
    assert_eq!(site.gate.summary().count(Outcome::Abandoned), 1);

    let site = site.killed();
    assert_eq!(
        site.opened.abandoned, 0,
        "the same pass was abandoned twice"
    );
    let _ = site.train(2).unwrap();
}

#[test]
fn work_that_panics_releases_nothing_and_counts_as_abandoned_at_the_next_start() {
    let site = Site::cleveland();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        site.gate.pass(
            &ada(Action::Train {
                round: 1,
                rounds: 15,
            }),
            &facts(),
            JUNE_2026,
            |_| -> Result<TrainedUpdate, WorkError> { panic!("the trainer has a bug") },
        )
    }));
    assert!(outcome.is_err());
    let _ = site.train(1).unwrap();
    let site = site.killed();
    assert_eq!(site.opened.abandoned, 1);
}
