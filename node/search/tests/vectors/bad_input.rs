//! Files and arguments that are not what they should be: a clear error each.

use std::fs;
use std::path::{Path, PathBuf};

use consilium_protocol::Millis;
use consilium_search::vector::{
    CHANGE_ROWS_MAX, Change, Effort, Folder, IndexSettings, NodeKey, Question, ROW_ID_END, RowId,
    SegmentedIndex, UnitVector, VectorError, VectorIndex,
};
use proptest::prelude::*;

use crate::world::{DIMENSION, Pair, key, nearest, open, settings, units};

/// A folder with an index of one segment with a graph, closed.
fn collection() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let mut vectors = units(120, 1);
    vectors.push(vectors[3].clone());
    pair.add(vectors);
    pair.maintain();
    pair.erase([7]);
    folder
}

fn opened(folder: &Path) -> Result<SegmentedIndex, VectorError> {
    open(Folder::at(folder).unwrap())
}

fn file(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut named = entries.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(prefix)
    });
    named.next().unwrap()
}

fn flip(file: &Path, bit: usize) {
    let mut bytes = fs::read(file).unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_flipped_bit_is_noticed(bit in any::<usize>(), in_header in any::<bool>(), of_segment in any::<bool>()) {
        let folder = collection();
        let file = file(folder.path(), if of_segment { "segment-" } else { "index.manifest" });
        flip(&file, if in_header { bit % (48 * 8) } else { bit });
        let error = opened(folder.path()).err().unwrap();
        prop_assert!(error.to_string().contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_file_of_other_bytes_is_noticed(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        begins_rightly in any::<bool>(),
        of_segment in any::<bool>(),
    ) {
        let folder = collection();
        let file = file(folder.path(), if of_segment { "segment-" } else { "index.manifest" });
        let mut written = fs::read(&file).unwrap()[..if begins_rightly { 12 } else { 0 }].to_vec();
        written.extend(bytes);
        fs::write(&file, written).unwrap();
        prop_assert!(opened(folder.path()).is_err());
    }
}

#[test]
fn a_file_that_is_cut_or_longer_is_noticed() {
    for (prefix, change) in [
        ("segment-", -1),
        ("segment-", 1),
        ("index.manifest", -1),
        ("index.manifest", 1),
    ] {
        let folder = collection();
        let file = file(folder.path(), prefix);
        let mut bytes = fs::read(&file).unwrap();
        bytes.resize(bytes.len().strict_add_signed(change), 0);
        fs::write(&file, bytes).unwrap();
        assert!(opened(folder.path()).is_err());
    }
}

#[test]
fn another_version_is_said_to_be_one() {
    for prefix in ["segment-", "index.manifest"] {
        let folder = collection();
        let file = file(folder.path(), prefix);
        let mut bytes = fs::read(&file).unwrap();
        bytes[8] = 2;
        fs::write(&file, bytes).unwrap();
        let error = opened(folder.path()).err().unwrap();
        assert!(
            matches!(
                error,
                VectorError::OtherVersion {
                    found: 2,
                    expected: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_missing_segment_is_named() {
    let folder = collection();
    fs::remove_file(file(folder.path(), "segment-")).unwrap();
    let error = opened(folder.path()).err().unwrap();
    assert!(
        error.to_string().starts_with("cannot read `segment-"),
        "{error}"
    );
}

#[test]
fn another_nodes_key_opens_nothing() {
    let folder = collection();
    let disk = Box::new(Folder::at(folder.path()).unwrap());
    let other = NodeKey::new(&[6; 32]).unwrap();
    let error = SegmentedIndex::open(settings(), other, disk).err().unwrap();
    assert!(matches!(error, VectorError::Unsealable { .. }), "{error}");
}

#[test]
fn no_vector_stands_in_a_file() {
    let folder = collection();
    let (bytes, stored) = (
        fs::read(file(folder.path(), "segment-")).unwrap(),
        units(120, 1),
    );
    let plain = stored[5].coordinates()[..2]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect::<Vec<u8>>();
    assert!(!bytes.windows(plain.len()).any(|window| window == plain));
}

#[test]
fn an_index_never_mixes_two_encoders() {
    let folder = collection();
    let with = |encoder: &str, dimension| {
        let settings = IndexSettings {
            dimension,
            encoder: encoder.to_owned(),
            ..settings()
        };
        SegmentedIndex::open(
            settings,
            key(),
            Box::new(Folder::at(folder.path()).unwrap()),
        )
        .err()
    };
    assert!(matches!(
        with("words/2", DIMENSION),
        Some(VectorError::OtherEncoder { .. })
    ));
    assert!(matches!(
        with("words/1", 13),
        Some(VectorError::WrongDimension {
            expected: DIMENSION,
            found: 13
        })
    ));
    assert!(matches!(
        with("", DIMENSION),
        Some(VectorError::EncoderName { found: 0 })
    ));
    assert!(matches!(
        with("words/1", 5_000),
        Some(VectorError::DimensionOutOfRange { .. })
    ));
    assert!(with("words/1", DIMENSION).is_none());
}

#[test]
fn a_question_must_fit() {
    let folder = collection();
    let index = opened(folder.path()).unwrap();
    let vector = &units(1, 9)[0];
    let ask = |vector: &UnitVector, k| {
        let effort = Effort::default();
        index.nearest(&Question {
            vector,
            k,
            allowed: None,
            effort,
        })
    };
    assert!(matches!(
        ask(vector, 0),
        Err(VectorError::KOutOfRange { found: 0 })
    ));
    assert!(matches!(
        ask(vector, 1_000_000),
        Err(VectorError::KOutOfRange { .. })
    ));
    assert_eq!(ask(vector, 10_000).unwrap().len(), 120);
    let other = UnitVector::parse(&[1.0; 3]).unwrap();
    assert!(matches!(
        ask(&other, 1),
        Err(VectorError::WrongDimension { found: 3, .. })
    ));
}

#[test]
fn an_empty_index_answers() {
    let folder = tempfile::tempdir().unwrap();
    let index = opened(folder.path()).unwrap();
    assert!(nearest(&index, &units(1, 9)[0], 10, None).is_empty());
    assert_eq!(index.maintain(Millis(0), 0).unwrap().segments_written, 0);
    drop(index);
    assert!(opened(folder.path()).unwrap().is_empty());
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let folder = collection();
    let index = opened(folder.path()).unwrap();
    let refused = |added: Vec<(u32, UnitVector)>| {
        let added = added
            .into_iter()
            .map(|(row, vector)| (RowId(row), vector))
            .collect();
        index
            .apply(
                Change {
                    added,
                    erased: vec![RowId(1)],
                },
                Millis(5),
            )
            .unwrap_err()
    };
    let one = || units(1, 4).remove(0);
    assert!(matches!(
        refused(vec![(120, one())]),
        VectorError::RowOutOfOrder {
            row: 120,
            last: 120
        }
    ));
    assert!(matches!(
        refused(vec![(200, one()), (200, one())]),
        VectorError::RowOutOfOrder { .. }
    ));
    assert!(matches!(
        refused(vec![(ROW_ID_END, one())]),
        VectorError::RowOutOfRange { .. }
    ));
    let short = UnitVector::parse(&[1.0]).unwrap();
    assert!(matches!(
        refused(vec![(200, one()), (201, short)]),
        VectorError::WrongDimension { .. }
    ));
    let many = vec![(200, one()); CHANGE_ROWS_MAX + 1];
    assert!(matches!(refused(many), VectorError::ChangeTooLarge { .. }));
    assert_eq!((index.len(), index.rows_end()), (120, RowId(121)));
}
