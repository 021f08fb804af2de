//! A small world: one consortium, its coordinator, its sites and its people.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use consilium_link::{CloseCode, Credentials, Dialer, LinkLimits};
use consilium_protocol::message::{Member, Request, Response};
use consilium_protocol::{Digest, Role, wire};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, Typed, eventually, runtime, types};

/// Longest that a run may take here, on a machine that is busy with something else.
const RUN_S_MAX: u32 = 600;

/// The four hospitals of UCI Heart Disease.
pub(crate) const HOSPITALS: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

/// What every site's officer permits unless a test says otherwise.
pub(crate) const POLICY: &str = r#"
name = "hospital"
version = 1

[[permit]]
id = "heart-disease-training"
researchers = ["*"]
projects = ["cardiology"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2099-12-31"
minimum-records = 20
maximum-parameters-per-record = 0.6
maximum-rounds = 1000
release = ["update", "metrics"]
"#;

const RUN: &str = r#"
name = "heart-disease"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
rounds = 3
seed = 42
model = { kind = "logistic" }
strategy = { name = "FedAvg" }

[training]
learning-rate = 0.001
local-steps = 20
batch-size = 4

[data]
features = [
    { column = "age" }, { column = "sex" }, { column = "cp", one-hot = [1, 2, 3, 4] },
    { column = "trestbps" }, { column = "chol" }, { column = "fbs" },
    { column = "restecg", one-hot = [0, 1, 2] }, { column = "thalach" }, { column = "exang" },
    { column = "oldpeak" },
]
label = { column = "num", greater-than = 0 }
"#;

/// The data of a hospital as the repository has it.
pub(crate) fn data_file(name: &str) -> PathBuf {
    let data = "../scenarios/data/uci-heart-disease";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(data).join(name)
}

/// A UDP port of this machine that was free a moment ago. Below those that the kernel gives to whoever dials, which
/// could take it while its coordinator is down; and given once by this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    // Two test processes at once begin at different ones.
    let begin = std::process::id().wrapping_mul(401);
    let ports = std::iter::repeat_with(|| {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        FIRST + (begin.wrapping_add(given) % u32::from(COUNT)) as u16
    });
    let is_free = |port: &u16| UdpSocket::bind(("0.0.0.0", *port)).is_ok();
    ports.take(COUNT.into()).find(is_free).unwrap()
}

/// A consortium with a coordinator that runs.
pub(crate) struct Consortium {
    pub(crate) coordinator: Process,
    host: String,
    port: u16,
    // Goes last: the processes write into it.
    folder: TempDir,
}

impl Consortium {
    pub(crate) fn found() -> Self {
        Self::found_with(&[])
    }

    /// With lines of `coordinator.toml` replaced.
    pub(crate) fn found_with(settings: &[(&str, &str)]) -> Self {
        Self::found_at("127.0.0.1", None, settings)
    }

    /// With a coordinator that listens on this address, in the network namespace that has it.
    pub(crate) fn found_at(host: &str, namespace: Option<&str>, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("coordinator");
        let port = free_port();
        let listen = format!("{host}:{port}");
        let at = root.to_str().unwrap();
        let line = [
            "init", "--folder", at, "--name", "heart", "--listen", &listen,
        ];
        let typed = types("coordinator", line);
        assert_eq!(typed.exit, 0, "{typed:?}");
        let config = root.join("coordinator.toml");
        settings
            .iter()
            .for_each(|(from, to)| replace(&config, from, to));
        let mut coordinator = Process::new("coordinator", &root);
        namespace.inspect(|namespace| coordinator.move_to(namespace));
        coordinator.start();
        let mut consortium = Self {
            coordinator,
            host: host.to_owned(),
            port,
            folder,
        };
        consortium.is_up();
        consortium
    }

