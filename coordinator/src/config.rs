//! The coordinator's configuration: one commented TOML in its folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The configuration's file name, inside the coordinator's folder.
pub const FILE_NAME: &str = "coordinator.toml";

/// As `init` writes it; `{name}` and `{listen}` are filled in.
pub const TEMPLATE: &str = r#"# Consilium coordinator. Restart it after a change.

# The consortium's name, as members see it.
name = "{name}"

# The one UDP port that members dial. The coordinator itself dials nobody.
listen = "{listen}"

# How long a member's certificate is good. Members renew by themselves when a
# third of this is left; a machine that was off for longer needs a new invitation.
certificate-lifetime-s = 7_776_000   # 90 days

# Longest that a run waits for its participants to connect and to admit it.
admission-deadline-s = 86_400        # a day

# Runs that train at the same time; more wait for their turn.
active-runs-max = 8
"#;

/// The configuration as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub listen: SocketAddr,
    pub certificate_lifetime_s: u64,
    pub admission_deadline_s: u64,
    pub active_runs_max: usize,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "cannot read `{path}`: {source}; make a coordinator there first: consilium-coordinator init"
    )]
    NotRead {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{path}`: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("`{path}`: `{field}` must be between {minimum} and {maximum}")]
    OutOfRange {
        path: PathBuf,
        field: &'static str,
        minimum: u64,
        maximum: u64,
    },
}

impl Config {
    /// Reads the configuration in `folder`.
    ///
    /// # Errors
    /// What is wrong with it, by file, field and line.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::NotRead {
            path: path.clone(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.clone(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for (field, value, minimum, maximum) in [
            (
                "certificate-lifetime-s",
                config.certificate_lifetime_s,
                2,
                10 * 365 * 86_400,
            ),
            (
                "admission-deadline-s",
                config.admission_deadline_s,
                1,
                365 * 86_400,
            ),
            ("active-runs-max", config.active_runs_max as u64, 1, 1024),
        ] {
            if !(minimum..=maximum).contains(&value) {
                return Err(ConfigError::OutOfRange {
                    path,
                    field,
                    minimum,
                    maximum,
                });
            }
        }
        Ok(config)
    }
}

/// Where things lie in the coordinator's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The layout of this folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The consortium's authority: the one secret that makes members.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// The coordinator's own key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The first administrator's, for the `consilium` command.
    pub fn admin(&self) -> PathBuf {
        self.root.join("admin")
    }

    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// What was witnessed of the sites' journals.
    pub fn witnessed(&self) -> PathBuf {
        self.root.join("witnessed")
    }

    pub fn index(&self) -> PathBuf {
        self.root.join("index.sled")
    }

    /// The tensors of one run.
    pub fn run(&self, run_id: &consilium_protocol::RunId) -> PathBuf {
        self.root.join("runs").join(run_id.as_str())
    }

    /// The finished model of one run.
    pub fn model(&self, run_id: &consilium_protocol::RunId) -> PathBuf {
        self.run(run_id).join("model.safetensors")
    }
}
