//! The one who knows: what each round should have given, worked out beside the machines under test.
//!
//! Sums are added in 128 bits from the bytes that were delivered; states are advanced in memory; and what an honest
//! site should send is trained again from the round's state and the site's own chain of local values. So a round that
//! was disturbed, interrupted and resumed is compared, bit for bit, with one that was not.

use std::collections::BTreeMap;

use consilium_coordinator::round::strategy::advance;
use consilium_coordinator::round::{AskNumber, Closed, MissingCause, WeightedSum};
use consilium_node::data::Batchable;
use consilium_node::round::{LocalValues, Plan};
use consilium_policies::Researcher;
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::Update;
use consilium_protocol::model::{Home, from_le_bytes, to_le_bytes};
use consilium_protocol::run::RunSpec;
use consilium_protocol::strategy::{Strategy, Weighting};
use consilium_protocol::{Digest, RunId, SiteName};

use super::property::{Property, Step, broken, must};
use super::work::train;

/// One, as the coordinator's accumulator counts: 2³⁶.
const ONE: f64 = (1_u64 << 36) as f64;

/// What one site has delivered under its present ask.
#[derive(Debug, Clone)]
struct Delivered {
    ask: AskNumber,
    update: Option<Update>,
    bytes: Vec<u8>,
}

/// A site, as far as its updates can be foretold.
pub struct Honest {
    pub data: Batchable,
    /// Values after each round, of the undisturbed run.
    local: BTreeMap<u32, LocalValues>,
    /// By round: the hash of the update.
    updates: BTreeMap<u32, [u8; 32]>,
}

/// A state of the run, vector by vector.
type Vectors = Vec<Vec<f32>>;

/// Knows one run.
pub struct Oracle {
    run_id: RunId,
    spec: RunSpec,
    researcher: Researcher,
    /// Those that never lie, by name.
    honest: BTreeMap<SiteName, Honest>,
    /// By round, with the digest of its file.
    states: BTreeMap<u32, (Digest, Vectors)>,
    /// Written, and perhaps not journalled.
    candidates: BTreeMap<Digest, Vectors>,
    expected: Vectors,
    delivered: BTreeMap<SiteName, Delivered>,
    accepted: BTreeMap<SiteName, Delivered>,
}

impl Oracle {
    #[must_use]
    pub fn new(
        run_id: RunId,
        spec: RunSpec,
        researcher: Researcher,
        honest: BTreeMap<SiteName, Batchable>,
    ) -> Self {
        let strategy = spec.document().strategy;
        let layout = spec.layout();
        let model: Vec<f32> = layout
            .initial_values(Home::Shared, spec.document().seed)
            .collect();
        let mut expected = vec![model];
        expected.resize(strategy.vectors_of_state(), vec![0.0; layout.shared_len()]);
        let known = |data| Honest {
            data,
            local: BTreeMap::new(),
            updates: BTreeMap::new(),
        };
        Self {
            run_id,
            researcher,
            honest: honest.into_iter().map(|(n, d)| (n, known(d))).collect(),
            states: BTreeMap::new(),
            candidates: BTreeMap::new(),
            expected,
            delivered: BTreeMap::new(),
            accepted: BTreeMap::new(),
            spec,
        }
    }

    /// Nothing more can be foretold of a site: somebody with the coordinator's identity asked it, under its run, with
    /// a state of their own, and its local values are another run's now.
    pub fn give_up_on(&mut self, site: &SiteName) {
        if !self.keeps_nothing_local() {
            self.honest.remove(site);
        }
    }

    /// Whether the run keeps nothing at its sites.
    #[must_use]
    pub fn keeps_nothing_local(&self) -> bool {
        self.spec.layout().local_len() == 0
            && !matches!(self.spec.document().strategy, Strategy::Scaffold { .. })
    }

