//! What is counted is what a person would count in the file by hand.

use std::fs;
use std::path::{Path, PathBuf};

use consilium_privacy::ledger::Cohort;
use consilium_protocol::query::{
    Accuracy, Bins, Cells, Filter, Query, QueryDocument, Statistic, parse,
};

use super::*;
use crate::data::{DataSet, Declaration};

const HOSPITALS: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

fn data(name: &str) -> PathBuf {
    let folder = "../scenarios/data/uci-heart-disease";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

fn hospital(name: &str) -> DataSet {
    let declared = Declaration {
        name: "heart-disease".parse().unwrap(),
        path: data(&format!("processed.{name}.data")),
        schema: data("heart-disease.schema.toml"),
        test_rows: None,
        linkage_column: None,
    };
    declared.open(Path::new("/")).unwrap()
}

/// The complete rows of a hospital's file, read by the shortest way: the oracle. `None` is a `?`.
fn rows_of(name: &str) -> Vec<Vec<Option<f64>>> {
    let text = fs::read_to_string(data(&format!("processed.{name}.data"))).unwrap();
    let rows = text.lines().map(|line| {
        let cells = line.split(',').map(|cell| cell.trim().parse().ok());
        cells.collect::<Vec<Option<f64>>>()
    });
    // slope, ca and thal may be missing; whatever else is drops the row.
    rows.filter(|row| (0..14).all(|at| row[at].is_some() || (10..13).contains(&at)))
        .collect()
}

fn number_of(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).unwrap()
}

fn at(name: &str) -> usize {
    number_of(
        &[
            "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang",
            "oldpeak", "slope", "ca", "thal", "num",
        ],
        name,
    )
}

fn read(text: &str) -> Filter {
    parse::filter(text).unwrap().canonical()
}

fn counted(dataset: &DataSet, statistic: &Statistic, filter: Option<&Filter>) -> Tally {
    let rows = rows_where(dataset, filter).unwrap();
    tally(dataset, statistic, &rows, &patients_of(dataset, &rows)).unwrap()
}

