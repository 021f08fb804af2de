//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use consilium_protocol::{MemberName, Role, RunId};

use crate::audit::arguments::AuditCommand;
use crate::budget::BudgetCommand;
use crate::policy::arguments::PolicyCommand;
use crate::search::arguments::SearchAsked;
use crate::stats::arguments::StatsCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   the job failed, was refused, or did not verify
  2   no connection, or not accepted as a member
  3   out of time
  64  not a valid command line

With --format json, one object is printed to standard output and nothing else:
  {\"schema_version\":1,\"status\":\"ok\",\"exit_code\":0,\"data\":{...}}
  {\"schema_version\":1,\"status\":\"error\",\"exit_code\":1,\"error\":{\"code\",\"message\",\"remedy\"}}

Example:
  consilium run submit heart.toml --stream";

/// Federated training and search over hospitals, under each hospital's policy.
#[derive(Debug, Parser)]
#[command(name = "consilium", version, about, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// The member's folder [default: $CONSILIUM_HOME, else ~/.consilium].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one envelope on standard output.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Become a member, with the token of an invitation. The key is made here and never leaves.
    #[command(after_help = "Example:\n  \
        consilium enrol --token-file invitation.txt --coordinator coordinator.example.org:4433")]
    Enrol(Enrol),
    /// Get the next certificate for the same key, before this one ends.
    #[command(after_help = "Example:\n  consilium renew")]
    Renew,
    /// Print a one-time token that makes a member (administrators).
    #[command(after_help = "Examples:\n  consilium invite --site cleveland\n  \
        consilium invite --researcher ada --lifetime 7d")]
    Invite(Invite),
    /// Take a member out, at once and for good (administrators).
    #[command(after_help = "Example:\n  consilium evict cleveland --reason \"contract ended\"")]
    Evict(Evict),
    /// List the members, and who is connected.
    #[command(after_help = "Example:\n  consilium members")]
    Members,
    /// Training runs.
    #[command(subcommand, after_help = "Example:\n  consilium run new heart.toml")]
    Run(RunCommand),
    /// Counts, histograms, means, quantiles, rankings and distinct patients over the sites.
    #[command(
        subcommand,
        after_help = "Example:\n  consilium stats count --dataset heart-disease --project cardiology --purpose HMB"
    )]
    Stats(StatsCommand),
    /// What a project has left of its budgets, what was spent, and what something would cost.
    #[command(
        subcommand,
        after_help = "Example:\n  consilium budget quote count --patients 30 --epsilon 1"
    )]
    Budget(BudgetCommand),
    /// Search the texts of every site that holds a collection, as if they lay in one place.
    #[command(after_help = "Examples:\n  \
        consilium search \"what causes gout?\" --collection medquad --project library --purpose HMB\n  \
        consilium search \"chest pain after exercise\" --show snippets -k 5 \\\n    \
        --collection notes --project cardiology --purpose HMB --filter \"section = 'GENHX'\"\n  \
        consilium search \"chest pain\" --show count --nearness 0.6 \\\n    \
        --collection notes --project cardiology --purpose HMB")]
    Search(Box<SearchAsked>),
    /// Look into a journal, offline.
    #[command(
        subcommand,
        after_help = "Example:\n  consilium audit verify /srv/consilium"
    )]
    Audit(AuditCommand),
    /// What may leave a site: written, tried out, signed and installed by its officers; offline.
    #[command(subcommand, after_help = "Example:\n  consilium policy new cleveland")]
    Policy(PolicyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Enrol {
    #[command(flatten)]
    pub(crate) token: TokenSource,
    /// Where the coordinator is: host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) coordinator: String,
}

/// A token by path is preferred: a command line can be read by others on the machine.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TokenSource {
    /// The file with the token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token itself; `-` reads it from standard input.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// How long the token is good: 90s, 30m, 24h, 7d.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub(crate) lifetime: Duration,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// An institution's node.
    #[arg(long, value_name = "NAME")]
    site: Option<MemberName>,
    /// Somebody who launches runs.
    #[arg(long, value_name = "NAME")]
    researcher: Option<MemberName>,
    /// Somebody who writes policy and verifies what left.
    #[arg(long, value_name = "NAME")]
    officer: Option<MemberName>,
    /// Somebody who invites and evicts.
    #[arg(long, value_name = "NAME")]
    admin: Option<MemberName>,
}