    /// The bytes that sites receive of the state after a round, as journalled.
    #[must_use]
    pub fn wire_of(&self, round: u32) -> Option<Vec<u8>> {
        let (_, vectors) = self.states.get(&round)?;
        let on_the_wire = self.spec.document().strategy.vectors_on_the_wire();
        Some(wire(vectors, on_the_wire))
    }

    /// A state was written: it must be the one expected.
    ///
    /// # Errors
    /// It is another.
    pub fn wrote(&mut self, round: u32, content: Digest, wire_blake3: [u8; 32]) -> Step {
        let on_the_wire = self.spec.document().strategy.vectors_on_the_wire();
        let wanted = blake3::hash(&wire(&self.expected, on_the_wire));
        must(wanted == wire_blake3, Property::SumIsExact, || {
            format!("the state after round {round} is not the one that its updates make")
        })?;
        self.candidates.insert(content, self.expected.clone());
        Ok(())
    }

    /// A round begins from the state after `round`: it must be one that was written, and always the same.
    ///
    /// # Errors
    /// It is not.
    pub fn begins_from(&mut self, round: u32, content: Digest) -> Step {
        self.forget_deliveries();
        if let Some((known, _)) = self.states.get(&round) {
            return must(*known == content, Property::ResumesToTheSame, || {
                format!("the state after round {round} is another than it was before")
            });
        }
        let vectors = self.candidates.get(&content).cloned().ok_or_else(|| {
            broken(
                Property::ResumesToTheSame,
                format!("the state after round {round} was never written"),
            )
        })?;
        self.candidates.clear();
        self.states.insert(round, (content, vectors));
        Ok(())
    }

    /// A round was journalled as closed after which no collection begins from its state until a restart.
    pub fn forget_deliveries(&mut self) {
        self.delivered.clear();
        self.accepted.clear();
    }

    pub fn asked(&mut self, site: &SiteName, ask: AskNumber, from_chunk: u64) {
        let keep = usize::try_from(from_chunk).unwrap_or(0) * CHUNK_BYTES_MAX;
        let mut bytes = match self.delivered.remove(site) {
            Some(delivered) if keep > 0 => delivered.bytes,
            _ => Vec::new(),
        };
        bytes.truncate(keep);
        let delivered = Delivered {
            ask,
            update: None,
            bytes,
        };
        self.delivered.insert(site.clone(), delivered);
    }

    pub fn hears_header(&mut self, site: &SiteName, ask: AskNumber, update: &Update) {
        if let Some(delivered) = self.delivered.get_mut(site)
            && delivered.ask == ask
            && delivered.update.is_none()
        {
            delivered.update = Some(update.clone());
        }
    }

    pub fn hears_chunk(&mut self, site: &SiteName, ask: AskNumber, bytes: &[u8]) {
        if let Some(delivered) = self.delivered.get_mut(site)
            && delivered.ask == ask
        {
            delivered.bytes.extend_from_slice(bytes);
        }
    }

    pub fn hears_accepted(&mut self, site: &SiteName) {
        if let Some(delivered) = self.delivered.get(site) {
            self.accepted.insert(site.clone(), delivered.clone());
        }
    }

    /// Which sites are in the sum so far.
    pub fn accepted(&self) -> impl Iterator<Item = &SiteName> {
        self.accepted.keys()
    }

    /// A round closed.
    ///
    /// # Errors
    /// Which promise it broke.
    pub fn closed(
        &mut self,
        round: u32,
        participants: &BTreeMap<SiteName, u64>,
        closed: &Closed,
        sum: &WeightedSum,
    ) -> Step {
        self.everyone_is_accounted_for(participants, closed)?;
        let sites: Vec<SiteName> = closed.accepted.keys().cloned().collect();
        for site in &sites {
            self.accepted_was_asked(round, site, participants)?;
            self.is_what_honesty_gives(round, site)?;
        }
        self.sum_is_exact(round, participants, &sites, sum)
    }

