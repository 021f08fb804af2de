//! What is new, changed, gone, or there already.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use consilium_protocol::Millis;
use consilium_protocol::query::parse::filter;
use consilium_search::collection::{
    Beginning, Collection, CollectionError, Gone, Ingest, IngestSettings, Mapping, Reason, maintain,
};
use consilium_search::vector::{Disk, Effort};
use proptest::prelude::*;
use serde_json::Value;

use crate::breaking::Breaking;
use crate::world::{
    ByLetters, DAY_MS, MAPPING, SUBJECTS, ingest, ingest_by, key, mapping, note, notes, open,
    picture, settings, source, unit,
};

#[test]
fn what_is_there_is_not_done_again() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let before = open(&disk).unwrap();
    let encoder = ByLetters::default();
    let report = ingest_by(&disk, &notes(), 1, &mapping(), &encoder, settings()).unwrap();
    assert_eq!((report.unchanged, report.added, report.changed), (12, 0, 0));
    assert_eq!(encoder.encoded.load(Ordering::Relaxed), 0);
    assert_eq!(open(&disk).unwrap().version(), before.version());
}

#[test]
fn a_change_and_an_erasure_are_seen_at_the_next_opening() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let before = open(&disk).unwrap();
    let mut changed = notes();
    changed[3] = note(3, 3, "a swollen knee");
    changed.remove(5);
    let report = ingest(&disk, &changed, 1).unwrap();
    assert_eq!(
        (report.changed, report.erased, report.unchanged),
        (1, 1, 10)
    );
    assert!(!before.is_current().unwrap());
    let after = open(&disk).unwrap();
    assert_ne!(after.version(), before.version());
    assert_eq!(after.figures().documents, 11);
    assert!(
        after
            .words("fever", 9, after.rows())
            .unwrap()
            .iter()
            .all(|hit| { after.document_of(hit.row).unwrap().0 != "n03" })
    );
    let knee = after.words("swollen knee", 9, after.rows()).unwrap();
    assert_eq!(after.document_of(knee[0].row).unwrap().0, "n03");
    let nearest = after
        .nearest(&unit("eczema"), 500, after.rows(), Effort::Exact)
        .unwrap();
    assert_eq!(nearest.len() as u64, after.figures().passages);
    assert!(
        nearest
            .iter()
            .all(|hit| after.document_of(hit.row).unwrap().0 != "n05")
    );
    // The same as if the old notes had never been.
    let fresh = Breaking::default();
    ingest(&fresh, &changed, 2).unwrap();
    assert_eq!(picture(&after), picture(&open(&fresh).unwrap()));
}

#[test]
fn what_the_source_lacks_is_kept_where_that_is_asked_for() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let keep = IngestSettings {
        gone: Gone::Keep,
        ..settings()
    };
    let report = ingest_by(
        &disk,
        &notes()[..2],
        1,
        &mapping(),
        &ByLetters::default(),
        keep,
    )
    .unwrap();
    assert_eq!(
        (report.kept, report.erased, report.collection.documents),
        (10, 0, 12)
    );
}

#[test]
fn an_empty_source_makes_an_empty_collection_that_answers() {
    let disk = Breaking::default();
    let report = ingest(&disk, &[], 0).unwrap();
    assert_eq!(report.collection.documents, 0);
    let collection = open(&disk).unwrap();
    assert!(
        collection
            .nearest(&unit("cough"), 10, collection.rows(), Effort::default())
            .unwrap()
            .is_empty()
    );
    assert!(
        collection
            .words("cough", 10, collection.rows())
            .unwrap()
            .is_empty()
    );
    ingest(&disk, &notes(), 1).unwrap();
    ingest(&disk, &[], 2).unwrap();
    assert_eq!(open(&disk).unwrap().figures().passages, 0);
}

