//! The collections of a running node. One that has changed on disk is opened anew when it is next asked for, so that an
//! update or an erasure is seen by the next query.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_encoder::OpenError;
use consilium_protocol::{DatasetName, Millis};
use consilium_search::collection::{Collection, CollectionError, Encode, MappingError, maintain};
use consilium_search::vector::{NodeKey, VectorError};

use super::declaration::Declaration;
use super::encoder;
use crate::config::{Config, Folder};
use crate::train::{DeviceChoice, DeviceError};

/// Why a collection cannot be used. Names files and lines, never a text.
#[derive(Debug, thiserror::Error)]
pub enum CollectionFault {
    #[error("`{}` cannot be read: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}`, {source}", path.display())]
    Mapping { path: PathBuf, source: MappingError },
    #[error(transparent)]
    Encoder(OpenError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Key(VectorError),
    #[error(transparent)]
    Collection(#[from] CollectionError),
}

impl CollectionFault {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "file-not-read",
            Self::Mapping { .. } => "bad-mapping",
            Self::Encoder(_) => "bad-encoder",
            Self::Device(_) => "no-device",
            Self::Key(_) => "bad-key",
            Self::Collection(error) => error.code(),
        }
    }
}

/// A collection that is open. Patient data: it has no `Debug`.
pub struct OpenCollection {
    pub declaration: Declaration,
    pub collection: Collection,
    /// What a question is encoded with.
    pub encoder: Arc<dyn Encode>,
}

/// The collections that node.toml declares.
pub struct Collections {
    folder: Folder,
    device: DeviceChoice,
    shelf: BTreeMap<DatasetName, Place>,
}

struct Place {
    declaration: Declaration,
    /// Held while it is opened: those who ask meanwhile wait for the same.
    open: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    encoder: Option<Arc<dyn Encode>>,
    collection: Option<Arc<OpenCollection>>,
}

impl Collections {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(config: &Config, root: &Path) -> Self {
        let places = config.collections.iter().map(|declaration| {
            let place = Place {
                declaration: declaration.clone(),
                open: Mutex::default(),
            };
            (declaration.name.clone(), place)
        });
        Self {
            folder: Folder::new(root),
            device: config.device,
            shelf: places.collect(),
        }
    }

    /// The declared names, those included that cannot be used.
    pub fn names(&self) -> impl Iterator<Item = &DatasetName> {
        self.shelf.keys()
    }

    /// A collection as it is published now; `None` where none of this name is declared. Opening takes seconds for a
    /// large one: call it off the runtime.
    pub fn get(&self, name: &DatasetName) -> Option<Result<Arc<OpenCollection>, CollectionFault>> {
        let place = self.shelf.get(name)?;
        let mut held = place.open.lock().unwrap_or_else(PoisonError::into_inner);
        Some(self.current(&place.declaration, &mut held))
    }

    fn current(
        &self,
        declaration: &Declaration,
        held: &mut Held,
    ) -> Result<Arc<OpenCollection>, CollectionFault> {
        if let Some(open) = &held.collection
            && open.collection.is_current()?
        {
            return Ok(Arc::clone(open));
        }
        let encoder = match &held.encoder {
            Some(encoder) => Arc::clone(encoder),
            None => {
                let opened =
                    encoder::open(&declaration.encoder_in(self.folder.root()), self.device)?;
                let encoder: Arc<dyn Encode> = Arc::new(opened);
                held.encoder.insert(encoder).clone()
            }
        };
        // What was open is of no more use, and a large one does not fit twice.
        held.collection = None;
        let folder = self.folder.collection(&declaration.name);
        if !folder.is_dir() {
            return Err(CollectionError::NotIngested { folder }.into());
        }
        let opened = Arc::new(OpenCollection {
            declaration: declaration.clone(),
            collection: Collection::open(&folder, key(&self.folder)?, &encoder.id())?,
            encoder,
        });
        held.collection = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Does what is due: joins small files, and has erased rows gone for good before their deadline. Call it every
    /// hour, off the runtime.
    pub fn maintain(&self, now: Millis) {
        for (name, place) in &self.shelf {
            let folder = self.folder.collection(name);
            if !folder.is_dir() {
                continue;
            }
            let within_ms = place.declaration.erase_within_ms();
            let done =
                key(&self.folder).and_then(|key| Ok(maintain(&folder, key, now, within_ms)?));
            match done {
                Ok(None) => {}
                Ok(Some(done)) => tracing::info!(collection = %name, files = done.files_written,
                    documents_gone = done.documents_gone, rows_gone = done.vectors.rows_gone, "a collection is in order"),
                Err(error) => {
                    tracing::error!(collection = %name, %error, "the upkeep of a collection failed")
                }
            }
        }
    }
}

/// The key of all collections, made at the first need.
pub(super) fn key(folder: &Folder) -> Result<NodeKey, CollectionFault> {
    NodeKey::at(&folder.collections_key()).map_err(CollectionFault::Key)
}
