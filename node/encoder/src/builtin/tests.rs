use std::fs;
use std::path::Path;

use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;

use super::*;

/// Of the committed weights and the rules; both change together with every index that was made with them.
const DIGEST: &str = "ac75aea86f1dec22edd910f210256162ae5b5c0d2b53820eef857479daef01a6";

/// On the slice's 160 rows, all of topics that nothing was fitted to, the encoder reaches 0.419 and 0.705; by chance a
/// question finds its answer first once in 160.
const RECALL_AT_1_MIN: f64 = 0.40;
const NDCG_AT_10_MIN: f64 = 0.68;

fn read(file: &str) -> Vec<u8> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    fs::read(Path::new(&package).join("src/builtin").join(file)).unwrap()
}

fn builtin() -> Builtin {
    Builtin::open().unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_weights_are_the_committed_ones() {
    assert_eq!(builtin().id().digest, DIGEST);
    assert_eq!(builtin().id().dimension, 192);
    assert!(WEIGHTS.len() <= 8_000_000);
}

#[test]
fn vectors_are_those_that_training_computes() {
    #[derive(Deserialize)]
    struct Golden {
        text: String,
        vector: Vec<f32>,
    }
    // `train/golden.py` made them, in Python and from the same weights.
    let golden: Vec<Golden> = serde_json::from_slice(&read("golden.json")).unwrap();
    assert_eq!(golden.len(), 3);
    for Golden { text, vector } in golden {
        let ours = builtin().encode(&text);
        assert_eq!(ours.len(), vector.len());
        for (ours, theirs) in ours.iter().zip(vector) {
            assert!(
                (ours - theirs).abs() < 2e-6,
                "{ours} is not {theirs} for `{text}`"
            );
        }
    }
}

#[test]
fn what_means_the_same_is_nearer_than_what_does_not() {
    let encoder = builtin();
    let pairs = [
        ("kidney disease", "renal failure", "hearing loss"),
        ("high blood pressure", "hypertension", "skin rash"),
        ("heart attack", "myocardial infarction", "kidney stone"),
        ("cancer of the breast", "breast tumor", "influenza vaccine"),
        ("difficulty breathing", "shortness of breath", "eye color"),
    ];
    for (asked, near, far) in pairs {
        let asked = encoder.encode(asked);
        let near_by = cosine(&asked, &encoder.encode(near));
        let far_off = cosine(&asked, &encoder.encode(far));
        assert!(
            near_by > far_off + 0.1,
            "{near}: {near_by}, {far}: {far_off}"
        );
    }
}

#[test]
fn a_name_that_nobody_has_seen_is_found_again() {
    let encoder = builtin();
    let asked = encoder.encode("What is zyxoplatinib-marudexa used for?");
    let own = encoder.encode("Zyxoplatinib-marudexa is a tablet that adults take once a day.");
    let other = encoder.encode("Quorvastelimab-treznova is a tablet that adults take once a day.");
    assert!(cosine(&asked, &own) > cosine(&asked, &other) + 0.1);
}

#[test]
fn questions_find_their_answers_in_a_slice_of_medquad() {
    #[derive(Deserialize)]
    struct Slice {
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        question: String,
        answer: String,
    }
    let slice: Slice = serde_json::from_slice(&read("medquad-slice.json")).unwrap();
    let encoder = builtin();
    let answers: Vec<Vec<f32>> = slice
        .rows
        .iter()
        .map(|row| encoder.encode(&row.answer))
        .collect();
    let (mut first, mut gain) = (0.0, 0.0);
    for (row, own) in slice.rows.iter().zip(&answers) {
        let asked = encoder.encode(&row.question);
        let score = cosine(&asked, own);
        let better = answers
            .iter()
            .filter(|other| cosine(&asked, other) > score)
            .count();
        first += f64::from(u8::from(better == 0));
        gain += if better < 10 {
            1.0 / (better as f64 + 2.0).log2()
        } else {
            0.0
        };
    }
    let rows = slice.rows.len() as f64;
    let (recall, ndcg) = (first / rows, gain / rows);
    assert!(
        recall >= RECALL_AT_1_MIN && ndcg >= NDCG_AT_10_MIN,
        "recall@1 {recall:.3}, nDCG@10 {ndcg:.3}"
    );
}

#[test]
fn the_end_of_a_long_text_is_not_read_and_no_text_is_an_error() {
    let encoder = builtin();
    let long = "kidney stone. ".repeat(800_000);
    assert_eq!(encoder.encode(&long), encoder.encode(&long[..100_000]));
    let blank = " ".repeat(10_000_000);
    assert_eq!(encoder.encode(&blank), encoder.encode(""));
    let one_word = "a".repeat(10_000_000);
    assert_eq!(encoder.encode(&one_word).len(), 192);
}

#[test]
fn the_same_text_has_the_same_bits() {
    let text = String::from_utf8(read("medquad-slice.json")).unwrap();
    assert_eq!(builtin().encode(&text), builtin().encode(&text));
}

proptest! {
    #[test]
    fn every_text_has_a_unit_vector(text in any::<String>()) {
        let vector = builtin_once().encode(&text);
        prop_assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5);
    }
}

fn builtin_once() -> &'static Builtin {
    static ONCE: std::sync::OnceLock<Builtin> = std::sync::OnceLock::new();
    ONCE.get_or_init(builtin)
}

/// Name, type, shape and bytes of a tensor.
type Raw<'a> = (&'a str, Dtype, &'a [usize], &'a [u8]);

fn open(tensors: &[Raw<'_>]) -> Result<Builtin, OpenError> {
    let mut views = Vec::new();
    for (name, dtype, shape, data) in tensors {
        views.push((
            *name,
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        ));
    }
    Builtin::of(&safetensors::serialize(views, None).unwrap())
}

#[test]
fn broken_weights_are_errors() {
    let one = 1f32.to_le_bytes();
    let two = [one, one].concat();
    let vectors: Raw<'_> = ("vectors", Dtype::I8, &[2, 3], &[1, 0, 0, 0, 1, 0]);
    let scales: Raw<'_> = ("scales", Dtype::F32, &[2], &two);
    let unknown: Raw<'_> = ("unknown", Dtype::F32, &[1], &one);
    let pieces: Raw<'_> = ("pieces", Dtype::U8, &[9], b"[other]\na");
    assert_eq!(
        open(&[vectors, scales, unknown, pieces])
            .unwrap()
            .encode("a"),
        [0.0, 1.0, 0.0]
    );
    let broken: [(&str, &[Raw<'_>]); 5] = [
        ("vectors", &[scales, unknown, pieces]),
        (
            "scales",
            &[vectors, ("scales", Dtype::F32, &[1], &one), unknown, pieces],
        ),
        (
            "scales",
            &[vectors, ("scales", Dtype::I32, &[2], &two), unknown, pieces],
        ),
        (
            "unknown",
            &[vectors, scales, ("unknown", Dtype::F32, &[2], &two), pieces],
        ),
        (
            "pieces",
            &[
                vectors,
                scales,
                unknown,
                ("pieces", Dtype::U8, &[7], b"[other]"),
            ],
        ),
    ];
    for (named, tensors) in broken {
        let message = open(tensors).unwrap_err().to_string();
        assert!(message.contains(named), "`{named}` is not in `{message}`");
    }
    assert!(Builtin::of(b"").is_err() && Builtin::of(&WEIGHTS[..WEIGHTS.len() / 2]).is_err());
}
