//! `consilium-node check`: everything that a node needs, each with its remedy.

use std::path::Path;
use std::time::Duration;

use consilium_link::{
    CloseCode, Credentials, DialError, Dialer, LinkLimits, certificate_issued_at, wall_clock,
};
use consilium_protocol::{MemberName, Role};
use consilium_search::collection::CollectionError;
use serde::Serialize;

use crate::collections::{CollectionFault, Collections};
use crate::config::{Config, Folder};
use crate::gate::read_policy;
use crate::train::trainer;

/// Disk that a node should have free: a journal segment, local values and a little more.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// How long the coordinator may take to answer a check.
const DIAL_WAIT: Duration = Duration::from_secs(15);

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Good,
    /// The node runs; something should be looked at.
    Warning,
    /// The node cannot do its work.
    Bad,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub standing: Standing,
    pub found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Standing::Good, found, "")
    }

    fn bad(check: &'static str, found: impl ToString, remedy: &str) -> Self {
        Self::new(check, Standing::Bad, found.to_string(), remedy)
    }

    fn new(
        check: &'static str,
        standing: Standing,
        found: impl Into<String>,
        remedy: &str,
    ) -> Self {
        Self {
            check,
            standing,
            found: found.into(),
            remedy: remedy.to_owned(),
        }
    }
}

/// Checks the node in `root`; tells each check's name as it begins.
pub async fn check(root: &Path, begins: &mut dyn FnMut(&'static str)) -> Vec<Finding> {
    let mut findings = Vec::new();
    begins("configuration");
    let config = match Config::load(root) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding::bad("configuration", error, "correct node.toml"));
            return findings;
        }
    };
    findings.push(Finding::good("configuration", "node.toml is valid"));
    begins("disk");
    findings.push(check_disk(root));
    begins("identity");
    let credentials = check_identity(root, &mut findings);
    if let Some(credentials) = credentials {
        begins("coordinator");
        check_coordinator(&config, credentials, &mut findings).await;
    }
    begins("device");
    findings.push(check_device(&config));
    begins("policy");
    findings.push(check_policy(root, &config));
    begins("data");
    findings.extend(check_data(root, &config));
    begins("collections");
    findings.extend(check_collections(root, &config));
    findings
}

fn check_disk(root: &Path) -> Finding {
    let probe = root.join(".check");
    let written = std::fs::write(&probe, b"consilium").and_then(|()| std::fs::remove_file(&probe));
    if let Err(error) = written {
        return Finding::bad(
            "disk",
            format!("cannot write in `{}`: {error}", root.display()),
            "give the node's user write access, and make room",
        );
    }
    match rustix::fs::statvfs(root) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} MiB free", free >> 20);
            if free < FREE_BYTES_MIN {
                return Finding::new(
                    "disk",
                    Standing::Warning,
                    found,
                    "make room: a full disk stops every release",
                );
            }
            Finding::good("disk", found)
        }
        Err(error) => Finding::new(
            "disk",
            Standing::Warning,
            format!("free space unknown: {error}"),
            "",
        ),
    }
}

fn check_identity(root: &Path, findings: &mut Vec<Finding>) -> Option<Credentials> {
    const CHECK: &str = "identity";
    let credentials = match Credentials::load(&Folder::new(root).identity()) {
        Ok(credentials) => credentials,
        Err(error) => {
            findings.push(Finding::bad(
                CHECK,
                error,
                "enrol this site: consilium-node init",
            ));
            return None;
        }
    };
    let now = wall_clock();
    let identity = credentials.identity();
    let left_ms = credentials.expires_at().since_ms(now);
    let issued_at = certificate_issued_at(credentials.certificate()).unwrap_or_default();
    findings.push(if identity.role != Role::Site {
        Finding::bad(
            CHECK,
            format!("these are the credentials of {identity}"),
            "a node needs a site's invitation",
        )
    } else if left_ms == 0 {
        Finding::bad(
            CHECK,
            "the certificate has expired",
            "ask an administrator for a new invitation, then consilium-node init in a new folder",
        )
    } else {
        Finding::good(
            CHECK,
            format!(
                "{identity}, certificate good for {} days",
                left_ms / 86_400_000
            ),
        )
    });
    findings.push(if now < issued_at {
        Finding::bad(
            "clock",
            "this machine's clock is before the certificate was made",
            "set the clock (NTP)",
        )
    } else {
        Finding::good("clock", "plausible against the certificate")
    });
    Some(credentials)
}