#[test]
fn a_record_that_cannot_be_used_is_told_and_its_former_version_stays() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let mut broken = notes();
    broken[4]["age"] = Value::from("old");
    let report = ingest(&disk, &broken, 1).unwrap();
    assert_eq!(
        report.skipped.into_iter().collect::<Vec<_>>(),
        [(
            Reason::NotANumber {
                field: "age".into()
            },
            1
        )]
    );
    assert_eq!((report.first_skipped[0].line, report.erased), (5, 0));
    let mut twice = notes();
    twice[4] = twice[3].clone();
    let report = ingest(&disk, &twice, 2).unwrap();
    assert_eq!(report.skipped[&Reason::IdTwice], 1);
    broken
        .iter_mut()
        .take(3)
        .for_each(|note| note["text"] = Value::Null);
    let error = ingest(&disk, &broken, 3).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("4 of 12 records cannot be used"),
        "{error}"
    );
    assert_eq!(open(&disk).unwrap().figures().documents, 11);
}

#[test]
fn near_duplicates_of_one_patient_are_dropped_and_those_of_two_stay() {
    let mut copies = notes();
    let copy = |of: usize, id: &str, patient: &str| {
        let mut copy = notes()[of].clone();
        copy["id"] = Value::from(id);
        copy["mrn"] = Value::from(patient);
        copy
    };
    copies.push(copy(1, "copy-same", "MRN-1"));
    copies.push(copy(1, "copy-other", "MRN-9"));
    let of_patient = Mapping::parse(&format!("duplicates = \"of-patient\"\n{MAPPING}")).unwrap();
    let run = |disk: &Breaking, notes: &[Value], gone| {
        let settings = IngestSettings { gone, ..settings() };
        ingest_by(disk, notes, 0, &of_patient, &ByLetters::default(), settings).unwrap()
    };
    let disk = Breaking::default();
    let report = run(&disk, &copies, Gone::Erase);
    assert!(report.duplicates > 0);
    let collection = open(&disk).unwrap();
    let of = |id: &str| {
        collection
            .rows()
            .iter()
            .filter(|row| collection.document_of(*row).unwrap().0 == id)
            .count()
    };
    assert_eq!((of("copy-same"), of("copy-other")), (0, of("n01")));
    assert_eq!(collection.figures().patients, 5);
    // Again, in two parts: the copy comes when its original is there already.
    let parts = Breaking::default();
    run(&parts, &copies[..12], Gone::Erase);
    run(&parts, &copies, Gone::Keep);
    assert_eq!(picture(&open(&parts).unwrap()), picture(&collection));
    let everywhere = Mapping::parse(&format!("duplicates = \"of-collection\"\n{MAPPING}")).unwrap();
    let dropped = Breaking::default();
    ingest_by(
        &dropped,
        &copies,
        0,
        &everywhere,
        &ByLetters::default(),
        settings(),
    )
    .unwrap();
    assert_eq!(open(&dropped).unwrap().figures().patients, 4);
}

#[test]
fn another_mapping_makes_the_documents_anew() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let other = Mapping::parse(&MAPPING.replace("name = \"age\"", "name = \"years\"")).unwrap();
    let report = ingest_by(
        &disk,
        &notes(),
        1,
        &other,
        &ByLetters::default(),
        settings(),
    )
    .unwrap();
    assert_eq!(report.changed, 12);
    let collection = open(&disk).unwrap();
    let old = filter("years > 40").unwrap();
    // Only note 11 is of somebody older than 40.
    assert_eq!(
        collection
            .patients_of(&collection.rows_where(Some(&old)).unwrap())
            .len(),
        1
    );
    assert!(
        collection
            .rows_where(Some(&filter("age > 40").unwrap()))
            .is_err()
    );
}

