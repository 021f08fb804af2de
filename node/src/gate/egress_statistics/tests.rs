//! What leaves hides every patient: in noise, or in a crowd.

use std::collections::BTreeMap;

use consilium_policies::{Approval, Redaction, Repeats};
use consilium_protocol::query::Bins;
use proptest::prelude::*;

use super::*;

fn terms(floor_patients: u32, rounding: u32) -> Terms {
    Terms {
        floor_patients,
        rounding,
        budget_project: None,
        budget_dataset: None,
        budget_patient: None,
        repeats: Repeats::Same,
        approval: Approval::None,
        redaction: Redaction::SafeHarbor,
    }
}

fn histogram(cells: u32) -> Statistic {
    Statistic::Histogram {
        column: "num".into(),
        cells: Cells::Bins(Bins {
            low: 0.0,
            high: f64::from(cells),
            width: 1.0,
        }),
    }
}

fn unknown() -> Statistic {
    Statistic::Histogram {
        column: "drug".into(),
        cells: Cells::Unknown,
    }
}

fn mean() -> Statistic {
    Statistic::Mean {
        column: "age".into(),
        low: 20.0,
        high: 90.0,
    }
}

fn of(statistic: Statistic, accuracy: Accuracy, tally: Tally) -> StatisticsAnswer {
    let cohort_patients = match &tally {
        Tally::Counts(counts) => counts.iter().sum(),
        Tally::Named(counts) => counts.values().sum(),
        Tally::Distances(distances) => distances.len() as u64,
    };
    StatisticsAnswer {
        tally,
        statistic,
        accuracy,
        cohort_patients,
    }
}

fn noisy(statistic: Statistic, accuracy: Accuracy, tally: Tally) -> SiteAnswer {
    let price = asked_price(&statistic, accuracy).unwrap().unwrap();
    of(statistic, accuracy, tally).with_noise(&price).unwrap()
}

fn count_of(patients: u64, accuracy: Accuracy) -> f64 {
    let answer = noisy(Statistic::Count, accuracy, Tally::Counts(vec![patients]));
    answer.values[0].unwrap()
}

#[test]
fn the_price_is_what_was_asked_and_known_before_the_work() {
    let epsilon = Accuracy::Epsilon(1.5);
    let pure = |epsilon_pico| Cost::Pure { epsilon_pico };
    for statistic in [Statistic::Count, histogram(5)] {
        assert_eq!(price(&statistic, epsilon), Ok(pure(1_500_000_000_000)));
        assert_eq!(price(&statistic, Accuracy::Exact), Ok(Cost::None));
        let rho = price(&statistic, Accuracy::Rho(0.5));
        assert!(matches!(rho, Ok(Cost::Zcdp { rho_pico }) if rho_pico <= 500_000_000_000));
    }
    assert!(matches!(
        price(&mean(), epsilon),
        Ok(Cost::Pure { epsilon_pico }) if (1_499_999_999_000..=1_500_000_000_000).contains(&epsilon_pico)
    ));
    assert!(matches!(
        price(&unknown(), epsilon),
        Ok(Cost::Approximate { epsilon_pico, delta_atto })
            if epsilon_pico <= 1_500_000_000_000 && delta_atto <= 1_000_000_000
    ));
    assert_eq!(
        price(&unknown(), Accuracy::Rho(0.5)),
        Err(PriceError::UnknownKeysNeedEpsilon)
    );
}

#[test]
fn noise_has_the_scale_that_is_told_and_empty_cells_have_it_too() {
    let answer = noisy(
        histogram(4),
        Accuracy::Epsilon(0.5),
        Tally::Counts(vec![0; 7]),
    );
    assert_eq!((answer.noise, answer.scales.len()), (Noise::Laplace, 7));
    assert!(answer.values.iter().all(Option::is_some));
    let answer = noisy(
        mean(),
        Accuracy::Epsilon(2.0),
        Tally::Distances(vec![5.0; 100]),
    );
    // Half of the ε for each: counts change by 1, sums by half the range.
    let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-6 * wanted;
    assert!(near(answer.scales[0], 1.0) && near(answer.scales[1], 35.0));
    // Measured: the mean absolute deviation of a Laplace is its scale; of 4000, right to 8 % in all but 1e-6 of tests.
    let deviations: f64 = (0..4000)
        .map(|_| (count_of(100, Accuracy::Epsilon(0.1)) - 100.0).abs())
        .sum();
    let scale = deviations / 4000.0;
    assert!((9.2..10.8).contains(&scale), "{scale}");
    let square: f64 = (0..4000)
        .map(|_| (count_of(100, Accuracy::Rho(0.02)) - 100.0).powi(2))
        .sum();
    // ρ = 1/(2 σ²): σ = 5.
    let sigma = (square / 4000.0).sqrt();
    assert!((4.7..5.3).contains(&sigma), "{sigma}");
}

