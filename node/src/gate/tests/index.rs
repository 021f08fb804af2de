//! The counts are the same whatever becomes of the index.

use super::*;

#[test]
fn the_summary_is_the_same_whatever_becomes_of_its_index() {
    let mut site = Site::cleveland();
    for round in 1..=3 {
        let _ = site.train(round).unwrap();
    }
    let stranger = Ask {
        project: "oncology".parse().unwrap(),
        ..ada(Action::Evaluate)
    };
    let evaluate = |site: &Site| {
        site.gate.pass(&stranger, &facts(), JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        })
    };
    refusal(evaluate(&site));
    let expected = site.gate.summary();
    let told: Vec<_> = expected
        .rows()
        .map(|(row, count)| {
            (
                row.project.to_string(),
                row.rules.join(","),
                row.outcome,
                count,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "cardiology".to_owned(),
                "cardiology-training".to_owned(),
                Outcome::Released,
                3
            ),
            ("oncology".to_owned(), String::new(), Outcome::Refused, 1),
        ]
    );

    site = site.killed();
    assert!(
        !site.opened.index_rebuilt,
        "an index that was up to date was not used"
    );
    assert_eq!(site.gate.summary(), expected);

    let index = site.folder.path().join("gate-index");
    for breakage in ["deleted", "damaged", "a file", "ahead"] {
        let mut disk = site.disk.clone();
        match breakage {
            "deleted" => fs::remove_dir_all(&index).unwrap(),
            "damaged" => fs::write(index.join("conf"), b"not sled's").unwrap(),
            "a file" => {
                fs::remove_dir_all(&index).unwrap();
                fs::write(&index, b"").unwrap();
            }
            // The index is ahead of a journal that begins anew.
            _ => disk = Memory::default(),
        }
        site = site.restarted_on(disk);
        assert!(site.opened.index_rebuilt, "{breakage}");
        let expected = if breakage == "ahead" {
            Summary::default()
        } else {
            expected.clone()
        };
        assert_eq!(site.gate.summary(), expected, "{breakage}");
    }
}

#[test]
fn an_index_that_is_behind_catches_up() {
    let site = Site::cleveland();
    let _ = site.train(1).unwrap();
    // A pass that never ends stops the index; three more passes follow.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        site.gate.pass(
            &ada(Action::Evaluate),
            &facts(),
            JUNE_2026,
            |_| -> Result<Evaluation, WorkError> { panic!() },
        )
    }));
    for round in 2..=4 {
        let _ = site.train(round).unwrap();
    }
    let site = site.killed();
    assert!(!site.opened.index_rebuilt);
    assert_eq!(site.gate.summary().count(Outcome::Released), 4);
    assert_eq!(site.gate.summary().count(Outcome::Abandoned), 1);
}

#[test]
fn strangers_cannot_fill_the_summary() {
    let site = Site::cleveland();
    for n in 0..SUMMARY_ROWS_MAX + 3 {
        let ask = Ask {
            project: format!("p{n}").parse().unwrap(),
            ..ada(Action::Evaluate)
        };
        refusal(site.gate.pass(&ask, &facts(), JUNE_2026, |_| {
            Ok(Evaluation {
                held_out: metrics(),
            })
        }));
    }
    let summary = site.gate.summary();
    assert_eq!(
        (summary.rows().count(), summary.not_listed()),
        (SUMMARY_ROWS_MAX, 3)
    );
    let site = site.killed();
    assert_eq!(site.gate.summary(), summary);
}
