//! One update of 1, 10 and 100 million parameters from each of four nodes or more, with real processes.
//!
//! `cargo bench --profile dev -p consilium-scenarios --bench large_updates [-- OPTIONS]`. The
//! nodes take no step: they send their own weights' change. First what bare quinn carries between
//! two processes (`consilium-link`'s benchmark, in the same run), then each model. A round moves
//! the model to each node and an update back. Prints figures and judges nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measured;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use consilium_scenarios::house::played;

use measured::peer::{self, PeerOptions};
use measured::session::{self, DATA};
use measured::{Consortium, Outcome, Terms, meter};

const MIB: f64 = 1_048_576.0;

/// Parameters of a hidden unit: thirteen weights, a bias and a way out.
const PARAMETERS_A_UNIT: usize = 15;

/// How fast large updates travel, and in how much memory.
#[derive(Parser)]
struct Options {
    /// Millions of parameters; one case each.
    #[arg(long, num_args = 1.., default_values_t = [1, 10, 100])]
    millions: Vec<usize>,
    /// Nodes that send one each.
    #[arg(long, default_value_t = 4)]
    nodes: u16,
    /// Rounds of each run; the first is not counted.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Leave bare quinn out, and with it the ratio.
    #[arg(long)]
    no_bare: bool,
    #[command(flatten)]
    peer: PeerOptions,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
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
        "{} nodes; load average before: {}",
        options.nodes,
        meter::load()
    );
    let bare_mb_s = if options.no_bare {
        Vec::new()
    } else {
        bare_quinn()?
    };
    for (name, mb_s) in &bare_mb_s {
        println!("{name}: {mb_s:.0} MB/s between two processes, one way, 400 MB");
    }
    for million in options.millions.iter().copied() {
        case(options, million, &bare_mb_s)?;
    }
    Ok(())
}

fn case(options: &Options, million: usize, bare_mb_s: &[(String, f64)]) -> Outcome<()> {
    let hidden = (million * 1_000_000).div_ceil(PARAMETERS_A_UNIT);
    let parameters = PARAMETERS_A_UNIT * hidden + 1;
    let nodes = f64::from(options.nodes);
    let terms = Terms {
        nodes: options.nodes.into(),
        trainer: "burn",
        test_rows: None,
    };
    let consortium = Consortium::found(terms, &mut Ok)?;
    let mut figures = session::run(&consortium, &run_file(options.rounds, hidden))?;
    drop(consortium);
    let model_bytes = (parameters * size_of::<f32>()) as f64;
    let round_s = figures.round_quantile(0.5) / 1e3;
    // There and back for each node; the finished model goes out once more, to be evaluated.
    let payload = model_bytes * nodes * f64::from(2 * options.rounds + 1);
    let mb_s = 2.0 * model_bytes * nodes / 1e6 / round_s;
    println!(
        "\n{parameters} parameters, {:.1} MiB a model, {} rounds",
        model_bytes / MIB,
        options.rounds
    );
    println!(
        "  {round_s:.3} s a round ({:.3} to {:.3}), of it {:.3} s until the last update is in; {mb_s:.0} MB/s",
        figures.round_quantile(0.0) / 1e3,
        figures.round_quantile(1.0) / 1e3,
        meter::quantile(&mut figures.collect_ms, 0.5) / 1e3,
    );
    for (name, bare) in bare_mb_s {
        println!("  {:.2} of {name}", mb_s / bare);
    }
    println!(
        "  UDP payload over model payload: {:.4}",
        figures.udp_bytes as f64 / payload
    );
    println!(
        "  coordinator: peak {:.0} MiB (1.5 x model + 64 MiB: {:.0}), {:.2} s CPU a round",
        figures.coordinator_peak_mib,
        1.5 * model_bytes / MIB + 64.0,
        figures.coordinator_cpu_s / f64::from(options.rounds),
    );
    println!(
        "  a node: peak {:.0} MiB ({:.2} models), {:.2} s CPU a round",
        figures.node_peak_mib,
        figures.node_peak_mib * MIB / model_bytes,
        figures.nodes_cpu_s / f64::from(options.rounds) / nodes,
    );
    if let Some(peer) = peer::measure(&options.peer, parameters, options.nodes.into())? {
        println!(
            "  flwr {}: {:.1} s a round, ServerApp {:.0} MiB, with SuperLink {:.0} MiB: {:.1} x the time, {:.1} x the memory",
            peer.version,
            peer.round_s,
            peer.serverapp_peak_mib,
            peer.server_peak_mib,
            peer.round_s / round_s,
            peer.serverapp_peak_mib / figures.coordinator_peak_mib,
        );
    }
    Ok(())
}

/// What the link's own benchmark says of bare quinn for its largest payload.
fn bare_quinn() -> Outcome<Vec<(String, f64)>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let bench = Command::new(cargo)
        .args([
            "bench",
            "--profile",
            "dev",
            "--package",
            "consilium-link",
            "--bench",
            "throughput",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !bench.status.success() {
        return Err("the link's benchmark failed".into());
    }
    let table = String::from_utf8(bench.stdout)?;
    let mut found: Vec<(String, f64)> = Vec::new();
    for line in table
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("bare quinn"))
    {
        // Name, MB/s, share of bare, UDP over payload; a larger size takes a smaller one's place.
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let figures = words.split_off(words.len().saturating_sub(3));
        let mb_s = figures
            .first()
            .ok_or("a row of the link's benchmark without figures")?
            .parse()?;
        let name = words.join(" ");
        found.retain(|(known, _)| *known != name);
        found.push((name, mb_s));
    }
    Ok(found)
}

fn run_file(rounds: u32, hidden: usize) -> String {
    format!(
        "name = \"large\"\nproject = \"bench\"\npurpose = \"HMB\"\ndataset = \"heart-disease\"\n\
         rounds = {rounds}\nseed = 42\nmodel = {{ kind = \"mlp\", hidden = [{hidden}] }}\n\
         strategy = {{ name = \"FedAvg\" }}\n\
         [training]\nlearning-rate = 0.001\nlocal-steps = 0\nbatch-size = 4\n{DATA}"
    )
}
