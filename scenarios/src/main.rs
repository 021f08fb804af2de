//! `consilium-scenarios`: stories on real data, each with real processes.

use std::process::ExitCode;

fn main() -> ExitCode {
    consilium_scenarios::command::run(std::env::args_os().collect())
}
