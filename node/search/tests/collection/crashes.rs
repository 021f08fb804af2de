//! An ingest is stopped at every step of the disk, and then the power goes. Each document that can be found afterwards
//! is whole, the old one or the new; and the next ingest ends in the same collection as one that was never stopped.

use consilium_search::collection::CollectionError;
use consilium_search::vector::Disk;

use crate::breaking::{Breaking, Unsynced};
use crate::world::{DAY_MS, Picture, ingest, note, notes, open, picture};

/// A third of the notes changed, some gone, some new.
fn later() -> Vec<serde_json::Value> {
    let mut later = notes();
    for id in [1, 4, 9] {
        later[id] = note(id, id % 4, "a swollen knee");
    }
    later.drain(6..8);
    later.extend([note(20, 1, "hearing loss"), note(21, 5, "cough")]);
    later
}

#[test]
fn an_ingest_that_is_stopped_anywhere_goes_on_to_the_same_collection() {
    let before_disk = Breaking::default();
    ingest(&before_disk, &notes(), 0).unwrap();
    let before = picture(&open(&before_disk).unwrap());
    let whole = before_disk.breaking_after(usize::MAX);
    ingest(&whole, &later(), DAY_MS).unwrap();
    let steps = whole.steps();
    let after = picture(&open(&whole.after_a_power_cut(Unsynced::Lost)).unwrap());
    assert!(steps > 40, "{steps}");
    for at in 0..steps {
        let disk = before_disk.breaking_after(at);
        let error = ingest(&disk, &later(), DAY_MS).unwrap_err();
        assert!(matches!(error, CollectionError::Vector(_)), "{error}");
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let left = disk.after_a_power_cut(unsynced);
            let found = picture(&open(&left).unwrap());
            each_document_is_whole(&found, &before, &after, at);
            let report = ingest(&left, &later(), 2 * DAY_MS).unwrap();
            assert_eq!(report.read, 12);
            let resumed = picture(&open(&left.after_a_power_cut(Unsynced::Lost)).unwrap());
            assert!(resumed == after, "step {at} of {steps}");
        }
    }
}

#[test]
fn a_first_ingest_that_is_stopped_anywhere_goes_on_too() {
    let whole = Breaking::default();
    ingest(&whole, &notes()[..5], 0).unwrap();
    let steps = whole.steps();
    let after = picture(&open(&whole).unwrap());
    for at in 0..steps {
        let disk = Breaking::default().breaking_after(at);
        ingest(&disk, &notes()[..5], 0).unwrap_err();
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let left = disk.after_a_power_cut(unsynced);
            match open(&left) {
                Ok(collection) => assert!(collection.figures().documents <= 5),
                Err(error) => assert!(
                    matches!(error, CollectionError::NotIngested { .. }),
                    "{error}"
                ),
            }
            ingest(&left, &notes()[..5], 1).unwrap();
            assert!(
                picture(&open(&left).unwrap()) == after,
                "step {at} of {steps}"
            );
        }
    }
}

#[test]
fn an_erasure_that_is_stopped_anywhere_is_done_by_the_next() {
    let erased = Breaking::default();
    ingest(&erased, &notes(), 0).unwrap();
    ingest(&erased, &notes()[..10], DAY_MS).unwrap();
    let whole = erased.breaking_after(usize::MAX);
    // An ingest at the deadline cleans up at its end.
    ingest(&whole, &notes()[..10], 40 * DAY_MS).unwrap();
    let (steps, after) = (whole.steps(), picture(&open(&whole).unwrap()));
    let names = whole.names().unwrap();
    for at in 0..steps {
        let disk = erased.breaking_after(at);
        ingest(&disk, &notes()[..10], 40 * DAY_MS).unwrap_err();
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let left = disk.after_a_power_cut(unsynced);
            assert!(
                picture(&open(&left).unwrap()) == after,
                "step {at} of {steps}"
            );
            ingest(&left, &notes()[..10], 41 * DAY_MS).unwrap();
            assert!(
                picture(&open(&left).unwrap()) == after,
                "step {at} of {steps}"
            );
            assert_eq!(
                left.names().unwrap().len(),
                names.len(),
                "step {at} of {steps}: {:?}",
                left.names().unwrap()
            );
        }
    }
}

fn each_document_is_whole(found: &Picture, before: &Picture, after: &Picture, at: usize) {
    let (before, after) = (before.documents(), after.documents());
    for (document, texts) in found.documents() {
        let is_old = before.get(document) == Some(&texts);
        let is_new = after.get(document) == Some(&texts);
        assert!(is_old || is_new, "step {at}: {document}");
    }
    let kept = before
        .keys()
        .filter(|document| after.contains_key(*document));
    for document in kept {
        assert!(
            found.documents().contains_key(document),
            "step {at}: {document} is not there"
        );
    }
}
