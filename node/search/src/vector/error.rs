//! What can go wrong with a vector index, for whoever called it.

use std::io;

use super::limits::{CHANGE_ROWS_MAX, DIMENSION_MAX, ENCODER_NAME_MAX, K_MAX, ROW_ID_END};

/// A fault or an unusable argument. No variant carries a coordinate of a vector: those are personal data.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    #[error("a vector of {found} coordinates; give 1 to {DIMENSION_MAX}")]
    DimensionOutOfRange { found: usize },
    #[error(
        "a vector of {found} coordinates in an index of {expected}; use the encoder that the index was made with"
    )]
    WrongDimension { expected: usize, found: usize },
    #[error("coordinate {at} of a vector is not a finite number; the encoder's output is unusable")]
    NotFinite { at: usize },
    #[error("a vector of length zero has no direction; skip the text that it was made of")]
    Zero,
    #[error("k is {found}; ask for 1 to {K_MAX} hits")]
    KOutOfRange { found: usize },
    #[error("row {row} comes after row {last}; rows are added in ascending order and never twice")]
    RowOutOfOrder { row: u32, last: u32 },
    #[error("row {row} is out of range; rows are numbered below {ROW_ID_END}")]
    RowOutOfRange { row: u32 },
    #[error("a change of {found} rows; make changes of at most {CHANGE_ROWS_MAX}")]
    ChangeTooLarge { found: usize },
    #[error("the index has {found} segments, which is the most it can have; run its maintenance")]
    TooManySegments { found: usize },
    #[error("an encoder name of {found} bytes; give 1 to {ENCODER_NAME_MAX}")]
    EncoderName { found: usize },
    #[error(
        "the index was made with encoder `{found}`, and `{wanted}` was asked for; an index never mixes two"
    )]
    OtherEncoder { wanted: String, found: String },
    #[error(
        "`{file}` is not a file of a vector index, or its first bytes are damaged; restore it or ingest again"
    )]
    NotOurs { file: String },
    #[error(
        "`{file}` has version {found} and this program reads version {expected}; ingest again with this program"
    )]
    OtherVersion {
        file: String,
        found: u16,
        expected: u16,
    },
    #[error("`{file}` is damaged: {what}; restore it from a backup or ingest again")]
    Damaged { file: String, what: &'static str },
    #[error(
        "`{file}` cannot be opened with this node's key: the file is damaged, or the key is another's"
    )]
    Unsealable { file: String },
    #[error("cannot {doing} `{file}`: {source}")]
    Disk {
        doing: &'static str,
        file: String,
        source: io::Error,
    },
    #[error("the key file must hold 64 hexadecimal digits")]
    KeyFile,
    #[error("this machine gave no random bytes or refused to seal; nothing was written")]
    Cryptography,
    #[error("cannot build a segment: {0}")]
    Build(&'static str),
    #[error(
        "{found} erased rows are still in the files, which is the most there can be; run the index's maintenance"
    )]
    TooManyErased { found: usize },
}
