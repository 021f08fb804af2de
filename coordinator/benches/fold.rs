//! How fast updates are folded and a round's end is computed and written, and in how much memory.
//!
//! `cargo bench --profile dev -p consilium-coordinator --bench fold [-- MILLIONS…]`, 1 10 100 when
//! left out. Prints figures and judges nothing. The last column is the largest resident set of the
//! whole process so far, which rests at the accumulator and a few MiB.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints what it saw"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use consilium_coordinator::round::{
    Accumulator, Round, RoundIn, RoundOut, RoundTerms, WeightedSum,
};
use consilium_coordinator::state::StateFolder;
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::message::{TensorsAhead, Update};
use consilium_protocol::model::{chunk_len, chunks_of};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, Machine, Millis, RunId, SiteName};

const SITES: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let millions = if asked.is_empty() {
        vec![1, 10, 100]
    } else {
        asked
    };
    println!("payload MB/s, {} sites, FedAdam", SITES.len());
    println!(
        "{:>12} {:>10} {:>10} {:>10} {:>10} {:>12} {:>10}",
        "values", "fold", "round", "next (s)", "reopen (s)", "B a value", "peak MiB"
    );
    for million in millions {
        measure(million * 1_000_000)?;
    }
    Ok(())
}

fn measure(values: usize) -> Result<(), Box<dyn Error>> {
    // Two inputs, a bias and a way out a unit; one bias more.
    let spec = run_of(values / 4)?;
    let values = spec.layout().shared_len();
    let run_id: RunId = "bench".parse()?;
    let chunk: Bytes = (0..CHUNK_BYTES_MAX / 4)
        .flat_map(|i| ((i as f32 * 0.37).sin() * 0.01).to_le_bytes())
        .collect::<Vec<u8>>()
        .into();

    let mut sum = Accumulator::zeros(values);
    let bytes_a_value = sum.bytes() as f64 / values as f64;
    let fold = fold_alone(&mut sum, &chunk)?;
    let (round, sum) = whole_round(&spec, &run_id, &chunk, sum)?;

    let folder = tempfile::tempdir()?;
    let states = StateFolder::new(folder.path().to_owned(), run_id, spec);
    let first = states.initial()?;
    let began = Instant::now();
    let next = states.next(&first, &sum)?;
    let next_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    black_box(states.reopen(1, next.content())?);
    let reopen_s = began.elapsed().as_secs_f64();
    println!(
        "{values:>12} {fold:>10.0} {round:>10.0} {next_s:>10.3} {reopen_s:>10.3} {bytes_a_value:>12.1} {:>10}",
        peak_mib().map_or_else(|| "?".into(), |mib| mib.to_string())
    );
    Ok(())
}

/// MB/s of `Accumulator::fold` over memory that was touched before, as in every round but the first.
fn fold_alone(sum: &mut Accumulator, chunk: &[u8]) -> Result<f64, Box<dyn Error>> {
    let bytes = sum.len() as u64 * 4;
    sum.clear();
    let began = Instant::now();
    for index in 0..chunks_of(bytes) {
        let first = usize::try_from(index)? * (CHUNK_BYTES_MAX / 4);
        let chunk = chunk.get(..chunk_len(bytes, index)).unwrap_or_default();
        sum.fold(first, black_box(chunk), 0.25)
            .map_err(|unfit| format!("{unfit:?}"))?;
    }
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}

/// MB/s of a whole round of all sites: clearing, checks, hashes and folds.
fn whole_round(
    spec: &RunSpec,
    run_id: &RunId,
    chunk: &Bytes,
    sum: Accumulator,
) -> Result<(f64, WeightedSum), Box<dyn Error>> {
    let bytes = spec.bytes_on_the_wire();
    let chunks = chunks_of(bytes);
    let mut hasher = blake3::Hasher::new();
    for index in 0..chunks {
        hasher.update(chunk.get(..chunk_len(bytes, index)).unwrap_or_default());
    }
    let blake3 = hasher.finalize().into();
    let sites: Vec<SiteName> = SITES
        .iter()
        .map(|site| site.parse())
        .collect::<Result<_, _>>()?;
    let participants: BTreeMap<SiteName, u64> =
        sites.iter().map(|site| (site.clone(), 100)).collect();
    let terms = RoundTerms::new(spec, run_id.clone(), 1, participants)?;

    let began = Instant::now();
    let now = Millis(0);
    let mut round = Round::begin(now, terms, sum);
    let mut asks = Vec::new();
    for site in &sites {
        for said in round.step(now, RoundIn::Connected(site.clone())) {
            let RoundOut::Ask { ask, .. } = said else {
                continue;
            };
            asks.push((site.clone(), ask));
            let update = Update {
                tensors: TensorsAhead {
                    run_id: run_id.clone(),
                    round: 1,
                    bytes,
                    blake3,
                },
                records: 100,
                training_loss: None,
                held_out: None,
                metrics_withheld: true,
                bundle: Digest::of(b"bundle"),
            };
            let site = site.clone();
            black_box(round.step(now, RoundIn::Header { site, ask, update }));
        }
    }
    for index in 0..chunks {
        for (site, ask) in &asks {
            let input = RoundIn::Chunk {
                site: site.clone(),
                ask: *ask,
                index,
                bytes: chunk.slice(..chunk_len(bytes, index)),
            };
            black_box(round.step(now, input));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let sum = round.into_sum().ok_or("the round did not close")?;
    Ok(((bytes * SITES.len() as u64) as f64 / 1e6 / seconds, sum))
}

fn run_of(hidden: usize) -> Result<RunSpec, Box<dyn Error>> {
    let text = format!(
        r#"
name = "bench"
project = "bench"
purpose = "HMB"
dataset = "bench"
participants = ["cleveland", "hungarian", "switzerland", "va"]
rounds = 1
[model]
kind = "mlp"
hidden = [{hidden}]
[strategy]
name = "FedAdam"
server-learning-rate = 0.01
[training]
learning-rate = 0.01
local-steps = 1
batch-size = 4
[data]
features = [{{ column = "a" }}, {{ column = "b" }}]
label = {{ column = "y", greater-than = 0 }}
"#
    );
    Ok(RunSpec::parse(text.as_bytes())?)
}

/// The largest resident set of this process, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
