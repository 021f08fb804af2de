//! Whatever order, whatever crash: never below what left, and the filter never lets more through than the exact
//! account.

use proptest::prelude::*;

use super::*;
use crate::ORDERS;
use crate::ledger::patients::ORDERS_KEPT;

fn cost() -> impl Strategy<Value = Cost> {
    prop_oneof![
        (1_u64..2_000_000_000_000).prop_map(|epsilon_pico| Cost::Pure { epsilon_pico }),
        (1_u64..1_000_000_000_000).prop_map(|rho_pico| Cost::Zcdp { rho_pico }),
        (1_u64..500_000_000_000, 1_u64..1_000_000_000_000).prop_map(
            |(epsilon_pico, delta_atto)| {
                Cost::Approximate {
                    epsilon_pico,
                    delta_atto,
                }
            }
        ),
        (1_u32..40, 10_u32..40, 1_u64..200).prop_map(|(q, sigma, steps)| {
            Cost::subsampled_gaussian(f64::from(q) / 100.0, f64::from(sigma) / 10.0, steps).unwrap()
        }),
        Just(Cost::None),
    ]
}

fn cohort() -> impl Strategy<Value = Cohort> {
    prop::collection::vec(0_u32..40, 0..30).prop_map(|patients| Cohort::of(patients).unwrap())
}

fn budget() -> impl Strategy<Value = Budget> {
    (1_u32..100, 4_i32..9).prop_map(|(epsilon, delta)| {
        Budget::new(f64::from(epsilon) / 10.0, 10_f64.powi(-delta)).unwrap()
    })
}

/// One pass: what it costs whom, and how far it came before the power went.
#[derive(Debug, Clone)]
struct Pass {
    project: &'static str,
    cost: Cost,
    cohort: Cohort,
    is_released: bool,
}

fn passes() -> impl Strategy<Value = Vec<Pass>> {
    let pass = (
        prop_oneof![Just("cardiology"), Just("oncology")],
        cost(),
        cohort(),
        any::<bool>(),
    );
    let pass = pass.prop_map(|(project, cost, cohort, is_released)| Pass {
        project,
        cost,
        cohort,
        is_released,
    });
    prop::collection::vec(pass, 0..12)
}

/// No order in which `more` is below `less`.
fn covers(more: &Account, less: &Account) -> bool {
    more.spent()
        .points()
        .zip(less.spent().points())
        .all(|((_, more), (_, less))| more >= less)
}