fn counts(tally: Tally) -> Vec<u64> {
    match tally {
        Tally::Counts(counts) => counts,
        _ => panic!("no counts"),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn filters_hold_of_the_rows_that_a_person_would_pick() {
    type Oracle = fn(&[Option<f64>]) -> bool;
    let cases: [(&str, Oracle); 9] = [
        ("age >= 60", |row| row[0].unwrap() >= 60.0),
        ("sex = 1", |row| row[1] == Some(1.0)),
        ("sex = true and cp = 4", |row| {
            row[1] == Some(1.0) && row[2] == Some(4.0)
        }),
        ("cp in (1, '2')", |row| {
            [Some(1.0), Some(2.0)].contains(&row[2])
        }),
        ("ca is missing", |row| row[11].is_none()),
        // Nobody without a value has one below 1, and of none of them is it true that it is not.
        ("ca < 1", |row| row[11].is_some_and(|ca| ca < 1.0)),
        ("not (ca < 1)", |row| row[11].is_none_or(|ca| ca >= 1.0)),
        ("chol between 200 and 239 or oldpeak > 2.5", |row| {
            (200.0..=239.0).contains(&row[4].unwrap()) || row[9].unwrap() > 2.5
        }),
        ("thal != 3 and not (num = 0)", |row| {
            row[12].is_some_and(|thal| thal != 3.0) && row[13] != Some(0.0)
        }),
    ];
    for name in HOSPITALS {
        let (dataset, rows) = (hospital(name), rows_of(name));
        assert_eq!(dataset.table().rows(), rows.len(), "{name}");
        for (text, oracle) in cases {
            let expected: Vec<bool> = rows.iter().map(|row| oracle(row)).collect();
            let found = rows_where(&dataset, Some(&read(text))).unwrap();
            assert_eq!(found, expected, "{name}: {text}");
            let patients = expected.iter().filter(|holds| **holds).count() as u64;
            let count = counted(&dataset, &Statistic::Count, Some(&read(text)));
            assert_eq!(counts(count), [patients], "{name}: {text}");
        }
    }
}

#[test]
fn what_does_not_fit_the_data_is_told_without_a_value_of_it() {
    let dataset = hospital("cleveland");
    for (text, says) in [
        ("weight > 3", "no column `weight`"),
        (
            "age = 'old'",
            "`age` holds whole numbers, and a comparison with a text",
        ),
        ("age = true", "comparison with true or false"),
        ("cp > 2", "`cp` holds categories, and an order"),
        ("cp = 9", "`9` is no value of column `cp`"),
    ] {
        let misfit = rows_where(&dataset, Some(&read(text))).unwrap_err();
        assert!(misfit.to_string().contains(says), "{text}: {misfit}");
    }
    let top = |column: &str, candidates: &[&str]| Statistic::Top {
        column: column.into(),
        k: 1,
        candidates: words(candidates),
    };
    let all = rows_where(&dataset, None).unwrap();
    for statistic in [
        Statistic::Mean {
            column: "cp".into(),
            low: 0.0,
            high: 1.0,
        },
        top("oldpeak", &["1"]),
        top("cp", &["5"]),
        top("age", &["old"]),
    ] {
        assert!(
            tally(&dataset, &statistic, &all, &Cohort::default()).is_err(),
            "{statistic:?}"
        );
    }
}

#[test]
fn statistics_are_those_of_the_file() {
    for name in HOSPITALS {
        let (dataset, rows) = (hospital(name), rows_of(name));
        let filter = read("sex = 1");
        let men: Vec<&Vec<Option<f64>>> = rows.iter().filter(|row| row[1] == Some(1.0)).collect();
        let many = |holds: &dyn Fn(f64) -> bool, column: &str| -> u64 {
            let values = men.iter().filter_map(|row| row[at(column)]);
            values.filter(|value| holds(*value)).count() as u64
        };
        let num = Statistic::Histogram {
            column: "num".into(),
            cells: Cells::Categories(words(&["0", "2"])),
        };
        assert_eq!(
            counts(counted(&dataset, &num, Some(&filter))),
            [
                many(&|n| n == 0.0, "num"),
                many(&|n| n == 2.0, "num"),
                many(&|n| n != 0.0 && n != 2.0, "num"),
                0
            ],
            "{name}"
        );
        let bins = Statistic::Histogram {
            column: "ca".into(),
            cells: Cells::Bins(Bins {
                low: 1.0,
                high: 3.0,
                width: 1.0,
            }),
        };
        let missing = men.iter().filter(|row| row[at("ca")].is_none()).count() as u64;
        assert_eq!(
            counts(counted(&dataset, &bins, Some(&filter))),
            [
                many(&|n| n == 1.0, "ca"),
                many(&|n| n == 2.0, "ca"),
                many(&|n| n < 1.0, "ca"),
                many(&|n| n >= 3.0, "ca"),
                missing,
            ],
            "{name}"
        );
        let top = Statistic::Top {
            column: "cp".into(),
            k: 1,
            candidates: words(&["1", "4"]),
        };
        assert_eq!(
            counts(counted(&dataset, &top, Some(&filter))),
            [many(&|n| n == 1.0, "cp"), many(&|n| n == 4.0, "cp")]
        );
        let mean = Statistic::Mean {
            column: "age".into(),
            low: 40.0,
            high: 60.0,
        };
        let Tally::Distances(distances) = counted(&dataset, &mean, Some(&filter)) else {
            panic!("no distances");
        };
        let expected: Vec<f64> = men
            .iter()
            .map(|row| row[0].unwrap().clamp(40.0, 60.0) - 50.0)
            .collect();
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        assert_eq!(sorted(distances), sorted(expected));
        let quantile = Statistic::Quantile {
            column: "age".into(),
            probabilities: vec![0.5],
            low: 40.0,
            high: 60.0,
            step: 10.0,
        };
        assert_eq!(
            counts(counted(&dataset, &quantile, Some(&filter))),
            [
                many(&|n| n <= 40.0, "age"),
                many(&|n| n > 40.0 && n <= 50.0, "age"),
                many(&|n| n > 50.0, "age")
            ]
        );
    }
}

/// A data set with several rows a patient.
fn ward(rows: &str) -> DataSet {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("ward.csv"),
        format!("who,day,dose,drug\n{rows}"),
    )
    .unwrap();
    fs::write(
        folder.path().join("ward.toml"),
        r#"
        format = "csv"
        patient_key = "who"
        columns = [
            { name = "who", type = "text" }, { name = "day", type = "date" },
            { name = "dose", type = "float", missing = "allow" }, { name = "drug", type = "text", missing = "allow" },
        ]"#,
    )
    .unwrap();
    let declared = Declaration {
        name: "ward".parse().unwrap(),
        path: "ward.csv".into(),
        schema: "ward.toml".into(),
        test_rows: None,
        linkage_column: None,
    };
    declared.open(folder.path()).unwrap()
}

#[test]
fn a_patient_counts_once_whatever_the_number_of_her_rows() {
    let rows = "ann,2020-01-01,,x\nann,2020-01-02,4,y\nann,2020-01-03,9,z\nbob,2020-01-02,2,y\ncid,2020-01-09,,\n";
    let dataset = ward(rows);
    assert_eq!(dataset.patient_count(), 3);
    assert_eq!(counts(counted(&dataset, &Statistic::Count, None)), [3]);
    let after = read("day > '2020-01-01'");
    assert_eq!(
        counts(counted(&dataset, &Statistic::Count, Some(&after))),
        [3]
    );
    let doses = Statistic::Histogram {
        column: "dose".into(),
        cells: Cells::Bins(Bins {
            low: 0.0,
            high: 10.0,
            width: 5.0,
        }),
    };
    // Ann's first dose that there is is 4; Cid has none.
    assert_eq!(counts(counted(&dataset, &doses, None)), [2, 0, 0, 0, 1]);
    assert_eq!(
        counts(counted(
            &dataset,
            &doses,
            Some(&read("day >= '2020-01-03'"))
        )),
        [0, 1, 0, 0, 1]
    );
    let drugs = Statistic::Histogram {
        column: "drug".into(),
        cells: Cells::Unknown,
    };
    let Tally::Named(named) = counted(&dataset, &drugs, None) else {
        panic!("no names");
    };
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        [("x".to_owned(), 1), ("y".to_owned(), 1)]
    );
    // Who is left out for a spent budget is in no cell.
    let all = rows_where(&dataset, None).unwrap();
    let without_ann = Cohort::of([1, 2]).unwrap();
    assert_eq!(
        counts(tally(&dataset, &doses, &all, &without_ann).unwrap()),
        [1, 0, 0, 0, 1]
    );
    for asks_the_key in ["who = 'ann'", "who is missing"] {
        let misfit = rows_where(&dataset, Some(&read(asks_the_key))).unwrap_err();
        assert!(matches!(misfit, Misfit::PatientKey { .. }), "{misfit}");
    }
    let keys = Statistic::Histogram {
        column: "who".into(),
        cells: Cells::Unknown,
    };
    assert!(tally(&dataset, &keys, &all, &Cohort::default()).is_err());
}