    fn everyone_is_accounted_for(
        &self,
        participants: &BTreeMap<SiteName, u64>,
        closed: &Closed,
    ) -> Step {
        let accepted = closed.accepted.len();
        must(
            accepted >= self.spec.quorum().max(1),
            Property::QuorumHolds,
            || {
                format!(
                    "closed with {accepted} sites and a quorum of {}",
                    self.spec.quorum()
                )
            },
        )?;
        let all = participants
            .keys()
            .all(|site| closed.accepted.contains_key(site) != closed.missing.contains_key(site));
        must(all, Property::QuorumHolds, || {
            "a site is neither accepted nor missing, or both".into()
        })?;
        must(
            (closed.restarts as usize) < participants.len(),
            Property::Bounded,
            || {
                format!(
                    "{} restarts of {} sites",
                    closed.restarts,
                    participants.len()
                )
            },
        )?;
        let blamed = closed.missing.iter().find(|(site, cause)| {
            matches!(cause, MissingCause::BadUpdate { .. }) && self.honest.contains_key(*site)
        });
        must(blamed.is_none(), Property::HonestIsNotBlamed, || {
            format!("the honest {blamed:?}")
        })
    }

    fn accepted_was_asked(
        &self,
        round: u32,
        site: &SiteName,
        participants: &BTreeMap<SiteName, u64>,
    ) -> Step {
        let not_asked = |what: &str| {
            broken(
                Property::AcceptedWasAsked,
                format!("`{site}` in round {round}: {what}"),
            )
        };
        let delivered = self
            .accepted
            .get(site)
            .ok_or_else(|| not_asked("it was not seen to be accepted"))?;
        let update = delivered
            .update
            .as_ref()
            .ok_or_else(|| not_asked("accepted without a head"))?;
        let tensors = &update.tensors;
        if tensors.run_id != self.run_id || tensors.round != round {
            return Err(not_asked("another run or round"));
        }
        if participants.get(site) != Some(&update.records) {
            return Err(not_asked("another weight than it was admitted with"));
        }
        if delivered.bytes.len() as u64 != self.spec.bytes_on_the_wire() {
            return Err(not_asked("another length"));
        }
        match blake3::hash(&delivered.bytes) == tensors.blake3 {
            true => Ok(()),
            false => Err(not_asked("its content has another hash than its head says")),
        }
    }

    /// Trains the site's update again, undisturbed, and compares.
    fn is_what_honesty_gives(&mut self, round: u32, site: &SiteName) -> Step {
        let Some(wanted) = self.honest_update(round, site)? else {
            return Ok(());
        };
        let got = self.accepted.get(site).and_then(|d| d.update.as_ref());
        let same = got.is_some_and(|update| update.tensors.blake3 == wanted);
        must(same, Property::ResumesToTheSame, || {
            format!("`{site}` gave round {round} another update than undisturbed training gives")
        })
    }

    fn honest_update(&mut self, round: u32, site: &SiteName) -> Step<Option<[u8; 32]>> {
        let Some(mut honest) = self.honest.remove(site) else {
            return Ok(None);
        };
        let first = match self.keeps_nothing_local() {
            true => round,
            false => 1,
        };
        for round in first..=round {
            if !honest.updates.contains_key(&round) {
                self.train_honestly(round, site, &mut honest)?;
            }
        }
        let wanted = honest.updates.get(&round).copied();
        self.honest.insert(site.clone(), honest);
        Ok(wanted)
    }

