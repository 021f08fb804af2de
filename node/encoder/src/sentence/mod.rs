//! A sentence encoder of the BERT family, loaded from a folder as sentence-transformers writes it.
//!
//! A folder is foreign: small files are read with limits and every field is checked, and the weights' file is held
//! against the shape that they say, before a tensor is made. A fault inside the tokenizer or the device becomes an
//! error. What is no fault: a longer text than the model reads (its end is ignored), and a text without a word.

mod batches;
mod folder;
mod kernels;
mod network;
#[cfg(test)]
mod tests;
mod weights;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use tokenizers::{Tokenizer, TruncationParams};

use self::batches::{Batch, batches};
use self::folder::{Pooling, Settings, read, settings};
use self::network::Network;
use self::weights::Weights;
use crate::encoder::{EncoderId, beginning, unit};
use crate::error::{EncodeError, OpenError};
use crate::limits;

/// Changes when this code gives other vectors for the same files.
const RULES: &[u8] = b"consilium sentence encoder 1";

/// A BERT with its tokenizer.
pub struct SentenceEncoder {
    id: EncoderId,
    tokenizer: Tokenizer,
    network: Network,
    pooling: Pooling,
    tokens_max: usize,
    lower_case: bool,
    vocabulary: usize,
    on_cpu: bool,
}

impl SentenceEncoder {
    /// Reads a folder and puts its weights on the device.
    ///
    /// # Errors
    /// If a file is missing, too large or malformed, of another architecture, or a tensor has another shape than
    /// `config.json` says; the message names file and field.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, OpenError> {
        let settings = settings(folder)?;
        let tokenizer_file = settings.transformer.join("tokenizer.json");
        let tokenizer_bytes = read(&tokenizer_file, limits::TOKENIZER_BYTES_MAX)?;
        let tokenizer = contained(|| tokenizer(&tokenizer_bytes, &settings))
            .and_then(|tokenizer| tokenizer)
            .map_err(|reason| OpenError::Malformed {
                file: tokenizer_file,
                reason,
            })?;
        let weights_file = settings.transformer.join("model.safetensors");
        let weights_bytes = read(&weights_file, limits::WEIGHTS_BYTES_MAX)?;
        let weights = Weights::of(&weights_bytes, &weights_file)?;
        let network = contained(|| Network::new(&weights, &settings.shape, device));
        let network = network.map_err(|reason| OpenError::Malformed {
            file: weights_file,
            reason,
        })??;
        let mut hasher = blake3::Hasher::new();
        let Settings {
            shape,
            pooling,
            tokens_max,
            lower_case,
            ..
        } = settings;
        let said = format!("{shape:?} {pooling:?} {tokens_max} {lower_case}");
        for part in [RULES, said.as_bytes(), &tokenizer_bytes, &weights_bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Ok(Self {
            id: EncoderId {
                name: name_of(folder),
                digest: hasher.finalize().to_hex().to_string(),
                dimension: shape.hidden,
            },
            tokenizer,
            network,
            pooling,
            tokens_max,
            lower_case,
            vocabulary: shape.vocabulary,
            on_cpu: *device == Device::flex(),
        })
    }

    #[must_use]
    pub fn id(&self) -> &EncoderId {
        &self.id
    }

