//! The rounds of a run: what [`Round`] wants done, done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consilium_link::limits::CONNECTION_WINDOW_BYTES;
use consilium_protocol::message::Train;
use consilium_protocol::{Machine, Millis, Refusal, Role, SiteName};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::ask::{Ear, Heard, UpdateAsk, ask_update};
use super::broadcast::Broadcast;
use super::causes::fitting;
use super::driver::{Driver, RunStop};
use super::places::{Place, Places};
use crate::coordinator::{Presence, RunSignal};
use crate::event::Event;
use crate::round::{
    Accumulator, Closed, Round, RoundIn, RoundNote, RoundOut, RoundTerms, WeightedSum,
};
use crate::state::State;

/// What sites have said and the round has not heard yet; of chunks there are no more than [`Places`].
const HEARD_MAX: usize = 16;

/// What all sites of a round together may have sent and this process not read yet, and the
/// same the other way. Each gets its share, so that memory does not grow with their number;
/// nor does it cost speed, for together they still carry 1.3 Gbit/s at 50 ms of round trip.
const WINDOWS_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The least that a site gets, however many there are.
const WINDOW_BYTES_MIN: u32 = 128 * 1024;

/// The streams of one round, one for each site at most; dropped, they end.
#[derive(Default)]
struct Streams(BTreeMap<SiteName, Stream>);

struct Stream {
    task: JoinHandle<()>,
    refused: oneshot::Sender<Refusal>,
}

impl Streams {
    fn replace(&mut self, site: SiteName, stream: Stream) {
        if let Some(old) = self.0.insert(site, stream) {
            old.task.abort();
        }
    }

    /// The site's update is in: its stream ends by itself.
    fn settle(&mut self, site: &SiteName) {
        self.0.remove(site);
    }

    /// The site is told why, if it still listens, and by its stream's task, whatever becomes of the round.
    fn refuse(&mut self, site: &SiteName, refusal: Refusal) {
        if let Some(stream) = self.0.remove(site) {
            stream.refused.send(refusal).ok();
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.values().for_each(|stream| stream.task.abort());
    }
}

impl Driver {
    /// Every round that is not closed yet.
    pub(super) async fn train(&mut self) -> Result<(), RunStop> {
        let mut state = Arc::new(self.open_state().await?);
        let mut sum = Accumulator::zeros(0);
        while self.record.summary.round < self.record.summary.rounds {
            let round = self.record.summary.round + 1;
            let (closed, weighted) = self.collect(round, &state, sum).await?;
            let (next, freed) = self.advance(&state, weighted).await?;
            self.record(Event::RoundClosed {
                run_id: self.record.summary.run_id.clone(),
                round,
                state: next.content(),
                sites: closed.accepted,
                missing: fitting(closed.missing),
                duration_ms: closed.duration_ms,
                restarts: closed.restarts,
            })
            .await?;
            // Only now: until the entry is durable, a restart begins from the old state.
            if let Err(error) = self.states.forget(state.round()) {
                tracing::warn!(%error, "an old state stays on disk");
            }
            (state, sum) = (next, freed);
        }
        Ok(())
    }

    /// The state that the journal says the run stands at.
    pub(super) async fn open_state(&self) -> Result<State, RunStop> {
        let (states, round) = (self.states.clone(), self.record.summary.round);
        let expected = self.record.state.ok_or_else(|| RunStop::Lost {
            what: "the journal names no state of this run".into(),
        })?;
        Ok(tokio::task::spawn_blocking(move || states.reopen(round, expected)).await??)
    }

    /// The next state, written and synced, and the accumulator's memory back.
    async fn advance(
        &self,
        state: &Arc<State>,
        weighted: WeightedSum,
    ) -> Result<(Arc<State>, Accumulator), RunStop> {
        let (state, states) = (state.clone(), self.states.clone());
        let next = tokio::task::spawn_blocking(move || {
            let next = states.next(&state, &weighted)?;
            Ok::<_, RunStop>((Arc::new(next), weighted.into_accumulator()))
        });
        next.await?
    }

    /// Drives one [`Round`] to its end.
    async fn collect(
        &mut self,
        number: u32,
        state: &Arc<State>,
        sum: Accumulator,
    ) -> Result<(Closed, WeightedSum), RunStop> {
        let terms = RoundTerms::new(
            &self.spec,
            self.record.summary.run_id.clone(),
            number,
            self.participants(),
        )?;
        let mut round = Round::begin(self.now(), terms, sum);
        let broadcast = Arc::new(Broadcast::new(state.clone()));
        let (heard, mut hear) = mpsc::channel(HEARD_MAX);
        let places = Places::for_sites(self.site_count());
        let ear = Ear { heard, places };
        let mut streams = Streams::default();
        let mut inputs: Vec<RoundIn> = self.look_around(true);
        let mut place: Option<Place> = None;
        loop {
            for input in inputs {
                for out in round.step(self.now(), input) {
                    match out {
                        RoundOut::Close(closed) => {
                            let sum = round.into_sum().ok_or_else(|| RunStop::Lost {
                                what: format!("round {number} closed without a sum"),
                            })?;
                            return Ok((closed, sum));
                        }
                        RoundOut::Fail(failure) => return Err(failure.into()),
                        out => self.carry_out(out, number, &broadcast, &ear, &mut streams),
                    }
                }
            }
            drop(place.take());
            (inputs, place) = self.next_inputs(round.wake_at(), &mut hear).await?;
        }
    }

