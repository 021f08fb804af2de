//! All three programs in one, for tests that need real processes: the first argument says which.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    let program = match role.to_str() {
        Some("coordinator") => "consilium-coordinator",
        Some("node") => "consilium-node",
        Some("consilium") => "consilium",
        _ => return ExitCode::from(64),
    };
    let arguments = std::iter::once(OsString::from(program)).chain(arguments);
    match program {
        "consilium-coordinator" => consilium_coordinator::command::run(arguments),
        "consilium-node" => consilium_node::command::run(arguments),
        _ => consilium_cli::run(arguments),
    }
}
