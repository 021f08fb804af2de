//! A run, from its submission to its figures.

use consilium_scenarios::house::Typed;
use serde_json::Value;

use super::meter::{loopback_payload_bytes, quantile};
use super::{Consortium, Outcome};

/// The thirteen inputs of the Fed-Heart-Disease recipe.
pub(crate) const DATA: &str = r#"
[data]
features = [
    { column = "age" }, { column = "sex" }, { column = "cp", one-hot = [1, 2, 3, 4] },
    { column = "trestbps" }, { column = "chol" }, { column = "fbs" },
    { column = "restecg", one-hot = [0, 1, 2] }, { column = "thalach" }, { column = "exang" },
    { column = "oldpeak" },
]
label = { column = "num", greater-than = 0 }
"#;

/// What one run took.
#[derive(Debug)]
pub(crate) struct Figures {
    /// From each round's end to the next, round 1 left out.
    pub(crate) round_ms: Vec<f64>,
    /// Of these, until the last update was in; the rest is the next state and the journal.
    pub(crate) collect_ms: Vec<f64>,
    pub(crate) coordinator_cpu_s: f64,
    /// All nodes together.
    pub(crate) nodes_cpu_s: f64,
    pub(crate) coordinator_peak_mib: f64,
    /// The largest.
    pub(crate) node_peak_mib: f64,
    /// UDP payload over loopback from the submission to the end.
    pub(crate) udp_bytes: u64,
}

impl Figures {
    pub(crate) fn round_quantile(&mut self, share: f64) -> f64 {
        quantile(&mut self.round_ms, share)
    }
}

/// Submits a run, follows it as a person would with `--stream`, and takes its figures.
pub(crate) fn run(consortium: &Consortium, text: &str) -> Outcome<Figures> {
    let file = consortium.write_run(text)?;
    let (coordinator, nodes) = (consortium.coordinator()?, consortium.nodes()?);
    let nodes_cpu_s = || nodes.iter().map(|node| node.cpu_s()).sum::<Outcome<f64>>();
    let before = (
        coordinator.cpu_s()?,
        nodes_cpu_s()?,
        loopback_payload_bytes()?,
    );
    let submitted = consortium.researcher.types(
        &["run", "submit", &file.to_string_lossy(), "--stream"],
        Typed::Quietly,
    )?;
    let fallen = consortium.fallen();
    if !fallen.is_empty() {
        return Err(fallen.join("; ").into());
    }
    let after = (
        coordinator.cpu_s()?,
        nodes_cpu_s()?,
        loopback_payload_bytes()?,
    );
    let run_id = submitted
        .get("run_id")
        .and_then(Value::as_str)
        .ok_or("a run without an id")?;
    let log = consortium
        .researcher
        .types(&["run", "log", run_id], Typed::Quietly)?;
    let closed = closed_rounds(&log, consortium.sites.len())?;
    let ends: Vec<f64> = closed.iter().map(|round| round.at_ms).collect();
    let round_ms: Vec<f64> = ends
        .iter()
        .zip(ends.iter().skip(1))
        .map(|(from, to)| to - from)
        .collect();
    Ok(Figures {
        collect_ms: closed
            .iter()
            .skip(1)
            .map(|round| round.collect_ms)
            .collect(),
        round_ms,
        coordinator_cpu_s: after.0 - before.0,
        nodes_cpu_s: after.1 - before.1,
        coordinator_peak_mib: coordinator.peak_mib()?,
        node_peak_mib: nodes
            .iter()
            .try_fold(0.0, |most, node| Outcome::Ok(node.peak_mib()?.max(most)))?,
        udp_bytes: after.2 - before.2,
    })
}

struct ClosedRound {
    at_ms: f64,
    collect_ms: f64,
}

/// The rounds of a run's history. One that a site is missing from is no figure.
fn closed_rounds(log: &Value, sites: usize) -> Outcome<Vec<ClosedRound>> {
    let events = log
        .get("events")
        .and_then(Value::as_array)
        .ok_or("a history without events")?;
    let mut closed = Vec::new();
    for entry in events {
        let Some(event) = entry
            .get("event")
            .filter(|event| kind(event) == "round-closed")
        else {
            continue;
        };
        let came = event
            .get("sites")
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len);
        if came != sites {
            return Err(format!("a round closed with {came} of {sites} sites: {event}").into());
        }
        let number = |of: &Value, field: &str| {
            of.get(field)
                .and_then(Value::as_f64)
                .ok_or("a round without its time")
        };
        closed.push(ClosedRound {
            at_ms: number(entry, "at_ms")?,
            collect_ms: number(event, "duration_ms")?,
        });
    }
    Ok(closed)
}

fn kind(event: &Value) -> &str {
    event
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
}
