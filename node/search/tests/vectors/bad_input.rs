//! Files and arguments that are not what they should be: a clear error each.

use std::fs;
use std::path::Path;

use consilium_protocol::Millis;
use consilium_search::vector::{
    CHANGE_ROWS_MAX, Change, Effort, Folder, IndexSettings, NodeKey, Question, ROW_ID_END, RowId,
    SegmentedIndex, UnitVector, VectorError, VectorIndex,
};
use proptest::prelude::*;

use crate::world::{DIMENSION, Pair, key, nearest, open, settings, units};

/// A folder with an index of two segments, one with a graph and one without, closed.
fn collection() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::on(Folder::at(folder.path()).unwrap());
    let mut vectors = units(120, 1);
    vectors.push(vectors[3].clone());
    pair.add(vectors);
    pair.maintain();
    pair.erase([7]);
    pair.add(units(5, 2));
    folder
}

/// Every kind of file that an index has: the manifest, a segment with a graph, a segment without.
const KINDS: [&str; 3] = [
    "index.manifest",
    "segment-0000000000000001",
    "segment-0000000000000002",
];

fn opened(folder: &Path) -> Result<SegmentedIndex, VectorError> {
    open(Folder::at(folder).unwrap())
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
    fn a_flipped_bit_is_noticed(bit in any::<usize>(), in_header in any::<bool>(), kind in 0..KINDS.len()) {
        let folder = collection();
        let file = folder.path().join(KINDS[kind]);
        flip(&file, if in_header { bit % (48 * 8) } else { bit });
        let error = opened(folder.path()).err().unwrap();
        prop_assert!(error.to_string().contains(KINDS[kind]), "{error}");
    }

    #[test]
    fn a_file_of_other_bytes_is_noticed(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        beginning in prop::sample::select(vec![0, 12, 48]),
        kind in 0..KINDS.len(),
    ) {
        let folder = collection();
        let file = folder.path().join(KINDS[kind]);
        let mut written = fs::read(&file).unwrap()[..beginning].to_vec();
        written.extend(bytes);
        fs::write(&file, written).unwrap();
        let error = opened(folder.path()).err().unwrap();
        prop_assert!(error.to_string().contains(KINDS[kind]), "{error}");
    }
}

#[test]
fn a_file_that_is_cut_or_longer_is_noticed() {
    for kind in KINDS {
        for change in [-1, 1] {
            let folder = collection();
            let file = folder.path().join(kind);
            let mut bytes = fs::read(&file).unwrap();
            bytes.resize(bytes.len().strict_add_signed(change), 0);
            fs::write(&file, bytes).unwrap();
            let error = opened(folder.path()).err().unwrap();
            assert!(error.to_string().contains(kind), "{error}");
        }
        let folder = collection();
        fs::write(folder.path().join(kind), b"").unwrap();
        let error = opened(folder.path()).err().unwrap();
        assert!(matches!(error, VectorError::NotOurs { .. }), "{error}");
    }
}

#[test]
fn another_version_is_said_to_be_one() {
    for (kind, current) in KINDS.into_iter().zip([1, 2, 2]) {
        let folder = collection();
        let file = folder.path().join(kind);
        let mut bytes = fs::read(&file).unwrap();
        bytes[8] = 9;
        fs::write(&file, bytes).unwrap();
        match opened(folder.path()).err().unwrap() {
            VectorError::OtherVersion {
                file,
                found: 9,
                expected,
            } => assert_eq!((file.as_str(), expected), (kind, current)),
            other => panic!("{other}"),
        }
    }
}

/// Two segments of one index, each whole and each in the place of the other.
#[test]
fn segments_are_not_exchanged() {
    let folder = collection();
    let [_, one, other] = KINDS.map(|kind| folder.path().join(kind));
    let aside = folder.path().join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(&aside, &other).unwrap();
    let error = opened(folder.path()).err().unwrap();
    assert!(matches!(error, VectorError::Unsealable { .. }), "{error}");
}

/// With the vectors on the disk, a disk that goes bad later is noticed by the search that reads there.
#[test]
fn a_bit_that_flips_while_the_index_is_open_is_noticed() {
    let folder = collection();
    let index = opened(folder.path()).unwrap();
    let vector = &units(120, 1)[0];
    let ask = || {
        let (k, allowed, effort) = (1, None, Effort::Exact);
        index.nearest(&Question {
            vector,
            k,
            allowed,
            effort,
        })
    };
    assert_eq!(ask().unwrap().len(), 1);
    // The first row's first coordinate.
    flip(&folder.path().join(KINDS[1]), 48 * 8);
    let error = ask().unwrap_err();
    assert!(error.to_string().contains(KINDS[1]), "{error}");
}

#[test]
fn a_damaged_key_opens_nothing() {
    let folder = collection();
    let path = folder.path().join("node.key");
    let digits = "05".repeat(32);
    for (written, opens) in [
        (digits.clone(), true),
        (digits.replacen('5', "4", 1), false),
    ] {
        fs::write(&path, written).unwrap();
        let disk = Box::new(Folder::at(folder.path()).unwrap());
        let opened = SegmentedIndex::open(settings(), NodeKey::at(&path).unwrap(), disk);
        assert_eq!(opened.is_ok(), opens);
    }
    for written in [String::new(), digits.replacen('5', "x", 1), digits + "0"] {
        fs::write(&path, written).unwrap();
        assert!(matches!(NodeKey::at(&path), Err(VectorError::KeyFile)));
    }
}

#[test]
fn a_missing_segment_is_named() {
    let folder = collection();
    fs::remove_file(folder.path().join(KINDS[1])).unwrap();
    let error = opened(folder.path()).err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("cannot read `segment-0000000000000001"),
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
        fs::read(folder.path().join(KINDS[1])).unwrap(),
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
    assert_eq!(ask(vector, 10_000).unwrap().len(), 125);
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
            last: 125
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
    assert_eq!((index.len(), index.rows_end()), (125, RowId(126)));
}
