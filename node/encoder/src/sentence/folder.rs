//! The files of a sentence-transformers folder, read with limits, and what their fields say.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::OpenError;
use crate::limits;

/// How token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    /// The first token's vector.
    First,
}

/// The shape of a BERT, every number within its limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) intermediate: usize,
    pub(super) positions: usize,
    pub(super) token_types: usize,
    pub(super) vocabulary: usize,
    pub(super) layer_norm_eps: f64,
}

/// What the small files of a folder say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) shape: Shape,
    pub(super) pooling: Pooling,
    /// Tokens of a text that are read, the two that mark its ends included.
    pub(super) tokens_max: usize,
    pub(super) lower_case: bool,
    /// Where tokenizer and weights lie.
    pub(super) transformer: PathBuf,
}

/// Reads and checks everything but tokenizer and weights.
pub(super) fn settings(folder: &Path) -> Result<Settings, OpenError> {
    let parts = parts(folder)?;
    let shape = shape(&Fields::read(&parts.transformer.join("config.json"))?)?;
    let pooling = match &parts.pooling {
        Some(part) => pooling(&Fields::read(&part.join("config.json"))?, &shape)?,
        // What sentence-transformers does with a bare BERT.
        None => Pooling::Mean,
    };
    let (tokens_max, lower_case) = reading(&parts.transformer, &shape)?;
    Ok(Settings {
        shape,
        pooling,
        tokens_max,
        lower_case,
        transformer: parts.transformer,
    })
}

