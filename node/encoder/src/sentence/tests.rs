use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::cpu;

/// A tiny random BERT with the vectors that a forward pass in numpy gives: `peers/tiny.py` made both.
fn tiny() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&package).join("src/sentence/tiny")
}

#[derive(Deserialize)]
struct Expected {
    text: String,
    mean: Vec<f32>,
    cls: Vec<f32>,
}

fn expected() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(tiny().join("expected.json")).unwrap()).unwrap()
}

/// A copy of the tiny folder that a test may spoil.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        for file in [
            "config.json",
            "modules.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
            "tokenizer.json",
            "model.safetensors",
        ] {
            fs::copy(tiny().join(file), folder.path().join(file)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Sets a field at the top of a JSON file, or removes it.
    fn set(self, file: &str, field: &str, value: Value) -> Self {
        let mut object: Value =
            serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(field),
            value => object
                .as_object_mut()
                .unwrap()
                .insert(field.to_owned(), value),
        };
        self.write(file, object.to_string().as_bytes())
    }

    fn write(self, file: &str, content: &[u8]) -> Self {
        fs::write(self.path(file), content).unwrap();
        self
    }

    fn without(self, file: &str) -> Self {
        fs::remove_file(self.path(file)).unwrap();
        self
    }

    fn open(&self) -> Result<SentenceEncoder, OpenError> {
        SentenceEncoder::open(self.folder.path(), &cpu())
    }

    /// Opening fails, and the message says all of this.
    fn fails(&self, parts: &[&str]) {
        let message = self.open().unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn assert_near(vectors: &[Vec<f32>], of: impl Fn(&Expected) -> &[f32]) {
    for (vector, expected) in vectors.iter().zip(expected()) {
        for (ours, theirs) in vector.iter().zip(of(&expected)) {
            assert!(
                (ours - theirs).abs() < 2e-5,
                "{vector:?} for `{}`",
                expected.text
            );
        }
        assert_eq!(vector.len(), of(&expected).len());
    }
}

#[test]
fn vectors_are_those_of_the_reference() {
    let expected = expected();
    let texts: Vec<&str> = expected.iter().map(|one| one.text.as_str()).collect();
    let encoder = SentenceEncoder::open(&tiny(), &cpu()).unwrap();
    assert_near(&encoder.encode(&texts).unwrap(), |one| &one.mean);
    let file = "1_Pooling/config.json";
    let first = Copy::new()
        .set(file, "pooling_mode_cls_token", true.into())
        .set(file, "pooling_mode_mean_tokens", false.into());
    let first = first.open().unwrap();
    assert_near(&first.encode(&texts).unwrap(), |one| &one.cls);
    assert_ne!(first.id().digest, encoder.id().digest);
    assert_eq!((encoder.id().dimension, encoder.tokens_max()), (24, 16));
}

#[test]
fn a_text_has_one_vector_whatever_stands_beside_it() {
    let encoder = SentenceEncoder::open(&tiny(), &cpu()).unwrap();
    let words = [
        "kidney",
        "stone",
        "heart",
        "failure",
        "fever",
        "pain",
        "nephrology",
    ];
    let texts: Vec<String> = (0..200)
        .map(|at| {
            words
                .iter()
                .cycle()
                .skip(at)
                .take(at % 13)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = encoder.encode(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let alone = encoder.encode(&[text]).unwrap();
        assert!(cosine(&alone[0], vector) > 0.999_999);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
    assert_eq!(encoder.encode(&texts).unwrap(), together);
    assert_eq!(encoder.encode(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn both_ways_of_writing_a_folder_are_read() {
    let newer = Copy::new()
        .write(
            "sentence_bert_config.json",
            br#"{"transformer_task": "feature-extraction"}"#,
        )
        .write("tokenizer_config.json", br#"{"model_max_length": 16}"#)
        .write(
            "1_Pooling/config.json",
            br#"{"embedding_dimension": 24, "pooling_mode": "mean"}"#,
        );
    let bare = Copy::new()
        .without("modules.json")
        .without("1_Pooling/config.json");
    let moved = Copy::new();
    let older = SentenceEncoder::open(&tiny(), &cpu()).unwrap();
    for copy in [&newer, &bare, &moved] {
        let encoder = copy.open().unwrap();
        assert!(encoder.id().agrees_with(older.id()));
    }
}

#[test]
fn a_long_text_is_cut_and_no_text_is_an_error() {
    let encoder = SentenceEncoder::open(&tiny(), &cpu()).unwrap();
    let long = "kidney stone ".repeat(800_000);
    let short = "kidney stone ".repeat(20);
    let strange = "\u{0}\u{feff}\u{202e}𝔨idney\r\n🫀";
    let vectors = encoder
        .encode(&[&long, &short, strange, "", "   "])
        .unwrap();
    assert_eq!(vectors[0], vectors[1], "what follows the limit is not read");
    assert_eq!(vectors[3], vectors[4]);
}

#[test]
fn a_missing_file_is_named() {
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        Copy::new()
            .without(file)
            .fails(&[file, "cannot be read", "sentence-transformers"]);
    }
    let nowhere = SentenceEncoder::open(Path::new("no/such/folder"), &cpu());
    assert!(
        nowhere
            .unwrap_err()
            .to_string()
            .contains("no/such/folder/config.json")
    );
}

#[test]
fn a_field_that_cannot_be_is_named() {
    let huge = Value::from(u64::MAX);
    let cases = [
        ("config.json", "model_type", Value::from("xlm-roberta")),
        ("config.json", "hidden_act", Value::from("gelu_new")),
        (
            "config.json",
            "position_embedding_type",
            Value::from("relative_key"),
        ),
        ("config.json", "hidden_size", huge.clone()),
        ("config.json", "hidden_size", Value::Null),
        ("config.json", "num_hidden_layers", Value::from(0)),
        ("config.json", "num_hidden_layers", Value::from(49)),
        ("config.json", "num_attention_heads", Value::from(5)),
        ("config.json", "vocab_size", Value::from(-3)),
        ("config.json", "max_position_embeddings", Value::from("512")),
        ("config.json", "layer_norm_eps", Value::from(0.0)),
        (
            "1_Pooling/config.json",
            "word_embedding_dimension",
            Value::from(384),
        ),
        (
            "1_Pooling/config.json",
            "pooling_mode_mean_tokens",
            Value::from(false),
        ),
        (
            "1_Pooling/config.json",
            "pooling_mode",
            Value::from("weightedmean"),
        ),
        (
            "sentence_bert_config.json",
            "max_seq_length",
            Value::from(512),
        ),
        (
            "sentence_bert_config.json",
            "max_seq_length",
            Value::from(2),
        ),
    ];
    for (file, field, value) in cases {
        Copy::new()
            .set(file, field, value)
            .fails(&[file, &format!("`{field}`")]);
    }
}

#[test]
fn a_module_that_is_unknown_or_elsewhere_is_refused() {
    let modules = |kind: &str, path: &str| {
        let text =
            format!(r#"[{{"type": "sentence_transformers.models.{kind}", "path": "{path}"}}]"#);
        Copy::new().write("modules.json", text.as_bytes())
    };
    modules("Dense", "").fails(&["modules.json", "`type`", "Dense"]);
    modules("Transformer", "../elsewhere").fails(&["modules.json", "`path`", "out of the folder"]);
    modules("Transformer", "/etc").fails(&["modules.json", "`path`"]);
    Copy::new()
        .write("modules.json", b"[]")
        .fails(&["modules.json", "no module"]);
}

#[test]
fn a_tensor_of_another_shape_is_named_before_anything_is_allocated() {
    // The file says 24 and 48; a configuration that asks for more finds its first tensor at fault.
    Copy::new()
        .set("config.json", "intermediate_size", 64.into())
        .fails(&[
            "model.safetensors",
            "`encoder.layer.0.intermediate.dense.weight`",
            "[48, 24]",
            "[64, 24]",
        ]);
    Copy::new()
        .set("config.json", "num_hidden_layers", 3.into())
        .fails(&["model.safetensors", "`encoder.layer.2.", "missing"]);
    Copy::new()
        .set("config.json", "vocab_size", 999_999.into())
        .fails(&["model.safetensors", "`embeddings.word_embeddings.weight`"]);
    Copy::new()
        .set("config.json", "vocab_size", 20.into())
        .fails(&["tokenizer.json", "id", "`vocab_size`"]);
}

#[test]
fn a_spoilt_file_is_an_error_and_never_a_panic() {
    for file in [
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        let good = fs::read(tiny().join(file)).unwrap();
        Copy::new().write(file, b"").fails(&[file]);
        Copy::new()
            .write(file, &good[..good.len() / 2])
            .fails(&[file]);
        Copy::new().write(file, b"\xff\xfe{[[[[").fails(&[file]);
    }
    let mut headless = fs::read(tiny().join("model.safetensors")).unwrap();
    headless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    Copy::new()
        .write("model.safetensors", &headless)
        .fails(&["model.safetensors"]);
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let mut weights = fs::read(tiny().join("model.safetensors")).unwrap();
    let last = weights.len() - 4;
    weights[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    Copy::new()
        .write("model.safetensors", &weights)
        .fails(&["model.safetensors", "not finite"]);
    weights[last..].copy_from_slice(&1f32.to_le_bytes());
    let changed = Copy::new()
        .write("model.safetensors", &weights)
        .open()
        .unwrap();
    let good = SentenceEncoder::open(&tiny(), &cpu()).unwrap();
    assert!(
        !changed.id().agrees_with(good.id()),
        "one number changes the digest"
    );
}

#[test]
fn a_file_beyond_its_limit_is_not_read() {
    let copy = Copy::new();
    let sparse = fs::File::create(copy.path("model.safetensors")).unwrap();
    sparse.set_len(limits::WEIGHTS_BYTES_MAX + 1).unwrap();
    copy.fails(&["model.safetensors", "bytes, and such a file may have"]);
}
