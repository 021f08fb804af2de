//! Updates of one round, as honest and lying sites send them.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_coordinator::round::sum::VALUE_ABS_MAX;
use consilium_coordinator::round::{
    Accumulator, AskNumber, Round, RoundIn, RoundNote, RoundOut, RoundTerms,
};
use consilium_protocol::message::{TensorsAhead, Update};
use consilium_protocol::model::{chunk_len, chunks_of, from_le_bytes, to_le_bytes};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Machine, Millis, RunId, SiteName};

use crate::Target;
use crate::draw::Draw;

const RUN: &str = r#"
name = "heart-disease"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
participants = ["cleveland", "hungarian", "va"]
rounds = 2
quorum = 1
[model]
kind = "logistic"
[strategy]
name = "FedAvg"
[training]
learning-rate = 0.01
local-steps = 1
batch-size = 4
[data]
features = [{ column = "age" }, { column = "cp", one-hot = [1, 2, 3, 4] }]
label = { column = "num", greater-than = 0 }
"#;
const SITES: [&str; 3] = ["cleveland", "hungarian", "va"];
const ROUND: u32 = 1;
const NOW: Millis = Millis(1000);
/// One as the accumulator counts (`coordinator/src/round/sum.rs`).
const ONE: f64 = (1_u64 << 36) as f64;

/// What one site sends, and what it says about it.
struct Sent {
    site: SiteName,
    records: u64,
    records_claimed: u64,
    round: u32,
    index: u64,
    honest_hash: bool,
    bytes: Vec<u8>,
}

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "weights",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 16,
};

/// Updates are folded or their site is dropped, and the sum is exactly that of the accepted ones, in any order.
pub fn holds(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    lengths_add_up(u64::from_le_bytes(draw.array()), draw.0);
    let spec = RunSpec::parse(RUN.as_bytes());
    assert!(spec.is_ok(), "{spec:?}");
    let (Ok(spec), Ok(run_id)) = (spec, "r1".parse::<RunId>()) else {
        return;
    };
    let sent: Vec<Sent> = SITES
        .iter()
        .filter_map(|name| Some(sent(name.parse().ok()?, &spec, &mut draw)))
        .collect();
    let participants = sent.iter().map(|s| (s.site.clone(), s.records)).collect();
    let terms = RoundTerms::new(&spec, run_id.clone(), ROUND, participants);
    assert!(terms.is_ok(), "{terms:?}");
    let Ok(terms) = terms else { return };
    let forwards = collected(&terms, &run_id, sent.iter());
    let backwards = collected(&terms, &run_id, sent.iter().rev());
    assert_eq!(forwards, backwards, "the order of arrival changed the sum");
    assert_eq!(forwards, expected(&spec, &sent));
}

fn lengths_add_up(bytes: u64, values: &[u8]) {
    let chunks = chunks_of(bytes);
    let last = chunk_len(bytes, chunks.saturating_sub(1)) as u64;
    let before = chunks.saturating_sub(1) as u128 * chunk_len(u64::MAX, 0) as u128;
    assert_eq!(before + u128::from(last), u128::from(bytes));
    assert_eq!(chunk_len(bytes, chunks), 0);

    let whole = values.len() - values.len() % 4;
    let back = to_le_bytes(&from_le_bytes(values));
    assert_eq!(Some(back.as_slice()), values.get(..whole));
}

fn sent(site: SiteName, spec: &RunSpec, draw: &mut Draw<'_>) -> Sent {
    let lies = draw.byte();
    let says = |bit: u8, lie: u64| if lies & bit == 0 { 0 } else { lie };
    let records = 1 + draw.pair() as u64;
    let wanted = spec.layout().shared_len() * size_of::<f32>();
    let missing = says(1, 1 + draw.byte() as u64) as usize;
    let mut bytes = vec![0; wanted];
    for (to, from) in bytes.iter_mut().zip(draw.bytes(wanted)) {
        *to = *from;
    }
    bytes.truncate(wanted.saturating_sub(missing));
    Sent {
        site,
        records,
        records_claimed: records + says(2, 1),
        round: ROUND + says(4, 1) as u32,
        index: says(8, u64::MAX),
        honest_hash: lies & 16 == 0,
        bytes,
    }
}