fn ledger_of<'a>(passes: impl IntoIterator<Item = &'a Pass>) -> Ledger {
    let mut ledger = Ledger::default();
    for pass in passes {
        ledger.charge(&pass.cohort, &pass.cost);
        ledger.reserve(pass.project, &pass.cost);
    }
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The vault's charge, the reservation, the release: the power may go between any two of them, in passes that run
    /// side by side. What is on disk by then, read again, covers what had left.
    #[test]
    fn spent_covers_what_left_in_any_order_after_any_crash(
        passes in passes(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 36),
        cut in 0_usize..40,
    ) {
        // Each pass makes its three steps in order; which pass makes the next one is drawn.
        let mut made = vec![0_usize; passes.len()];
        let mut events = Vec::new();
        for turn in order {
            let open: Vec<usize> = (0..passes.len()).filter(|pass| made[*pass] < 3).collect();
            if open.is_empty() {
                break;
            }
            let pass = open[turn.index(open.len())];
            events.push((pass, made[pass]));
            made[pass] += 1;
        }
        events.truncate(cut);

        let (mut replay, mut left) = (Replay::default(), Ledger::default());
        for (at, (pass, step)) in (0..).zip(&events) {
            let pass = &passes[*pass];
            match step {
                0 => replay.charged(at, &pass.cohort, &pass.cost),
                1 => replay.reserved(at, pass.project, &pass.cost),
                _ if pass.is_released => {
                    left.charge(&pass.cohort, &pass.cost);
                    left.reserve(pass.project, &pass.cost);
                }
                _ => {}
            }
        }
        let spent = replay.finish();
        prop_assert!(covers(spent.dataset(), left.dataset()));
        for project in ["cardiology", "oncology"] {
            prop_assert!(covers(&spent.project(project), &left.project(project)));
        }
        // Whom the truth leaves out, the ledger leaves out.
        let everyone = Cohort::first(40).unwrap();
        let budget = Budget::new(2.0, 1e-6).unwrap();
        let once_more = Cost::pure(0.5).unwrap();
        let by_truth = left.active(&everyone, &once_more, &budget);
        let by_ledger = spent.active(&everyone, &once_more, &budget);
        prop_assert!(by_ledger.iter().all(|patient| by_truth.contains(patient)));
    }

    #[test]
    fn reading_an_entry_twice_changes_nothing_and_no_order_does(
        passes in passes(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 8),
        again in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let expected = ledger_of(&passes);
        let mut entries: Vec<usize> = (0..passes.len()).collect();
        if !passes.is_empty() {
            for (one, other) in swaps {
                let (one, other) = (one.index(passes.len()), other.index(passes.len()));
                entries.swap(one, other);
            }
            entries.extend(again.iter().map(|index| index.index(passes.len())));
        }
        let mut replay = Replay::default();
        for entry in entries {
            let pass = &passes[entry];
            replay.reserved(entry as u64, pass.project, &pass.cost);
            replay.charged(entry as u64, &pass.cohort, &pass.cost);
        }
        prop_assert_eq!(replay.finish(), expected);
    }

    #[test]
    fn sums_only_grow(passes in passes()) {
        let mut ledger = Ledger::default();
        for pass in &passes {
            let before = ledger.clone();
            ledger.charge(&pass.cohort, &pass.cost);
            ledger.reserve(pass.project, &pass.cost);
            prop_assert!(covers(ledger.dataset(), before.dataset()));
            prop_assert!(covers(&ledger.project(pass.project), &before.project(pass.project)));
            prop_assert!(covers(ledger.dataset(), &ledger.project(pass.project)));
        }
    }

    /// A patient's small account never lets through what sixty orders in pico-nats would not.
    #[test]
    fn the_filter_is_never_weaker_than_the_exact_account(
        passes in passes(),
        budget in budget(),
        next in cost(),
    ) {
        prop_assume!(!next.is_none());
        let ledger = ledger_of(&passes);
        let active = ledger.active(&Cohort::first(40).unwrap(), &next, &budget);
        for patient in active.iter() {
            let mut exact = Account::default();
            for pass in passes.iter().filter(|pass| pass.cohort.contains(patient)) {
                exact.add(&pass.cost);
            }
            prop_assert!(exact.fits(&budget, &next), "patient {patient}");
        }
    }

    /// Everyone pays while they are active, and nobody's budget is ever overdrawn, whatever is asked.
    #[test]
    fn no_patient_is_ever_overdrawn(passes in passes(), budget in budget()) {
        let mut ledger = Ledger::default();
        let mut exact = vec![Account::default(); 40];
        for pass in &passes {
            let active = ledger.active(&pass.cohort, &pass.cost, &budget);
            ledger.charge(&active, &pass.cost);
            for patient in active.iter() {
                exact[patient as usize].add(&pass.cost);
            }
        }
        for account in &exact {
            prop_assert!(account.fits(&budget, &Cost::None), "{}", account.epsilon(budget.delta()));
        }
    }

    #[test]
    fn a_cohort_reads_back_and_has_one_text(
        patients in prop::collection::vec(0_u32..200_000, 0..400),
        runs in prop::collection::vec((0_u32..200_000, 1_u32..70_000), 0..3),
    ) {
        let mut all: BTreeSet<u32> = patients.into_iter().collect();
        for (from, length) in runs {
            all.extend(from..from + length);
        }
        let cohort = Cohort::of(all.iter().rev().copied()).unwrap();
        prop_assert!(cohort.iter().eq(all.iter().copied()));
        prop_assert_eq!(cohort.len(), all.len() as u64);
        let bytes = cohort.to_bytes();
        prop_assert_eq!(Cohort::from_bytes(&bytes).unwrap(), cohort);
    }

    #[test]
    fn foreign_bytes_are_a_cohort_of_that_text_or_none(
        mut bytes in prop::collection::vec(any::<u8>(), 0..60),
        is_begun_well in any::<bool>(),
    ) {
        if let (true, Some(first)) = (is_begun_well, bytes.first_mut()) {
            *first = 1;
        }
        if let Ok(cohort) = Cohort::from_bytes(&bytes) {
            prop_assert_eq!(cohort.to_bytes(), bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Blocks of patients are charged at once; each patient's account is what it would be if she were alone.
    #[test]
    fn a_patient_has_the_account_of_one_who_is_alone(
        asks in proptest::collection::vec((0_u32..200, 0_u32..200, any::<bool>(), 0_usize..4), 1..24),
        epsilon in 0.2_f64..4.0,
    ) {
        const PATIENTS: u32 = 200;
        let costs = [
            Cost::pure(0.1).unwrap(),
            Cost::zcdp(0.01).unwrap(),
            Cost::approximate(0.2, 1e-7).unwrap(),
            Cost::subsampled_gaussian(0.1, 1.5, 5).unwrap(),
        ];
        let budget = Budget::new(epsilon, 1e-6).unwrap();
        let everyone = Cohort::first(PATIENTS).unwrap();
        let mut together = PatientAccounts::default();
        let mut alone = vec![PatientAccounts::default(); PATIENTS as usize];
        let one = Cohort::first(1).unwrap();
        for (from, to, every_second, cost) in asks {
            let step = if every_second { 2 } else { 1 };
            let cohort = Cohort::of((from.min(to)..from.max(to)).step_by(step)).unwrap();
            let cost = &costs[cost];
            together.charge(&cohort, cost);
            for patient in cohort.iter() {
                alone[patient as usize].charge(&one, cost);
            }
            for cost in &costs {
                let active = together.active(&everyone, cost, &budget);
                for (patient, alone) in (0..).zip(&alone) {
                    let fits = !alone.active(&one, cost, &budget).is_empty();
                    prop_assert_eq!(active.contains(patient), fits, "patient {}", patient);
                }
            }
        }
        let retired = alone.iter().map(|alone| alone.retired(&costs[0], &budget)).sum::<u64>();
        prop_assert_eq!(together.retired(&costs[0], &budget), retired);
    }
}

#[test]
fn a_patient_whose_budget_is_spent_is_left_out_and_the_others_are_not() {
    let mut ledger = Ledger::default();
    let budget = Budget::new(1.0, 1e-6).unwrap();
    let count = Cost::pure(0.5).unwrap();
    let rare = Cohort::of([3, 4]).unwrap();
    let all = Cohort::first(10).unwrap();
    for _ in 0..2 {
        assert_eq!(ledger.active(&rare, &count, &budget), rare);
        ledger.charge(&rare, &count);
        ledger.reserve("cardiology", &count);
    }
    let active = ledger.active(&all, &count, &budget);
    assert_eq!(active, Cohort::of([0, 1, 2, 5, 6, 7, 8, 9]).unwrap());
    assert_eq!(ledger.patients().retired(&count, &budget), 2);
    assert_eq!(
        ledger
            .patients()
            .retired(&count, &Budget::new(2.0, 1e-6).unwrap()),
        0
    );
    // What costs nothing touches everyone.
    assert_eq!(ledger.active(&all, &Cost::None, &budget), all);
}

#[test]
fn cohorts_of_a_whole_hospital_are_small() {
    let everyone = Cohort::first(1_000_000).unwrap();
    assert_eq!(everyone.len(), 1_000_000);
    assert!(
        everyone.to_bytes().len() < 200,
        "{}",
        everyone.to_bytes().len()
    );
    let odd = Cohort::of((0..PATIENTS_MAX).step_by(2)).unwrap();
    assert!(
        odd.to_bytes().len() < (1 << 20) + 1024,
        "{}",
        odd.to_bytes().len()
    );
    assert_eq!(Cohort::from_bytes(&odd.to_bytes()).unwrap(), odd);
    assert_eq!(
        Cohort::of([PATIENTS_MAX]),
        Err(CohortError::TooMany(PATIENTS_MAX))
    );
    assert_eq!(
        Cohort::first(PATIENTS_MAX).unwrap().len(),
        u64::from(PATIENTS_MAX)
    );
}

/// A few bytes must not be hours of work: runs that cover the same patients again and again.
#[test]
fn runs_that_overlap_are_refused() {
    let mut bytes = vec![1, 0, 0, 1, 0xff, 0xff];
    for _ in 0..65_536 {
        bytes.extend([0, 0, 0xff, 0xff]);
    }
    assert_eq!(Cohort::from_bytes(&bytes), Err(CohortError::Malformed));
}

#[test]
fn the_kept_orders_are_orders() {
    assert!(ORDERS_KEPT.iter().all(|order| ORDERS.contains(order)));
}

/// What a patient loses because twelve orders are kept of sixty: answers of one kind until the budget ends.
#[test]
fn twelve_orders_lose_few_answers() {
    let everyone = Cohort::first(1).unwrap();
    for epsilon in [1.0, 3.0, 8.0] {
        let budget = Budget::new(epsilon, 1e-6).unwrap();
        for cost in [
            Cost::pure(0.1).unwrap(),
            Cost::pure(0.01).unwrap(),
            Cost::zcdp(0.0005).unwrap(),
            Cost::subsampled_gaussian(0.1, 1.5, 5).unwrap(),
        ] {
            let (mut exact, mut by_sixty) = (Account::default(), 0_u32);
            while exact.fits(&budget, &cost) {
                exact.add(&cost);
                by_sixty += 1;
            }
            let (mut ledger, mut by_twelve) = (Ledger::default(), 0_u32);
            while !ledger.active(&everyone, &cost, &budget).is_empty() {
                ledger.charge(&everyone, &cost);
                by_twelve += 1;
            }
            println!("ε {epsilon}: {by_sixty} answers by sixty orders, {by_twelve} by twelve");
            assert!(by_twelve <= by_sixty);
            assert!(
                f64::from(by_twelve) >= 0.93 * f64::from(by_sixty),
                "{by_twelve} of {by_sixty}"
            );
        }
    }
}
