//! Rounds a second of the 14-parameter heart-disease model, with real processes.
//!
//! `cargo bench --profile dev -p consilium-scenarios --bench rounds [-- OPTIONS]`. Nodes are
//! copies of the four hospitals, all on this machine: with many of them it is the machine that
//! is measured. Each row is one run, followed with `--stream`; a round goes from the end of one
//! to the end of the next, journal and state on disk included. The journal's clock counts
//! whole milliseconds. CPU is for a round, that of a node for a node; so are UDP bytes, both
//! ways. Prints figures and judges nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measured;
#[path = "measured/road.rs"]
mod road;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use consilium_scenarios::house::played;

use measured::peer::{self, PeerOptions};
use measured::session::{self, DATA, Figures};
use measured::{Consortium, Outcome, Terms, meter};

/// One way of the far case's packets: 50 ms there and back.
const FAR_DELAY: Duration = Duration::from_millis(25);

const PARAMETERS: usize = 14;

/// Flower starts a process for each message: with more nodes a round takes minutes.
const PEER_NODES_MAX: usize = 16;

/// How fast small rounds go.
#[derive(Parser)]
struct Options {
    /// Nodes; one case each on loopback.
    #[arg(long, num_args = 1.., default_values_t = [4, 32, 128])]
    nodes: Vec<usize>,
    /// Optimiser steps a round and site; each is tried.
    #[arg(long, num_args = 1.., default_values_t = [1, 100])]
    steps: Vec<usize>,
    /// Rounds of each run [default: 2400 / nodes, at least 60, at most 600].
    #[arg(long)]
    rounds: Option<usize>,
    /// Leave out the case of 50 ms of round trip.
    #[arg(long)]
    near: bool,
    #[command(flatten)]
    peer: PeerOptions,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distance {
    Near,
    Far,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = played(&arguments) {
        return code;
    }
    let options = Options::parse_from(arguments);
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Outcome<()> {
    println!(
        "{PARAMETERS} parameters, batch 4; load average before: {}",
        meter::load()
    );
    println!(
        "{:>5} {:>7} {:>5} {:>6} | {:>8} {:>9} {:>6} {:>6} {:>10} | {:>10} {:>9} {:>9} | {:>10} {:>9}",
        "nodes",
        "trainer",
        "steps",
        "RTT ms",
        "rounds/s",
        "median ms",
        "p10",
        "p90",
        "collect ms",
        "coord. CPU",
        "node CPU",
        "UDP B",
        "coord. MiB",
        "node MiB"
    );
    for nodes in options.nodes.iter().copied() {
        let trainers: &[&'static str] = if nodes <= 4 {
            &["linear", "burn"]
        } else {
            &["linear"]
        };
        for trainer in trainers {
            case(options, nodes, trainer, Distance::Near)?;
        }
        if nodes > PEER_NODES_MAX {
            continue;
        }
        if let Some(peer) = peer::measure(&options.peer, PARAMETERS, nodes)? {
            println!(
                "{nodes:>5} flwr {}: {:.2} s a round; ServerApp {:.0} MiB, with SuperLink {:.0} MiB",
                peer.version, peer.round_s, peer.serverapp_peak_mib, peer.server_peak_mib
            );
        }
    }
    if !options.near {
        case(options, 4, "linear", Distance::Far)?;
    }
    Ok(())
}

/// One consortium, a run for each number of steps.
fn case(options: &Options, nodes: usize, trainer: &'static str, distance: Distance) -> Outcome<()> {
    let terms = Terms {
        nodes,
        trainer,
        test_rows: Some("test-rows.txt"),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let consortium = Consortium::found(terms, &mut |address| match distance {
        Distance::Near => Ok(address),
        Distance::Far => road::open(&runtime, address, FAR_DELAY),
    })?;
    let usual = match distance {
        Distance::Near => (2400 / nodes).clamp(60, 600),
        Distance::Far => 100,
    };
    let rounds = options.rounds.unwrap_or(usual);
    for steps in options.steps.iter().copied() {
        let mut figures = session::run(&consortium, &run_file(rounds, steps))?;
        let round_trip_ms = match distance {
            Distance::Near => 0,
            Distance::Far => 2 * FAR_DELAY.as_millis(),
        };
        println!(
            "{nodes:>5} {trainer:>7} {steps:>5} {round_trip_ms:>6} | {}",
            row(&mut figures, rounds, nodes)
        );
    }
    Ok(())
}

fn row(figures: &mut Figures, rounds: usize, nodes: usize) -> String {
    let a_round = 1e3 / rounds as f64;
    let rounds_per_s = 1e3 * figures.round_ms.len() as f64 / figures.round_ms.iter().sum::<f64>();
    let [p10, median, p90] = [0.1, 0.5, 0.9].map(|share| figures.round_quantile(share));
    format!(
        "{rounds_per_s:>8.1} {median:>9.0} {p10:>6.0} {p90:>6.0} {:>10.0} | {:>7.2} ms {:>6.2} ms {:>9.0} | {:>10.0} {:>9.0}",
        meter::quantile(&mut figures.collect_ms, 0.5),
        figures.coordinator_cpu_s * a_round,
        figures.nodes_cpu_s * a_round / nodes as f64,
        figures.udp_bytes as f64 / (rounds * nodes) as f64,
        figures.coordinator_peak_mib,
        figures.node_peak_mib,
    )
}

fn run_file(rounds: usize, steps: usize) -> String {
    format!(
        "name = \"rounds\"\nproject = \"bench\"\npurpose = \"HMB\"\ndataset = \"heart-disease\"\n\
         rounds = {rounds}\nseed = 42\nmodel = {{ kind = \"logistic\" }}\nstrategy = {{ name = \"FedAvg\" }}\n\
         [training]\nlearning-rate = 0.001\nlocal-steps = {steps}\nbatch-size = 4\n{DATA}"
    )
}
