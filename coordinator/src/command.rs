//! `consilium-coordinator`: what its operator types.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::{Parser, Subcommand, ValueEnum};
use consilium_journal::{Journal, Limits};
use consilium_link::{
    CertificateAuthority, Credentials, Fingerprint, Identity, Lives, MemberKey, serve_in_lives,
    wall_clock,
};
use consilium_protocol::envelope::{self, EXIT_USAGE, Failure, Reader, reader_named_in};
use consilium_protocol::{MemberName, Millis, Role};
use serde_json::{Value, json};

use crate::config::{Config, FILE_NAME, Folder, TEMPLATE};
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::event::Event;
use crate::server;

/// Certificates made at `init` come with the configuration's default lifetime.
const FIRST_LIFETIME_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// The consortium's meeting room: aggregates updates and federates queries; never sees a record.
#[derive(Parser)]
#[command(name = "consilium-coordinator", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Found a consortium: its certificate authority, this coordinator, a first administrator.
    #[command(
        after_help = "Example:\n  consilium-coordinator init --folder /srv/consilium --name heart --listen 0.0.0.0:4433"
    )]
    Init {
        /// The coordinator's folder; must not exist, or be empty.
        #[arg(long)]
        folder: PathBuf,
        /// The consortium's name.
        #[arg(long)]
        name: String,
        /// The UDP address that members will dial.
        #[arg(long, default_value = "0.0.0.0:4433")]
        listen: SocketAddr,
        /// The first administrator's name.
        #[arg(long, default_value = "root")]
        admin: MemberName,
    },
    /// Serve until stopped; every unfinished run goes on by itself.
    #[command(after_help = "Example:\n  consilium-coordinator run --folder /srv/consilium")]
    Run {
        #[arg(long)]
        folder: PathBuf,
    },
}

/// Runs the command line; the binary's whole `main`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(explain(&error, &typed)),
    };
    let reader = match arguments.format {
        Format::Text => Reader::Person,
        Format::Json => Reader::Program,
    };
    let done = match &arguments.command {
        Command::Init {
            folder,
            name,
            listen,
            admin,
        } => init(folder, name, *listen, admin).map(|data| report(reader, &data)),
        Command::Run { folder } => serve(folder, reader),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::of_text(1, error.code(), &error.to_string());
            conclude(reader, Err(&failure));
            ExitCode::FAILURE
        }
    }
}

