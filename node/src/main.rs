//! The node's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    consilium_node::command::run(std::env::args_os())
}
