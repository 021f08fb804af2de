//! The coordinator's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    consilium_coordinator::command::run(std::env::args_os())
}
