//! `consilium-node ingest` at a site, and what it reported.

use serde_json::Value;

use crate::house::Consortium;
use crate::story::StoryError;

/// What a site took in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ingested {
    pub(super) documents: u64,
    pub(super) passages: u64,
    /// Passages dropped because they nearly equal another of the same document.
    pub(super) duplicates: u64,
    /// Records that were left out.
    pub(super) skipped: u64,
    /// Places in the texts from which something was taken out.
    pub(super) redacted: u64,
    pub(super) took_ms: u64,
}

impl Ingested {
    /// Another site's added.
    pub(super) fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.passages += other.passages;
        self.duplicates += other.duplicates;
        self.skipped += other.skipped;
        self.redacted += other.redacted;
        self.took_ms += other.took_ms;
    }
}

/// Ingests one collection of a site.
///
/// # Errors
/// What the command said, or a report that lacks something.
pub(super) fn ingest(
    consortium: &Consortium,
    site: &str,
    collection: &str,
) -> Result<Ingested, StoryError> {
    let began = consilium_link::wall_clock();
    let printed = consortium.at_node(
        site,
        "ingest",
        &["--collection", collection, "--format", "json"],
    )?;
    let took_ms = consilium_link::wall_clock().since_ms(began);
    let envelope: Value = serde_json::from_str(&printed).map_err(StoryError::unexpected)?;
    let report = envelope
        .pointer("/data/collections/0/report")
        .ok_or_else(|| {
            StoryError::unexpected(format!(
                "the report of `{site}` on `{collection}` has no collection"
            ))
        })?;
    let number = |pointer: &str| {
        let number = report.pointer(pointer).and_then(Value::as_u64);
        number.ok_or_else(|| {
            StoryError::unexpected(format!(
                "the report of `{site}` on `{collection}` has no `{pointer}`"
            ))
        })
    };
    let sum = |field: &str| {
        let counts = report.get(field).and_then(Value::as_object);
        counts
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum()
    };
    Ok(Ingested {
        documents: number("/collection/documents")?,
        passages: number("/collection/passages")?,
        duplicates: number("/duplicates")?,
        skipped: sum("skipped"),
        redacted: sum("redacted"),
        took_ms,
    })
}