impl Whom {
    /// The role and name asked for; clap has seen to it that there is one.
    pub(crate) fn role_and_name(&self) -> Option<(Role, MemberName)> {
        [
            (Role::Site, &self.site),
            (Role::Researcher, &self.researcher),
            (Role::Officer, &self.officer),
            (Role::Admin, &self.admin),
        ]
        .into_iter()
        .find_map(|(role, name)| Some((role, name.clone()?)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Evict {
    /// The member.
    pub(crate) name: MemberName,
    /// Its role: site, researcher, officer or admin.
    #[arg(long, default_value = "site")]
    pub(crate) role: Role,
    /// Why; it is recorded, and told to the member.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Write a commented run file to begin from.
    #[command(after_help = "Example:\n  consilium run new heart.toml")]
    New {
        /// The file to write; it must not exist.
        file: PathBuf,
    },
    /// Sign a run file and hand it in.
    #[command(
        after_help = "Examples:\n  consilium run submit heart.toml --stream\n  \
        consilium run submit heart.toml --run-config rounds=5 training.learning-rate=0.1"
    )]
    Submit(Submit),
    /// List the runs, newest first.
    #[command(after_help = "Example:\n  consilium run list --format json")]
    List,
    /// Show one run: its file, where it stands, what happened last.
    #[command(after_help = "Example:\n  consilium run show r-0123456789ab")]
    Show {
        /// The run.
        run_id: RunId,
    },
    /// Print a run's history.
    #[command(after_help = "Example:\n  consilium run log r-0123456789ab --stream")]
    Log {
        /// The run.
        run_id: RunId,
        /// Go on as it happens, until the run is over.
        #[arg(long)]
        stream: bool,
    },
    /// Wait until a run is over; fail if it failed.
    #[command(after_help = "Example:\n  consilium run wait r-0123456789ab --timeout 3600")]
    Wait {
        /// The run.
        run_id: RunId,
        /// Longest to wait, in seconds.
        #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Stop a run after what it is doing; it can be resumed.
    #[command(after_help = "Example:\n  consilium run stop r-0123456789ab")]
    Stop {
        /// The run.
        run_id: RunId,
    },
    /// Take a stopped or failed run up again from its last complete round.
    #[command(after_help = "Example:\n  consilium run resume r-0123456789ab")]
    Resume {
        /// The run.
        run_id: RunId,
    },
    /// Fetch the finished model and its card, checked against its digest.
    #[command(after_help = "Example:\n  consilium run download r-0123456789ab --to heart/")]
    Download {
        /// The run.
        run_id: RunId,
        /// The folder to write model.safetensors and model-card.json into.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The run file.
    pub(crate) file: PathBuf,
    /// Values that replace the file's, by dotted key.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub(crate) run_config: Vec<String>,
    /// Idempotency token: submitting twice with the same token is submitting once.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Follow the run until it is over.
    #[arg(long)]
    pub(crate) stream: bool,
}

/// `90s`, `30m`, `24h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const SECONDS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    SECONDS
        .iter()
        .find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(*unit)?.parse().ok()?;
            Some(Duration::from_secs(count.checked_mul(*seconds)?))
        })
        .filter(|lifetime| !lifetime.is_zero())
        .ok_or_else(|| "write a number and a unit, such as 90s, 30m, 24h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_grammar_is_sound_and_every_command_has_an_example() {
        fn visit(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("consilium ")),
                "`{}` has no example",
                command.get_name()
            );
            command.get_subcommands().for_each(visit);
        }
        let command = Arguments::command();
        command.clone().debug_assert();
        visit(&command);
    }

    #[test]
    fn an_invitation_is_for_exactly_one_member() {
        let whom = |line: &str| match parse(line).unwrap().command {
            Command::Invite(invite) => (invite.whom.role_and_name().unwrap(), invite.lifetime),
            other => panic!("{other:?}"),
        };
        let ((role, name), lifetime) = whom("consilium invite --site cleveland");
        assert_eq!((role, name.as_str()), (Role::Site, "cleveland"));
        assert_eq!(lifetime, Duration::from_secs(86_400));
        let ((role, _), lifetime) = whom("consilium invite --researcher ada --lifetime 30m");
        assert_eq!(
            (role, lifetime),
            (Role::Researcher, Duration::from_secs(1800))
        );
        for wrong in [
            "consilium invite",
            "consilium invite --site a --admin b",
            "consilium invite --site ../a",
            "consilium invite --site a --lifetime 0h",
            "consilium invite --site a --lifetime 24",
            "consilium invite --site a --lifetime 99999999999999999999d",
            "consilium invite --site a --lifetime é",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn overrides_come_several_at_once_or_one_by_one() {
        for line in [
            "consilium run submit heart.toml --run-config rounds=5 seed=1 --stream",
            "consilium run submit --run-config rounds=5 --run-config seed=1 --stream heart.toml",
        ] {
            match parse(line).unwrap().command {
                Command::Run(RunCommand::Submit(submit)) => {
                    assert_eq!(submit.run_config, ["rounds=5", "seed=1"]);
                    assert!(submit.stream && submit.file.as_os_str() == "heart.toml");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn format_and_home_may_stand_anywhere() {
        for line in [
            "consilium --format json --home h run list",
            "consilium run list --format json --home h",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.format, Format::Json);
            assert_eq!(arguments.home.unwrap().as_os_str(), "h");
        }
    }

    #[test]
    fn a_token_comes_from_one_place() {
        let c = "--coordinator hub:4433";
        assert!(parse(&format!("consilium enrol --token - {c}")).is_ok());
        assert!(parse(&format!("consilium enrol --token-file t {c}")).is_ok());
        assert!(parse(&format!("consilium enrol {c}")).is_err());
        assert!(parse(&format!("consilium enrol --token x --token-file t {c}")).is_err());
    }
}
