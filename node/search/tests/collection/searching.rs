//! Filters, patients, words and vectors give what is there, and texts without the names.

use consilium_protocol::query::parse::filter;
use consilium_search::collection::Misfit;
use consilium_search::vector::{Disk, Effort, RowSet};

use crate::breaking::Breaking;
use crate::world::{ingest, notes, open, source, unit};

#[test]
fn a_question_finds_the_notes_that_are_about_it() {
    let disk = Breaking::default();
    let report = ingest(&disk, &notes(), 0).unwrap();
    assert_eq!(
        (report.read, report.added, report.collection.patients),
        (12, 12, 4)
    );
    let collection = open(&disk).unwrap();
    assert_eq!(collection.figures(), report.collection);
    assert!(collection.is_current().unwrap());

    let hits = collection.words("eczema", 50, collection.rows()).unwrap();
    let found: std::collections::BTreeSet<&str> = hits
        .iter()
        .map(|hit| collection.document_of(hit.row).unwrap().0)
        .collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["n05", "n11"]);

    let filter = filter("code = 'C1' and age >= 34").unwrap();
    let allowed = collection.rows_where(Some(&filter)).unwrap();
    let patients = collection.patients_of(&allowed);
    let names: Vec<&[u8]> = collection.patient_identities().collect();
    let of: Vec<&[u8]> = patients
        .iter()
        .map(|patient| names[*patient as usize])
        .collect();
    // Notes 4, 7 and 10.
    assert_eq!(of, [b"MRN-0", b"MRN-2", b"MRN-3"]);
    let hits = collection
        .nearest(&unit("chest pain"), 3, &allowed, Effort::Exact)
        .unwrap();
    assert!(hits.len() == 3 && hits.iter().all(|hit| allowed.contains(hit.row)));
}

#[test]
fn every_way_to_a_similarity_gives_the_same() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let collection = open(&disk).unwrap();
    let question = unit("dizziness");
    let mut scanned = Vec::new();
    collection
        .scan(&question, collection.rows(), &mut |row, similarity| {
            scanned.push((row, similarity))
        })
        .unwrap();
    assert_eq!(scanned.len() as u64, collection.figures().passages);
    scanned.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let hits = collection
        .nearest(&question, 1_000, collection.rows(), Effort::Exact)
        .unwrap();
    assert_eq!(
        hits.iter()
            .map(|hit| (hit.row, hit.similarity))
            .collect::<Vec<_>>(),
        scanned
    );
    for (row, similarity) in scanned {
        assert_eq!(
            collection.similarity(row, &question).unwrap(),
            Some(similarity)
        );
    }
}

#[test]
fn votes_add_up_over_words_and_patients() {
    let disk = Breaking::default();
    ingest(&disk, &notes(), 0).unwrap();
    let collection = open(&disk).unwrap();
    let words = collection.column_words("code").unwrap();
    assert_eq!(
        words.iter().map(|(word, _)| *word).collect::<Vec<_>>(),
        ["C0", "C1", "C2", "common"]
    );
    let all = words.last().unwrap().1.clone();
    assert_eq!(&all, collection.rows());
    let parts: usize = words[..3].iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!(parts, all.len());
    assert!(matches!(
        collection.column_words("age"),
        Err(Misfit::WrongType { .. })
    ));

    let mut wanted = vec![false; 4];
    wanted[2] = true;
    let rows = collection.rows_of_patients(&wanted);
    assert_eq!(collection.patients_of(&rows), [2]);
    let others = collection.rows_of_patients(&[true, true, false, true]);
    assert_eq!(rows.len() + others.len(), all.len());
    assert!(collection.patients_of(&RowSet::new()).is_empty());
}

#[test]
fn nobodys_name_is_kept_and_of_a_date_the_year() {
    let disk = Breaking::default();
    let report = ingest(&disk, &notes(), 0).unwrap();
    let collection = open(&disk).unwrap();
    for row in collection.rows().iter() {
        let passage = collection.passage(row).unwrap().unwrap();
        for text in [&passage.title, &passage.text] {
            assert!(
                !text.contains("Zebulon") && !text.contains("Quackenbush"),
                "{text}"
            );
        }
        assert_eq!(passage.date.map(|date| date.len()), Some(4));
    }
    let names: u64 = report.redacted.values().sum();
    assert!(names >= 12, "{names}");
    // And nothing that is kept is in clear.
    let files = disk.names().unwrap().into_iter();
    let kept: Vec<u8> = files
        .flat_map(|name| disk.read(&name, u64::MAX).unwrap())
        .collect();
    for word in ["Zebulon", "eczema", "MRN-1", "C1common"] {
        assert!(
            !kept
                .windows(word.len())
                .any(|window| window == word.as_bytes()),
            "{word}"
        );
    }
    assert!(
        source(&notes())
            .windows(7)
            .any(|window| window == b"Zebulon")
    );
}