    /// Waits until the coordinator answers.
    pub(crate) fn is_up(&mut self) {
        eventually("the coordinator answers", || {
            assert!(self.coordinator.is_running(), "{}", self.coordinator.log());
            self.asks_for_members().map(drop)
        });
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A path in the consortium's temporary folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Who founded it.
    pub(crate) fn admin(&self) -> Person {
        Person {
            home: self.coordinator.folder().join("admin"),
        }
    }

    /// An invitation's token, for `--site` or `--researcher`.
    pub(crate) fn invites(&self, role: &str, name: &str) -> String {
        let data = self.admin().types(&format!("invite {role} {name}")).data();
        data["token"].as_str().unwrap().to_owned()
    }

    /// Types `consilium-node init` for the folder `name` with a token.
    pub(crate) fn enrols(&self, name: &str, token: &str) -> Typed {
        let token_file = self.path(&format!("{name}.token"));
        fs::write(&token_file, token).unwrap();
        let folder = self.path(name);
        let (folder, token_file) = (folder.to_str().unwrap(), token_file.to_str().unwrap());
        let address = self.address();
        let line = [
            "--format",
            "json",
            "init",
            "--folder",
            folder,
            "--token-file",
            token_file,
            "--coordinator",
            &address,
        ];
        types("node", line)
    }

    /// A site of this name, enrolled, with the data of the hospital of that name (Cleveland's if there is none), a
    /// policy that permits, and a node that does not run yet.
    pub(crate) fn site(&self, name: &str) -> Site {
        self.enrols(name, &self.invites("--site", name)).data();
        let site = Site {
            node: Process::new("node", &self.path(name)),
            name: name.to_owned(),
        };
        let hospital = if HOSPITALS.contains(&name) {
            name
        } else {
            HOSPITALS[0]
        };
        let data = data_file(&format!("processed.{hospital}.data"));
        let test_rows = data_file(&format!("{hospital}.test-rows.txt"));
        let schema = data_file("heart-disease.schema.toml");
        let declared = format!(
            "\n[[dataset]]\nname = \"heart-disease\"\npath = {data:?}\nschema = {schema:?}\ntest-rows = {test_rows:?}\n"
        );
        let config = site.path("node.toml");
        replace(&config, "device = \"auto\"", "device = \"cpu\"");
        let text = fs::read_to_string(&config).unwrap() + &declared;
        fs::write(&config, text).unwrap();
        site.writes_policy(POLICY);
        site
    }

    /// As [`Self::site`], with its node running and connected.
    pub(crate) fn running_site(&self, name: &str) -> Site {
        let mut site = self.site(name);
        site.node.start();
        self.knows_as_connected(&[name]);
        site
    }

    /// The four hospitals, running and connected, in the order of [`HOSPITALS`].
    pub(crate) fn four_hospitals(&self) -> Vec<Site> {
        let sites = thread::scope(|scope| {
            let starting = HOSPITALS.map(|name| {
                scope.spawn(move || {
                    let mut site = self.site(name);
                    site.node.start();
                    site
                })
            });
            starting
                .map(|site| site.join().unwrap())
                .into_iter()
                .collect()
        });
        self.knows_as_connected(&HOSPITALS);
        sites
    }

    /// Waits until the coordinator lists each of these sites as connected.
    pub(crate) fn knows_as_connected(&self, sites: &[&str]) {
        eventually(&format!("{sites:?} are connected"), || {
            let members = self.asks_for_members()?;
            let connected = |name: &str| {
                let site = |m: &&Member| m.role == Role::Site && m.name.as_str() == name;
                members
                    .iter()
                    .find(site)
                    .is_some_and(|member| member.connected)
            };
            sites.iter().all(|name| connected(name)).then_some(())
        });
    }

    /// The members as the coordinator lists them to its administrator; `None` where it does not answer. Asked from
    /// here and not by a process: this is what tests wait with.
    fn asks_for_members(&self) -> Option<Vec<Member>> {
        let credentials = Credentials::load(&self.admin().home).unwrap();
        runtime().block_on(async {
            let dialer = Dialer::member(credentials, LinkLimits::default());
            let connection = dialer.dial(&self.address()).await.ok()?;
            let mut stream = connection.open_request().await.ok()?;
            let request = wire::Request::from(Request::ListMembers);
            stream.send(&request).await.ok()?;
            stream.finish().ok()?;
            let answer: wire::Response = stream.receive().await.ok()?;
            connection.close_and_tell(CloseCode::Done, "").await;
            match Response::try_from(answer).unwrap() {
                Response::Members(members) => Some(members),
                other => panic!("{other:?}"),
            }
        })
    }

    /// A researcher, enrolled.
    pub(crate) fn researcher(&self, name: &str) -> Person {
        let person = Person {
            home: self.path(name),
        };
        let token = self.invites("--researcher", name);
        let line = format!("enrol --token {token} --coordinator {}", self.address());
        person.types(&line).data();
        person
    }

    /// What the coordinator's journal holds of one kind.
    pub(crate) fn happened(&self, kind: &str) -> Vec<Value> {
        journal(self.coordinator.folder(), kind)
    }

    /// The rounds of a run that are closed, first to last.
    pub(crate) fn rounds_of(&self, run_id: &str) -> Vec<Value> {
        let mut rounds = self.happened("round-closed");
        rounds.retain(|round| round["run_id"] == run_id);
        rounds
    }

    /// Waits until so many rounds of a run are closed.
    pub(crate) fn reaches_round(&self, run_id: &str, round: usize) {
        eventually(&format!("round {round} of {run_id} is closed"), || {
            let ended = self.happened("run-ended");
            let ended: Vec<&Value> = ended
                .iter()
                .filter(|ended| ended["run_id"] == run_id)
                .collect();
            let resumed = self.happened("run-resumed").len();
            let closed = self.rounds_of(run_id).len();
            assert!(closed >= round || ended.len() <= resumed, "{ended:?}");
            (closed >= round).then_some(())
        });
    }
}

/// One institution: its node's process and folder.
pub(crate) struct Site {
    pub(crate) node: Process,
    pub(crate) name: String,
}

impl Site {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.node.folder().join(name)
    }

