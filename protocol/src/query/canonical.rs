//! One text for one question: JSON with sorted keys and no spaces (in the spirit of RFC 8785).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::QueryError;
use crate::digest::Digest;

/// What is written in one canonical text, signed and hashed.
pub trait Document: Serialize + DeserializeOwned {
    /// How long its text may be.
    const BYTES_MAX: usize;

    /// The form in which everything that means the same is written alike.
    #[must_use]
    fn canonical(self) -> Self;

    /// # Errors
    /// Which field is impossible or over its limit.
    fn check(&self) -> Result<(), QueryError>;
}

/// A document, parsed and checked, in its one canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Canonical<D> {
    document: D,
    text: String,
    digest: Digest,
}

impl<D: Document> Canonical<D> {
    /// What says this.
    ///
    /// # Errors
    /// Which field is impossible or over its limit.
    pub fn new(document: D) -> Result<Self, QueryError> {
        document.check()?;
        let document = document.canonical();
        // De Morgan's laws make terms of joints: the limits hold of the canonical form too.
        document.check()?;
        let text = text(&document)?;
        if text.len() > D::BYTES_MAX {
            return Err(QueryError::TooLong { bytes: text.len() });
        }
        Ok(Self {
            digest: Digest::of(text.as_bytes()),
            document,
            text,
        })
    }

    /// Reads what came from the network: canonical JSON, byte for byte.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub fn parse(text: &[u8]) -> Result<Self, QueryError> {
        let json = json(text, D::BYTES_MAX)?;
        let parsed = Self::new(read(json)?)?;
        match parsed.text == json {
            true => Ok(parsed),
            false => Err(QueryError::NotCanonical),
        }
    }

    /// What it asks.
    #[must_use]
    pub fn document(&self) -> &D {
        &self.document
    }

    /// The canonical text. This is what is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Bytes from the network as text, where they are not too many.
pub(super) fn json(text: &[u8], bytes_max: usize) -> Result<&str, QueryError> {
    if text.len() > bytes_max {
        return Err(QueryError::TooLong { bytes: text.len() });
    }
    std::str::from_utf8(text).map_err(|_| QueryError::NotText)
}

pub(super) fn read<D: DeserializeOwned>(json: &str) -> Result<D, QueryError> {
    serde_json::from_str(json).map_err(|error| QueryError::Syntax {
        message: error.to_string(),
    })
}

/// The canonical text of a document. Numbers that may have a fraction are written with one: `60.0`.
pub(super) fn text(document: &impl Serialize) -> Result<String, QueryError> {
    let value = serde_json::to_value(document).map_err(|error| QueryError::Syntax {
        message: error.to_string(),
    })?;
    let mut text = String::new();
    append(&value, &mut text);
    Ok(text)
}

/// Sorts by itself: whether `serde_json` keeps keys in order depends on who else builds it.
fn append(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                append(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                if let Some(item) = fields.get(key) {
                    append(item, text);
                }
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}
