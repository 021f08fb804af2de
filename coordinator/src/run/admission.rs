//! Admission: every participant sees the run file and says whether it takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consilium_protocol::message::{Request, Response};
use consilium_protocol::{Refusal, RefusalCode, Role, SiteName};
use tokio::task::JoinSet;

use super::ask::exchange;
use super::causes::fitting_words;
use super::driver::{Driver, RunStop, stopped};
use crate::coordinator::Coordinator;
use crate::event::{Admission, Event};

/// Pause before a site that failed to answer is asked again.
const RETRY_MS: u64 = 1_000;

/// Times that a connected site may fail to answer.
const TRIES_MAX: u32 = 5;

/// Pause before a site is asked again whose officer has not approved the run yet.
const APPROVAL_RETRY_MS: u64 = 10_000;

/// What a site says to a run.
enum Verdict {
    Admitted(Admission),
    Refused(Refusal),
    /// A person there has to say so first.
    Waits(Refusal),
    /// It cannot be asked properly.
    Failed(String),
}

impl Driver {
    /// Asks every participant, settles which sites train, and writes the first state.
    pub(super) async fn admit(&mut self) -> Result<(), RunStop> {
        let mut unheard = self.ask_everybody().await?;
        let quorum = self.spec.quorum();
        let admitted: Vec<SiteName> = self.record.admitted.keys().cloned().collect();
        for (site, refusal) in &self.record.refused {
            unheard.insert(site.clone(), refusal.to_string());
        }
        if admitted.len() < quorum {
            return Err(RunStop::Admission {
                cause: too_few(admitted.len(), quorum, &unheard),
            });
        }
        let states = self.states.clone();
        let state = tokio::task::spawn_blocking(move || states.initial()).await??;
        self.record(Event::RunStarted {
            run_id: self.record.summary.run_id.clone(),
            sites: admitted,
            state: state.content(),
            missing: fitting_words(unheard),
        })
        .await?;
        Ok(())
    }

    /// Records each verdict as it comes; gives back who gave none, and why.
    async fn ask_everybody(&mut self) -> Result<BTreeMap<SiteName, String>, RunStop> {
        let mut verdicts = JoinSet::new();
        let mut told_to_wait = BTreeSet::new();
        let mut waiting: BTreeMap<SiteName, String> = BTreeMap::new();
        for site in self.spec.document().participants.clone() {
            if self.record.admitted.contains_key(&site) || self.record.refused.contains_key(&site) {
                continue;
            }
            let connected = self
                .coordinator
                .connection(Role::Site, &site.clone().into())
                .is_some();
            let unheard = if connected {
                "had not answered yet"
            } else {
                "not connected"
            };
            waiting.insert(site.clone(), unheard.into());
            let (coordinator, request) = (self.coordinator.clone(), self.review());
            verdicts.spawn(verdict_of(coordinator, site, request, 0));
        }
        let deadline = Duration::from_secs(self.coordinator.config.admission_deadline_s);
        let deadline = tokio::time::sleep(deadline);
        tokio::pin!(deadline);
        while !waiting.is_empty() && !self.quorum_is_lost(waiting.len()) {
            let (site, verdict) = tokio::select! {
                verdict = verdicts.join_next() => match verdict {
                    Some(verdict) => verdict?,
                    None => break,
                },
                stop = stopped(&mut self.inbox) => return Err(stop),
                () = &mut deadline => break,
            };
            let run_id = self.record.summary.run_id.clone();
            waiting.remove(&site);
            match verdict {
                Verdict::Admitted(admission) => {
                    self.record(Event::SiteAdmitted {
                        run_id,
                        site,
                        admission,
                    })
                    .await?;
                }
                Verdict::Refused(refusal) => {
                    tracing::warn!(%run_id, %site, %refusal, "a site refuses the run");
                    self.record(Event::SiteRefused {
                        run_id,
                        site,
                        refusal,
                    })
                    .await?;
                }
                Verdict::Failed(cause) => {
                    waiting.insert(site, cause);
                }
                Verdict::Waits(refusal) => {
                    let (coordinator, request) = (self.coordinator.clone(), self.review());
                    let asked = verdict_of(coordinator, site.clone(), request, APPROVAL_RETRY_MS);
                    verdicts.spawn(asked);
                    waiting.insert(
                        site.clone(),
                        format!("waiting for approval at site `{site}`"),
                    );
                    if told_to_wait.insert(site.clone()) {
                        let waits = Event::SiteWaits {
                            run_id,
                            site,
                            refusal,
                        };
                        self.record(waits).await?;
                    }
                }
            }
            // Whoever failed is settled as well.
            if verdicts.is_empty() {
                break;
            }
        }
        Ok(waiting)
    }

    fn review(&self) -> Request {
        Request::Review {
            run_id: self.record.summary.run_id.clone(),
            run: self.signed.clone(),
        }
    }

    /// Whether even all that are waited for would be too few.
    fn quorum_is_lost(&self, waiting: usize) -> bool {
        self.record.admitted.len() + waiting < self.spec.quorum()
    }
}

fn too_few(admitted: usize, quorum: usize, missing: &BTreeMap<SiteName, String>) -> String {
    let each: Vec<String> = missing
        .iter()
        .map(|(site, why)| format!("`{site}` ({why})"))
        .collect();
    format!(
        "{admitted} sites admitted the run and it needs {quorum}; missing: {}",
        each.join(", ")
    )
}

/// Waits for the site, asks it, and asks again where the connection broke.
async fn verdict_of(
    coordinator: Arc<Coordinator>,
    site: SiteName,
    request: Request,
    after_ms: u64,
) -> (SiteName, Verdict) {
    let mut last_error = String::new();
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    for _ in 0..TRIES_MAX {
        let connection = coordinator.connected(&site).await;
        match exchange(&connection, request.clone()).await {
            Ok(Response::Admitted(admitted)) => {
                let admission = Admission {
                    records: admitted.records,
                    dataset_version: admitted.dataset_version,
                    bundle: admitted.bundle,
                };
                return (site, Verdict::Admitted(admission));
            }
            Ok(Response::Refusal(refusal)) => {
                let verdict = match refusal.code {
                    RefusalCode::NeedsApproval | RefusalCode::AwaitsRelease => Verdict::Waits,
                    _ => Verdict::Refused,
                };
                return (site, verdict(refusal));
            }
            Ok(Response::Fault(fault)) => last_error = fault.what,
            Ok(_) => last_error = "the site answered something else than was asked".into(),
            Err(error) => last_error = error.to_string(),
        }
        tracing::warn!(%site, error = %last_error, "a site could not be asked; it is asked again");
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
    (site, Verdict::Failed(last_error))
}
