//! What is erased is gone: at the next search, and from the files within the deadline.

use consilium_search::vector::{Folder, Maintained, RowId, VectorIndex};

use crate::world::{DAY_MS, Pair, nearest, open, rows, units};

#[test]
fn an_erased_row_is_never_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Folder::at(folder.path()).unwrap();
    let mut pair = Pair::on(disk());
    let vectors = units(150, 1);
    pair.add(vectors.clone());
    pair.maintain();
    assert_eq!(rows(&nearest(&pair.index, &vectors[70], 1, None)), [70]);
    pair.erase([70]);
    let finds_it =
        |index: &dyn VectorIndex| rows(&nearest(index, &vectors[70], 150, None)).contains(&70);
    assert!(!finds_it(&pair.index));
    pair.index = open(disk()).unwrap();
    assert!(!finds_it(&pair.index));
    pair.now = pair.now.plus_ms(DAY_MS);
    pair.maintain();
    assert!(!finds_it(&pair.index));
    assert_eq!(pair.index.rows_end(), RowId(150));
}

#[test]
fn erased_rows_leave_the_files_when_their_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let files = || -> Vec<String> {
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("segment-")).collect();
        names.sort();
        names
    };
    pair.add(units(150, 1));
    pair.maintain();
    let before = files();
    pair.erase([3, 70]);
    pair.now = pair.now.plus_ms(DAY_MS - 1);
    assert_eq!(
        pair.index.maintain(pair.now, DAY_MS).unwrap(),
        Maintained::default()
    );
    assert_eq!((files(), pair.index.figures().erased), (before.clone(), 2));
    pair.now = pair.now.plus_ms(1);
    let done = pair.index.maintain(pair.now, DAY_MS).unwrap();
    assert_eq!((done.segments_written, done.rows_gone), (1, 2));
    assert_eq!(pair.index.figures().erased, 0);
    assert!(files().len() == 1 && files() != before);
    pair.check(&units(1, 9)[0], 150, None);
}

#[test]
fn a_collection_can_be_erased_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    pair.add(units(150, 1));
    pair.erase(0..150);
    assert!(pair.index.is_empty());
    pair.maintain();
    assert_eq!(
        (pair.index.figures().segments, pair.index.figures().bytes),
        (0, 0)
    );
    pair.check(&units(1, 9)[0], 10, None);
    pair.add(units(10, 2));
    pair.check(&units(1, 9)[0], 10, None);
}

#[test]
fn erasing_what_is_not_there_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    pair.add(units(5, 1));
    pair.erase([9]);
    pair.erase([2]);
    pair.erase([2]);
    assert_eq!(pair.index.len(), 4);
}
