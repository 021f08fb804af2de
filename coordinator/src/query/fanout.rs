//! One question to many sites: who answers, who refuses, who is missing.
//!
//! [`Fanout`] is a [`Machine`]: it hears [`FanoutIn`], says [`FanoutOut`], and knows neither clock nor socket, nor
//! what an answer is. Its verbs: *ask* a site, *settle*.
//!
//! # What may fail, and what is not failure
//! Nothing fails it. A site that is not connected, is lost, is late or answers nonsense is *missing*, with its
//! cause; the others make the result. It settles when every site is accounted for, or at its deadline, whichever is
//! first.
//!
//! # Deliberately absent
//! No second ask: a site that was lost may have charged its patients already, and whoever asks the same question again
//! gets the answer that it kept. No quorum: whether the sites that answered are enough, a person decides.

use std::collections::BTreeMap;

use consilium_protocol::message::Missing;
use consilium_protocol::{Machine, Millis, Refusal, SiteName};

/// One question to many sites, whose answers are `A`.
pub struct Fanout<A> {
    seats: BTreeMap<SiteName, Seat<A>>,
    deadline_at: Millis,
    is_settled: bool,
}

/// What can happen.
#[derive(Debug)]
pub enum FanoutIn<A> {
    /// Nothing yet: ask whoever is there.
    Begin,
    Answered {
        site: SiteName,
        answer: A,
    },
    Refused {
        site: SiteName,
        refusal: Refusal,
    },
    /// The site's connection ended.
    Lost {
        site: SiteName,
    },
    /// Something broke at the site, or it answered something else than was asked.
    Failed {
        site: SiteName,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum FanoutOut<A> {
    /// Ask this site, once.
    Ask(SiteName),
    /// All that will be known. Nothing comes after it.
    Settled(Coverage<A>),
}

/// Every site that was asked, in exactly one of three places.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage<A> {
    pub answered: BTreeMap<SiteName, A>,
    pub refused: BTreeMap<SiteName, Refusal>,
    pub missing: BTreeMap<SiteName, Missing>,
}

/// Whether a site could be asked when it all began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Connected,
    Absent,
}

enum Seat<A> {
    /// To be asked.
    Ready,
    Asked,
    Answered(A),
    Refused(Refusal),
    Missing(Missing),
}

impl<A> Fanout<A> {
    /// A question to these sites, to be settled at `deadline_at`.
    #[must_use]
    pub fn new(sites: BTreeMap<SiteName, Presence>, deadline_at: Millis) -> Self {
        let seat = |presence| match presence {
            Presence::Connected => Seat::Ready,
            Presence::Absent => Seat::Missing(Missing::NotConnected),
        };
        let seats = sites
            .into_iter()
            .map(|(site, presence)| (site, seat(presence)));
        Self {
            seats: seats.collect(),
            deadline_at,
            is_settled: false,
        }
    }

    /// What a site says counts once, if it was asked.
    fn hear(&mut self, site: &SiteName, said: Seat<A>) {
        if let Some(seat @ Seat::Asked) = self.seats.get_mut(site) {
            *seat = said;
        }
    }

    fn settle(&mut self) -> Coverage<A> {
        self.is_settled = true;
        let mut coverage = Coverage {
            answered: BTreeMap::new(),
            refused: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        for (site, seat) in std::mem::take(&mut self.seats) {
            match seat {
                Seat::Ready | Seat::Asked => {
                    coverage.missing.insert(site, Missing::Late);
                }
                Seat::Answered(answer) => {
                    coverage.answered.insert(site, answer);
                }
                Seat::Refused(refusal) => {
                    coverage.refused.insert(site, refusal);
                }
                Seat::Missing(cause) => {
                    coverage.missing.insert(site, cause);
                }
            }
        }
        coverage
    }
}

impl<A> Machine for Fanout<A> {
    type In = FanoutIn<A>;
    type Out = FanoutOut<A>;

    fn step(&mut self, now: Millis, input: FanoutIn<A>) -> Vec<FanoutOut<A>> {
        if self.is_settled {
            return Vec::new();
        }
        let mut out = Vec::new();
        // What arrives after its time is late, whoever comes to look first.
        if now < self.deadline_at {
            match input {
                FanoutIn::Begin => {
                    for (site, seat) in &mut self.seats {
                        if matches!(seat, Seat::Ready) {
                            *seat = Seat::Asked;
                            out.push(FanoutOut::Ask(site.clone()));
                        }
                    }
                }
                FanoutIn::Answered { site, answer } => self.hear(&site, Seat::Answered(answer)),
                FanoutIn::Refused { site, refusal } => self.hear(&site, Seat::Refused(refusal)),
                FanoutIn::Lost { site } => self.hear(&site, Seat::Missing(Missing::Lost)),
                FanoutIn::Failed { site } => self.hear(&site, Seat::Missing(Missing::Faulty)),
                FanoutIn::Tick => {}
            }
        }
        let is_waiting = |seat: &Seat<A>| matches!(seat, Seat::Ready | Seat::Asked);
        if now >= self.deadline_at || !self.seats.values().any(is_waiting) {
            out.push(FanoutOut::Settled(self.settle()));
        }
        out
    }

    fn wake_at(&self) -> Option<Millis> {
        (!self.is_settled).then_some(self.deadline_at)
    }
}

#[cfg(test)]
mod tests {
    use consilium_protocol::RefusalCode;
    use proptest::prelude::*;

    use super::*;

    const DEADLINE: Millis = Millis(100);

