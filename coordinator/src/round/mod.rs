//! One round of one run, as the coordinator collects it.
//!
//! [`Round`] is a [`Machine`]: it hears [`RoundIn`], says [`RoundOut`], and knows neither
//! clock nor socket. Its verbs: *ask* a site, *fold* a chunk, *exclude* a site,
//! *restart* the collection, *settle* (close or fail).
//!
//! # What may fail, and what is not failure
//! A site that is lost, late, refusing or faulty is *missing*, with its cause: the
//! round goes on without it as long as the quorum can be met. A round fails
//! only when the quorum cannot be met any more, or a person stops it.
//!
//! # A partial contribution is never part of the result
//! Updates are folded chunk by chunk as they arrive, into one accumulator
//! ([`sum`]): memory does not grow with the number of sites. The price: what is folded
//! cannot be taken out again, for the chunk is gone. So:
//!
//! - An update of one chunk is atomic: in, or not.
//! - A site lost in the middle of a longer upload may go on where it stopped, until
//!   the deadline, if it comes back with the same update (the same BLAKE3).
//! - If it does not come back, or with another update, or the rest of it is unfit,
//!   or it refuses half-way, the collection **restarts** without that site: the accumulator is
//!   cleared and every other site is asked again from chunk 0. Every restart excludes a
//!   site, so there are fewer restarts than sites; each extends the deadline by one
//!   round deadline, so a round of n sites ends after n deadlines at the latest.
//!
//! The result depends on the set of accepted updates alone: not on the order of
//! chunks, not on restarts, not on who was lost and came back.
//!
//! # Sent twice
//! A second header or a repeated chunk *within* an upload is refused and the site is out: its
//! stream cannot be trusted. Anything on the stream of an update that is
//! already complete is declined and changes nothing: what was accepted stays. What comes
//! on the stream of a void ask is ignored.
//!
//! # Deliberately absent
//! No retry clock: a site is asked when it connects. No choice of sites: a run names its
//! participants. No verdict over the content of an update but that its
//! numbers can be added; robust aggregation needs whole updates and is another machine.

pub mod strategy;
pub mod sum;

mod events;
mod seat;
mod terms;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_protocol::message::{Fault, Update};
use consilium_protocol::{Machine, Millis, Refusal, RefusalCode, SiteName};

pub use events::{
    AskNumber, Closed, Contribution, MissingCause, RoundFailure, RoundIn, RoundNote, RoundOut,
};
pub use sum::{Accumulator, WeightedSum};
pub use terms::{RoundTerms, TermsError};

use crate::planted::{Planted, is_planted};
use seat::{Seat, Standing};

/// Asks of one site in one round. A connection that comes and goes more often will not carry
/// an update either.
pub const ASKS_PER_ROUND_MAX: u32 = 64;

/// Faults of one site in one round. The first may be chance; the third is not.
pub const FAULTS_PER_ROUND_MAX: u32 = 3;

/// One round of one run.
pub struct Round {
    terms: RoundTerms,
    seats: BTreeMap<SiteName, Seat>,
    sum: Accumulator,
    began_at: Millis,
    deadline_at: Millis,
    asks: u64,
    restarts: u32,
    /// A part of an excluded site's update is in the sum.
    tainted: bool,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting,
    Closed,
    Failed,
}

impl Machine for Round {
    type In = RoundIn;
    type Out = RoundOut;

    fn step(&mut self, now: Millis, input: RoundIn) -> Vec<RoundOut> {
        let mut out = Vec::new();
        if self.phase != Phase::Collecting {
            return out;
        }
        if now >= self.deadline_at {
            self.expire(&mut out);
            self.settle(now, &mut out);
        }
        if self.phase == Phase::Collecting {
            self.hear(input, &mut out);
            self.settle(now, &mut out);
        }
        out
    }

    fn wake_at(&self) -> Option<Millis> {
        (self.phase == Phase::Collecting).then_some(self.deadline_at)
    }
}