    fn train_honestly(&self, round: u32, site: &SiteName, honest: &mut Honest) -> Step {
        let received = self
            .wire_of(round - 1)
            .map(|bytes| from_le_bytes(&bytes))
            .ok_or_else(|| {
                broken(
                    Property::ResumesToTheSame,
                    format!("round {round} was collected without its state"),
                )
            })?;
        let steps = u64::from(self.spec.document().training.local_steps);
        let local = match honest.local.get(&(round - 1)) {
            Some(local) => local.clone(),
            None => self.first_local(),
        };
        let plan = Plan {
            spec: self.spec.clone(),
            researcher: self.researcher.clone(),
            local,
            seed: seed_of(&self.spec, site),
            first_step: u64::from(round - 1) * steps,
        };
        let trained = train(&plan, &honest.data, &received)?;
        let bytes: Vec<u8> = trained
            .vectors
            .iter()
            .flat_map(|v| to_le_bytes(v))
            .collect();
        honest.updates.insert(round, blake3::hash(&bytes).into());
        honest.local.insert(round, trained.local);
        Ok(())
    }

    fn first_local(&self) -> LocalValues {
        if self.keeps_nothing_local() {
            return LocalValues::default();
        }
        let layout = self.spec.layout();
        LocalValues {
            parameters: layout
                .initial_values(Home::Local, self.spec.document().seed)
                .collect(),
            control: match self.spec.document().strategy {
                Strategy::Scaffold { .. } => vec![0.0; layout.shared_len()],
                _ => Vec::new(),
            },
        }
    }

    fn sum_is_exact(
        &mut self,
        round: u32,
        participants: &BTreeMap<SiteName, u64>,
        sites: &[SiteName],
        sum: &WeightedSum,
    ) -> Step {
        let strategy = self.spec.document().strategy;
        let weight = |records: u64| match strategy.weighting() {
            Weighting::Records => records,
            Weighting::Equal => 1,
        };
        let all: u64 = participants.values().map(|&records| weight(records)).sum();
        let mut totals: Vec<i128> = Vec::new();
        let mut accepted_weight = 0;
        for site in sites {
            let records = participants.get(site).copied().unwrap_or(0);
            accepted_weight += weight(records);
            let fraction = weight(records) as f64 / all.max(1) as f64;
            let bytes = self.accepted.get(site).map(|d| d.bytes.as_slice());
            let values = from_le_bytes(bytes.unwrap_or_default());
            totals.resize(values.len().max(totals.len()), 0);
            for (total, value) in totals.iter_mut().zip(values) {
                let whole = (f64::from(value) * (fraction * ONE)).round_ties_even();
                *total += whole as i128;
            }
        }
        let unit = ONE * (accepted_weight as f64 / all.max(1) as f64);
        let means: Vec<f64> = totals.iter().map(|&total| total as f64 / unit).collect();
        let got: Vec<f64> = sum.means(0..sum.len()).collect();
        let differs = (0..means.len().max(got.len())).find(|&at| means.get(at) != got.get(at));
        must(differs.is_none(), Property::SumIsExact, || {
            format!("round {round}: the mean of value {differs:?} is not that of what was accepted")
        })?;
        let participation = sites.len() as f64 / participants.len().max(1) as f64;
        let vectors = means.chunks(self.spec.layout().shared_len().max(1));
        let vectors: Vec<Vec<f64>> = vectors.map(<[f64]>::to_vec).collect();
        let (_, before) = self
            .states
            .get(&(round - 1))
            .ok_or_else(|| broken(Property::ResumesToTheSame, "a round without a state before"))?;
        let mut next = before.clone();
        advance(&strategy, participation, &vectors, &mut next)
            .map_err(|error| broken(Property::NoFaultOfItsOwn, error.to_string()))?;
        self.expected = next;
        Ok(())
    }
}

fn wire(vectors: &[Vec<f32>], on_the_wire: usize) -> Vec<u8> {
    let sent = vectors.iter().take(on_the_wire);
    sent.flat_map(|vector| to_le_bytes(vector)).collect()
}

/// Every site its own order of records, from the run's one seed; written down here a second time on purpose.
fn seed_of(spec: &RunSpec, site: &SiteName) -> u64 {
    let text = format!("consilium batches\0{}\0{site}", spec.document().seed);
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(text.as_bytes()).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
