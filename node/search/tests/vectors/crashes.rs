//! The disk stops working at every step in turn, and then the power goes. What is opened afterwards is the state before
//! or the state after, and never a mix.

use consilium_protocol::Millis;
use consilium_search::vector::{Change, Disk, Hit, RowId, VectorError, VectorIndex};

use crate::breaking::{Breaking, Unsynced};
use crate::world::{DAY_MS, nearest, open, rows, units};

fn change() -> Change {
    Change {
        added: (200..).map(RowId).zip(units(40, 7)).collect(),
        erased: (20..80).map(RowId).collect(),
    }
}

fn all(disk: Breaking) -> Vec<Hit> {
    nearest(&open(disk).unwrap(), &units(1, 99)[0], 500, None)
}

/// A disk with a collection of two hundred rows, some erased.
fn collection() -> Breaking {
    let disk = Breaking::default();
    let index = open(disk.clone()).unwrap();
    for nth in 0..4u32 {
        let added = (nth * 50..)
            .map(RowId)
            .zip(units(50, u64::from(nth)))
            .collect();
        let erased = Vec::new();
        index.apply(Change { added, erased }, Millis(0)).unwrap();
    }
    let erased = [0, 50, 100, 150].map(RowId).to_vec();
    index
        .apply(
            Change {
                added: Vec::new(),
                erased,
            },
            Millis(0),
        )
        .unwrap();
    disk
}

/// Does `deed` with a disk that breaks at each of its steps, and looks at what a power cut leaves.
fn breaks_everywhere(
    deed: impl Fn(&consilium_search::vector::SegmentedIndex) -> Result<(), VectorError>,
) -> usize {
    let before_disk = collection();
    let before = all(before_disk.after_a_power_cut(Unsynced::Lost));
    let whole = before_disk.breaking_after(usize::MAX);
    let opened = open(whole.clone()).unwrap();
    let opening = whole.steps();
    deed(&opened).unwrap();
    let steps = whole.steps() - opening;
    let after = all(whole.after_a_power_cut(Unsynced::Lost));
    for at in 0..steps {
        let disk = before_disk.breaking_after(opening + at);
        let index = open(disk.clone()).unwrap();
        let error = deed(&index).unwrap_err();
        assert!(matches!(error, VectorError::Disk { .. }), "{error}");
        let in_memory = nearest(&index, &units(1, 99)[0], 500, None);
        assert!(
            in_memory == before || in_memory == after,
            "step {at} of {steps}"
        );
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let left = disk.after_a_power_cut(unsynced);
            let found = all(left.clone());
            assert!(found == before || found == after, "step {at} of {steps}");
            // And the index goes on from there.
            let index = open(left).unwrap();
            index
                .apply(
                    Change {
                        added: vec![(RowId(999), units(1, 77).remove(0))],
                        erased: vec![],
                    },
                    Millis(9),
                )
                .unwrap();
            assert!(rows(&nearest(&index, &units(1, 77)[0], 1, None)).contains(&999));
        }
    }
    steps
}

#[test]
fn a_change_is_whole_or_not_at_all() {
    let steps = breaks_everywhere(|index| index.apply(change(), Millis(5)).map(|_| ()));
    assert!(steps >= 4, "{steps}");
}

#[test]
fn a_rewrite_is_whole_or_not_at_all() {
    let steps = breaks_everywhere(|index| {
        let done = index.maintain(Millis(DAY_MS), DAY_MS)?;
        assert_eq!(done.rows_gone, 4);
        Ok(())
    });
    assert!(steps >= 8, "{steps}");
}

#[test]
fn what_a_crash_left_is_removed() {
    let disk = collection();
    disk.write("segment-00000000000000ff", b"half of a segm")
        .unwrap();
    disk.write("index.manifest.draft", b"half of").unwrap();
    disk.write("notes.txt", b"not ours").unwrap();
    assert_eq!(open(disk.clone()).unwrap().len(), 196);
    let names = disk.names().unwrap();
    assert!(
        names.contains(&"notes.txt".to_owned()) && !names.iter().any(|name| name.contains("draft"))
    );
    assert!(!names.contains(&"segment-00000000000000ff".to_owned()));
}
