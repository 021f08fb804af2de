//! A small consortium on loopback: real credentials, a real listener, and a scripted coordinator.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use consilium_cli::{Streams, Terminal, execute};
use consilium_link::{
    CertificateAuthority, CloseCode, Connection, Credentials, Identity, LinkLimits, Listener,
    MemberKey, RequestStream, wall_clock,
};
use consilium_protocol::message::{Request, Response, RunDetail, RunEvent, RunState, RunSummary};
use consilium_protocol::{Digest, Role, wire};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long certificates are good: as a coordinator gives them.
pub(crate) const LIFETIME_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// What came of a command line.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) exit: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Typed {
    /// The envelope: the one thing on standard output.
    pub(crate) fn envelope(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        let envelope: Value = serde_json::from_str(&self.out).unwrap();
        assert_eq!(envelope["exit_code"], self.exit);
        assert_eq!(envelope["schema_version"], 1);
        envelope
    }
}

/// Types a command line into a process of its own kind: no terminal, no input.
pub(crate) fn type_in<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Typed {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("consilium".into()).chain(args.into_iter().map(Into::into));
    let mut streams = Streams {
        out: &mut out,
        err: &mut err,
        terminal: Terminal::No,
    };
    let exit = execute(args, &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Typed {
        exit,
        out: text(out),
        err: text(err),
    }
}

/// One consortium: its authority, its coordinator's door, and its members' homes.
pub(crate) struct Consortium {
    pub(crate) authority: CertificateAuthority,
    pub(crate) listener: Listener,
    folder: TempDir,
}

impl Consortium {
    pub(crate) fn new() -> Self {
        let authority = CertificateAuthority::create("Cardiology", wall_clock()).unwrap();
        let hub = credentials(&authority, Role::Coordinator, "hub");
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = Listener::bind(address, &hub, LinkLimits::default()).unwrap();
        Self {
            authority,
            listener,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_address().unwrap().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The home of a member that is enrolled.
    pub(crate) fn home(&self, role: Role, name: &str) -> PathBuf {
        let home = self.path(name);
        if !home.exists() {
            credentials(&self.authority, role, name)
                .save(&home)
                .unwrap();
        }
        let config = format!("coordinator = \"{}\"\n", self.address());
        fs::write(home.join("consilium.toml"), config).unwrap();
        home
    }

    /// Types a command line as the member whose home it is, beside this test.
    pub(crate) fn types(&self, home: &Path, line: &str) -> JoinHandle<Typed> {
        let mut args: Vec<OsString> = vec!["--home".into(), home.into()];
        args.extend(line.split_whitespace().map(Into::into));
        tokio::task::spawn_blocking(move || type_in(args))
    }

    /// A command line from the researcher `ada`.
    pub(crate) fn ada(&self, line: &str) -> JoinHandle<Typed> {
        self.types(&self.home(Role::Researcher, "ada"), line)
    }

    /// The coordinator's end of the next connection.
    pub(crate) async fn accept(&mut self) -> Connection {
        self.listener.accept().await.unwrap()
    }

    /// Answers one request on a connection of its own, and waits for the good-bye.
    pub(crate) async fn answers(&mut self, answer: impl FnOnce(Request) -> Response) {
        let connection = self.accept().await;
        let (request, stream) = hear(&connection).await;
        say_last(stream, answer(request)).await;
        connection.closed().await;
    }
}

fn credentials(authority: &CertificateAuthority, role: Role, name: &str) -> Credentials {
    let key = MemberKey::generate().unwrap();
    let request = key.certificate_request().unwrap();
    let identity = Identity::new(role, name.parse().unwrap());
    let certificate = authority
        .issue(&request, &identity, LIFETIME_MS, wall_clock())
        .unwrap();
    Credentials::new(key, &certificate, authority.anchor().clone()).unwrap()
}

/// The next request on a connection.
pub(crate) async fn hear(connection: &Connection) -> (Request, RequestStream) {
    let mut stream = connection.accept_request().await.unwrap();
    let request: wire::Request = stream.receive().await.unwrap();
    (Request::try_from(request).unwrap(), stream)
}

pub(crate) async fn say(stream: &mut RequestStream, response: Response) {
    stream.send(&wire::Response::from(response)).await.unwrap();
}

/// Says it, and nothing more on this stream.
pub(crate) async fn say_last(mut stream: RequestStream, response: Response) {
    say(&mut stream, response).await;
    stream.finish().unwrap();
}

/// Loses a connection the way a coordinator that restarts does.
pub(crate) async fn lose(connection: Connection, stream: RequestStream) {
    // What was sent must have arrived, or the script would not say what was heard.
    let (mut sender, _) = stream.split();
    sender.finish().unwrap();
    sender.delivered().await.unwrap();
    connection.close(CloseCode::ShuttingDown, "upgrade");
}

/// A run of four rounds, as it stands.
pub(crate) fn summary(state: RunState, round: u32) -> RunSummary {
    RunSummary {
        run_id: "r-1".parse().unwrap(),
        name: "heart-disease".into(),
        project: "cardiology".parse().unwrap(),
        researcher: "ada".parse().unwrap(),
        state,
        round,
        rounds: 4,
        submitted_at_ms: 1_795_526_776_000,
        ended_at_ms: if state.is_over() {
            1_795_526_780_000
        } else {
            0
        },
        cause: String::new(),
    }
}

/// The events of a run of four rounds that ends as said.
pub(crate) fn events(ended: RunState, cause: &str) -> Vec<RunEvent> {
    let site = |loss: f64| {
        json!({ "records": 100, "training_loss": loss,
            "held_out": { "records": 50, "loss": loss, "accuracy": 0.75, "auc": null } })
    };
    let mut all = vec![
        json!({ "kind": "run-submitted", "researcher": "ada" }),
        json!({ "kind": "run-started", "sites": ["cleveland", "va"], "missing": {} }),
    ];
    all.extend((1..=4).map(|round| {
        let sites = json!({ "cleveland": site(0.5), "va": site(0.25) });
        json!({ "kind": "round-closed", "round": round, "sites": sites, "missing": {} })
    }));
    all.push(json!({ "kind": "run-ended", "state": ended, "cause": cause }));
    all.iter()
        .zip(0..)
        .map(|(json, number)| RunEvent {
            number,
            at_ms: 1_795_526_776_000 + number * 1000,
            json: json.to_string(),
        })
        .collect()
}

/// A run's detail with these events.
pub(crate) fn detail(summary: RunSummary, events: &[RunEvent]) -> Response {
    let text = b"name = \"heart-disease\"\n".to_vec();
    Response::RunDetail(RunDetail {
        summary,
        text_sha256: Digest::of(&text),
        text,
        events: events.to_vec(),
    })
}
