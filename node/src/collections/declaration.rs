//! A collection as node.toml declares it.

use std::io::Read;
use std::path::{Path, PathBuf};

use consilium_encoder::EncoderChoice;
use consilium_protocol::DatasetName;
use consilium_search::collection::Mapping;
use consilium_search::collection::limits::MAPPING_BYTES_MAX;
use serde::Deserialize;

use super::shelf::CollectionFault;

/// Nothing that was erased stays on the disk for longer.
pub const ROWS_ERASED_WITHIN_DAYS_MAX: u64 = 30;

/// A list of what never leaves: some ten thousand lines.
const NEVER_LEAVES_BYTES_MAX: u64 = 1 << 20;

const DAY_MS: u64 = 86_400_000;

/// The upkeep comes every hour, and rewriting takes time: it begins this much before the deadline.
const UPKEEP_AHEAD_MS: u64 = 2 * 3_600_000;

/// A text collection. Paths are relative to the configuration file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Declaration {
    /// Collections and data sets share their names.
    pub name: DatasetName,
    /// JSON Lines or CSV, also compressed by gzip, or a folder of notes.
    pub source: PathBuf,
    /// The file that says which field is what.
    pub mapping: PathBuf,
    #[serde(default)]
    pub encoder: EncoderChoice,
    #[serde(default = "days_max")]
    pub rows_erased_within_days: u64,
    /// The column with the purposes that a document's patient agreed to, in DUO codes; without one, the policy's terms
    /// hold for all alike.
    pub consent_column: Option<String>,
    /// The column with the day from which a document may be found.
    pub embargo_column: Option<String>,
    /// A file of what no snippet may show, a line each: names, numbers, canaries.
    pub never_leaves: Option<PathBuf>,
}

fn days_max() -> u64 {
    ROWS_ERASED_WITHIN_DAYS_MAX
}

impl Declaration {
    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let days = self.rows_erased_within_days;
        let is_good = (1..=ROWS_ERASED_WITHIN_DAYS_MAX).contains(&days);
        (!is_good).then(|| {
            format!(
                "collection `{}`: `rows-erased-within-days` must be from 1 to {ROWS_ERASED_WITHIN_DAYS_MAX}",
                self.name
            )
        })
    }

    /// How long after its erasure a row is rewritten away.
    #[must_use]
    pub fn erase_within_ms(&self) -> u64 {
        (self.rows_erased_within_days * DAY_MS).saturating_sub(UPKEEP_AHEAD_MS)
    }

    /// Reads the mapping.
    ///
    /// # Errors
    /// If it cannot be read, or contradicts itself; by file and line.
    pub fn read_mapping(&self, root: &Path) -> Result<Mapping, CollectionFault> {
        let path = root.join(&self.mapping);
        let text = read_bounded(&path, MAPPING_BYTES_MAX as u64)?;
        Mapping::parse(&text).map_err(|source| CollectionFault::Mapping { path, source })
    }

    /// What no snippet may show.
    ///
    /// # Errors
    /// The file cannot be read, or is no list of lines.
    pub fn never_leaves(&self, root: &Path) -> Result<Vec<String>, CollectionFault> {
        let Some(path) = self.never_leaves.as_ref().map(|path| root.join(path)) else {
            return Ok(Vec::new());
        };
        let text = read_bounded(&path, NEVER_LEAVES_BYTES_MAX)?;
        if text.len() as u64 > NEVER_LEAVES_BYTES_MAX {
            // Cut, it would let out what stands at its end.
            let source = std::io::Error::other("it has more than a MiB of lines");
            return Err(CollectionFault::File { path, source });
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    /// The encoder that it names, its folder from the node's.
    #[must_use]
    pub fn encoder_in(&self, root: &Path) -> EncoderChoice {
        match &self.encoder {
            EncoderChoice::Builtin => EncoderChoice::Builtin,
            EncoderChoice::Folder(folder) => EncoderChoice::Folder(root.join(folder)),
        }
    }
}

/// A text file up to one byte more than its limit: whoever parses it says that it is too long.
fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, CollectionFault> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(CollectionFault::File {
            path: path.to_owned(),
            source,
        }),
    }
}
