//! The model card: what a finished model was made of, for whoever meets it later.

use consilium_protocol::message::RunEvent;
use serde_json::{Value, json};

use super::record::RunRecord;
use crate::index::{Index, IndexError};

/// Entries of a history that one look-up gives; more are looked up in turn.
const CARD_VERSION: u32 = 1;

/// The card as JSON: lineage (run file, seed, strategy, software), data set versions and
/// policy bundles by site, and what each site measured, round by round.
///
/// # Errors
/// The index cannot be read.
pub fn model_card(record: &RunRecord, index: &Index) -> Result<String, IndexError> {
    let run_id = &record.summary.run_id;
    let mut rounds = Vec::new();
    let mut next = 0;
    loop {
        let events: Vec<RunEvent> = index.events(run_id, next)?;
        let Some(last) = events.last() else { break };
        next = last.number + 1;
        rounds.extend(events.iter().filter_map(round_of));
    }
    let sites: serde_json::Map<String, Value> = record
        .admitted
        .iter()
        .map(|(site, admission)| {
            let of_site = json!({
                "records": admission.records,
                "dataset_version_sha256": admission.dataset_version,
                "policy_bundle_sha256": admission.bundle,
                "held_out": record.evaluated.as_ref().and_then(|all| all.get(site)),
            });
            (site.to_string(), of_site)
        })
        .collect();
    let spec = record.spec().ok();
    let card = json!({
        "card_version": CARD_VERSION,
        "software": concat!("consilium ", env!("CARGO_PKG_VERSION")),
        "run": record.summary,
        "run_file_sha256": spec.as_ref().map(|spec| spec.digest()),
        "run_file": record.text,
        "parameters": spec.as_ref().map(|spec| spec.layout().shared_len()),
        "parameters_kept_at_each_site": spec.as_ref().map(|spec| spec.layout().local_len()),
        "model_sha256": record.model,
        "final_state_blake3": record.state,
        "sites": sites,
        "refused": record.refused,
        "rounds": rounds,
    });
    Ok(format!("{card:#}"))
}

/// A closed round's line; other entries have none.
fn round_of(event: &RunEvent) -> Option<Value> {
    let mut entry: Value = serde_json::from_str(&event.json).ok()?;
    if entry.get("kind")? != "round-closed" {
        return None;
    }
    let fields = entry.as_object_mut()?;
    fields.remove("kind");
    fields.remove("run_id");
    Some(entry)
}
