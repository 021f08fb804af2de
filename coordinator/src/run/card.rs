//! The model card: what a finished model was made of, for whoever meets it later.

use consilium_protocol::RunId;
use consilium_protocol::limits::MODEL_CARD_BYTES_MAX;
use consilium_protocol::message::RunEvent;
use consilium_protocol::run::PrivacySpec;
use serde_json::{Value, json};

use super::record::RunRecord;
use crate::index::{Index, IndexError};

/// Readers tell by it which fields to expect.
const CARD_VERSION: u32 = 1;

/// What the rounds may take of the card, as JSON. A longer run lists every second round, or
/// every third, and so on, and always its last; the journal has them all.
const ROUNDS_BYTES_MAX: usize = MODEL_CARD_BYTES_MAX / 4;

/// The card as JSON: lineage (run file, seed, strategy, software), data set versions and
/// policy bundles by site, and what each site measured, round by round.
///
/// # Errors
/// The index cannot be read.
pub fn model_card(record: &RunRecord, index: &Index) -> Result<String, IndexError> {
    let run_id = &record.summary.run_id;
    let mut rounds_bytes = 0;
    walk(run_id, index, |round| {
        rounds_bytes += round.to_string().len()
    })?;
    let every = rounds_bytes.div_ceil(ROUNDS_BYTES_MAX).max(1);
    let (mut rounds, mut last, mut count) = (Vec::new(), None, 0);
    walk(run_id, index, |round| {
        count += 1;
        if count % every == 0 {
            rounds.push(round.clone());
        }
        last = Some(round);
    })?;
    if rounds.last() != last.as_ref() {
        rounds.extend(last);
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
        "privacy": spec.as_ref().and_then(|spec| spec.document().privacy).map(promise),
        "parameters": spec.as_ref().map(|spec| spec.layout().shared_len()),
        "parameters_kept_at_each_site": spec.as_ref().map(|spec| spec.layout().local_len()),
        "model_sha256": record.model,
        "final_state_blake3": record.state,
        "sites": sites,
        "refused": record.refused,
        "rounds_listed_every": every,
        "rounds": rounds,
    });
    // For people, if there is room.
    let readable = format!("{card:#}");
    Ok(match readable.len() <= MODEL_CARD_BYTES_MAX {
        true => readable,
        false => card.to_string(),
    })
}

/// What a private run promised. What it cost in truth stands in each site's own ledger.
fn promise(privacy: PrivacySpec) -> Value {
    let PrivacySpec {
        clip,
        epsilon,
        delta,
    } = privacy;
    json!({
        "epsilon_at_most": epsilon,
        "delta": delta,
        "clip": clip,
        "unit": "one patient of one site, added or removed; for a patient of several sites their epsilons add up",
        "mechanism": "DP-SGD at each site: Poisson sampling, discrete Gaussian noise, Rényi accounting",
        "taken_as_public": "how many records and patients each site trains on",
    })
}

/// Every closed round of a run, in order.
fn walk(run_id: &RunId, index: &Index, mut visit: impl FnMut(Value)) -> Result<(), IndexError> {
    let mut next = 0;
    loop {
        let events: Vec<RunEvent> = index.events(run_id, next)?;
        let Some(newest) = events.last() else {
            return Ok(());
        };
        next = newest.number + 1;
        events.iter().filter_map(round_of).for_each(&mut visit);
    }
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
