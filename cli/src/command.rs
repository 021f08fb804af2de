//! From what was typed to what was answered.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use consilium_link::wall_clock;
use consilium_protocol::envelope::{Failure, Reader, reader_named_in};

use crate::arguments::{Arguments, Command, Format, RunCommand};
use crate::ending::{CliError, Exit, NoAnswer};
use crate::home::Home;
use crate::output::{Answer, Streams, Terminal};
use crate::{audit, budget, download, membership, policy, run_file, runs, search, stats};

/// Runs the command line `args`, the program's name first, on this process's own streams; the
/// binary's whole `main`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut streams = Streams {
        out: &mut out,
        err: &mut err,
        terminal: Terminal::of_this_process(),
    };
    ExitCode::from(execute(args, &mut streams))
}

/// As [`run`], on any streams; returns the exit code (0 done, 1 failed or refused, 2 no connection
/// or no member, 3 out of time, 64 usage). Not within a tokio runtime: it starts its own.
pub fn execute(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&args) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error, &args, streams),
    };
    let format = arguments.format;
    match answer(arguments, streams) {
        Ok(answer) => {
            streams.conclude(format, Ok(&answer));
            Exit::Done.code()
        }
        Err(no_answer) => {
            let failure = Failure::from(no_answer);
            streams.conclude(format, Err(&failure));
            failure.exit_code
        }
    }
}

/// Help and version are answers; everything else that clap says is a wrong command line.
fn explain(error: &clap::Error, args: &[OsString], streams: &mut Streams<'_>) -> u8 {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        text.lines().for_each(|line| streams.say(line));
        return Exit::Done.code();
    }
    match reader_named_in(args) {
        Reader::Program => {
            let failure = Failure::of_usage("consilium", &text);
            streams.conclude(Format::Json, Err(&failure));
        }
        Reader::Person => text.lines().for_each(|line| streams.note(line)),
    }
    Exit::Usage.code()
}

fn answer(arguments: Arguments, streams: &mut Streams<'_>) -> Result<Answer, NoAnswer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::System {
            what: error.to_string(),
        })?;
    runtime.block_on(carry_out(arguments, streams))
}

async fn carry_out(arguments: Arguments, streams: &mut Streams<'_>) -> Result<Answer, NoAnswer> {
    let Arguments {
        command,
        format,
        home,
    } = arguments;
    // What is done offline needs none.
    let home = || Home::resolve(home.clone());
    let member = |streams: &mut Streams<'_>| {
        let home = home()?;
        if let Some(reminder) = home.reminder(wall_clock()) {
            streams.note(&reminder);
        }
        Ok::<_, CliError>(home)
    };
    match command {
        Command::Enrol(enrol) => membership::enrol(&home()?, &enrol).await,
        Command::Renew => membership::renew(&home()?).await,
        Command::Invite(invite) => membership::invite(&member(streams)?, &invite).await,
        Command::Evict(evict) => membership::evict(&member(streams)?, &evict).await,
        Command::Members => membership::members(&member(streams)?).await,
        Command::Run(RunCommand::New { file }) => run_file::write_new(&file),
        Command::Run(RunCommand::Submit(submit)) => {
            runs::submit(&member(streams)?, &submit, streams).await
        }
        Command::Run(RunCommand::List) => runs::list(&member(streams)?).await,
        Command::Run(RunCommand::Show { run_id }) => {
            runs::show_run(&member(streams)?, &run_id).await
        }
        Command::Run(RunCommand::Log { run_id, stream }) => {
            runs::log(&member(streams)?, &run_id, stream, format, streams).await
        }
        Command::Run(RunCommand::Wait { run_id, timeout }) => {
            runs::wait(&member(streams)?, &run_id, timeout, streams).await
        }
        Command::Run(RunCommand::Stop { run_id }) => runs::stop(&member(streams)?, &run_id).await,
        Command::Run(RunCommand::Resume { run_id }) => {
            runs::resume(&member(streams)?, &run_id).await
        }
        Command::Run(RunCommand::Download { run_id, to }) => {
            download::download(&member(streams)?, &run_id, &to).await
        }
        Command::Stats(stats) => stats::ask(&member(streams)?, stats, format, streams).await,
        Command::Search(asked) => search::ask(&member(streams)?, *asked, format, streams).await,
        Command::Budget(command) => budget::carry_out(command, || member(streams)).await,
        Command::Audit(command) => audit::carry_out(command),
        Command::Policy(command) => policy::carry_out(command, format, streams),
    }
}
