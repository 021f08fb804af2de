//! The same job with Flower (`peers/flower`), in the same hour.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use super::Outcome;

/// Rounds of the peer; its first is not counted.
const ROUNDS: &str = "3";

#[derive(Debug, Args)]
pub(crate) struct PeerOptions {
    /// Run the same cases with Flower as well (installs it; see peers/flower/README.md).
    #[arg(long)]
    pub(crate) peer: bool,
    /// Where Flower is installed and kept.
    #[arg(long, value_name = "FOLDER", requires = "peer")]
    peer_venv: Option<PathBuf>,
}

/// What Flower took.
#[derive(Debug)]
pub(crate) struct PeerFigures {
    pub(crate) version: String,
    pub(crate) round_s: f64,
    /// Its ServerApp, where the models are averaged.
    pub(crate) serverapp_peak_mib: f64,
    /// ServerApp and SuperLink together.
    pub(crate) server_peak_mib: f64,
}

/// One case; `None` where the peer was not asked for.
pub(crate) fn measure(
    options: &PeerOptions,
    parameters: usize,
    nodes: usize,
) -> Outcome<Option<PeerFigures>> {
    if !options.peer {
        return Ok(None);
    }
    let report = tempfile::NamedTempFile::new()?;
    let mut bench = Command::new("python3");
    bench
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/flower/bench.py"))
        .args([
            "--parameters",
            &parameters.to_string(),
            "--nodes",
            &nodes.to_string(),
            "--rounds",
            ROUNDS,
        ])
        .arg("--json")
        .arg(report.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(folder) = &options.peer_venv {
        bench.arg("--venv").arg(folder);
    }
    let ended = bench.status()?;
    if !ended.success() {
        return Err(format!("the peer's benchmark ended with {ended}").into());
    }
    let report: Value = serde_json::from_slice(&std::fs::read(report.path())?)?;
    let case = report
        .pointer("/cases/0")
        .ok_or("the peer reports no case")?;
    let number = |field: &str| {
        let value = case.get(field).and_then(Value::as_f64);
        value.ok_or_else(|| format!("the peer's report lacks `{field}`"))
    };
    const MIB: f64 = 1_048_576.0;
    Ok(Some(PeerFigures {
        version: report
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned(),
        round_s: number("round_s_median")?,
        serverapp_peak_mib: number("serverapp_peak_rss_bytes")? / MIB,
        server_peak_mib: number("server_side_peak_rss_bytes")? / MIB,
    }))
}
