//! Who signed a bundle: two officers, each with her own key, over the manifest of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use consilium_protocol::signature::{PublicKey, Signature};
use consilium_protocol::{Digest, MemberName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bundle::{Bundle, BundleError, Problem, text_of};
use crate::limits::SIGNATURES_MAX;

/// What is signed is [`Bundle::manifest`] under this context.
pub const SIGNING_CONTEXT: &str = "consilium policy bundle v1";

/// An officer whose signature a node counts: a name and a public key, written `olga:3d40…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Officer {
    /// Her name, as the signatures give it.
    pub name: MemberName,
    /// Her key.
    pub key: PublicKey,
}

/// Text that pins no officer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no officer; write a name, a colon and 64 hexadecimal digits of the public key"
)]
pub struct OfficerError {
    text: String,
}

/// The content of `signatures.toml`. Nobody is trusted for standing in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// The bundle that they say they are under. Believed by nobody: it tells officers which are of an older state.
    bundle: Option<Digest>,
    by_officer: BTreeMap<MemberName, Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    bundle: Option<Digest>,
    #[serde(default, rename = "signature")]
    signatures: Vec<SignatureDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureDocument {
    officer: MemberName,
    signature: Signature,
}

/// A bundle lacks signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// Too few officers whom the node knows signed exactly these files.
    #[error(
        "the bundle needs the signatures of {at_least} officers and has {}: {}",
        .signed.len(),
        told(.signed, .others)
    )]
    TooFew {
        /// How many it needs.
        at_least: usize,
        /// Whose signatures are good.
        signed: Vec<MemberName>,
        /// Whose are not, and why.
        others: Vec<(MemberName, &'static str)>,
    },
}

fn told(signed: &[MemberName], others: &[(MemberName, &'static str)]) -> String {
    let good = signed.iter().map(|name| format!("`{name}` signed"));
    let bad = others.iter().map(|(name, why)| format!("`{name}` {why}"));
    let all: Vec<String> = good.chain(bad).collect();
    match all.is_empty() {
        true => "nobody signed".to_owned(),
        false => all.join(", "),
    }
}

impl Signatures {
    /// Reads `signatures.toml`. `file` is what its errors call it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, BundleError> {
        let wrong = |problem| BundleError::of_file(file, problem);
        let text = text_of(file, text)?;
        let document: Document = toml::from_str(text).map_err(|error| {
            let message = error.to_string().trim_end().replace('\n', ", ");
            wrong(Problem::Syntax { message })
        })?;
        if document.signatures.len() > SIGNATURES_MAX {
            let message =
                format!("there are more than {SIGNATURES_MAX} signatures; remove old ones");
            return Err(wrong(Problem::Syntax { message }));
        }
        let mut by_officer = BTreeMap::new();
        for SignatureDocument { officer, signature } in document.signatures {
            if by_officer.insert(officer.clone(), signature).is_some() {
                let message = format!("`{officer}` signs twice; remove the older signature");
                return Err(wrong(Problem::Syntax { message }));
            }
        }
        Ok(Self {
            bundle: document.bundle,
            by_officer,
        })
    }

    /// The same, as `signatures.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut toml = "# Who signed this bundle. Made by `consilium policy sign`.\n".to_owned();
        if let Some(bundle) = &self.bundle {
            toml += &format!("bundle = \"{bundle}\"\n");
        }
        for (officer, signature) in &self.by_officer {
            toml +=
                &format!("\n[[signature]]\nofficer = \"{officer}\"\nsignature = \"{signature}\"\n");
        }
        toml
    }

    /// Lets go of what was signed of other files than this bundle's, or of files that are not known; whose it was comes
    /// back. What is put in from now on is under this bundle.
    pub fn keep_only_of(&mut self, bundle: Digest) -> Vec<MemberName> {
        match self.bundle.replace(bundle) == Some(bundle) {
            true => Vec::new(),
            false => std::mem::take(&mut self.by_officer).into_keys().collect(),
        }
    }

    /// Adds an officer's signature in place of her older one.
    pub fn put(&mut self, officer: MemberName, signature: Signature) {
        self.by_officer.insert(officer, signature);
    }

    /// Who stands in the file, in the order of names.
    pub fn officers(&self) -> impl Iterator<Item = &MemberName> {
        self.by_officer.keys()
    }
}

impl Bundle {
    /// The officers out of `officers` who signed exactly this bundle, if they are enough.
    ///
    /// Two names with one key count once.
    ///
    /// # Errors
    /// They are fewer than `at_least`.
    pub fn verify(
        &self,
        officers: &[Officer],
        at_least: usize,
    ) -> Result<Vec<MemberName>, SignatureProblem> {
        let mut signed = Vec::new();
        let mut others = Vec::new();
        let mut keys = BTreeSet::new();
        for (name, signature) in &self.signatures().by_officer {
            let Some(officer) = officers.iter().find(|officer| officer.name == *name) else {
                others.push((name.clone(), "is no officer whom this node knows"));
                continue;
            };
            let message = self.manifest().as_bytes();
            if !officer.key.verify(SIGNING_CONTEXT, message, signature) {
                others.push((name.clone(), "signed something else, or with another key"));
            } else if keys.insert(officer.key) {
                signed.push(name.clone());
            } else {
                others.push((name.clone(), "has the same key as another officer"));
            }
        }
        if signed.len() >= at_least.max(1) {
            return Ok(signed);
        }
        Err(SignatureProblem::TooFew {
            at_least: at_least.max(1),
            signed,
            others,
        })
    }
}

impl FromStr for Officer {
    type Err = OfficerError;

    fn from_str(text: &str) -> Result<Self, OfficerError> {
        let read = || {
            let (name, key) = text.split_once(':')?;
            Some(Self {
                name: name.trim().parse().ok()?,
                key: key.trim().parse().ok()?,
            })
        };
        read().ok_or_else(|| OfficerError {
            text: text.chars().take(100).collect(),
        })
    }
}

impl fmt::Display for Officer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.key)
    }
}

impl Serialize for Officer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Officer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
