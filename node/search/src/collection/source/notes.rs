//! A folder of text files, one note each, in the order of their names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::document::{Field, Reason, SourceDocument};
use super::super::error::CollectionError;
use super::super::limits::{NOTES_MAX, TEXT_BYTES_MAX};
use super::super::mapping::{Mapping, NOTE_ID, NOTE_TEXT};
use super::{Position, Record, Records, Unusable, unpacked};

pub(super) struct Notes {
    folder: PathBuf,
    names: std::vec::IntoIter<String>,
    position: Position,
    mapping: Mapping,
}

impl Notes {
    /// Lists the `.txt` and `.txt.gz` files of the folder; folders in it are not gone into.
    pub(super) fn open(folder: &Path, mapping: &Mapping) -> Result<Self, CollectionError> {
        let failed = |source| CollectionError::Source {
            path: folder.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_string();
            let is_note = |name: &String| name.ends_with(".txt") || name.ends_with(".txt.gz");
            names.extend(name.ok().filter(is_note));
            if names.len() > NOTES_MAX {
                return Err(CollectionError::TooManyDocuments);
            }
        }
        names.sort_unstable();
        Ok(Self {
            folder: folder.to_owned(),
            position: Position {
                total: names.len() as u64,
                ..Position::default()
            },
            names: names.into_iter(),
            mapping: mapping.clone(),
        })
    }

    pub(super) fn position(&self) -> Position {
        self.position.clone()
    }

    fn document(&self, name: &str) -> Result<Result<SourceDocument, Reason>, io::Error> {
        let file = File::open(self.folder.join(name))?;
        if !file.metadata()?.is_file() {
            return Ok(Err(Reason::NoText));
        }
        let mut bytes = Vec::new();
        unpacked(file)?
            .take(TEXT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > TEXT_BYTES_MAX {
            return Ok(Err(Reason::TextTooLong));
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(Err(Reason::NotUtf8));
        };
        let mut field = |wanted: &str| -> Result<Option<Field>, Reason> {
            Ok(match wanted {
                NOTE_ID => Some(Field::Text(name.to_owned())),
                NOTE_TEXT => Some(Field::Text(text.clone())),
                _ => None,
            })
        };
        Ok(SourceDocument::read(&self.mapping, &mut field))
    }
}

impl Records for Notes {
    fn next_record(&mut self) -> Result<Option<Record>, CollectionError> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        self.position.advance(1);
        let read = self
            .document(&name)
            .map_err(|source| CollectionError::Source {
                path: self.folder.join(&name),
                source,
            })?;
        Ok(Some(Record {
            line: self.position.done(),
            read: read.map_err(|reason| Unusable {
                reason,
                id: Some(name),
            }),
        }))
    }
}
