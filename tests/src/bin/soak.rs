//! Simulated worlds, one after the other: one seed again, many seeds, or as many as fit in some hours.
//!
//! ```text
//! soak --seed N                     one world; says what broke
//! soak --seeds N [--from SEED]      so many, and a table at the end
//! soak --hours N [--from SEED]      as many as there is time for
//! soak --mutations N                each planted fault, in so many seeds at most
//! soak --scale MEMBERS              many members, of whom each run names 100 (or --sampled N)
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use consilium_tests::sim::mutation::Mutation;
use consilium_tests::sim::report::Report;
use consilium_tests::sim::scale::{self, Scale};
use consilium_tests::sim::{replay, run};
use tokio::time::Instant;

/// Seeds between two lines of progress.
const SEEDS_BETWEEN_LINES: u64 = 200;

fn main() -> ExitCode {
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<f64>().ok());
        let Some(value) = value.filter(|value| *value >= 0.0) else {
            return usage(&format!("`{name}` needs a number"));
        };
        options.insert(name, value);
    }
    let whole = |name: &str| options.get(name).map(|value| *value as u64);
    let from = whole("--from").unwrap_or(0);
    let done = match (whole("--seed"), whole("--seeds"), options.get("--hours")) {
        (Some(seed), ..) => soak(seed, Some(1), None),
        (_, Some(seeds), _) => soak(from, Some(seeds), None),
        (_, _, Some(hours)) => soak(from, None, Some(Duration::from_secs_f64(hours * 3600.0))),
        _ => match (whole("--mutations"), whole("--scale")) {
            (Some(seeds), _) => mutations(seeds),
            (_, Some(members)) => at_scale(members, whole("--sampled").unwrap_or(100)),
            _ => return usage("one of the five is needed"),
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(2),
    }
}

fn usage(what: &str) -> ExitCode {
    writeln!(
        io::stderr(),
        "{what}; use: soak --seed N | --seeds N | --hours N | --mutations N | --scale MEMBERS [--from SEED]"
    )
    .ok();
    ExitCode::from(64)
}

fn soak(from: u64, seeds: Option<u64>, time: Option<Duration>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let began = Instant::now();
    let (mut total, mut failures) = (Report::default(), 0_u64);
    let mut seed = from;
    let goes_on = |seed: u64| {
        seeds.is_none_or(|seeds| seed - from < seeds)
            && time.is_none_or(|time| began.elapsed() < time)
    };
    while goes_on(seed) {
        match run(seed, None) {
            Ok(report) => total.add(&report),
            Err(violation) => {
                failures += 1;
                writeln!(out, "seed {seed}: {violation}; {}", replay(seed))?;
            }
        }
        seed += 1;
        if (seed - from).is_multiple_of(SEEDS_BETWEEN_LINES) {
            writeln!(
                out,
                "{} seeds, {failures} failed, {} rounds, {:.0} s",
                seed - from,
                total.rounds,
                began.elapsed().as_secs_f64()
            )?;
            out.flush()?;
        }
    }
    writeln!(
        out,
        "\nseeds {from} to {}: {failures} failed, {:.0} s\n\n{}",
        seed.saturating_sub(1),
        began.elapsed().as_secs_f64(),
        total.table()
    )?;
    Ok(failures == 0)
}

fn mutations(seeds: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut all_found = true;
    writeln!(
        out,
        "| planted fault | first seed | found by |\n|---|---:|---|"
    )?;
    for (name, mutation) in Mutation::all() {
        let found = (0..seeds).find_map(|seed| Some((seed, run(seed, Some(mutation)).err()?)));
        match found {
            Some((seed, violation)) => {
                writeln!(out, "| {name} | {seed} | {violation} |")?;
            }
            None => {
                all_found = false;
                writeln!(out, "| {name} | none of {seeds} | **not found** |")?;
            }
        }
        out.flush()?;
    }
    Ok(all_found)
}

fn at_scale(members: u64, sampled: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let scale = Scale {
        members: usize::try_from(members).unwrap_or(usize::MAX),
        sampled: usize::try_from(sampled).unwrap_or(usize::MAX),
        runs: 10,
        rounds: 5,
    };
    let mut moments = Vec::new();
    let lived = scale::run(scale, 1, |_| moments.push(processor_seconds()));
    let report = match lived {
        Ok(report) => report,
        Err(violation) => {
            writeln!(out, "{violation}")?;
            return Ok(false);
        }
    };
    let times = moments.first().copied().flatten();
    let rate = times
        .zip(moments.last().copied().flatten())
        .map(|(first, last)| (scale.runs - 1) as f64 * scale.rounds as f64 / (last - first))
        .map_or_else(|| "not known here".into(), |rate| format!("{rate:.1}"));
    writeln!(
        out,
        "{members} members, {} of them in each of {} runs of {} rounds: {} rounds, {} updates; \
         rounds in a second of one core, after the first run: {rate}; peak memory: {}",
        scale.sampled,
        scale.runs,
        scale.rounds,
        report.rounds,
        report.accepted,
        peak_memory().unwrap_or_else(|| "not known here".into()),
    )?;
    Ok(true)
}

/// What this process has computed so far, which a busy machine does not stretch; only Linux tells.
fn processor_seconds() -> Option<f64> {
    const TICKS_IN_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the program's name, in brackets, the twelfth and thirteenth field: user and system.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_IN_A_SECOND)
}

/// What Linux says of this process.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}