/// One patient more or less changes one count by one, or one distance: what every cost is priced for.
#[test]
fn a_patient_who_comes_or_goes_changes_one_cell_by_one() {
    let others = "bob,2020-01-02,2,y\ncid,2020-01-09,,\ndan,2020-01-01,7,x\n";
    let ann = "ann,2020-01-01,1,x\nann,2020-01-02,4,y\nann,2020-01-03,9,z\n";
    let (without, with) = (ward(others), ward(&format!("{others}{ann}")));
    for statistic in [
        Statistic::Count,
        Statistic::Histogram {
            column: "dose".into(),
            cells: Cells::Bins(Bins {
                low: 0.0,
                high: 10.0,
                width: 1.0,
            }),
        },
        Statistic::Histogram {
            column: "drug".into(),
            cells: Cells::Categories(words(&["x", "y"])),
        },
        Statistic::Top {
            column: "drug".into(),
            k: 1,
            candidates: words(&["y", "z"]),
        },
        Statistic::Quantile {
            column: "dose".into(),
            probabilities: vec![0.5],
            low: 0.0,
            high: 10.0,
            step: 1.0,
        },
    ] {
        for filter in [None, Some(read("day > '2020-01-01'"))] {
            let before = counts(counted(&without, &statistic, filter.as_ref()));
            let after = counts(counted(&with, &statistic, filter.as_ref()));
            let moved: u64 = before.iter().zip(&after).map(|(a, b)| a.abs_diff(*b)).sum();
            assert!(moved <= 1, "{statistic:?}: {moved}");
        }
    }
}

