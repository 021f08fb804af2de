//! One text for one question: JSON with sorted keys and no spaces (in the spirit of RFC 8785).

use serde::Serialize;
use serde_json::Value;

use super::QueryError;

/// The canonical text of a document. Numbers that may have a fraction are written with one: `60.0`.
pub(crate) fn text(document: &impl Serialize) -> Result<String, QueryError> {
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
