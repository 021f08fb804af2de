//! What a run's events mean to a person: lines, and how far it has come. Pure.

use std::collections::BTreeMap;

use consilium_protocol::message::{Metrics, RunEvent, RunState, RunSummary};
use consilium_protocol::{Refusal, SiteName};
use serde::Deserialize;

/// How far a run has come, as its events tell it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    pub(crate) round: u32,
    pub(crate) rounds: u32,
    /// The last round's figures, for beside a bar.
    pub(crate) figures: String,
    /// When training began or went on, and after which round.
    since: Option<(u64, u32)>,
    /// When the last round was closed.
    closed_at_ms: u64,
}

/// One event, as far as this build knows it; a newer coordinator may say more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Heard {
    RunSubmitted {
        researcher: String,
    },
    SiteAdmitted {
        site: SiteName,
        admission: Admission,
    },
    SiteRefused {
        site: SiteName,
        refusal: Refusal,
    },
    SiteWaits {
        site: SiteName,
    },
    RunStarted {
        sites: Vec<SiteName>,
        #[serde(default)]
        missing: BTreeMap<SiteName, String>,
    },
    RoundClosed {
        round: u32,
        sites: BTreeMap<SiteName, Contribution>,
        #[serde(default)]
        missing: BTreeMap<SiteName, Missing>,
    },
    RunEvaluated {
        sites: BTreeMap<SiteName, Metrics>,
        #[serde(default)]
        missing: BTreeMap<SiteName, String>,
    },
    RunEnded {
        state: RunState,
        #[serde(default)]
        cause: String,
    },
    RunResumed {
        by: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Admission {
    records: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Contribution {
    records: u64,
    training_loss: Option<f64>,
    held_out: Option<Metrics>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Missing {
    cause: String,
    refusal: Option<Refusal>,
}

impl Progress {
    /// Before anything was heard.
    pub(crate) fn of(rounds: u32) -> Self {
        Self {
            round: 0,
            rounds,
            figures: String::new(),
            since: None,
            closed_at_ms: 0,
        }
    }

    /// Takes an event into account and says it in lines.
    pub(crate) fn hear(&mut self, event: &RunEvent) -> String {
        let heard = serde_json::from_str(&event.json).unwrap_or(Heard::Unknown);
        match &heard {
            Heard::RunStarted { .. } | Heard::RunResumed { .. } => {
                self.since = Some((event.at_ms, self.round));
            }
            Heard::RoundClosed {
                round,
                sites,
                missing,
            } => {
                self.round = *round;
                self.closed_at_ms = event.at_ms;
                self.figures = figures(sites, missing);
            }
            _ => {}
        }
        self.line(&heard, event)
    }

    /// What is left, if the rounds to come take as long as those since training began or went on.
    pub(crate) fn left_ms(&self) -> Option<u64> {
        let (since_ms, after_round) = self.since?;
        let done = u64::from(
            self.round
                .checked_sub(after_round)
                .filter(|done| *done > 0)?,
        );
        let took_ms = self.closed_at_ms.saturating_sub(since_ms);
        let to_come = u64::from(self.rounds.saturating_sub(self.round));
        Some(took_ms.saturating_mul(to_come) / done)
    }

    fn line(&self, heard: &Heard, event: &RunEvent) -> String {
        let rounds = self.rounds;
        match heard {
            Heard::RunSubmitted { researcher } => format!("submitted by {researcher}"),
            Heard::SiteAdmitted { site, admission } => {
                format!("{site} admits the run, with {} records", admission.records)
            }
            Heard::SiteRefused { site, refusal } => format!("{site} refuses the run: {refusal}"),
            Heard::SiteWaits { site } => format!("waiting for approval at site {site}"),
            Heard::RunStarted { sites, missing } => {
                let all = sites.len() + missing.len();
                let causes = missing
                    .iter()
                    .map(|(site, cause)| format!("{site} ({cause})"));
                format!(
                    "training begins with {} of {all} sites{}",
                    sites.len(),
                    listed(causes)
                )
            }
            Heard::RoundClosed { round, .. } => {
                format!("[ROUND {round}/{rounds}] {}", self.figures)
            }
            Heard::RunEvaluated { sites, missing } => {
                let of_sites = sites.iter().map(|(site, metrics)| {
                    format!(
                        "final model at {site}: {}, {} records",
                        described(metrics),
                        metrics.records
                    )
                });
                let silent = missing
                    .iter()
                    .map(|(site, cause)| format!("final model at {site}: {cause}"));
                of_sites.chain(silent).collect::<Vec<_>>().join("\n")
            }
            Heard::RunEnded { state, cause } if cause.is_empty() => state.as_str().to_owned(),
            Heard::RunEnded { state, cause } => format!("{}: {cause}", state.as_str()),
            Heard::RunResumed { by } => format!("resumed by {by}, after round {}", self.round),
            Heard::Unknown => format!("event {} is none that this build knows", event.number),
        }
    }
}

/// How a run stands, in one line.
pub(crate) fn standing(run: &RunSummary) -> String {
    let cause = match run.cause.is_empty() {
        true => String::new(),
        false => format!(": {}", run.cause),
    };
    format!(
        "run `{}` ({}) is {}, round {} of {}{cause}",
        run.run_id,
        run.name,
        run.state.as_str(),
        run.round,
        run.rounds
    )
}

/// `loss 0.532 · accuracy 0.76 · 3 of 4 sites · missing: va (late)`; each figure is the mean over
/// the records behind it, of the sites whose policy lets it out.
fn figures(
    sites: &BTreeMap<SiteName, Contribution>,
    missing: &BTreeMap<SiteName, Missing>,
) -> String {
    let loss = mean(
        sites
            .values()
            .filter_map(|site| Some((site.training_loss?, site.records))),
    );
    let accuracy = mean(sites.values().filter_map(|site| {
        let held_out = site.held_out?;
        Some((held_out.accuracy, held_out.records))
    }));
    let causes = missing
        .iter()
        .map(|(site, missing)| match &missing.refusal {
            Some(refusal) => format!("{site} ({}: {})", missing.cause, refusal.code),
            None => format!("{site} ({})", missing.cause.replace('-', " ")),
        });
    let parts = [
        loss.map(|loss| format!("loss {loss:.3}")),
        accuracy.map(|accuracy| format!("accuracy {accuracy:.2}")),
        Some(format!(
            "{} of {} sites",
            sites.len(),
            sites.len() + missing.len()
        )),
    ];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}{}", known.join(" · "), listed(causes))
}

fn described(metrics: &Metrics) -> String {
    let auc = metrics
        .auc
        .map_or_else(String::new, |auc| format!(" · AUC {auc:.3}"));
    format!(
        "loss {:.3} · accuracy {:.3}{auc}",
        metrics.loss, metrics.accuracy
    )
}

fn listed(causes: impl Iterator<Item = String>) -> String {
    let causes: Vec<String> = causes.collect();
    match causes.is_empty() {
        true => String::new(),
        false => format!(" · missing: {}", causes.join(", ")),
    }
}

fn mean(weighted: impl Iterator<Item = (f64, u64)>) -> Option<f64> {
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, weight), (value, records)| {
        (sum + value * records as f64, weight + records as f64)
    });
    (weight > 0.0).then(|| sum / weight)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(number: u64, at_ms: u64, json: &Value) -> RunEvent {
        RunEvent {
            number,
            at_ms,
            json: json.to_string(),
        }
    }

    fn round_closed(round: u32) -> Value {
        json!({
            "kind": "round-closed", "run_id": "r-1", "round": round, "duration_ms": 5, "restarts": 0,
            "sites": {
                "cleveland": { "records": 300, "training_loss": 0.4,
                    "held_out": { "records": 100, "loss": 0.5, "accuracy": 0.8, "auc": 0.9 } },
                "hungarian": { "records": 100, "training_loss": 0.8,
                    "held_out": { "records": 300, "loss": 0.5, "accuracy": 0.4, "auc": null } },
                "switzerland": { "records": 40, "metrics_withheld": true },
            },
            "missing": { "va": { "cause": "not-connected" } },
        })
    }

    #[test]
    fn a_round_is_one_line_weighted_by_records() {
        let mut progress = Progress::of(15);
        assert_eq!(
            progress.hear(&event(3, 0, &round_closed(3))),
            "[ROUND 3/15] loss 0.500 · accuracy 0.50 · 3 of 4 sites · missing: va (not connected)"
        );
        assert_eq!(progress.round, 3);
    }

    #[test]
    fn a_round_whose_figures_stay_at_home_says_none() {
        let mut progress = Progress::of(2);
        let closed = json!({ "kind": "round-closed", "round": 1,
            "sites": { "va": { "records": 9, "metrics_withheld": true } }, "missing": {} });
        assert_eq!(
            progress.hear(&event(1, 0, &closed)),
            "[ROUND 1/2] 1 of 1 sites"
        );
    }

    #[test]
    fn what_is_left_is_counted_from_when_training_went_on() {
        let started = json!({ "kind": "run-started", "sites": ["va"], "missing": { "cleveland": "refused" } });
        let mut progress = Progress::of(10);
        assert_eq!(progress.left_ms(), None);
        let line = progress.hear(&event(1, 1_000, &started));
        assert_eq!(
            line,
            "training begins with 1 of 2 sites · missing: cleveland (refused)"
        );
        assert_eq!(progress.left_ms(), None);
        progress.hear(&event(2, 3_000, &round_closed(1)));
        progress.hear(&event(3, 5_000, &round_closed(2)));
        assert_eq!(progress.left_ms(), Some(16_000));
        // A night between, which says nothing about a round.
        progress.hear(&event(
            4,
            90_000_000,
            &json!({ "kind": "run-resumed", "by": "ada" }),
        ));
        assert_eq!(progress.left_ms(), None);
        progress.hear(&event(5, 90_001_000, &round_closed(3)));
        assert_eq!(progress.left_ms(), Some(7_000));
    }

    #[test]
    fn every_kind_has_its_words_and_an_unknown_one_is_no_error() {
        let refusal = json!({ "code": "too-few-records", "reason": "12 of 50", "remedy": "", "rules": ["floor"] });
        for (json, line) in [
            (
                json!({ "kind": "run-submitted", "researcher": "ada" }),
                "submitted by ada",
            ),
            (
                json!({ "kind": "site-admitted", "site": "va", "admission": { "records": 130, "bundle": "00" } }),
                "va admits the run, with 130 records",
            ),
            (
                json!({ "kind": "site-refused", "site": "va", "refusal": refusal }),
                "va refuses the run: too-few-records: 12 of 50 (rule floor)",
            ),
            (
                json!({ "kind": "run-evaluated", "missing": { "va": "not connected" }, "sites": {
                    "cleveland": { "records": 104, "loss": 0.5, "accuracy": 0.8, "auc": 0.9 } } }),
                "final model at cleveland: loss 0.500 · accuracy 0.800 · AUC 0.900, 104 records\n\
                 final model at va: not connected",
            ),
            (
                json!({ "kind": "run-ended", "state": "finished", "cause": "" }),
                "finished",
            ),
            (
                json!({ "kind": "run-ended", "state": "failed", "cause": "no quorum" }),
                "failed: no quorum",
            ),
            (
                json!({ "kind": "from-the-future" }),
                "event 7 is none that this build knows",
            ),
            (
                json!({ "kind": "round-closed", "round": "x" }),
                "event 7 is none that this build knows",
            ),
            (json!(3), "event 7 is none that this build knows"),
        ] {
            assert_eq!(Progress::of(1).hear(&event(7, 0, &json)), line);
        }
    }
}
