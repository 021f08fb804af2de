//! Sources as hospitals export them, and as they break.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::document::{Value, When};
use super::super::limits::{RECORD_BYTES_MAX, TEXT_BYTES_MAX};
use super::*;

const LINES: &str = "format = \"json-lines\"\nid = \"id\"\nbody = [\"text\"]\npatient = \"mrn\"\ndate = \"seen\"\n\
    names = [\"names\"]\n[[column]]\nname = \"code\"\nfield = \"codes\"\ntype = \"words\"\n\
    [[column]]\nname = \"age\"\nfield = \"age\"\ntype = \"number\"\n";

fn all(bytes: impl Into<Vec<u8>>, mapping: &str) -> Vec<(u64, Result<SourceDocument, Reason>)> {
    let mapping = Mapping::parse(mapping).unwrap();
    let mut records = of_bytes(bytes.into(), &mapping).unwrap().unwrap();
    let mut read = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        read.push((record.line, record.read.map_err(|unusable| unusable.reason)));
    }
    read
}

fn reason(line: &str) -> Reason {
    let read = all(line, LINES);
    read.into_iter().next().unwrap().1.err().unwrap()
}

fn csv_mapping() -> String {
    LINES.replace("json-lines", "csv")
}

#[test]
fn the_same_record_is_read_from_both_formats() {
    let line = r#"{"id": 7, "text": "Cough, fever.", "mrn": "A1", "seen": "2020-05-06", "names": ["Ann Lee", "Lee"],
        "codes": ["R05", "R50"], "age": 61.5, "extra": {"deep": [1, [2]]}}"#
        .replace('\n', " ");
    let row = "id,mrn,text,seen,names,codes,age\n7,A1,\"Cough, fever.\",2020-05-06,Ann Lee,R05;R50,61.5\n";
    let mut from_json = all(line, LINES);
    let mut from_csv = all(row, &csv_mapping());
    let (line, document) = from_json.remove(0);
    let mut document = document.ok().unwrap();
    assert_eq!(
        (line, document.id.as_str(), document.patient.as_str()),
        (1, "7", "A1")
    );
    assert_eq!(document.date, Some(When::Year(2020)));
    assert!(document.values[1] == Value::Number(61.5));
    assert_eq!(document.names, ["Ann Lee", "Lee"]);
    document.names.pop();
    let (line, from_csv) = from_csv.remove(0);
    assert_eq!(line, 2);
    assert!(from_csv.ok().unwrap() == document);
}

#[test]
fn what_cannot_be_used_is_left_out_with_its_line_and_reason() {
    let lines = "{\"id\": \"a\", \"text\": \"x\", \"mrn\": 1}\n\nnot json\n[1]\n{\"text\": \"x\"}\n{\"id\": \"b\"}\n";
    let read: Vec<(u64, Option<Reason>)> = all(lines, LINES)
        .into_iter()
        .map(|(line, read)| (line, read.err()))
        .collect();
    assert_eq!(
        read,
        [
            (1, None),
            (3, Some(Reason::NotJson)),
            (4, Some(Reason::NotAnObject)),
            (5, Some(Reason::NoId)),
            (6, Some(Reason::NoPatient)),
        ]
    );
    assert_eq!(
        reason(r#"{"id": "a", "mrn": 1, "text": {"a": 1}}"#),
        Reason::NotAScalar {
            field: "text".into()
        }
    );
    assert_eq!(
        reason(r#"{"id": "a", "mrn": 1, "text": "x", "seen": "May"}"#),
        Reason::NotADate {
            field: "seen".into()
        }
    );
    assert_eq!(
        reason(r#"{"id": "a", "mrn": 1, "text": "x", "age": "old"}"#),
        Reason::NotANumber {
            field: "age".into()
        }
    );
    assert_eq!(
        reason(r#"{"id": "a", "mrn": 1, "text": " "}"#),
        Reason::NoText
    );
    let not_text = all(b"{\"id\": \"a\xff\"}\n".to_vec(), LINES);
    assert_eq!(not_text[0].1.as_ref().err(), Some(&Reason::NotUtf8));
}

#[test]
fn a_text_of_ten_megabytes_and_a_line_without_end_are_passed_over() {
    let long = format!(
        "{{\"id\": \"a\", \"mrn\": 1, \"text\": \"{}\"}}\n",
        "x ".repeat(5 << 20)
    );
    let endless = format!("{}\n", "y".repeat(RECORD_BYTES_MAX + 10));
    let good = "{\"id\": \"b\", \"mrn\": 1, \"text\": \"good\"}\n";
    let read: Vec<Option<Reason>> = all(format!("{long}{endless}{good}"), LINES)
        .into_iter()
        .map(|(_, read)| read.err())
        .collect();
    assert_eq!(
        read,
        [Some(Reason::TextTooLong), Some(Reason::RecordTooLong), None]
    );
}

#[test]
fn a_compressed_source_is_unpacked_on_the_way_and_a_cut_one_is_an_error() {
    let text = "{\"id\": \"a\", \"text\": \"x\", \"mrn\": 1}\n".repeat(1_000);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(all(packed.clone(), LINES).len(), 1_000);
    let mapping = Mapping::parse(LINES).unwrap();
    let mut cut = of_bytes(packed[..packed.len() / 2].to_vec(), &mapping)
        .unwrap()
        .unwrap();
    let error = loop {
        match cut.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut file has no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CollectionError::Source { .. }), "{error}");
}

#[test]
fn a_header_without_a_mapped_field_and_an_open_quote_refuse_the_file() {
    let mapping = Mapping::parse(&csv_mapping()).unwrap();
    let error = of_bytes(b"id,mrn,seen,names,codes,age\n".to_vec(), &mapping)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("line 1: the header has no field `text`"),
        "{error}"
    );
    let mut open = b"id,mrn,text,seen,names,codes,age\n1,A,\"".to_vec();
    open.resize(RECORD_BYTES_MAX + (1 << 20), b'x');
    let error = of_bytes(open, &mapping)
        .unwrap()
        .unwrap()
        .next_record()
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("is a quote left open?"),
        "{error}"
    );
    let mut empty = of_bytes(Vec::new(), &mapping).unwrap().unwrap();
    assert!(empty.next_record().unwrap().is_none());
}

#[test]
fn notes_are_read_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("p2-1.txt", "second"),
        ("p1-2.txt", "first"),
        ("scan.pdf", "no note"),
        ("p3-1.txt", ""),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(
        folder.path().join("p4-1.txt"),
        vec![b'x'; TEXT_BYTES_MAX + 1],
    )
    .unwrap();
    fs::create_dir(folder.path().join("folder.txt")).unwrap();
    let mapping = Mapping::parse("format = \"notes\"\npatient-until = \"-\"").unwrap();
    let (mut notes, position) = open(folder.path(), &mapping).unwrap();
    let mut read = Vec::new();
    while let Some(record) = notes.next_record().unwrap() {
        read.push(
            record
                .read
                .map(|document| (document.id, document.patient))
                .map_err(|unusable| unusable.reason),
        );
    }
    assert_eq!((position.done(), position.total), (5, 5));
    assert!(read.contains(&Ok(("p1-2.txt".into(), "p1".into()))));
    assert_eq!(read.iter().filter(|read| read.is_ok()).count(), 2);
    assert!(read.contains(&Err(Reason::TextTooLong)) && read.contains(&Err(Reason::NoText)));
}
