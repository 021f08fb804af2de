//! Files, arguments and encoders that are not what they should be.

use std::error::Error;
use std::sync::Arc;

use consilium_search::collection::{Collection, CollectionError, Encode, Reason};
use consilium_search::vector::{Disk, Effort, NodeKey, VectorError};

use crate::breaking::Breaking;
use crate::world::{
    ByLetters, ingest, ingest_by, key, mapping, notes, open, picture, settings, unit,
};

#[test]
fn a_flipped_bit_in_any_file_is_an_error_and_never_another_text() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let whole = picture(&open(&disk).unwrap());
    for name in disk.names().unwrap() {
        let bytes = disk.read(&name, u64::MAX).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            disk.write(&name, &flipped).unwrap();
            // What is read at a search is found out at a search.
            let looked = open(&disk).and_then(|collection| {
                for row in collection.rows().iter() {
                    collection.passage(row)?;
                }
                collection.nearest(&unit("cough"), 500, collection.rows(), Effort::Exact)
            });
            assert!(looked.is_err(), "{name}, byte {at}");
        }
        disk.write(&name, &bytes).unwrap();
    }
    assert_eq!(picture(&open(&disk).unwrap()), whole);
}

#[test]
fn another_version_and_another_nodes_key_are_named() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let other = NodeKey::new(&[8; 32]).unwrap();
    let error = Collection::on(Arc::new(disk.clone()), &other, "by-letters/1")
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("cannot be opened with this node's key"),
        "{error}"
    );
    let mut manifest = disk.read("collection.manifest", u64::MAX).unwrap();
    manifest[8] = 7;
    disk.write("collection.manifest", &manifest).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("has version 7 and this program reads version 1"),
        "{error}"
    );
    manifest[0] = b'X';
    disk.write("collection.manifest", &manifest).unwrap();
    assert!(matches!(
        open(&disk),
        Err(CollectionError::Vector(VectorError::NotOurs { .. }))
    ));
}

#[test]
fn a_missing_file_and_vectors_of_an_older_day_are_errors() {
    let disk = Breaking::default();
    ingest(&disk, &notes()[..6], 0).unwrap();
    let vectors: Vec<(String, Vec<u8>)> = disk
        .names()
        .unwrap()
        .into_iter()
        .filter(|name| name.starts_with("vectors-"))
        .map(|name| (name.clone(), disk.read(&name, u64::MAX).unwrap()))
        .collect();
    ingest(&disk, &notes(), 1).unwrap();
    for (name, bytes) in &vectors {
        disk.write(name, bytes).unwrap();
    }
    assert!(matches!(open(&disk), Err(CollectionError::VectorsBehind)));
    let error = ingest(&disk, &notes(), 2).unwrap_err();
    assert!(
        error.to_string().contains("ingest with --rebuild"),
        "{error}"
    );
    let texts = disk
        .names()
        .unwrap()
        .into_iter()
        .find(|name| name.starts_with("texts-"))
        .unwrap();
    disk.remove(&texts).unwrap();
    assert!(matches!(
        open(&disk),
        Err(CollectionError::Vector(VectorError::Disk { .. }))
    ));
}

#[test]
fn a_k_of_none_or_of_a_million_is_refused() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let collection = open(&disk).unwrap();
    for k in [0, 1_000_000] {
        let nearest = collection.nearest(&unit("cough"), k, collection.rows(), Effort::default());
        assert!(
            matches!(nearest, Err(CollectionError::Vector(VectorError::KOutOfRange { found })) if found == k)
        );
        assert!(collection.words("cough", k, collection.rows()).is_err());
    }
}

#[test]
fn a_folder_without_a_collection_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        let error = Collection::open(&path, key(), "by-letters/1")
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("run `consilium-node ingest`"),
            "{error}"
        );
    }
}

/// Gives nonsense for texts with a certain word.
struct Broken(Nonsense);

#[derive(Clone, Copy)]
enum Nonsense {
    NotFinite,
    Zero,
    TooFew,
}

impl Encode for Broken {
    fn id(&self) -> String {
        ByLetters::default().id()
    }

    fn dimension(&self) -> usize {
        16
    }

    fn passage_words_max(&self) -> usize {
        12
    }

    fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Box<dyn Error + Send + Sync>> {
        let mut vectors = ByLetters::default().encode(texts)?;
        for (text, vector) in texts.iter().zip(&mut vectors) {
            match self.0 {
                Nonsense::NotFinite if text.contains("eczema") => vector[3] = f32::NAN,
                Nonsense::Zero if text.contains("eczema") => vector.fill(0.0),
                Nonsense::NotFinite | Nonsense::Zero | Nonsense::TooFew => {}
            }
        }
        if let Nonsense::TooFew = self.0 {
            vectors.pop();
        }
        Ok(vectors)
    }
}

#[test]
fn a_vector_without_a_direction_leaves_its_document_out() {
    for nonsense in [Nonsense::NotFinite, Nonsense::Zero] {
        let disk = Breaking::default();
        let lenient = consilium_search::collection::Mapping::parse(&format!(
            "bad-records-max-share = 0.5\n{}",
            crate::world::MAPPING
        ));
        let report = ingest_by(
            &disk,
            &notes(),
            0,
            &lenient.unwrap(),
            &Broken(nonsense),
            settings(),
        )
        .unwrap();
        assert_eq!((report.skipped[&Reason::NotEncoded], report.added), (2, 10));
        assert_eq!(open(&disk).unwrap().figures().documents, 10);
    }
    let disk = Breaking::default();
    let error = ingest_by(
        &disk,
        &notes(),
        0,
        &mapping(),
        &Broken(Nonsense::TooFew),
        settings(),
    );
    assert!(matches!(error, Err(CollectionError::Encoded { .. })));
}