impl Round {
    /// Begins a round at `now`. The memory of `sum` is cleared and used.
    ///
    /// Sites are asked as [`RoundIn::Connected`] tells of them; those connected
    /// already must be told of at once.
    #[must_use]
    pub fn begin(now: Millis, terms: RoundTerms, sum: Accumulator) -> Self {
        // Rounded once to f64, for all n sites: see `sum` for why that is enough.
        let weight_of_all = terms.weight_of_all().max(1) as f64;
        let seat = |(site, &records): (&SiteName, &u64)| {
            let fraction = terms.weight(records) as f64 / weight_of_all;
            (site.clone(), Seat::new(records, fraction))
        };
        Self {
            seats: terms.participants.iter().map(seat).collect(),
            sum: sum.cleared(terms.values()),
            began_at: now,
            deadline_at: now + terms.deadline_ms,
            asks: 0,
            restarts: 0,
            tainted: false,
            phase: Phase::Collecting,
            terms,
        }
    }

    /// The sum of the accepted updates, to be taken after [`RoundOut::Close`]; `None` before it
    /// and after a failure.
    #[must_use]
    pub fn into_sum(self) -> Option<WeightedSum> {
        if self.phase != Phase::Closed {
            return None;
        }
        let accepted = self.accepted();
        let accepted_seats = self.seats.values().filter(|seat| seat.is_accepted());
        let weight: u64 = accepted_seats
            .map(|seat| self.terms.weight(seat.records))
            .sum();
        // Whole numbers below 2⁵³: exactly 1 when all were accepted.
        let fraction = match is_planted(Planted::CountLostWeight) {
            true => 1.0,
            false => weight as f64 / self.terms.weight_of_all().max(1) as f64,
        };
        let participation = accepted as f64 / self.seats.len() as f64;
        Some(WeightedSum::new(self.sum, fraction, participation))
    }

    fn hear(&mut self, input: RoundIn, out: &mut Vec<RoundOut>) {
        match input {
            RoundIn::Connected(site) => self.connected(&site, out),
            RoundIn::Lost(site) => self.lost(&site),
            RoundIn::Refused { site, ask, refusal } => self.refused(&site, ask, refusal, out),
            RoundIn::Failed { site, ask, fault } => self.failed(&site, ask, fault, out),
            RoundIn::Header { site, ask, update } => self.header(&site, ask, update, out),
            RoundIn::Chunk {
                site,
                ask,
                index,
                bytes,
            } => self.chunk(&site, ask, index, &bytes, out),
            RoundIn::Tick => {}
            RoundIn::Stop => {
                self.phase = Phase::Failed;
                let round = self.terms.round;
                out.push(RoundOut::Fail(RoundFailure::Stopped { round }));
            }
        }
    }

    fn connected(&mut self, site: &SiteName, out: &mut Vec<RoundOut>) {
        self.lost(site);
        if let Some(seat) = self.seats.get_mut(site) {
            seat.connected = true;
            if seat.is_open() {
                self.ask(site, out);
            }
        }
    }

    fn lost(&mut self, site: &SiteName) {
        let Some(seat) = self.seats.get_mut(site) else {
            return;
        };
        seat.connected = false;
        if let Some(upload) = seat.take_begun() {
            seat.standing = Standing::Interrupted { upload };
        }
    }

    fn refused(
        &mut self,
        site: &SiteName,
        ask: AskNumber,
        refusal: Refusal,
        out: &mut Vec<RoundOut>,
    ) {
        let open = |seat: &Seat| seat.is_open() && seat.listens_to(ask);
        if self.seats.get(site).is_some_and(open) {
            self.exclude(site, MissingCause::Refused { refusal }, out);
        }
    }

