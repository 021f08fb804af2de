//! The node's configuration: one commented TOML in its folder.

use std::path::{Path, PathBuf};

use consilium_protocol::RunId;
use serde::Deserialize;

use crate::data::Declaration;
use crate::train::{DeviceChoice, TrainerChoice};

/// The configuration's file name, inside the node's folder.
pub const FILE_NAME: &str = "node.toml";

/// As `init` writes it; `{coordinator}` is filled in.
pub const TEMPLATE: &str = r#"# Consilium node. Check a change with `consilium-node check`, then restart the node.
# Paths are relative to this file's folder.

# Where the coordinator is. The node dials out over UDP; nothing dials in.
coordinator = "{coordinator}"

# Where models are trained: `auto` takes a GPU if there is one, `gpu` insists, `cpu` never does.
device = "auto"

# `burn` trains every model; `linear` is a plain logistic regression on the CPU.
trainer = "burn"

# The compliance officer's folder. Without a policy.toml in it, nothing leaves this node.
policy-folder = "policy"

# The data sets that runs may ask for, by name. The schema says what the columns are.
#
# [[dataset]]
# name = "heart-disease"
# path = "data/heart.csv"                 # CSV or NDJSON
# schema = "data/heart.schema.toml"
# test-rows = "data/heart.test-rows.txt"  # optional: rows that no training may touch
"#;

/// The configuration as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    pub coordinator: String,
    #[serde(default)]
    pub device: DeviceChoice,
    #[serde(default)]
    pub trainer: TrainerChoice,
    pub policy_folder: PathBuf,
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<Declaration>,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{path}`: {source}; make a node there first: consilium-node init")]
    NotRead {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{path}`: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("`{path}` declares data set `{name}` twice")]
    Twice { path: PathBuf, name: String },
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
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = config.datasets.iter().find(|d| !names.insert(&d.name)) {
            return Err(ConfigError::Twice {
                path,
                name: twice.name.to_string(),
            });
        }
        Ok(config)
    }
}

/// Where things lie in the node's folder.
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

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's key and certificate.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// What can be rebuilt.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Runs that this site takes part in, with what stays here of them.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    #[must_use]
    pub fn run(&self, run_id: &RunId) -> PathBuf {
        self.runs().join(run_id.as_str())
    }
}