/// The whole of a file, unless it is larger than `bytes_max`.
pub(super) fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, OpenError> {
    let unreadable = |error: std::io::Error| OpenError::Unreadable {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let opened = File::open(file).map_err(unreadable)?;
    let bytes = opened.metadata().map_err(unreadable)?.len();
    let mut content = Vec::new();
    if bytes <= bytes_max {
        let limited = &mut opened.take(bytes_max.saturating_add(1));
        limited.read_to_end(&mut content).map_err(unreadable)?;
    }
    let bytes = bytes.max(content.len() as u64);
    if bytes > bytes_max {
        return Err(OpenError::TooLarge {
            file: file.to_owned(),
            bytes,
            bytes_max,
        });
    }
    Ok(content)
}

/// The folders of the modules.
struct Parts {
    transformer: PathBuf,
    pooling: Option<PathBuf>,
}

/// Without `modules.json` the folder is a bare BERT, with pooling where sentence-transformers puts it.
fn parts(folder: &Path) -> Result<Parts, OpenError> {
    let file = folder.join("modules.json");
    if !file.exists() {
        let pooling = folder.join("1_Pooling");
        return Ok(Parts {
            transformer: folder.to_owned(),
            pooling: pooling.join("config.json").exists().then_some(pooling),
        });
    }
    let malformed = |reason: &str| OpenError::Malformed {
        file: file.clone(),
        reason: reason.to_owned(),
    };
    let listed: Vec<Map<String, Value>> =
        serde_json::from_slice(&read(&file, limits::CONFIG_BYTES_MAX)?)
            .map_err(|error| malformed(&format!("{error}; it lists modules")))?;
    let (mut transformer, mut pooling) = (None, None);
    for (at, module) in listed.into_iter().enumerate() {
        let module = Fields {
            file: file.clone(),
            fields: module,
        };
        let kind = module.text("type")?;
        let path = folder.join(inside(&module)?);
        match (at, kind.rsplit('.').next().unwrap_or_default()) {
            (0, "Transformer") => transformer = Some(path),
            (1, "Pooling") => pooling = Some(path),
            // Vectors are brought to unit length in any case.
            (2, "Normalize") => {}
            _ => {
                return Err(module.wrong(
                    "type",
                    &format!("is `{kind}` at place {at}; known are Transformer, Pooling, Normalize, in this order"),
                ));
            }
        }
    }
    let transformer = transformer.ok_or_else(|| malformed("it lists no module"))?;
    Ok(Parts {
        transformer,
        pooling,
    })
}

/// A module's folder, which must lie inside the encoder's.
fn inside(module: &Fields) -> Result<PathBuf, OpenError> {
    let path = PathBuf::from(module.text("path")?);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().all(plain) {
        Ok(path)
    } else {
        Err(module.wrong("path", "leads out of the folder"))
    }
}

fn shape(config: &Fields) -> Result<Shape, OpenError> {
    config.must_be("model_type", &["bert"], None)?;
    config.must_be("hidden_act", &["gelu"], None)?;
    config.must_be("position_embedding_type", &["absolute"], Some("absolute"))?;
    let shape = Shape {
        hidden: config.whole("hidden_size", limits::HIDDEN_SIZE_MAX)?,
        layers: config.whole("num_hidden_layers", limits::LAYERS_MAX)?,
        heads: config.whole("num_attention_heads", limits::HEADS_MAX)?,
        intermediate: config.whole("intermediate_size", limits::INTERMEDIATE_SIZE_MAX)?,
        positions: config.whole("max_position_embeddings", limits::POSITIONS_MAX)?,
        token_types: config.whole("type_vocab_size", limits::TOKEN_TYPES_MAX)?,
        vocabulary: config.whole("vocab_size", limits::VOCABULARY_MAX)?,
        layer_norm_eps: config.small("layer_norm_eps")?,
    };
    if !shape.hidden.is_multiple_of(shape.heads) {
        return Err(config.wrong(
            "num_attention_heads",
            &format!(
                "is {}, which does not divide `hidden_size`, {}",
                shape.heads, shape.hidden
            ),
        ));
    }
    Ok(shape)
}

/// Two ways of writing exist: flags, and since sentence-transformers 5 one word.
fn pooling(config: &Fields, shape: &Shape) -> Result<Pooling, OpenError> {
    for field in ["word_embedding_dimension", "embedding_dimension"] {
        if config.has(field) && config.whole(field, limits::HIDDEN_SIZE_MAX)? != shape.hidden {
            return Err(config.wrong(
                field,
                &format!(
                    "differs from `hidden_size` in config.json, {}",
                    shape.hidden
                ),
            ));
        }
    }
    if config.has("pooling_mode") {
        config.must_be("pooling_mode", &["mean", "cls"], None)?;
        let first = config.text("pooling_mode")? == "cls";
        return Ok(if first { Pooling::First } else { Pooling::Mean });
    }
    let mut on = Vec::new();
    for (field, value) in &config.fields {
        if field.starts_with("pooling_mode_") && value.as_bool() == Some(true) {
            on.push(field.as_str());
        }
    }
    match on.as_slice() {
        ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token"] => Ok(Pooling::First),
        _ => Err(config.wrong(
            "pooling_mode_mean_tokens",
            &format!(
                "or `pooling_mode_cls_token` must be on, and alone; on are: {}",
                on.join(", ")
            ),
        )),
    }
}

/// How much of a text is read, and whether in lower case. The newer way of writing has it with the tokenizer.
fn reading(transformer: &Path, shape: &Shape) -> Result<(usize, bool), OpenError> {
    let mut tokens_max = shape.positions;
    let mut lower_case = false;
    let file = transformer.join("sentence_bert_config.json");
    let mut said = false;
    if file.exists() {
        let config = Fields::read(&file)?;
        said = config.has("max_seq_length");
        if said {
            tokens_max = config.whole("max_seq_length", limits::POSITIONS_MAX)?;
        }
        lower_case = config.fields.get("do_lower_case") == Some(&Value::Bool(true));
        check_tokens(tokens_max, shape, &config, "max_seq_length")?;
    }
    let file = transformer.join("tokenizer_config.json");
    if !said && file.exists() {
        let config = Fields::read(&file)?;
        let length = config.fields.get("model_max_length");
        // "No limit" is written as 10³⁰.
        if let Some(length) = length.and_then(Value::as_u64) {
            tokens_max = tokens_max.min(usize::try_from(length).unwrap_or(usize::MAX));
        }
        check_tokens(tokens_max, shape, &config, "model_max_length")?;
    }
    Ok((tokens_max, lower_case))
}

/// Both ends of a text and one token between them must fit.
fn check_tokens(
    tokens_max: usize,
    shape: &Shape,
    config: &Fields,
    field: &str,
) -> Result<(), OpenError> {
    if (3..=shape.positions).contains(&tokens_max) {
        return Ok(());
    }
    let positions = shape.positions;
    Err(config.wrong(
        field,
        &format!("leads to {tokens_max} tokens a text; config.json allows 3 to {positions}"),
    ))
}

/// A JSON object and the file it came from, for errors that name both.
struct Fields {
    file: PathBuf,
    fields: Map<String, Value>,
}

impl Fields {
    fn read(file: &Path) -> Result<Self, OpenError> {
        let fields = serde_json::from_slice(&read(file, limits::CONFIG_BYTES_MAX)?);
        Ok(Self {
            file: file.to_owned(),
            fields: fields.map_err(|error| OpenError::Malformed {
                file: file.to_owned(),
                reason: error.to_string(),
            })?,
        })
    }

    fn wrong(&self, field: &str, reason: &str) -> OpenError {
        OpenError::Field {
            file: self.file.clone(),
            field: field.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    fn text(&self, field: &str) -> Result<&str, OpenError> {
        let text = self.fields.get(field).and_then(Value::as_str);
        text.ok_or_else(|| self.wrong(field, "is missing or not a text"))
    }

    fn must_be(&self, field: &str, known: &[&str], default: Option<&str>) -> Result<(), OpenError> {
        let text = match (self.has(field), default) {
            (false, Some(default)) => default,
            _ => self.text(field)?,
        };
        if known.contains(&text) {
            return Ok(());
        }
        let known = known.join("` or `");
        Err(self.wrong(
            field,
            &format!("is `{}`; this encoder knows `{known}`", short(text)),
        ))
    }

    /// A number from 1 to `max`.
    fn whole(&self, field: &str, max: usize) -> Result<usize, OpenError> {
        let number = self.fields.get(field).and_then(Value::as_u64);
        let number = number.and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(
                field,
                &format!("is missing or not a whole number from 1 to {max}"),
            )),
        }
    }

    /// A number that keeps a division sound.
    fn small(&self, field: &str) -> Result<f64, OpenError> {
        match self.fields.get(field).and_then(Value::as_f64) {
            Some(number) if number > 0.0 && number <= 0.1 => Ok(number),
            _ => Err(self.wrong(field, "is missing or not a number above 0 and up to 0.1")),
        }
    }
}

/// A text from a file as an error may show it.
fn short(text: &str) -> String {
    text.chars().take(40).filter(|c| !c.is_control()).collect()
}