    fn failed(&mut self, site: &SiteName, ask: AskNumber, fault: Fault, out: &mut Vec<RoundOut>) {
        let Some(seat) = self.seats.get_mut(site) else {
            return;
        };
        if !seat.is_open() || !seat.listens_to(ask) {
            return;
        }
        seat.faults += 1;
        if seat.faults < FAULTS_PER_ROUND_MAX {
            self.ask(site, out);
        } else {
            let Fault { what, remedy } = fault;
            self.exclude(site, MissingCause::Failed { what, remedy }, out);
        }
    }

    fn header(&mut self, site: &SiteName, ask: AskNumber, update: Update, out: &mut Vec<RoundOut>) {
        let Some(seat) = expecting(&mut self.seats, site, ask, out) else {
            return;
        };
        match seat.take_header(update, &self.terms) {
            Ok(from_chunk) if from_chunk > 0 => out.push(RoundOut::Note(RoundNote::Resumed {
                site: site.clone(),
                from_chunk,
            })),
            Ok(_) => {}
            Err(refusal) => self.drop_site(site, refusal, out),
        }
    }

    fn chunk(
        &mut self,
        site: &SiteName,
        ask: AskNumber,
        index: u64,
        bytes: &Bytes,
        out: &mut Vec<RoundOut>,
    ) {
        let Some(seat) = expecting(&mut self.seats, site, ask, out) else {
            return;
        };
        match seat.take_chunk(index, bytes, &mut self.sum) {
            Ok(false) => {}
            Ok(true) => out.push(RoundOut::Note(RoundNote::Accepted {
                site: site.clone(),
                accepted: self.accepted(),
                participants: self.seats.len(),
            })),
            Err(refusal) => self.drop_site(site, refusal, out),
        }
    }
    /// Asks a site for its update, or for the rest of it.
    fn ask(&mut self, site: &SiteName, out: &mut Vec<RoundOut>) {
        let Some(seat) = self.seats.get_mut(site) else {
            return;
        };
        if seat.asks >= ASKS_PER_ROUND_MAX {
            self.exclude(site, MissingCause::Unsteady, out);
            return;
        }
        seat.asks += 1;
        self.asks += 1;
        let ask = AskNumber(self.asks);
        let begun = seat.take_begun();
        let from_chunk = begun.as_ref().map_or(0, |upload| upload.folded);
        seat.standing = Standing::Asked { ask, begun };
        out.push(RoundOut::Ask {
            site: site.clone(),
            ask,
            from_chunk,
        });
    }

    fn drop_site(&mut self, site: &SiteName, refusal: Refusal, out: &mut Vec<RoundOut>) {
        out.push(RoundOut::Drop {
            site: site.clone(),
            refusal: refusal.clone(),
        });
        self.exclude(site, MissingCause::BadUpdate { refusal }, out);
    }

    /// Puts a site out of the round for good.
    fn exclude(&mut self, site: &SiteName, cause: MissingCause, out: &mut Vec<RoundOut>) {
        let Some(seat) = self.seats.get_mut(site) else {
            return;
        };
        self.tainted |= seat.take_begun().is_some() && !is_planted(Planted::KeepPartial);
        seat.standing = Standing::Out(cause.clone());
        out.push(RoundOut::Note(RoundNote::Missing {
            site: site.clone(),
            cause,
        }));
    }

    /// The deadline has passed: whoever has not answered is out.
    fn expire(&mut self, out: &mut Vec<RoundOut>) {
        let open = self.seats.iter().filter(|(_, seat)| seat.is_open());
        let late: Vec<(SiteName, MissingCause)> = open
            .map(|(site, seat)| (site.clone(), seat.standing.cause_when_late()))
            .collect();
        for (site, cause) in late {
            if cause == MissingCause::Late {
                out.push(RoundOut::Drop {
                    site: site.clone(),
                    refusal: Refusal::new(
                        RefusalCode::WrongRound,
                        format!(
                            "round {} closed before the update was complete",
                            self.terms.round
                        ),
                        "train on a faster machine, or ask the researcher for a longer \
                         `round-deadline-s`",
                    ),
                });
            }
            self.exclude(&site, cause, out);
        }
    }

