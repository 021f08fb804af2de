//! `consilium`: what researchers, officers, administrators and auditors type.

fn main() -> std::process::ExitCode {
    consilium_cli::run(std::env::args_os())
}