/// The means of the accepted updates as bits, by value; `None` where the round failed.
fn collected<'a>(
    terms: &RoundTerms,
    run_id: &RunId,
    sent: impl Iterator<Item = &'a Sent>,
) -> Option<Vec<u64>> {
    let mut round = Round::begin(NOW, terms.clone(), Accumulator::zeros(0));
    for site in sent {
        let connected = RoundIn::Connected(site.site.clone());
        let Some(ask) = asked(&round.step(NOW, connected), &site.site) else {
            continue;
        };
        let header = RoundIn::Header {
            site: site.site.clone(),
            ask,
            update: site.header(run_id),
        };
        let mut said = round.step(NOW, header);
        let chunk = RoundIn::Chunk {
            site: site.site.clone(),
            ask,
            index: site.index,
            bytes: Bytes::from(site.bytes.clone()),
        };
        said.extend(round.step(NOW, chunk));
        let is_decided = said.iter().any(|said| match said {
            RoundOut::Drop { site: of, .. } => *of == site.site,
            RoundOut::Note(RoundNote::Accepted { site: of, .. }) => *of == site.site,
            _ => false,
        });
        assert!(is_decided, "neither accepted nor dropped: {said:?}");
    }
    assert_eq!(
        round.wake_at(),
        None,
        "everyone answered and the round goes on"
    );
    let sum = round.into_sum()?;
    let means: Vec<f64> = sum.means(0..sum.len()).collect();
    assert!(means.iter().all(|mean| mean.is_finite()), "{means:?}");
    Some(means.into_iter().map(f64::to_bits).collect())
}

fn asked(said: &[RoundOut], of: &SiteName) -> Option<AskNumber> {
    said.iter().find_map(|said| match said {
        RoundOut::Ask { site, ask, .. } if site == of => Some(*ask),
        _ => None,
    })
}

impl Sent {
    fn header(&self, run_id: &RunId) -> Update {
        let mut blake3: [u8; 32] = blake3::hash(&self.bytes).into();
        if !self.honest_hash {
            blake3[0] ^= 1;
        }
        Update {
            tensors: TensorsAhead {
                run_id: run_id.clone(),
                round: self.round,
                bytes: self.bytes.len() as u64,
                blake3,
            },
            records: self.records_claimed,
            training_loss: None,
            held_out: None,
            metrics_withheld: true,
            bundle: Digest([0; 32]),
        }
    }

    /// By the definition of an update, without looking at what the round made of it.
    fn is_honest(&self, spec: &RunSpec) -> bool {
        self.round == ROUND
            && self.records_claimed == self.records
            && self.index == 0
            && self.honest_hash
            && self.bytes.len() as u64 == spec.bytes_on_the_wire()
            && from_le_bytes(&self.bytes)
                .iter()
                .all(|value| value.abs() <= VALUE_ABS_MAX)
    }
}

/// The means by their definition, in 128 bits.
fn expected(spec: &RunSpec, sent: &[Sent]) -> Option<Vec<u64>> {
    let all: u64 = sent.iter().map(|site| site.records).sum();
    let honest: BTreeMap<&SiteName, &Sent> = sent
        .iter()
        .filter(|site| site.is_honest(spec))
        .map(|site| (&site.site, site))
        .collect();
    if honest.is_empty() {
        return None;
    }
    let accepted: u64 = honest.values().map(|site| site.records).sum();
    let unit = ONE * (accepted as f64 / all as f64);
    let mut sums = vec![0_i128; spec.layout().shared_len()];
    for site in honest.values() {
        let scale = site.records as f64 / all as f64 * ONE;
        for (sum, value) in sums.iter_mut().zip(from_le_bytes(&site.bytes)) {
            *sum += (f64::from(value) * scale).round_ties_even() as i128;
        }
    }
    Some(
        sums.iter()
            .map(|&sum| (sum as f64 / unit).to_bits())
            .collect(),
    )
}
