//! What can go wrong, for people.

use std::path::PathBuf;

/// Why an encoder cannot be had. File names are the operator's; no text of a record is in them.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "`{}` cannot be read: {reason}; an encoder folder holds config.json, tokenizer.json, model.safetensors and, \
         as sentence-transformers writes them, modules.json and 1_Pooling/config.json",
        file.display()
    )]
    Unreadable { file: PathBuf, reason: String },
    #[error("`{}` has {bytes} bytes, and such a file may have {bytes_max}", file.display())]
    TooLarge {
        file: PathBuf,
        bytes: u64,
        bytes_max: u64,
    },
    #[error("`{}` is not what it should be: {reason}", file.display())]
    Malformed { file: PathBuf, reason: String },
    #[error("`{}`: field `{field}` {reason}", file.display())]
    Field {
        file: PathBuf,
        field: String,
        reason: String,
    },
    #[error("`{}`: tensor `{tensor}` {reason}", file.display())]
    Tensor {
        file: PathBuf,
        tensor: String,
        reason: String,
    },
}

/// Why texts were not encoded. `at` is a text's place in the call, from 0; the text itself is never said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("text {at} cannot be split into tokens by this encoder's tokenizer: {reason}")]
    Tokens { at: usize, reason: String },
    #[error("the encoder gives text {at} no finite vector; its weights are not usable")]
    NotFinite { at: usize },
    #[error("the encoder broke off: {reason}")]
    Device { reason: String },
}
