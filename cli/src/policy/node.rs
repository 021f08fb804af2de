//! A node's folder, as far as its policy goes: whom it pins, what is in force, what waits. Only read here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use consilium_policies::entry::{BUNDLE_REFUSED, BundleRefused};
use consilium_policies::{Bundle, Officer};
use consilium_protocol::MemberName;
use serde::Deserialize;

use super::PolicyError;
use crate::ending::{CliError, NoAnswer};
use crate::home::read_small;

const NODE_FILE: &str = "node.toml";

/// Signatures that a node wants where its file does not say how many.
const SIGNATURES_UNLESS_WRITTEN: usize = 2;

/// Below the policy folder: where a new bundle waits for the node, and where one goes that it did not take up.
pub(super) const INCOMING: &str = "incoming";
pub(super) const REFUSED: &str = "refused";

/// What node.toml says of policies.
pub(super) struct NodePolicy {
    /// Where the bundle in force lies.
    pub(super) folder: PathBuf,
    /// Who may sign; nobody where the node takes unsigned bundles.
    pub(super) officers: Vec<Officer>,
    /// How many of them must.
    pub(super) at_least: usize,
    root: PathBuf,
}

/// The rest of the file is the node's.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct NodeFile {
    policy_folder: PathBuf,
    policy: Pins,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Pins {
    #[serde(default)]
    officers: Vec<Officer>,
    signatures: Option<usize>,
    #[serde(default)]
    unsigned: bool,
}

impl NodePolicy {
    /// Reads node.toml in a node's folder.
    pub(super) fn read(root: &Path) -> Result<Self, CliError> {
        let path = root.join(NODE_FILE);
        let text = read_small(&path)?;
        let wrong = |message: String| PolicyError::NodeFile {
            path: path.clone(),
            message,
        };
        let file: NodeFile = toml::from_str(&text)
            .map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        if let Some(problem) = file.policy.problem() {
            return Err(wrong(problem.to_owned()).into());
        }
        Ok(Self {
            folder: root.join(file.policy_folder),
            at_least: file.policy.signatures.unwrap_or(SIGNATURES_UNLESS_WRITTEN),
            officers: file.policy.officers,
            root: root.to_owned(),
        })
    }

    /// The pinned officers who signed a bundle, if they are enough; none where the node takes unsigned ones.
    pub(super) fn signed(&self, bundle: &Bundle) -> Result<Vec<MemberName>, PolicyError> {
        match self.officers.is_empty() {
            true => Ok(Vec::new()),
            false => bundle
                .verify(&self.officers, self.at_least)
                .map_err(PolicyError::NotSigned),
        }
    }

    /// Where a new bundle is laid.
    pub(super) fn incoming(&self) -> PathBuf {
        self.folder.join(INCOMING)
    }

    /// What the journal says of the last bundle that was not taken up.
    pub(super) fn last_refusal(&self) -> Result<Option<BundleRefused>, NoAnswer> {
        let journal = self.root.join("journal");
        if !journal.is_dir() {
            return Ok(None);
        }
        let mut last = None;
        for entry in consilium_journal::read(&journal)? {
            let entry = entry?;
            if entry.kind == BUNDLE_REFUSED {
                last = Some(entry.parse()?);
            }
        }
        Ok(last)
    }
}

impl Pins {
    /// As the node judges its own file.
    fn problem(&self) -> Option<&'static str> {
        let keys: BTreeSet<_> = self.officers.iter().map(|officer| officer.key).collect();
        let names: BTreeSet<_> = self.officers.iter().map(|officer| &officer.name).collect();
        let at_least = self.signatures.unwrap_or(SIGNATURES_UNLESS_WRITTEN);
        let count = self.officers.len();
        match (self.unsigned, count) {
            (true, 0) if self.signatures.is_none() => None,
            (true, _) => Some(
                "`unsigned = true` stands beside officers or signatures; remove one or the other",
            ),
            (false, 0) => Some(
                "[policy] pins no officer; write `officers = [\"name:key\", …]`, or `unsigned = true`",
            ),
            (false, _) if keys.len() < count || names.len() < count => {
                Some("two officers have the same name or key; each has her own")
            }
            (false, _) if at_least == 0 || at_least > count => {
                Some("`signatures` must be from 1 to the number of officers")
            }
            (false, _) => None,
        }
    }
}