    fn participants(&self) -> BTreeMap<SiteName, u64> {
        let sites = self.record.sites.iter().flatten();
        sites
            .filter_map(|site| {
                let admission = self.record.admitted.get(site)?;
                Some((site.clone(), admission.records))
            })
            .collect()
    }

    /// Sites of this run, at least one.
    fn site_count(&self) -> usize {
        self.record.sites.as_ref().map_or(1, Vec::len).max(1)
    }

    /// A site's share of [`WINDOWS_BYTES_MAX`].
    fn window_of_each(&self) -> u32 {
        let share = WINDOWS_BYTES_MAX / u32::try_from(self.site_count()).unwrap_or(u32::MAX);
        share.clamp(WINDOW_BYTES_MIN, CONNECTION_WINDOW_BYTES)
    }

    fn carry_out(
        &self,
        out: RoundOut,
        number: u32,
        broadcast: &Arc<Broadcast>,
        ear: &Ear,
        streams: &mut Streams,
    ) {
        let run_id = &self.record.summary.run_id;
        match out {
            RoundOut::Ask {
                site,
                ask,
                from_chunk,
            } => {
                let Some(connection) = self.connections.get(&site) else {
                    return;
                };
                connection.set_windows(self.window_of_each());
                let ask = UpdateAsk {
                    site: site.clone(),
                    ask,
                    train: Train {
                        state: broadcast.ahead(run_id.clone(), number),
                        from_chunk,
                    },
                    state: broadcast.clone(),
                    wait: Duration::from_millis(self.spec.round_deadline_ms()),
                };
                let (refused, hears) = oneshot::channel();
                let asking = ask_update(connection.clone(), ask, ear.clone(), hears);
                let task = tokio::spawn(asking);
                streams.replace(site, Stream { task, refused });
            }
            RoundOut::Drop { site, refusal } | RoundOut::Decline { site, refusal } => {
                tracing::warn!(%run_id, round = number, %site, %refusal, "an update is refused");
                streams.refuse(&site, refusal);
            }
            RoundOut::Note(RoundNote::Accepted { site, accepted, .. }) => {
                tracing::debug!(%run_id, round = number, %site, accepted, "an update is in");
                streams.settle(&site);
            }
            RoundOut::Note(note) => {
                tracing::warn!(%run_id, round = number, ?note, "a round has trouble");
            }
            // The caller's.
            RoundOut::Close(_) | RoundOut::Fail(_) => {}
        }
    }

    /// Waits for what happens next, or for `wake_at`.
    async fn next_inputs(
        &mut self,
        wake_at: Option<Millis>,
        hear: &mut mpsc::Receiver<Heard>,
    ) -> Result<(Vec<RoundIn>, Option<Place>), RunStop> {
        let wake = wake_at.map(|moment| self.instant_of(moment));
        let timer = async move {
            match wake {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            heard = hear.recv() => {
                // The round's own ear keeps it open.
                let Some(Heard { input, place }) = heard else {
                    return Ok((Vec::new(), None));
                };
                return Ok((vec![input], place));
            }
            signal = self.inbox.recv() => {
                return match signal {
                    Some(RunSignal::Stop { by }) => Err(RunStop::Stopped { by }),
                    None => std::future::pending().await,
                };
            }
            () = timer => return Ok((vec![RoundIn::Tick], None)),
            presence = self.presence.recv() => presence,
        };
        let inputs = match changed {
            Ok(Presence::Connected(site) | Presence::Lost(site)) => self.look_at(&site),
            Err(RecvError::Lagged(_)) => self.look_around(false),
            Err(RecvError::Closed) => Vec::new(),
        };
        Ok((inputs, None))
    }

    /// Every participant's connection, compared with what this run last saw. A new
    /// round hears of all of them, changed or not.
    fn look_around(&mut self, anew: bool) -> Vec<RoundIn> {
        if anew {
            self.connections.clear();
        }
        let sites = self.record.sites.clone().unwrap_or_default();
        sites.iter().flat_map(|site| self.look_at(site)).collect()
    }

    fn look_at(&mut self, site: &SiteName) -> Vec<RoundIn> {
        if !self
            .record
            .sites
            .iter()
            .flatten()
            .any(|named| named == site)
        {
            return Vec::new();
        }
        let now = self
            .coordinator
            .connection(Role::Site, &site.clone().into());
        match (self.connections.get(site), now) {
            (Some(known), Some(now)) if known.is_same(&now) => Vec::new(),
            (_, Some(now)) => {
                self.connections.insert(site.clone(), now);
                vec![RoundIn::Connected(site.clone())]
            }
            (Some(_), None) => {
                self.connections.remove(site);
                vec![RoundIn::Lost(site.clone())]
            }
            (None, None) => Vec::new(),
        }
    }
}