/// Help and version are answers; everything else that clap says is a wrong command line.
fn explain(error: &clap::Error, typed: &[OsString]) -> u8 {
    match reader_named_in(typed) {
        Reader::Program if error.use_stderr() => {
            let said = error.render().to_string();
            let failure = Failure::of_usage("consilium-coordinator", &said);
            conclude(Reader::Program, Err(&failure));
        }
        _ => drop(error.print()),
    }
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

fn init(
    root: &Path,
    name: &str,
    listen: SocketAddr,
    admin: &MemberName,
) -> Result<Value, CoordinatorError> {
    let disk = |what: String| move |source| CoordinatorError::Disk { what, source };
    std::fs::create_dir_all(root).map_err(disk(format!("cannot make `{}`", root.display())))?;
    let mut entries =
        std::fs::read_dir(root).map_err(disk(format!("cannot read `{}`", root.display())))?;
    if entries.next().is_some() {
        return Err(CoordinatorError::NotEmpty {
            folder: root.to_owned(),
        });
    }
    let folder = Folder::new(root);
    let now = wall_clock();
    let authority = CertificateAuthority::create(name, now)?;
    for part in [folder.authority(), folder.identity(), folder.admin()] {
        std::fs::create_dir(&part).map_err(disk(format!("cannot make `{}`", part.display())))?;
    }
    authority.save(&folder.authority())?;
    let coordinator: MemberName = "coordinator".parse().map_err(|_| CoordinatorError::Disk {
        what: "the coordinator's own name".into(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    // A coordinator's certificate lasts as long as its authority needs it: it has nobody to renew it at.
    let mine = Identity::new(Role::Coordinator, coordinator.clone());
    let mine = certify(
        &authority,
        &folder.identity(),
        mine,
        consilium_link::AUTHORITY_LIFETIME_MS,
        now,
    )?;
    let theirs = Identity::new(Role::Admin, admin.clone());
    let theirs = certify(&authority, &folder.admin(), theirs, FIRST_LIFETIME_MS, now)?;
    let dial = dial_address(listen);
    write_new(
        &folder.admin().join("consilium.toml"),
        &format!("coordinator = \"{dial}\"\n"),
    )?;
    let (journal, _) = Journal::open(&folder.journal(), Limits::default())?;
    for event in [
        Event::ConsortiumFounded {
            name: name.to_owned(),
            authority: authority.fingerprint().0,
        },
        enrolled(Role::Coordinator, coordinator, &mine),
        enrolled(Role::Admin, admin.clone(), &theirs),
    ] {
        journal.append_json(now.0, event.kind(), &event)?;
    }
    // Last: a folder without it is no coordinator's, whatever a crash leaves.
    let text = TEMPLATE
        .replace("{name}", &name.escape_default().to_string())
        .replace("{listen}", &listen.to_string());
    write_new(&root.join(FILE_NAME), &text)?;
    Config::load(root)?;
    Ok(json!({
        "folder": root,
        "authority_fingerprint": authority.fingerprint().to_string(),
        "administrator": admin,
        "administrator_home": folder.admin(),
        "listen": listen.to_string(),
        "next": [
            format!("consilium-coordinator run --folder {}", root.display()),
            format!("consilium --home {} invite --site NAME", folder.admin().display()),
        ],
    }))
}

fn certify(
    authority: &CertificateAuthority,
    folder: &Path,
    identity: Identity,
    lifetime_ms: u64,
    now: Millis,
) -> Result<Credentials, CoordinatorError> {
    let key = MemberKey::generate()?;
    let certificate = authority.issue(&key.certificate_request()?, &identity, lifetime_ms, now)?;
    let credentials = Credentials::new(key, &certificate, authority.anchor().clone())?;
    credentials.save(folder)?;
    Ok(credentials)
}

fn enrolled(role: Role, name: MemberName, credentials: &Credentials) -> Event {
    Event::MemberEnrolled {
        role,
        name,
        certificate: Fingerprint::of(credentials.certificate()).0,
        expires_at_ms: credentials.expires_at().0,
    }
}

/// Where this machine itself can dial what listens on `listen`.
fn dial_address(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), listen.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), listen.port())
        }
        named => named,
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), CoordinatorError> {
    std::fs::write(path, text).map_err(|source| CoordinatorError::Disk {
        what: format!("cannot write `{}`", path.display()),
        source,
    })
}

fn serve(root: &Path, reader: Reader) -> Result<(), CoordinatorError> {
    consilium_link::log_to_stderr();
    let lives = Lives {
        runtime: || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build();
            runtime.map_err(|source| CoordinatorError::Disk {
                what: "cannot start the runtime".into(),
                source,
            })
        },
        open: || Coordinator::open(root),
        failure: |coordinator: &Arc<Coordinator>| coordinator.storage_failure(),
        may_pass: CoordinatorError::is_of_storage,
    };
    // Said once, whatever happens to the disk later.
    let said = OnceLock::new();
    serve_in_lives(&lives, async |coordinator: &Arc<Coordinator>, shutdown| {
        server::serve(coordinator.clone(), shutdown, |address| {
            said.get_or_init(|| report(reader, &json!({ "listening": address.to_string() })));
        })
        .await
    })
}

fn report(reader: Reader, data: &Value) {
    conclude(reader, Ok((&envelope::lines_of(data), data)));
}

fn conclude(reader: Reader, ended: Result<(&str, &Value), &Failure>) {
    envelope::conclude(reader, ended, &mut io::stdout(), &mut io::stderr());
}