    fn site(name: &str) -> SiteName {
        name.parse().unwrap()
    }

    fn to(sites: &[(&str, Presence)]) -> Fanout<u32> {
        let sites = sites.iter().map(|(name, presence)| (site(name), *presence));
        Fanout::new(sites.collect(), DEADLINE)
    }

    fn refusal() -> Refusal {
        Refusal::new(RefusalCode::NotPermitted, "why", "what to do")
    }

    fn settled(mut out: Vec<FanoutOut<u32>>) -> Coverage<u32> {
        match out.pop() {
            Some(FanoutOut::Settled(coverage)) if out.is_empty() => coverage,
            other => panic!("{other:?} after {out:?}"),
        }
    }

    #[test]
    fn every_site_is_in_one_place_and_the_last_one_settles() {
        use Presence::{Absent, Connected};
        let mut fanout = to(&[
            ("a", Connected),
            ("b", Connected),
            ("c", Absent),
            ("d", Connected),
        ]);
        let asked = fanout.step(Millis(0), FanoutIn::Begin);
        let ask = |name| FanoutOut::Ask(site(name));
        assert_eq!(asked, [ask("a"), ask("b"), ask("d")]);
        let answered = FanoutIn::Answered {
            site: site("a"),
            answer: 7,
        };
        assert!(fanout.step(Millis(1), answered).is_empty());
        let refused = FanoutIn::Refused {
            site: site("b"),
            refusal: refusal(),
        };
        assert!(fanout.step(Millis(2), refused).is_empty());
        let coverage = settled(fanout.step(Millis(3), FanoutIn::Lost { site: site("d") }));
        assert_eq!(coverage.answered, BTreeMap::from([(site("a"), 7)]));
        assert_eq!(coverage.refused, BTreeMap::from([(site("b"), refusal())]));
        assert_eq!(
            coverage.missing,
            BTreeMap::from([
                (site("c"), Missing::NotConnected),
                (site("d"), Missing::Lost)
            ])
        );
        assert_eq!(fanout.wake_at(), None);
        assert!(fanout.step(Millis(4), FanoutIn::Begin).is_empty());
    }

    #[test]
    fn at_the_deadline_whoever_has_not_answered_is_late() {
        let mut fanout = to(&[("a", Presence::Connected), ("b", Presence::Connected)]);
        assert_eq!(fanout.wake_at(), Some(DEADLINE));
        drop(fanout.step(Millis(0), FanoutIn::Begin));
        drop(fanout.step(
            Millis(1),
            FanoutIn::Answered {
                site: site("a"),
                answer: 1,
            },
        ));
        // It arrives when its time is over.
        let late = FanoutIn::Answered {
            site: site("b"),
            answer: 2,
        };
        let coverage = settled(fanout.step(DEADLINE, late));
        assert_eq!(coverage.answered.len(), 1);
        assert_eq!(
            coverage.missing,
            BTreeMap::from([(site("b"), Missing::Late)])
        );
    }

    #[test]
    fn nobody_to_ask_is_a_result_too() {
        assert_eq!(
            settled(to(&[]).step(Millis(0), FanoutIn::Begin))
                .missing
                .len(),
            0
        );
        let mut fanout = to(&[("a", Presence::Absent)]);
        assert_eq!(
            settled(fanout.step(Millis(0), FanoutIn::Begin))
                .missing
                .len(),
            1
        );
    }

    fn inputs() -> impl Strategy<Value = FanoutIn<u32>> {
        let names = prop_oneof![Just("a"), Just("b"), Just("c"), Just("stranger")];
        (names, 0_u8..6, any::<u32>()).prop_map(|(name, kind, answer)| {
            let site = site(name);
            match kind {
                0 => FanoutIn::Begin,
                1 => FanoutIn::Answered { site, answer },
                2 => FanoutIn::Refused {
                    site,
                    refusal: refusal(),
                },
                3 => FanoutIn::Lost { site },
                4 => FanoutIn::Failed { site },
                _ => FanoutIn::Tick,
            }
        })
    }

    proptest! {
        /// Whatever happens in whatever order: each site asked at most once, one settlement, every site in it once,
        /// nobody invented, and the first word of each site counts.
        #[test]
        fn it_settles_once_with_every_site_once(
            steps in proptest::collection::vec((0_u64..40, inputs()), 0..30),
        ) {
            let mut fanout = to(&[("a", Presence::Connected), ("b", Presence::Connected), ("c", Presence::Absent)]);
            let mut now = Millis(0);
            let (mut asked, mut settlements) = (Vec::new(), Vec::new());
            let last = (DEADLINE.0, FanoutIn::Tick);
            for (later_ms, input) in steps.into_iter().chain([last]) {
                now = now + later_ms;
                for out in fanout.step(now, input) {
                    match out {
                        FanoutOut::Ask(site) => asked.push(site),
                        FanoutOut::Settled(coverage) => settlements.push(coverage),
                    }
                }
            }
            let repeated = asked.len();
            asked.sort();
            asked.dedup();
            prop_assert_eq!(asked.len(), repeated);
            prop_assert_eq!(settlements.len(), 1);
            let Coverage { answered, refused, missing } = settlements.remove(0);
            let mut everybody: Vec<SiteName> = answered.into_keys().chain(refused.into_keys()).collect();
            everybody.extend(missing.into_keys());
            everybody.sort();
            prop_assert_eq!(everybody, [site("a"), site("b"), site("c")]);
        }
    }
}