/// Name, UDP and TLS, told apart by how dialling fails.
async fn check_coordinator(config: &Config, credentials: Credentials, findings: &mut Vec<Finding>) {
    let dialer = Dialer::member(credentials, LinkLimits::default());
    let dialled = tokio::time::timeout(DIAL_WAIT, dialer.dial(&config.coordinator)).await;
    let name = || Finding::good("name", format!("`{}` is known", config.coordinator));
    let udp = || Finding::good("udp", "the coordinator answers");
    match dialled {
        Ok(Ok(connection)) => {
            let round_trip = connection.stats().round_trip;
            findings.extend([
                name(),
                udp(),
                Finding::good(
                    "tls",
                    format!(
                        "both sides proved who they are; {} ms away",
                        round_trip.as_millis()
                    ),
                ),
            ]);
            connection.close_and_tell(CloseCode::Done, "a check").await;
        }
        Ok(Err(error @ (DialError::UnknownHost { .. } | DialError::NotAnAddress { .. }))) => {
            findings.push(Finding::bad(
                "name",
                error,
                "correct `coordinator` in node.toml, or this machine's DNS",
            ));
        }
        Ok(Err(
            error @ (DialError::Unreachable { .. }
            | DialError::TimedOut { .. }
            | DialError::Busy { .. }),
        )) => {
            findings.extend([
                name(),
                Finding::bad(
                    "udp",
                    error,
                    "is the coordinator running, and may UDP leave to its port?",
                ),
            ]);
        }
        Ok(Err(error)) => {
            findings.extend([name(), udp()]);
            findings.push(Finding::bad(
                "tls",
                error,
                "if the message names no remedy, have an administrator invite this site again",
            ));
        }
        Err(_) => findings.push(Finding::bad(
            "udp",
            "no answer in time",
            "is the coordinator running, and may UDP leave to its port?",
        )),
    }
}

fn check_device(config: &Config) -> Finding {
    match trainer(config.trainer, config.device) {
        Ok(trainer) => Finding::good("device", trainer.device().to_owned()),
        Err(error) => Finding::bad(
            "device",
            error,
            "set `device` to `auto` or `cpu`, or install the driver",
        ),
    }
}

fn check_policy(root: &Path, config: &Config) -> Finding {
    let bundle = match read_policy(&root.join(&config.policy_folder)) {
        Ok(bundle) => bundle,
        Err(error) => {
            return Finding::bad(
                "policy",
                error,
                "the compliance officers must put a valid policy there",
            );
        }
    };
    let told = format!(
        "`{}` version {}, {} permits",
        bundle.name(),
        bundle.version(),
        bundle.rules().len()
    );
    if config.policy.is_unsigned() {
        return Finding::new(
            "policy",
            Standing::Warning,
            format!("{told}; nobody has to sign it"),
            "pin two officers' keys under [policy] in node.toml: until then whoever can write into the folder decides",
        );
    }
    let signers = config.policy.signers();
    match bundle.verify(&signers.officers, signers.at_least) {
        Ok(officers) => {
            let names: Vec<&str> = officers.iter().map(MemberName::as_str).collect();
            Finding::good("policy", format!("{told}, signed by {}", names.join(", ")))
        }
        Err(problem) => Finding::bad(
            "policy",
            problem,
            "the compliance officers must sign it with `consilium policy sign`",
        ),
    }
}

/// Whether each declared collection can be read, by the encoder that is declared.
fn check_collections(root: &Path, config: &Config) -> Vec<Finding> {
    const CHECK: &str = "collection";
    let collections = Collections::new(config, root);
    let check = |declared: &crate::collections::Declaration| {
        let name = &declared.name;
        let opened = declared
            .read_mapping(root)
            .and_then(|_| collections.get(name).transpose());
        match opened {
            Ok(Some(open)) => {
                let figures = open.collection.figures();
                let (documents, passages) = (figures.documents, figures.passages);
                let patients = figures.patients;
                Finding::good(
                    CHECK,
                    format!(
                        "`{name}`: {documents} documents of {patients} patients, {passages} passages"
                    ),
                )
            }
            Ok(None) => Finding::bad(CHECK, format!("`{name}` is not declared"), ""),
            Err(CollectionFault::Collection(CollectionError::NotIngested { .. })) => Finding::new(
                CHECK,
                Standing::Warning,
                format!("`{name}` is not ingested yet"),
                "run consilium-node ingest",
            ),
            Err(error) => Finding::bad(
                CHECK,
                format!("`{name}`: {error}"),
                "correct the declaration, or ingest again with --rebuild",
            ),
        }
    };
    config.collections.iter().map(check).collect()
}

fn check_data(root: &Path, config: &Config) -> Vec<Finding> {
    if config.datasets.is_empty() && config.collections.is_empty() {
        return vec![Finding::new(
            "data",
            Standing::Warning,
            "no data set is declared",
            "declare one in node.toml, or no run can use this site",
        )];
    }
    let check = |declared: &crate::data::Declaration| match declared.open(root) {
        Ok(dataset) => {
            let report = dataset.report();
            let mut found = format!(
                "`{}`: {} rows, {} left out as incomplete, {} bad",
                declared.name, report.rows, report.incomplete_rows, report.bad_rows
            );
            for bad in report.bad.iter().take(5) {
                found.push_str(&format!("; {bad}"));
            }
            match report.bad_rows {
                0 => Finding::good("data", found),
                _ => Finding::new(
                    "data",
                    Standing::Warning,
                    found,
                    "correct these rows in the source",
                ),
            }
        }
        Err(error) => Finding::bad(
            "data",
            error,
            "correct the file, its schema or the declaration",
        ),
    };
    config.datasets.iter().map(check).collect()
}
