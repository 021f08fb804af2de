//! A consortium of real processes, to be measured.
//!
//! | file | subject |
//! |---|---|
//! | `mod` | founding one: coordinator, nodes on copies of the four hospitals' data, a researcher |
//! | `session` | a run, from its submission to its figures |
//! | `meter` | what the kernel knows of a process and of the loopback interface |
//! | `peer` | the same job with Flower, in the same hour |
//! | `road` | a slow way between a node and its coordinator (`rounds` only) |

pub(crate) mod meter;
pub(crate) mod peer;
pub(crate) mod session;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use consilium_scenarios::house::{Household, Member, Role, Typed};

use meter::Process;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const HOSPITALS: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

/// Permits models of any size: what is measured is the way, not the policy.
const POLICY: &str = r#"name = "bench"
version = 1

[[permit]]
id = "bench"
researchers = ["*"]
projects = ["bench"]
purposes = ["HMB"]
actions = ["train"]
dataset = "heart-disease"
until = "2099-12-31"
minimum-records = 20
maximum-parameters-per-record = 1000000000.0
maximum-rounds = 100000
release = ["update", "metrics"]
"#;

/// What is founded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) nodes: usize,
    /// `burn` or `linear`, as node.toml has it.
    pub(crate) trainer: &'static str,
    /// How the files end that name a hospital's test rows, on which each state is evaluated
    /// before it is trained; without one, nothing is evaluated.
    pub(crate) test_rows: Option<&'static str>,
}

/// A coordinator, its nodes and a researcher; the processes end with this.
pub(crate) struct Consortium {
    root: PathBuf,
    household: Household,
    pub(crate) sites: Vec<String>,
    pub(crate) researcher: Member,
}

impl Consortium {
    /// Founds one in a temporary folder. `road` says where the nodes find a coordinator that
    /// listens at the address given.
    pub(crate) fn found(
        terms: Terms,
        road: &mut dyn FnMut(SocketAddr) -> Outcome<SocketAddr>,
    ) -> Outcome<Self> {
        let temporary = tempfile::tempdir()?;
        let root = temporary.path().to_owned();
        let household = Household::new(Some(temporary));
        let address = free_address()?;
        let folder = root.join("coordinator");
        let listen = address.to_string();
        let init = words(&["init", "--name", "bench", "--listen", &listen, "--folder"]);
        household.run(
            Role::Coordinator,
            &[&init[..], &[folder.as_os_str()]].concat(),
        )?;
        let run = ["run".as_ref(), "--folder".as_ref(), folder.as_os_str()];
        household.begin(
            "coordinator",
            Role::Coordinator,
            &run,
            &root.join("coordinator.log"),
            Some("listening"),
        )?;
        let admin = Member::at(folder.join("admin"));
        let researcher = enrol_researcher(&root, &admin, &listen)?;
        let mut consortium = Self {
            root,
            household,
            sites: Vec::new(),
            researcher,
        };
        for (number, hospital) in (1..=terms.nodes).zip(HOSPITALS.iter().cycle()) {
            let site = format!("s{number:03}");
            consortium.join(&site, hospital, &admin, road(address)?, terms)?;
            consortium.sites.push(site);
        }
        Ok(consortium)
    }

    /// The coordinator's process.
    pub(crate) fn coordinator(&self) -> Outcome<Process> {
        Process::of_folder(&self.root.join("coordinator"))
    }

    /// The nodes' processes.
    pub(crate) fn nodes(&self) -> Outcome<Vec<Process>> {
        self.sites
            .iter()
            .map(|site| Process::of_folder(&self.root.join(site)))
            .collect()
    }

    /// Writes a run file that names every site.
    pub(crate) fn write_run(&self, text: &str) -> Outcome<PathBuf> {
        let path = self.root.join("run.toml");
        fs::write(&path, format!("participants = {:?}\n{text}", self.sites))?;
        Ok(path)
    }

    /// Processes that are over although nobody ended them.
    pub(crate) fn fallen(&self) -> Vec<String> {
        self.household.fallen()
    }

    fn join(
        &self,
        site: &str,
        hospital: &str,
        admin: &Member,
        dial: SocketAddr,
        terms: Terms,
    ) -> Outcome<()> {
        let folder = self.root.join(site);
        let token = invite(&self.root, admin, "--site", site)?;
        let dial = dial.to_string();
        let init = words(&["init", "--coordinator", &dial]);
        let paths = [
            "--token-file".as_ref(),
            token.as_os_str(),
            "--folder".as_ref(),
            folder.as_os_str(),
        ];
        self.household
            .run(Role::Node, &[&init[..], &paths[..]].concat())?;
        let settings = folder.join("node.toml");
        let text = fs::read_to_string(&settings)?
            .replace("device = \"auto\"", "device = \"cpu\"")
            .replace(
                "trainer = \"burn\"",
                &format!("trainer = \"{}\"", terms.trainer),
            );
        fs::write(&settings, text + &dataset(hospital, terms.test_rows))?;
        fs::write(folder.join("policy/policy.toml"), POLICY)?;
        let run = ["run".as_ref(), "--folder".as_ref(), folder.as_os_str()];
        Ok(self
            .household
            .begin(site, Role::Node, &run, &folder.join("node.log"), None)?)
    }
}

fn enrol_researcher(root: &Path, admin: &Member, coordinator: &str) -> Outcome<Member> {
    let token = invite(root, admin, "--researcher", "ada")?;
    let researcher = Member::at(root.join("ada"));
    let token = token.to_string_lossy();
    let enrol = [
        "enrol",
        "--token-file",
        &token,
        "--coordinator",
        coordinator,
    ];
    researcher.types(&enrol, Typed::Quietly)?;
    Ok(researcher)
}

fn invite(root: &Path, admin: &Member, option: &str, name: &str) -> Outcome<PathBuf> {
    let answer = admin.types(&["invite", option, name], Typed::Quietly)?;
    let token = answer
        .get("token")
        .and_then(|token| token.as_str())
        .ok_or("an invitation without a token")?;
    let path = root.join(format!("{name}.token"));
    fs::write(&path, token)?;
    Ok(path)
}

fn dataset(hospital: &str, test_rows: Option<&str>) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/uci-heart-disease");
    let data = data.display();
    let test_rows = test_rows.map_or_else(String::new, |ending| {
        format!("test-rows = \"{data}/{hospital}.{ending}\"\n")
    });
    format!(
        "\n[[dataset]]\nname = \"heart-disease\"\npath = \"{data}/processed.{hospital}.data\"\n\
         schema = \"{data}/heart-disease.schema.toml\"\n{test_rows}"
    )
}

/// A UDP address of this machine that nobody uses.
fn free_address() -> Outcome<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}