fn exact_count(filter: &str) -> Query {
    Query::new(QueryDocument {
        project: "cardiology".parse().unwrap(),
        purpose: "HMB".parse().unwrap(),
        dataset: "heart-disease".parse().unwrap(),
        sites: Default::default(),
        statistic: Statistic::Count,
        filter: Some(read(filter)),
        accuracy: Accuracy::Exact,
    })
    .unwrap()
}

/// Two cohorts that differ by few patients are not both answered about exactly, also by the process after.
#[test]
fn a_tracker_is_refused_its_second_cohort() {
    const FLOOR: u32 = 11;
    let folder = tempfile::tempdir().unwrap();
    let dataset = hospital("cleveland");
    let enter = |register: &ExactRegister, filter: &str| {
        let query = exact_count(filter);
        let rows = rows_where(&dataset, query.document().filter.as_ref()).unwrap();
        let cohort = patients_of(&dataset, &rows);
        (
            register.enter(&dataset, &query, &cohort, FLOOR).unwrap(),
            cohort.len(),
        )
    };
    let register = ExactRegister::new(folder.path());
    let (all_men, men) = enter(&register, "sex = 1");
    assert_eq!(all_men, Ok(()));
    // Cleveland has one man of 77.
    let (all_but_one, others) = enter(&register, "sex = 1 and age != 77");
    assert_eq!((all_but_one, others), (Err(Overlap::TooClose), men - 1));
    // Nobody is 78: refused alike, or the refusal would tell that there is somebody of 77.
    let (all_but_none, same) = enter(&register, "sex = 1 and age != 78");
    assert_eq!((all_but_none, same), (Err(Overlap::TooClose), men));
    // Everybody but few is as telling as few.
    assert_eq!(enter(&register, "age != 77").0, Err(Overlap::TooClose));
    // The same question again, in other words, and one about others, is none.
    assert_eq!(enter(&register, "not (not (sex = 1.0))").0, Ok(()));
    assert_eq!(enter(&register, "age >= 60").0, Ok(()));
    let restarted = ExactRegister::new(folder.path());
    assert_eq!(
        enter(&restarted, "sex = 1 and age != 77").0,
        Err(Overlap::TooClose)
    );
    assert_eq!(enter(&restarted, "sex = 1").0, Ok(()));
}

#[test]
fn exact_answers_come_to_an_end() {
    let everybody = Cohort::first(1_000_000).unwrap();
    let mut cohorts = ExactCohorts::new(everybody);
    let condition = |n: u32| Condition::new(Some(&read(&format!("age = {n}"))), None);
    let apart = |n: u32| Cohort::of(n * 20..n * 20 + 20).unwrap();
    let mut given = 0;
    while cohorts.check(&condition(given), &apart(given), 11).is_ok() {
        cohorts.add(condition(given), apart(given));
        given += 1;
    }
    assert_eq!(
        cohorts.check(&condition(given), &apart(given), 11),
        Err(Overlap::TooMany)
    );
    assert_eq!(given as usize, overlap::EXACT_COHORTS_MAX - 1);
}

/// Three of a cohort's 200 patients agreed to one purpose only. That difference is theirs. But a second filter is held
/// against what the first left for either purpose.
#[test]
fn each_purpose_has_a_cohort_of_its_own() {
    let cohort = |patients: std::ops::Range<u32>| Cohort::of(patients).unwrap();
    let of = |filter: &str, purpose: &str| {
        Condition::new(Some(&read(filter)), Some(&purpose.parse().unwrap()))
    };
    let mut cohorts = ExactCohorts::new(cohort(0..10_000));
    for (purpose, patients) in [("HMB", 0..200), ("GRU", 0..197)] {
        let condition = of("age = 60", purpose);
        assert_eq!(
            cohorts.check(&condition, &cohort(patients.clone()), 11),
            Ok(())
        );
        cohorts.add(condition, cohort(patients));
    }
    for purpose in ["HMB", "GRU"] {
        let check = |patients| cohorts.check(&of("age >= 60", purpose), &cohort(patients), 11);
        // Five more than one purpose's cohort had, and twelve more than the other's.
        assert_eq!(check(0..205), Err(Overlap::TooClose));
        assert_eq!(check(0..209), Err(Overlap::TooClose));
        assert_eq!(check(0..220), Ok(()));
    }
    assert_ne!(
        of("age = 60", "HMB").digest(),
        of("age = 60", "GRU").digest()
    );
}
