//! `consilium-coordinator`: what its operator types.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use consilium_journal::{Journal, Limits};
use consilium_link::{
    CertificateAuthority, Credentials, Fingerprint, Identity, MemberKey, wall_clock,
};
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
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let done = match &arguments.command {
        Command::Init {
            folder,
            name,
            listen,
            admin,
        } => init(folder, name, *listen, admin).map(|data| report(arguments.format, &data)),
        Command::Run { folder } => serve(folder, arguments.format),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(arguments.format, &error);
            ExitCode::FAILURE
        }
    }
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
        return Err(CoordinatorError::Disk {
            what: format!("`{}` is not empty; choose a new folder", root.display()),
            source: std::io::ErrorKind::AlreadyExists.into(),
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
        source: std::io::ErrorKind::InvalidInput.into(),
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

fn serve(root: &Path, format: Format) -> Result<(), CoordinatorError> {
    consilium_link::log_to_stderr();
    let coordinator = Coordinator::open(root)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CoordinatorError::Disk {
            what: "cannot start the runtime".into(),
            source,
        })?;
    runtime.block_on(async {
        let (stop, shutdown) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            consilium_link::asked_to_stop().await;
            stop.send_replace(true);
        });
        server::serve(coordinator, shutdown, |address| {
            report(format, &json!({ "listening": address.to_string() }));
        })
        .await
    })
}

/// Prints a result: lines for people, one envelope for programs.
fn report(format: Format, data: &Value) {
    let mut out = std::io::stdout().lock();
    let written = match format {
        Format::Json => {
            let envelope =
                json!({ "schema_version": 1, "status": "ok", "exit_code": 0, "data": data });
            writeln!(out, "{envelope}")
        }
        Format::Text => data
            .as_object()
            .into_iter()
            .flatten()
            .try_for_each(|(key, value)| match value {
                Value::Array(steps) => steps.iter().try_for_each(|step| {
                    writeln!(out, "{key}: {}", step.as_str().unwrap_or_default())
                }),
                Value::String(text) => writeln!(out, "{key}: {text}"),
                other => writeln!(out, "{key}: {other}"),
            }),
    };
    // A reader that went away is no failure of ours.
    written.and_then(|()| out.flush()).ok();
}

fn report_error(format: Format, error: &CoordinatorError) {
    match format {
        Format::Json => {
            let envelope = json!({
                "schema_version": 1, "status": "error", "exit_code": 1,
                "error": { "message": error.to_string() },
            });
            writeln!(std::io::stdout(), "{envelope}").ok();
        }
        Format::Text => {
            writeln!(std::io::stderr(), "error: {error}").ok();
        }
    }
}