    /// Closes, fails or restarts the round where that is due.
    fn settle(&mut self, now: Millis, out: &mut Vec<RoundOut>) {
        if self.phase != Phase::Collecting {
            return;
        }
        let open = self.seats.values().filter(|seat| seat.is_open()).count();
        let reachable = self.accepted() + open;
        let quorum = match is_planted(Planted::IgnoreQuorum) {
            true => 1,
            false => self.terms.quorum.max(1),
        };
        if reachable < quorum {
            self.phase = Phase::Failed;
            out.push(RoundOut::Fail(RoundFailure::BelowQuorum {
                round: self.terms.round,
                quorum: self.terms.quorum,
                participants: self.seats.len(),
                reachable,
                missing: self.missing(),
            }));
        } else if self.tainted {
            self.restart(now, out);
        } else if open == 0 {
            self.phase = Phase::Closed;
            out.push(RoundOut::Close(Closed {
                accepted: self.contributions(),
                missing: self.missing(),
                duration_ms: now - self.began_at,
                restarts: self.restarts,
            }));
        }
    }

    /// Begins the collection anew with the sites that are not out.
    fn restart(&mut self, now: Millis, out: &mut Vec<RoundOut>) {
        if !is_planted(Planted::RestartWithoutClearing) {
            self.sum.clear();
        }
        self.tainted = false;
        self.restarts += 1;
        self.deadline_at = self.deadline_at.max(now) + self.terms.deadline_ms;
        out.push(RoundOut::Note(RoundNote::Restarted {
            restarts: self.restarts,
        }));
        let mut to_ask = Vec::new();
        for (site, seat) in &mut self.seats {
            if matches!(seat.standing, Standing::Out(_)) {
                continue;
            }
            seat.standing = Standing::Away;
            seat.asks = 0;
            if seat.connected {
                to_ask.push(site.clone());
            }
        }
        for site in to_ask {
            self.ask(&site, out);
        }
    }

    fn accepted(&self) -> usize {
        self.seats
            .values()
            .filter(|seat| seat.is_accepted())
            .count()
    }

    fn contributions(&self) -> BTreeMap<SiteName, Contribution> {
        let given = |(site, seat): (&SiteName, &Seat)| match &seat.standing {
            Standing::Accepted { contribution, .. } => Some((site.clone(), contribution.clone())),
            _ => None,
        };
        self.seats.iter().filter_map(given).collect()
    }

    fn missing(&self) -> BTreeMap<SiteName, MissingCause> {
        let out = |(site, seat): (&SiteName, &Seat)| match &seat.standing {
            Standing::Out(cause) => Some((site.clone(), cause.clone())),
            _ => None,
        };
        self.seats.iter().filter_map(out).collect()
    }
}

/// The seat that this stream's content is for; `None` when nobody waits for it.
fn expecting<'a>(
    seats: &'a mut BTreeMap<SiteName, Seat>,
    site: &SiteName,
    ask: AskNumber,
    out: &mut Vec<RoundOut>,
) -> Option<&'a mut Seat> {
    let Some(seat) = seats.get_mut(site) else {
        out.push(RoundOut::Decline {
            site: site.clone(),
            refusal: Refusal::new(
                RefusalCode::NotNamed,
                format!("`{site}` does not take part in this round"),
                "only sites that the run names, and that admitted it, are asked",
            ),
        });
        return None;
    };
    if !seat.listens_to(ask) {
        return None;
    }
    if seat.is_accepted() {
        out.push(RoundOut::Decline {
            site: site.clone(),
            refusal: Refusal::new(
                RefusalCode::BadUpdate,
                "the update was sent twice; the first is kept",
                "nothing needs to be done",
            ),
        });
        return None;
    }
    Some(seat)
}

#[cfg(test)]
mod tests;
