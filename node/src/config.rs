//! The node's configuration: one commented TOML in its folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use consilium_policies::Officer;
use consilium_protocol::{DatasetName, RunId};
use serde::Deserialize;

use crate::data::Declaration;
use crate::gate::Signers;
use crate::train::{DeviceChoice, TrainerChoice};

/// The configuration's file name, inside the node's folder.
pub const FILE_NAME: &str = "node.toml";

/// Two people agree on what may leave.
const SIGNATURES_UNLESS_WRITTEN: usize = 2;

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

# Whose signatures a policy needs here: pin two officers' public keys, which `consilium policy sign` shows, and take
# out `unsigned`. Until then whoever can write into the folder decides what may leave.
[policy]
unsigned = true
# officers = ["olga:<64 hexadecimal digits>", "otto:<64 hexadecimal digits>"]
# signatures = 2

# How often this site's journal is shown to its witnesses, so that nobody can set it back unseen: after so many seconds
# or so many entries.
#
# [checkpoint]
# every-s = 60
# every-entries = 1000

# The data sets that runs may ask for, by name. The schema says what the columns are.
#
# [[dataset]]
# name = "heart-disease"
# path = "data/heart.csv"                 # CSV or NDJSON
# schema = "data/heart.schema.toml"
# test-rows = "data/heart.test-rows.txt"  # optional: rows that no training may touch
# linkage-column = "insurance-number"     # optional: names a patient alike at every site, for `stats distinct`

# The key that the consortium's sites share and its coordinator must not have, for `stats distinct`. One site makes it
# with `consilium-node linkage-key`, and its operators carry it to the others. Whoever holds it and knows a patient's
# number can test whether she is in a sketch.
#
# [linkage]
# key-file = "linkage.key"

# The text collections that searches may ask for, filled by `consilium-node ingest`. The mapping says which field is
# what; names, dates and the other identifiers of Safe Harbor are taken out before anything is kept. The encoder is the
# built-in one, or a folder as sentence-transformers writes it.
#
# [[collection]]
# name = "notes"
# source = "data/notes.jsonl.gz"          # JSON Lines, CSV, either also as .gz; or a folder of .txt
# mapping = "data/notes.mapping.toml"
# encoder = "builtin"                     # or { folder = "models/minilm" }
# rows-erased-within-days = 30            # what was erased is gone for good by then; 30 at the most
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
    pub policy: PolicySigners,
    /// How often the journal's standing is told to its witnesses.
    #[serde(default)]
    pub checkpoint: crate::witness::Pace,
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<Declaration>,
    #[serde(default, rename = "collection")]
    pub collections: Vec<crate::collections::Declaration>,
    /// Where the sites' linkage key is; without it, this site takes part in no count of distinct patients.
    #[serde(default)]
    pub linkage: Option<Linkage>,
}

/// The key with which patients of several sites are counted once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Linkage {
    pub key_file: PathBuf,
}

/// Who signs policies: officers, or, said in so many words, nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicySigners {
    #[serde(default)]
    officers: Vec<Officer>,
    signatures: Option<usize>,
    #[serde(default)]
    unsigned: bool,
}

impl PolicySigners {
    /// Nobody signs.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// What the gate needs to know.
    #[must_use]
    pub fn signers(&self) -> Signers {
        Signers {
            officers: self.officers.clone(),
            at_least: self.signatures.unwrap_or(SIGNATURES_UNLESS_WRITTEN),
        }
    }

    /// What is wrong with it, if anything is.
    fn problem(&self) -> Option<String> {
        let at_least = self.signatures.unwrap_or(SIGNATURES_UNLESS_WRITTEN);
        let keys: BTreeSet<_> = self.officers.iter().map(|officer| officer.key).collect();
        let names: BTreeSet<_> = self.officers.iter().map(|officer| &officer.name).collect();
        let problem = match (self.unsigned, self.officers.is_empty()) {
            (true, true) if self.signatures.is_none() => return None,
            (true, _) => {
                "`unsigned = true` stands beside officers or signatures; remove one or the other"
            }
            (false, true) => {
                "[policy] pins no officer; write `officers = [\"name:key\", …]`, or `unsigned = true`"
            }
            (false, false)
                if keys.len() < self.officers.len() || names.len() < self.officers.len() =>
            {
                "two officers have the same name or key; each has her own"
            }
            (false, false) if at_least == 0 || at_least > self.officers.len() => {
                "`signatures` must be from 1 to the number of officers"
            }
            (false, false) => return None,
        };
        Some(problem.to_owned())
    }
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
    #[error("`{path}` declares `{name}` twice; data sets and collections share their names")]
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
        if let Some(message) = config.policy.problem() {
            return Err(ConfigError::Syntax { path, message });
        }
        let mut collections = config.collections.iter();
        if let Some(message) = collections.find_map(|declared| declared.problem()) {
            return Err(ConfigError::Syntax { path, message });
        }
        let datasets = config.datasets.iter().map(|declared| &declared.name);
        let collections = config.collections.iter().map(|declared| &declared.name);
        let mut names = BTreeSet::new();
        if let Some(twice) = datasets
            .chain(collections)
            .find(|name| !names.insert(*name))
        {
            return Err(ConfigError::Twice {
                name: twice.to_string(),
                path,
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

    /// The exact answers that were given: what they were about, and no answer.
    #[must_use]
    pub fn exact_answers(&self) -> PathBuf {
        self.root.join("exact-answers")
    }

    /// What this node saw of other sites' journals.
    #[must_use]
    pub fn witnessed(&self) -> PathBuf {
        self.root.join("witnessed")
    }

    /// Who was charged, and the kept answers: nobody outside the site may read it, and without it nothing leaves.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.root.join("vault")
    }

    /// What waits for an officer's word, and her word.
    #[must_use]
    pub fn approvals(&self) -> PathBuf {
        self.root.join("approvals")
    }

    /// A text collection: redacted, and sealed by [`Folder::collections_key`].
    #[must_use]
    pub fn collection(&self, name: &DatasetName) -> PathBuf {
        self.root.join("collections").join(name.as_str())
    }

    /// Without it no collection opens.
    #[must_use]
    pub fn collections_key(&self) -> PathBuf {
        self.identity().join("collections.key")
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
