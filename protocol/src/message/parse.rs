//! The few checks that every message is made of.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;

use super::MessageError;
use crate::digest::Digest;
use crate::limits::{DER_BYTES_MAX, SENTENCE_BYTES_MAX, TOKEN_BYTES_MAX};

pub(super) fn present<T>(field: &'static str, value: Option<T>) -> Result<T, MessageError> {
    value.ok_or(MessageError::Missing { field })
}

pub(super) fn id<T>(field: &'static str, text: &str) -> Result<T, MessageError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| MessageError::Invalid {
        field,
        problem: error.to_string(),
    })
}

pub(super) fn at_most(field: &'static str, len: u64, limit: u64) -> Result<(), MessageError> {
    if len > limit {
        return Err(MessageError::TooLong { field, limit });
    }
    Ok(())
}

pub(super) fn text(
    field: &'static str,
    text: String,
    limit: usize,
) -> Result<String, MessageError> {
    at_most(field, text.len() as u64, limit as u64)?;
    Ok(text)
}

pub(super) fn sentence(field: &'static str, value: String) -> Result<String, MessageError> {
    text(field, value, SENTENCE_BYTES_MAX)
}

pub(super) fn token(field: &'static str, value: String) -> Result<String, MessageError> {
    text(field, value, TOKEN_BYTES_MAX)
}

pub(super) fn bytes(
    field: &'static str,
    value: &Bytes,
    limit: usize,
) -> Result<Vec<u8>, MessageError> {
    at_most(field, value.len() as u64, limit as u64)?;
    Ok(value.to_vec())
}

pub(super) fn der(field: &'static str, value: &Bytes) -> Result<Vec<u8>, MessageError> {
    bytes(field, value, DER_BYTES_MAX)
}

/// Thirty-two bytes: a SHA-256 or a BLAKE3 hash.
pub(super) fn hash(field: &'static str, value: &Bytes) -> Result<[u8; 32], MessageError> {
    value
        .as_ref()
        .try_into()
        .map_err(|_| MessageError::Invalid {
            field,
            problem: "a hash is 32 bytes long".into(),
        })
}

pub(super) fn digest(field: &'static str, value: &Bytes) -> Result<Digest, MessageError> {
    hash(field, value).map(Digest)
}

pub(super) fn list<W, T>(
    field: &'static str,
    values: Vec<W>,
    limit: usize,
) -> Result<Vec<T>, MessageError>
where
    T: TryFrom<W, Error = MessageError>,
{
    at_most(field, values.len() as u64, limit as u64)?;
    values.into_iter().map(TryInto::try_into).collect()
}

/// A measured number may be anything but infinite or not a number.
pub(super) fn finite(field: &'static str, value: f64) -> Result<f64, MessageError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(MessageError::Invalid {
            field,
            problem: "must be a finite number".into(),
        })
    }
}

pub(super) fn fraction(field: &'static str, value: f64) -> Result<f64, MessageError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(MessageError::Invalid {
            field,
            problem: "must lie between 0 and 1".into(),
        })
    }
}