    pub(crate) fn writes_policy(&self, text: &str) {
        fs::write(self.path("policy/policy.toml"), text).unwrap();
    }

    /// What the node's journal holds of one kind.
    pub(crate) fn happened(&self, kind: &str) -> Vec<Value> {
        journal(self.node.folder(), kind)
    }

    /// The runs that the node keeps a folder of.
    pub(crate) fn runs(&self) -> Vec<String> {
        let runs = fs::read_dir(self.path("runs")).into_iter().flatten();
        runs.map(|run| run.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Gives the site a data file of its own, and no test rows.
    pub(crate) fn gets_data(&self, text: &str) {
        fs::write(self.path("data/heart.csv"), text).unwrap();
        let config = self.path("node.toml");
        let lines = fs::read_to_string(&config).unwrap();
        let lines: Vec<&str> = lines
            .lines()
            .map(|line| match line {
                _ if line.starts_with("path = ") => "path = \"data/heart.csv\"",
                _ if line.starts_with("test-rows = ") => "",
                _ => line,
            })
            .collect();
        fs::write(&config, lines.join("\n")).unwrap();
    }

    /// Types `consilium-node check`.
    pub(crate) fn checks(&self) -> Typed {
        let folder = self.node.folder().to_str().unwrap();
        types("node", ["--format", "json", "check", "--folder", folder])
    }
}

/// Somebody with a home and the command line.
pub(crate) struct Person {
    pub(crate) home: PathBuf,
}

impl Person {
    /// Types a command line of `consilium`, and asks for the answer as a program would.
    pub(crate) fn types(&self, line: &str) -> Typed {
        let home = self.home.to_str().unwrap();
        let words = ["--home", home, "--format", "json"];
        types(
            "consilium",
            words.into_iter().chain(line.split_whitespace()),
        )
    }

    /// Types `consilium run submit` with some more words.
    pub(crate) fn submits_with(&self, run: &RunFile, words: &str) -> Typed {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        fs::write(file.path(), run.text()).unwrap();
        let path = file.path().to_str().unwrap();
        self.types(&format!("run submit {path} {words}"))
    }

    /// Submits a run that is taken; its name.
    pub(crate) fn submits(&self, run: &RunFile) -> String {
        let data = self.submits_with(run, "").data();
        data["run_id"].as_str().unwrap().to_owned()
    }

    /// Waits for a run's end, good or bad.
    pub(crate) fn waits_for(&self, run_id: &str) -> Typed {
        self.types(&format!("run wait {run_id} --timeout {RUN_S_MAX}"))
    }

    /// Waits for a run's good end, and fetches its model.
    pub(crate) fn gets_model_of(&self, run_id: &str) -> Model {
        self.waits_for(run_id).data();
        let to = tempfile::tempdir().unwrap();
        let to = to.path().to_str().unwrap();
        let data = self
            .types(&format!("run download {run_id} --to {to}"))
            .data();
        let read = |field: &str| fs::read(data[field].as_str().unwrap()).unwrap();
        let file = read("model");
        assert_eq!(data["sha256"], Digest::of(&file).to_string());
        let tensors = tensors_of(&file);
        Model {
            file_sha256: Digest::of(&file),
            tensors_sha256: Digest::of(tensors),
            card: serde_json::from_slice(&read("model_card")).unwrap(),
            values: tensors
                .as_chunks::<4>()
                .0
                .iter()
                .map(|four| f32::from_le_bytes(*four))
                .collect(),
        }
    }

    /// Waits for a run's bad end: why it ended.
    pub(crate) fn hears_why_it_failed(&self, run_id: &str) -> String {
        let (exit, code, message) = self.waits_for(run_id).error();
        assert_eq!((exit, code.as_str()), (1, "run-failed"), "{message}");
        message
    }
}

/// A finished model as it was downloaded.
pub(crate) struct Model {
    pub(crate) file_sha256: Digest,
    /// Of the parameters alone: the file's header names the run.
    pub(crate) tensors_sha256: Digest,
    pub(crate) card: Value,
    pub(crate) values: Vec<f32>,
}

impl Model {
    /// The largest difference to another's parameters.
    pub(crate) fn distance(&self, other: &Self) -> f32 {
        assert_eq!(self.values.len(), other.values.len());
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

/// The tensors in a safetensors file of `f32`: after eight bytes of length, and so much header.
fn tensors_of(file: &[u8]) -> &[u8] {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let header_bytes = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let tensors = &rest[header_bytes..];
    assert!(!tensors.is_empty() && tensors.len().is_multiple_of(4));
    tensors
}

/// A run file: the heart-disease run, changed where a test says so.
#[derive(Clone)]
pub(crate) struct RunFile(toml::Table);

impl RunFile {
    pub(crate) fn of(participants: &[&str]) -> Self {
        let mut run: toml::Table = RUN.parse().unwrap();
        run.insert("participants".into(), participants.to_vec().into());
        Self(run)
    }

    /// With a top-level key set to a value in TOML.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        let mut parsed: toml::Table = format!("value = {value}").parse().unwrap();
        self.0.insert(key.into(), parsed.remove("value").unwrap());
        self
    }

    /// With other training: learning rate, steps a round, batch size.
    pub(crate) fn with_local_steps(mut self, steps: u32) -> Self {
        let training = self.0["training"].as_table_mut().unwrap();
        training.insert("local-steps".into(), steps.into());
        self
    }

    pub(crate) fn text(&self) -> String {
        toml::to_string(&self.0).unwrap()
    }
}

/// The entries of one kind in the journal of a coordinator's or node's folder, as far as they are durable now.
fn journal(folder: &Path, kind: &str) -> Vec<Value> {
    let entries = consilium_journal::read(&folder.join("journal"))
        .into_iter()
        .flatten();
    entries
        .map_while(Result::ok)
        .filter(|entry| entry.kind == kind)
        .map(|entry| serde_json::from_slice(&entry.payload).unwrap())
        .collect()
}

/// Replaces a text in a file that has it.
pub(crate) fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {from}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}
