//! `consilium-node ingest`: reads the sources of collections, which the node need not run for.

use std::path::Path;

use consilium_link::wall_clock;
use consilium_protocol::DatasetName;
use consilium_search::collection::{
    Beginning, Gone, Ingest, IngestReport, IngestSettings, Progress,
};

use super::declaration::Declaration;
use super::encoder;
use super::shelf::{CollectionFault, key};
use crate::config::{Config, Folder};

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// All that are declared, where none is named.
    pub collection: Option<DatasetName>,
    pub beginning: Beginning,
    pub gone: Gone,
}

/// What became of one collection.
pub struct Ingested {
    pub name: DatasetName,
    pub ended: Result<IngestReport, CollectionFault>,
}

/// Ingests the collections that are asked for, one after another; one that fails does not keep the next from its turn.
/// `None` where the one that is named is not declared.
pub fn ingest(
    config: &Config,
    root: &Path,
    options: &IngestOptions,
    progress: &mut dyn FnMut(&DatasetName, Progress),
) -> Option<Vec<Ingested>> {
    let is_wanted = |declared: &&Declaration| {
        options
            .collection
            .as_ref()
            .is_none_or(|name| *name == declared.name)
    };
    let wanted: Vec<&Declaration> = config.collections.iter().filter(is_wanted).collect();
    if wanted.is_empty() && options.collection.is_some() {
        return None;
    }
    let each = wanted.into_iter().map(|declared| Ingested {
        name: declared.name.clone(),
        ended: one(config, root, declared, options, &mut |at| {
            progress(&declared.name, at)
        }),
    });
    Some(each.collect())
}

fn one(
    config: &Config,
    root: &Path,
    declared: &Declaration,
    options: &IngestOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<IngestReport, CollectionFault> {
    let folder = Folder::new(root);
    let mapping = declared.read_mapping(root)?;
    let encoder = encoder::open(&declared.encoder_in(root), config.device)?;
    let source = root.join(&declared.source);
    if !source.exists() {
        // Before anything is made or, by a rebuild, thrown away.
        return Err(CollectionFault::File {
            path: source,
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        });
    }
    let ingest = Ingest::open(
        &folder.collection(&declared.name),
        key(&folder)?,
        &mapping,
        &encoder,
        options.beginning,
    )?;
    let settings = IngestSettings {
        gone: options.gone,
        erase_within_ms: declared.erase_within_ms(),
        ..IngestSettings::default()
    };
    Ok(ingest.run(&source, settings, &wall_clock, progress)?)
}
