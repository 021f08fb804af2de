//! After the last round: how the finished model does at each site, as far as each lets it out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consilium_protocol::SiteName;
use consilium_protocol::message::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::ask::exchange_with_state;
use super::broadcast::Broadcast;
use super::causes::fitting_words;
use super::driver::{Driver, RunStop, stopped};
use crate::event::Event;

impl Driver {
    /// Asks every site once; who does not answer by the round deadline is missing, with the cause.
    pub(super) async fn evaluate(&mut self) -> Result<(), RunStop> {
        let state = Arc::new(Broadcast::new(Arc::new(self.open_state().await?)));
        let wait = Duration::from_millis(self.spec.round_deadline_ms());
        let mut asked = JoinSet::new();
        let mut missing: BTreeMap<SiteName, String> = BTreeMap::new();
        for site in self.record.sites.clone().unwrap_or_default() {
            missing.insert(site.clone(), "late".into());
            let round = self.record.summary.rounds + 1;
            let request = Request::Evaluate(state.ahead(self.record.summary.run_id.clone(), round));
            let (coordinator, state) = (self.coordinator.clone(), state.clone());
            let back_until = self.back_until;
            asked.spawn(async move {
                let back = timeout_at(back_until, coordinator.connected(&site)).await;
                let answer = match back {
                    Ok(connection) => {
                        Some(exchange_with_state(&connection, request, &state, wait).await)
                    }
                    Err(_) => None,
                };
                (site, answer)
            });
        }
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let mut sites = BTreeMap::new();
        loop {
            let (site, answer) = tokio::select! {
                answered = asked.join_next() => match answered {
                    Some(answered) => answered?,
                    None => break,
                },
                stop = stopped(&mut self.inbox) => return Err(stop),
                () = &mut deadline => break,
            };
            match answer {
                Some(Ok(Response::Evaluated(evaluated))) => {
                    missing.remove(&site);
                    sites.insert(site, evaluated.held_out);
                }
                Some(Ok(Response::Refusal(refusal))) => {
                    missing.insert(site, format!("refused: {refusal}"));
                }
                Some(Ok(Response::Fault(fault))) => {
                    missing.insert(site, format!("failed: {}", fault.what));
                }
                Some(Ok(_)) => {
                    missing.insert(site, "answered something else than was asked".into());
                }
                Some(Err(error)) => {
                    missing.insert(site, error.to_string());
                }
                None => {
                    missing.insert(site, "not connected".into());
                }
            }
        }
        let run_id = self.record.summary.run_id.clone();
        self.record(Event::RunEvaluated {
            run_id,
            sites,
            missing: fitting_words(missing),
        })
        .await?;
        Ok(())
    }
}
