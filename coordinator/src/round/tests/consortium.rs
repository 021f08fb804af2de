//! A small consortium in the middle of a round, and the words to talk about it.

use consilium_protocol::message::TensorsAhead;
use consilium_protocol::model::{chunk_len, chunks_of, to_le_bytes};
use consilium_protocol::strategy::Weighting;
use consilium_protocol::{Digest, RunId};

use super::super::*;

pub(super) const DEADLINE_MS: u64 = 1000;
/// Values of an update of two and a half chunks.
pub(super) const LONG: usize = 655_360;

/// A small consortium in the middle of a round.
pub(super) struct Consortium {
    pub(super) round: Round,
    pub(super) now: Millis,
    pub(super) asks: BTreeMap<SiteName, (AskNumber, u64)>,
    pub(super) notes: Vec<RoundNote>,
    pub(super) dropped: BTreeMap<SiteName, Refusal>,
    pub(super) declined: Vec<(SiteName, Refusal)>,
    pub(super) closed: Option<Closed>,
    pub(super) failed: Option<RoundFailure>,
}

pub(super) const HOSPITALS: [(&str, u64); 3] =
    [("cleveland", 200), ("hungarian", 100), ("va", 100)];

pub(super) fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

pub(super) fn terms(hospitals: &[(&str, u64)], quorum: usize, values: usize) -> RoundTerms {
    RoundTerms {
        run_id: "heart-1".parse().unwrap(),
        round: 7,
        participants: hospitals
            .iter()
            .map(|(name, records)| (site(name), *records))
            .collect(),
        weighting: Weighting::Records,
        quorum,
        deadline_ms: DEADLINE_MS,
        update_bytes: values as u64 * 4,
    }
}

/// Every value of a site's update is different, and none is exact in binary.
pub(super) fn change(seed: u64, values: usize) -> Vec<f32> {
    (0..values)
        .map(|i| ((i as f32 + 0.1) * 0.37 + seed as f32).sin() * 3.1)
        .collect()
}

impl Consortium {
    /// Three hospitals, all connected and asked.
    pub(super) fn asked(quorum: usize, values: usize) -> Self {
        let mut consortium = Self::absent(terms(&HOSPITALS, quorum, values));
        for (name, _) in HOSPITALS {
            consortium.connects(name);
        }
        consortium
    }

    pub(super) fn absent(terms: RoundTerms) -> Self {
        let now = Millis(5_000);
        Self {
            round: Round::begin(now, terms, Accumulator::zeros(0)),
            now,
            asks: BTreeMap::new(),
            notes: vec![],
            dropped: BTreeMap::new(),
            declined: vec![],
            closed: None,
            failed: None,
        }
    }

    pub(super) fn hears(&mut self, input: RoundIn) {
        for said in self.round.step(self.now, input) {
            match said {
                RoundOut::Ask {
                    site,
                    ask,
                    from_chunk,
                } => {
                    self.asks.insert(site, (ask, from_chunk));
                }
                RoundOut::Drop { site, refusal } => {
                    self.dropped.insert(site, refusal);
                }
                RoundOut::Decline { site, refusal } => self.declined.push((site, refusal)),
                RoundOut::Note(note) => self.notes.push(note),
                RoundOut::Close(closed) => assert!(self.closed.replace(closed).is_none()),
                RoundOut::Fail(failure) => assert!(self.failed.replace(failure).is_none()),
            }
        }
        let over = self.closed.is_some() || self.failed.is_some();
        assert_eq!(self.round.wake_at().is_none(), over);
    }

    pub(super) fn connects(&mut self, name: &str) {
        self.hears(RoundIn::Connected(site(name)));
    }

    pub(super) fn is_lost(&mut self, name: &str) {
        self.hears(RoundIn::Lost(site(name)));
    }

    pub(super) fn refuses(&mut self, name: &str) {
        let refusal = Refusal::new(RefusalCode::Expired, "the permission ended", "renew it");
        let (ask, _) = self.asks[&site(name)];
        self.hears(RoundIn::Refused {
            site: site(name),
            ask,
            refusal,
        });
    }

    pub(super) fn fails(&mut self, name: &str) {
        let fault = Fault {
            what: "the GPU is gone".into(),
            remedy: String::new(),
        };
        let (ask, _) = self.asks[&site(name)];
        self.hears(RoundIn::Failed {
            site: site(name),
            ask,
            fault,
        });
    }

    pub(super) fn deadline_passes(&mut self) {
        self.now = self.round.wake_at().unwrap();
        self.hears(RoundIn::Tick);
    }

    pub(super) fn update(&self, name: &str, bytes: &[u8]) -> Update {
        Update {
            tensors: TensorsAhead {
                run_id: "heart-1".parse::<RunId>().unwrap(),
                round: 7,
                bytes: bytes.len() as u64,
                blake3: blake3::hash(bytes).into(),
            },
            records: self.round.terms.participants[&site(name)],
            training_loss: Some(0.5),
            held_out: None,
            metrics_withheld: false,
            bundle: Digest::of(name.as_bytes()),
        }
    }

    pub(super) fn sends_header(&mut self, name: &str, update: Update) {
        let (ask, _) = self.asks[&site(name)];
        self.hears(RoundIn::Header {
            site: site(name),
            ask,
            update,
        });
    }

    pub(super) fn sends_chunk(&mut self, name: &str, bytes: &[u8], index: u64) {
        let (ask, _) = self.asks[&site(name)];
        let start = usize::try_from(index).unwrap() * (1 << 20);
        let chunk = &bytes[start..start + chunk_len(bytes.len() as u64, index)];
        let bytes = Bytes::copy_from_slice(chunk);
        self.hears(RoundIn::Chunk {
            site: site(name),
            ask,
            index,
            bytes,
        });
    }

    /// The site sends chunks `from..to` of its update, after a header.
    pub(super) fn sends(&mut self, name: &str, values: &[f32], from: u64, to: u64) {
        let bytes = to_le_bytes(values);
        let update = self.update(name, &bytes);
        self.sends_header(name, update);
        for index in from..to {
            self.sends_chunk(name, &bytes, index);
        }
    }

    /// The site sends what it was asked for, to the end.
    pub(super) fn answers(&mut self, name: &str, values: &[f32]) {
        let (_, from) = self.asks[&site(name)];
        self.sends(name, values, from, chunks_of(values.len() as u64 * 4));
    }

    pub(super) fn means(self) -> Vec<f64> {
        let sum = self.round.into_sum().expect("the round is closed");
        sum.means(0..sum.len()).collect()
    }

    pub(super) fn cause(&self, name: &str) -> &MissingCause {
        &self.closed.as_ref().expect("the round is closed").missing[&site(name)]
    }

    pub(super) fn accepted(&self) -> Vec<&str> {
        let closed = self.closed.as_ref().expect("the round is closed");
        closed.accepted.keys().map(SiteName::as_str).collect()
    }
}

/// What the result must be: these sites' updates and nothing else, in this order.
pub(super) fn mean_of(quorum: usize, values: usize, sites: &[(&str, Vec<f32>)]) -> Vec<f64> {
    let mut consortium = Consortium::asked(quorum, values);
    for (name, change) in sites {
        consortium.answers(name, change);
    }
    if consortium.closed.is_none() {
        consortium.deadline_passes();
    }
    consortium.means()
}
