//! One JSON object a line. Only the fields that the mapping names are kept; the rest is read past.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::document::{Field, Reason, SourceDocument, id_of};
use super::super::error::CollectionError;
use super::super::limits::RECORD_BYTES_MAX;
use super::super::mapping::Mapping;
use super::{Record, Records, Unusable};

pub(super) struct JsonLines {
    input: Box<dyn BufRead>,
    buffer: Vec<u8>,
    line: u64,
    mapping: Mapping,
    wanted: BTreeSet<String>,
    path: PathBuf,
}

/// What a field holds; `Other` is an object, or a list of more than scalars.
enum Held {
    Nothing,
    Field(Field),
    Other,
}

impl JsonLines {
    pub(super) fn new(input: Box<dyn BufRead>, path: &Path, mapping: Mapping) -> Self {
        let lists = [&mapping.title, &mapping.body, &mapping.names];
        let mut wanted: BTreeSet<String> = lists.into_iter().flatten().cloned().collect();
        wanted.extend(mapping.columns.iter().map(|column| column.field.clone()));
        wanted.insert(mapping.id.clone());
        wanted.extend(mapping.patient.iter().chain(&mapping.date).cloned());
        Self {
            input,
            buffer: Vec::new(),
            line: 0,
            mapping,
            wanted,
            path: path.to_owned(),
        }
    }

    /// Reads a line into the buffer, or past it where it is too long; `None` at the end.
    fn read_line(&mut self) -> Result<Option<Result<(), Reason>>, CollectionError> {
        let failed = |source| CollectionError::Source {
            path: self.path.clone(),
            source,
        };
        self.buffer.clear();
        self.line += 1;
        let limit = RECORD_BYTES_MAX as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.buffer);
        if read.map_err(failed)? <= RECORD_BYTES_MAX {
            return Ok((!self.buffer.is_empty()).then_some(Ok(())));
        }
        while !self.buffer.ends_with(b"\n") {
            self.buffer.clear();
            let read = self
                .input
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut self.buffer);
            if read.map_err(failed)? == 0 {
                break;
            }
        }
        self.buffer = Vec::new();
        Ok(Some(Err(Reason::RecordTooLong)))
    }

    fn document(&self) -> Result<SourceDocument, Unusable> {
        let unusable = |reason| Unusable { reason, id: None };
        let text = std::str::from_utf8(&self.buffer).map_err(|_| unusable(Reason::NotUtf8))?;
        let mut json = serde_json::Deserializer::from_str(text);
        let wanted = Wanted(&self.wanted);
        let fields = wanted
            .deserialize(&mut json)
            .and_then(|fields| json.end().map(|()| fields));
        let fields = match fields {
            Ok(fields) => fields,
            Err(error) if error.is_data() => return Err(unusable(Reason::NotAnObject)),
            Err(_) => return Err(unusable(Reason::NotJson)),
        };
        let mut field = |name: &str| -> Result<Option<Field>, Reason> {
            match fields.get(name) {
                None | Some(Held::Nothing) => Ok(None),
                Some(Held::Field(field)) => Ok(Some(field.clone())),
                Some(Held::Other) => Err(Reason::NotAScalar {
                    field: name.to_owned(),
                }),
            }
        };
        SourceDocument::read(&self.mapping, &mut field).map_err(|reason| Unusable {
            reason,
            id: id_of(&self.mapping, &mut field),
        })
    }
}

impl Records for JsonLines {
    fn next_record(&mut self) -> Result<Option<Record>, CollectionError> {
        loop {
            let Some(line) = self.read_line()? else {
                return Ok(None);
            };
            let read = match line {
                Ok(()) if self.buffer.trim_ascii().is_empty() => continue,
                Ok(()) => self.document(),
                Err(reason) => Err(Unusable { reason, id: None }),
            };
            return Ok(Some(Record {
                line: self.line,
                read,
            }));
        }
    }
}

/// Reads an object's wanted fields.
struct Wanted<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = BTreeMap<String, Held>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = BTreeMap<String, Held>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(&name) {
                fields.insert(name, map.next_value_seed(AnyHeld)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

struct AnyHeld;

impl<'de> DeserializeSeed<'de> for AnyHeld {
    type Value = Held;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Held, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyHeld {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Held, E> {
        Ok(Held::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Held, E> {
        Ok(text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Held, E> {
        Ok(text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Held, E> {
        Ok(text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Held, E> {
        Ok(text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Held, E> {
        Ok(text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Held, A::Error> {
        let mut texts = Vec::new();
        let mut is_plain = true;
        while let Some(held) = list.next_element_seed(Self)? {
            match held {
                Held::Nothing => {}
                Held::Field(Field::Text(text)) => texts.push(text),
                Held::Field(Field::List(_)) | Held::Other => is_plain = false,
            }
        }
        Ok(match is_plain {
            true => Held::Field(Field::List(texts)),
            false => Held::Other,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Held, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Held::Other)
    }
}

fn text(text: String) -> Held {
    Held::Field(Field::Text(text))
}