    /// Tokens of a text that are read, the two that mark its ends included.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// One unit vector for each text, in order.
    ///
    /// # Errors
    /// If the tokenizer fails on a text or gives an id beyond the vocabulary, a vector is not finite, or the device
    /// fails.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EncodeError> {
        let mut tokens = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let ids = contained(|| self.tokens(text)).and_then(|ids| ids);
            tokens.push(ids.map_err(|reason| EncodeError::Tokens { at, reason })?);
        }
        let (tokens_max, threads_max) = if self.on_cpu {
            (limits::CPU_BATCH_TOKENS_MAX, limits::THREADS_MAX)
        } else {
            // A device runs one batch after another anyway.
            (limits::GPU_BATCH_TOKENS_MAX, 1)
        };
        let batches = batches(&tokens, tokens_max);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.run(&batches, texts.len(), cores.min(threads_max))
    }

    fn run(
        &self,
        batches: &[Batch],
        texts: usize,
        threads: usize,
    ) -> Result<Vec<Vec<f32>>, EncodeError> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Result<Vec<Vec<f32>>, EncodeError>> = Mutex::new(Ok(vec![vec![]; texts]));
        let work = || {
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let vectors = self.vectors(batch);
                let mut done = done
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let Ok(all) = done.as_mut() else { return };
                match vectors {
                    Ok(vectors) => {
                        for (place, vector) in batch.places.iter().zip(vectors) {
                            if let Some(slot) = all.get_mut(*place) {
                                *slot = vector;
                            }
                        }
                    }
                    Err(error) => *done = Err(error),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(batches.len()) {
                scope.spawn(work);
            }
            work();
        });
        done.into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn vectors(&self, batch: &Batch) -> Result<Vec<Vec<f32>>, EncodeError> {
        let pooled = contained(|| self.network.run(batch, self.pooling))
            .map_err(|reason| EncodeError::Device { reason })??;
        let rows = pooled.chunks(self.id.dimension).zip(&batch.places);
        rows.map(|(row, at)| unit(row.to_vec()).ok_or(EncodeError::NotFinite { at: *at }))
            .collect()
    }

    fn tokens(&self, text: &str) -> Result<Vec<i32>, String> {
        let text = beginning(text, self.tokens_max * limits::BYTES_PER_TOKEN_MAX);
        let lower = self.lower_case.then(|| text.to_lowercase());
        let encoded = self
            .tokenizer
            .encode_fast(lower.as_deref().unwrap_or(text), true)
            .map_err(|error| error.to_string())?;
        let ids = encoded.get_ids();
        let known = |id: &u32| (*id as usize) < self.vocabulary;
        if ids.is_empty() || ids.len() > self.tokens_max || !ids.iter().all(known) {
            return Err("it gives no token, too many, or one beyond the vocabulary".to_owned());
        }
        let narrow = |id: &u32| i32::try_from(*id).map_err(|error| error.to_string());
        ids.iter().map(narrow).collect()
    }
}

/// A tokenizer that cuts where the model's reading ends, and does not pad.
fn tokenizer(bytes: &[u8], settings: &Settings) -> Result<Tokenizer, String> {
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
    let pieces = tokenizer.get_vocab(true);
    if let Some((_, id)) = pieces
        .iter()
        .find(|(_, id)| **id as usize >= settings.shape.vocabulary)
    {
        let vocabulary = settings.shape.vocabulary;
        return Err(format!(
            "it gives the id {id}, and `vocab_size` in config.json is {vocabulary}"
        ));
    }
    let marks = tokenizer.get_post_processor().map_or(0, |ends| {
        tokenizers::PostProcessor::added_tokens(ends, false)
    });
    if marks >= settings.tokens_max {
        return Err(format!(
            "it adds {marks} tokens to a text, and {} are read",
            settings.tokens_max
        ));
    }
    let cut = TruncationParams {
        max_length: settings.tokens_max,
        ..TruncationParams::default()
    };
    tokenizer
        .with_truncation(Some(cut))
        .map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn name_of(folder: &Path) -> String {
    let absolute = folder.canonicalize();
    let last = absolute.as_deref().unwrap_or(folder).file_name();
    last.map_or_else(
        || "sentence encoder".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// A panic inside the tokenizer, burn or a driver becomes a reason.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|fault| {
        let text = fault.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| fault.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it broke off without saying why".to_owned())
    })
}

impl fmt::Debug for SentenceEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceEncoder")
            .field("id", &self.id)
            .field("tokens_max", &self.tokens_max)
            .finish_non_exhaustive()
    }
}