#[test]
fn another_encoder_needs_a_word_and_then_begins_anew() {
    struct Other(ByLetters);
    impl consilium_search::collection::Encode for Other {
        fn id(&self) -> String {
            "other/1".to_owned()
        }
        fn dimension(&self) -> usize {
            16
        }
        fn passage_words_max(&self) -> usize {
            12
        }
        fn encode(
            &self,
            texts: &[&str],
        ) -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error + Send + Sync>> {
            self.0.encode(texts)
        }
    }
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let (mapping, other) = (mapping(), Other(ByLetters::default()));
    let begin = |beginning| Ingest::on(Arc::new(disk.clone()), key(), &mapping, &other, beginning);
    assert!(matches!(
        begin(Beginning::Continue),
        Err(CollectionError::OtherEncoder { .. })
    ));
    let former = disk.names().unwrap();
    let report = begin(Beginning::Rebuild)
        .unwrap()
        .run_bytes(source(&notes()), settings(), &|| Millis(1))
        .unwrap();
    assert_eq!(report.added, 12);
    assert!(matches!(
        open(&disk),
        Err(CollectionError::OtherEncoder { .. })
    ));
    let collection = Collection::on(Arc::new(disk.clone()), &key(), "other/1").unwrap();
    assert_eq!(collection.figures().documents, 12);
    let left: Vec<String> = disk.names().unwrap();
    let kept: Vec<&String> = former.iter().filter(|name| left.contains(name)).collect();
    assert_eq!(kept, ["collection.manifest"]);
}

#[test]
fn what_was_erased_is_gone_for_good_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let run = |notes: &[Value], now: u64| {
        let (mapping, encoder) = (mapping(), ByLetters::default());
        let ingest = Ingest::open(&path, key(), &mapping, &encoder, Beginning::Continue).unwrap();
        // In one step, so that what is erased lies in one file with what stays.
        let settings = IngestSettings::default();
        ingest
            .run_bytes(source(notes), settings, &|| Millis(now))
            .unwrap()
    };
    let names = || -> Vec<String> {
        std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    run(&notes(), 0);
    let before = names();
    run(&notes()[..11], DAY_MS);
    let upkeep = |now| maintain(&path, key(), Millis(now), 30 * DAY_MS).unwrap();
    assert_eq!(upkeep(30 * DAY_MS), None);
    let opened = Collection::open(&path, key(), "by-letters/1").unwrap();
    let done = upkeep(31 * DAY_MS).unwrap();
    assert_eq!(done.documents_gone, 1);
    assert!(done.vectors.rows_gone > 0);
    let after = names();
    for kind in ["texts-", "vectors-"] {
        let is_gone = |name: &&String| name.starts_with(kind) && !after.contains(name);
        assert!(
            before.iter().any(|name| is_gone(&name)),
            "{before:?} {after:?}"
        );
    }
    assert_eq!(upkeep(31 * DAY_MS), None);
    // Who holds the former state is told, and what is opened anew is whole.
    assert!(!opened.is_current().unwrap());
    let gone = opened
        .rows()
        .iter()
        .filter_map(|row| opened.passage(row).err())
        .count();
    assert!(gone > 0);
    let collection = Collection::open(&path, key(), "by-letters/1").unwrap();
    assert_eq!(collection.figures().documents, 11);
    assert_eq!(picture(&collection).documents().len(), 11);
}

#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (mapping, encoder) = (mapping(), ByLetters::default());
    let open = || {
        Ingest::open(
            folder.path(),
            key(),
            &mapping,
            &encoder,
            Beginning::Continue,
        )
    };
    let first = open().unwrap();
    let error = open().err().unwrap();
    assert!(matches!(error, CollectionError::Locked { .. }), "{error}");
    drop(first);
    open().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a source came to be what it is, the collection is that of the source.
    #[test]
    fn a_collection_is_that_of_its_last_source(
        histories in prop::collection::vec(prop::collection::btree_map(0usize..8, 0usize..6, 0..8), 1..4),
    ) {
        let disk = Breaking::default();
        let mut last = Vec::new();
        for (now, history) in (0u64..).zip(&histories) {
            last = history.iter().map(|(id, subject)| note(*id, id % 3, SUBJECTS[*subject])).collect();
            ingest(&disk, &last, now).unwrap();
        }
        let fresh = Breaking::default();
        ingest(&fresh, &last, 9).unwrap();
        prop_assert_eq!(picture(&open(&disk).unwrap()), picture(&open(&fresh).unwrap()));
    }
}