/// The tracker with noise: of two cohorts that differ by one patient, the attacker asks for both and says whether
/// she is in the second. No rule of theirs can be right more often than e^ε' / (1 + e^ε') for ε' the cost of both
/// answers.
#[test]
fn a_tracker_learns_no_more_from_noise_than_it_paid_for() {
    const ASKED: u32 = 4000;
    let epsilon = 0.1;
    let accuracy = Accuracy::Epsilon(epsilon);
    let right = (0..ASKED).filter(|attempt| {
        let is_member = attempt % 2 == 0;
        let without = count_of(200, accuracy);
        let with = count_of(200 + u64::from(is_member), accuracy);
        (with - without > 0.5) == is_member
    });
    let share = right.count() as f64 / f64::from(ASKED);
    let bound = (2.0 * epsilon).exp() / (1.0 + (2.0 * epsilon).exp());
    // Five standard deviations of 4000 coin flips.
    assert!(share <= bound + 0.04, "{share} of {bound}");
}

#[test]
fn a_rare_key_shows_never_and_a_common_one_does() {
    let tally = || {
        let counts = [("common", 500), ("rare", 1)].map(|(key, count)| (key.to_owned(), count));
        Tally::Named(BTreeMap::from(counts))
    };
    for _ in 0..200 {
        let answer = noisy(unknown(), Accuracy::Epsilon(1.0), tally());
        assert_eq!(answer.keys, ["common"]);
        assert_eq!(answer.values.len(), 1);
    }
}

#[test]
fn an_exact_mean_is_of_enough_patients_and_told_in_steps() {
    let answer = of(
        mean(),
        Accuracy::Exact,
        Tally::Distances(vec![1.234_567; 18]),
    );
    let told = answer.above_the_floor(&terms(11, 5)).unwrap();
    assert_eq!(told.values[0], Some(20.0));
    let mean_distance = told.values[1].unwrap() / 20.0;
    assert!((mean_distance - 1.26).abs() < 1e-9, "{mean_distance}");
    for too_few in [0, 1, 10] {
        let answer = of(
            mean(),
            Accuracy::Exact,
            Tally::Distances(vec![1.0; too_few]),
        );
        let refusal = answer.above_the_floor(&terms(11, 5)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooFewPatients);
    }
}

#[test]
fn how_few_have_no_value_is_not_told_by_a_difference() {
    let told = |patients: usize, without: u64| {
        let mut answer = of(
            mean(),
            Accuracy::Exact,
            Tally::Distances(vec![1.0; patients]),
        );
        answer.cohort_patients += without;
        answer.above_the_floor(&terms(11, 1)).unwrap()
    };
    // All have one, or many have none: as the policy rounds, which is not at all.
    assert_eq!(
        (told(97, 0).values[0], told(97, 40).values[0]),
        (Some(97.0), Some(97.0))
    );
    let few = told(97, 3);
    assert_eq!((few.values[0], few.rounding), (Some(99.0), 11));
}

#[test]
fn an_exact_quantile_stands_on_groups() {
    let floor = Floor::new(10).unwrap();
    let told = |count: u64| count as f64;
    let groups = grouped(&[3, 4, 5, 20, 0, 9, 2], floor, told);
    assert_eq!(groups, [0.0, 0.0, 12.0, 20.0, 0.0, 0.0, 11.0].map(Some));
    // What is left over goes to the last group and to the last candidate.
    assert_eq!(grouped(&[12, 3], floor, told), [0.0, 15.0].map(Some));
    assert_eq!(grouped(&[3, 3], floor, told), [None, None]);
}

proptest! {
    /// Of exact cells that leave, each has the floor's patients behind it; of those hidden, there is none or there are
    /// two with the floor's patients between them, so that no total tells one, nor that it is small.
    #[test]
    fn no_total_tells_a_hidden_cell(
        counts in proptest::collection::vec(0_u64..40, 4..12),
        floor in prop_oneof![Just(3_u32), Just(5), Just(11), Just(20)],
        beside in 0_u64..30,
    ) {
        let cells = u32::try_from(counts.len()).unwrap() - 3;
        let mut answer = of(histogram(cells), Accuracy::Exact, Tally::Counts(counts.clone()));
        answer.cohort_patients += beside;
        match answer.above_the_floor(&terms(floor, 1)) {
            Err(refusal) => {
                prop_assert_eq!(refusal.code, RefusalCode::TooFewPatients);
                prop_assert!(counts.iter().sum::<u64>() + beside < u64::from(floor));
            }
            Ok(told) => {
                prop_assert_eq!(told.values.len(), counts.len());
                let mut hidden = Vec::new();
                for (value, count) in told.values.iter().zip(&counts) {
                    match value {
                        Some(value) => {
                            prop_assert_eq!(*value, *count as f64);
                            prop_assert!(*count >= u64::from(floor));
                        }
                        None => hidden.push(*count),
                    }
                }
                if beside > 0 {
                    hidden.push(beside);
                }
                let few = hidden.iter().any(|count| *count < u64::from(floor));
                if few {
                    prop_assert!(hidden.len() >= 2 && hidden.iter().sum::<u64>() >= u64::from(floor));
                }
            }
        }
    }

    #[test]
    fn groups_keep_their_patients(counts in proptest::collection::vec(0_u64..30, 1..40), floor in 1_u32..30) {
        let groups = grouped(&counts, Floor::new(floor).unwrap(), |count| count as f64);
        let told: Vec<f64> = groups.iter().copied().flatten().collect();
        let total: u64 = counts.iter().sum();
        if total >= u64::from(floor) {
            prop_assert_eq!(told.iter().sum::<f64>(), total as f64);
            prop_assert!(told.iter().all(|value| *value == 0.0 || *value >= f64::from(floor)));
        } else {
            prop_assert!(told.is_empty());
        }
    }
}
