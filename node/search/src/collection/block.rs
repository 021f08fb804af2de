//! A file of documents, sealed in pieces so that one passage opens alone.
//!
//! ```text
//! header   18 bytes, in clear, and part of what every piece's tag covers
//!   0  8   "CNSLTEXT"
//!   8  2   version, 1
//!  10  4   documents
//!  14  4   bytes of the body
//! pieces   16 KiB of the body each, the last one shorter, each followed by its tag of 16 bytes
//! body     columns (2), each: name (2 + n), kind (1); then the documents, each: id (2 + n), patient (2 + n), digest
//!          (32), title (2 + n), date (5), a value for each column, passages (4), each: row (4), text (4 + n); a date
//!          is its kind (1: none, day, year) and its number (4); a value is its kind (1: none, words, number, date) and
//!          what it holds; numbers are little-endian
//! ```

use std::io;
use std::sync::Arc;

use consilium_protocol::Digest;
use zeroize::Zeroizing;

use crate::vector::{
    Disk, NodeKey, Piece, Reader, SEALED_EXTRA_BYTES, SegmentKey, TAG_BYTES, VectorError, failed,
};

use super::document::{Document, Passage, Value, When, put_value, put_when};
use super::limits::FILE_BYTES_MAX;
use super::mapping::Kind;

const MAGIC: &[u8; 8] = b"CNSLTEXT";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 18;
const PIECE_BYTES: usize = 16 << 10;

/// Bytes of a wrapped key.
pub(super) const WRAPPED_BYTES: usize = 32 + SEALED_EXTRA_BYTES;

/// A file as the manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub(super) file: u64,
    pub(super) documents: u32,
    /// Of the body.
    pub(super) bytes: u32,
    /// Its key, sealed by the node's.
    pub(super) wrapped: Vec<u8>,
}

/// The filter columns of a collection, in order.
pub(super) type Columns = Vec<(String, Kind)>;

/// A document of a file, and where its passages' texts stand in the body.
pub(super) struct Placed {
    pub(super) document: Document,
    pub(super) title: Place,
    /// For each passage.
    pub(super) texts: Vec<Place>,
}

/// A part of a file's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u32,
    pub(super) bytes: u32,
}

/// A file whose pieces can be opened.
pub(super) struct Sealed {
    name: String,
    header: [u8; HEADER_BYTES],
    bytes: u32,
    key: SegmentKey,
}

pub(super) fn file_name(file: u64) -> String {
    format!("texts-{file:016x}")
}

/// True for what [`file_name`] made.
pub(super) fn is_file(name: &str) -> bool {
    name.strip_prefix("texts-")
        .is_some_and(|rest| rest.len() == 16)
}

/// Writes documents into a file of their own, which no manifest names yet.
pub(super) fn write(
    disk: &dyn Disk,
    node: &NodeKey,
    file: u64,
    columns: &Columns,
    documents: &[Document],
) -> Result<NamedFile, VectorError> {
    let name = file_name(file);
    let key = SegmentKey::random()?;
    let (bytes, sealed) = encode(columns, documents, &key)?;
    disk.write(&name, &sealed).map_err(failed("write", &name))?;
    Ok(NamedFile {
        file,
        documents: documents.len() as u32,
        bytes,
        wrapped: key.wrap(node, &name)?,
    })
}

fn encode(
    columns: &Columns,
    documents: &[Document],
    key: &SegmentKey,
) -> Result<(u32, Vec<u8>), VectorError> {
    let mut body = Zeroizing::new(Vec::new());
    body.extend((columns.len() as u16).to_le_bytes());
    for (name, kind) in columns {
        put_short(&mut body, name.as_bytes());
        body.push(*kind as u8);
    }
    for document in documents {
        put_document(&mut body, document);
    }
    let bytes = u32::try_from(body.len()).map_err(|_| VectorError::Build("documents too long"))?;
    let header = header(documents.len() as u32, bytes);
    let mut sealed =
        Vec::with_capacity(HEADER_BYTES + body.len() + TAG_BYTES * (body.len() / PIECE_BYTES + 1));
    sealed.extend(header);
    for (number, piece) in (0u32..).zip(body.chunks_mut(PIECE_BYTES)) {
        let tag = key.seal(Piece::Block(number), &header, piece)?;
        sealed.extend_from_slice(piece);
        sealed.extend(tag);
    }
    Ok((bytes, sealed))
}

fn header(documents: u32, bytes: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let parts = MAGIC
        .iter()
        .copied()
        .chain(VERSION.to_le_bytes())
        .chain(documents.to_le_bytes())
        .chain(bytes.to_le_bytes());
    header
        .iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = from);
    header
}

impl NamedFile {
    /// The file's key, for its pieces.
    pub(super) fn sealed(&self, node: &NodeKey) -> Result<Arc<Sealed>, VectorError> {
        let name = file_name(self.file);
        let key = SegmentKey::unwrap(node, &name, &self.wrapped);
        let key = key.ok_or_else(|| VectorError::Unsealable { file: name.clone() })?;
        Ok(Arc::new(Sealed {
            header: header(self.documents, self.bytes),
            bytes: self.bytes,
            key,
            name,
        }))
    }

    /// All documents of the file. Any bytes at all give documents or an error.
    pub(super) fn read(
        &self,
        disk: &dyn Disk,
        sealed: &Sealed,
    ) -> Result<(Columns, Vec<Placed>), VectorError> {
        let name = &sealed.name;
        let file = disk
            .read(name, FILE_BYTES_MAX)
            .map_err(failed("read", name))?;
        let body = sealed.body(file)?;
        let mut fields = Fields {
            rest: Reader(&body),
            length: body.len(),
        };
        let damaged = || VectorError::Damaged {
            file: name.clone(),
            what: "a count in it is out of range",
        };
        let columns = fields.columns().ok_or_else(damaged)?;
        let mut documents = Vec::new();
        for _ in 0..self.documents {
            documents.push(fields.document(&columns).ok_or_else(damaged)?);
        }
        match fields.rest.0.is_empty() {
            true => Ok((columns, documents)),
            false => Err(damaged()),
        }
    }
}

impl Sealed {
    /// A part of the body, from the pieces that it stands in.
    pub(super) fn text(&self, disk: &dyn Disk, place: Place) -> Result<String, VectorError> {
        let failed = |source: io::Error| failed("read", &self.name)(source);
        let damaged = || VectorError::Damaged {
            file: self.name.clone(),
            what: "a text is not where it should be",
        };
        let (start, end) = (
            place.start as usize,
            place.start as usize + place.bytes as usize,
        );
        if end > self.bytes as usize {
            return Err(damaged());
        }
        let pieces = disk.open(&self.name).map_err(failed)?;
        let mut text = Zeroizing::new(Vec::with_capacity(place.bytes as usize + PIECE_BYTES));
        let (first, last) = (
            start / PIECE_BYTES,
            end.saturating_sub(1).max(start) / PIECE_BYTES,
        );
        for number in first..=last {
            let from = number * PIECE_BYTES;
            let length = PIECE_BYTES.min((self.bytes as usize).saturating_sub(from));
            let mut piece = Zeroizing::new(vec![0; length + TAG_BYTES]);
            let at = HEADER_BYTES + number * (PIECE_BYTES + TAG_BYTES);
            pieces.read_at(at as u64, &mut piece).map_err(failed)?;
            let opened = self
                .key
                .open(Piece::Block(number as u32), &self.header, &mut piece);
            text.extend_from_slice(opened.ok_or_else(|| self.unsealable())?);
        }
        let skipped = start - first * PIECE_BYTES;
        let bytes = text
            .get(skipped..skipped + place.bytes as usize)
            .ok_or_else(damaged)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| damaged())
    }

    fn body(&self, mut file: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, VectorError> {
        let not_ours = || VectorError::NotOurs {
            file: self.name.clone(),
        };
        let (head, pieces) = file
            .split_at_mut_checked(HEADER_BYTES)
            .ok_or_else(not_ours)?;
        let mut fields = Reader(head);
        if fields.bytes(MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(not_ours());
        }
        let found = fields.u16().ok_or_else(not_ours)?;
        if found != VERSION {
            return Err(VectorError::OtherVersion {
                file: self.name.clone(),
                found,
                expected: VERSION,
            });
        }
        let tags = TAG_BYTES * (self.bytes as usize).div_ceil(PIECE_BYTES);
        if head != self.header || pieces.len() != self.bytes as usize + tags {
            return Err(VectorError::Damaged {
                file: self.name.clone(),
                what: "its length is not what the manifest says",
            });
        }
        let mut body = Zeroizing::new(Vec::with_capacity(self.bytes as usize));
        for (number, piece) in (0u32..).zip(pieces.chunks_mut(PIECE_BYTES + TAG_BYTES)) {
            let opened = self.key.open(Piece::Block(number), head, piece);
            body.extend_from_slice(opened.ok_or_else(|| self.unsealable())?);
        }
        Ok(body)
    }

    fn unsealable(&self) -> VectorError {
        VectorError::Unsealable {
            file: self.name.clone(),
        }
    }
}

fn put_short(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text);
}

fn put_document(body: &mut Vec<u8>, document: &Document) {
    put_short(body, document.id.as_bytes());
    put_short(body, &document.patient);
    body.extend(document.digest.0);
    put_short(body, document.title.as_bytes());
    put_when(body, document.date);
    for value in &document.values {
        put_value(body, value);
    }
    body.extend((document.passages.len() as u32).to_le_bytes());
    for passage in &document.passages {
        body.extend(passage.row.to_le_bytes());
        body.extend((passage.text.len() as u32).to_le_bytes());
        body.extend(passage.text.as_bytes());
    }
}

/// About how long a document is in a file.
pub(super) fn document_bytes(document: &Document) -> usize {
    let texts = document
        .passages
        .iter()
        .map(|passage| passage.text.len() + 8);
    texts.sum::<usize>() + document.title.len() + document.id.len() + 128
}

/// Reads a body; `None` where it says what cannot be.
struct Fields<'a> {
    rest: Reader<'a>,
    length: usize,
}

impl Fields<'_> {
    fn columns(&mut self) -> Option<Columns> {
        let count = self.rest.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let name = self.short()?;
            let kind = kind_of(self.byte()?)?;
            columns.push((name, kind));
        }
        Some(columns)
    }

    fn document(&mut self, columns: &Columns) -> Option<Placed> {
        let id = self.short()?;
        let patient_bytes = usize::from(self.rest.u16()?);
        let patient = self.rest.bytes(patient_bytes)?.to_vec();
        let digest = Digest::from_bytes(self.rest.bytes(32)?)?;
        let title_bytes = self.rest.u16()?;
        let (title, title_place) = self.text(u32::from(title_bytes))?;
        let date = self.when()?;
        let mut values = Vec::with_capacity(columns.len());
        for _ in columns {
            values.push(self.value()?);
        }
        let count = self.rest.u32()?;
        let (mut passages, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let row = self.rest.u32()?;
            let bytes = self.rest.u32()?;
            let (text, place) = self.text(bytes)?;
            passages.push(Passage { row, text });
            texts.push(place);
        }
        let document = Document {
            id,
            patient,
            digest,
            title,
            date,
            values,
            passages,
        };
        Some(Placed {
            document,
            title: title_place,
            texts,
        })
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.byte()? {
            0 => Value::Missing,
            1 => {
                let count = self.rest.u16()?;
                let mut words = Vec::new();
                for _ in 0..count {
                    words.push(self.short()?);
                }
                Value::Words(words)
            }
            2 => Value::Number(f64::from_bits(self.rest.u64()?)),
            3 => Value::Date(self.when()??),
            _ => return None,
        })
    }

    fn when(&mut self) -> Option<Option<When>> {
        let kind = self.byte()?;
        let number = self.rest.u32()? as i32;
        Some(match kind {
            0 => None,
            1 => Some(When::Day(number)),
            2 => Some(When::Year(number)),
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        self.rest.bytes(1)?.first().copied()
    }

    fn short(&mut self) -> Option<String> {
        let bytes = self.rest.u16()?;
        Some(self.text(u32::from(bytes))?.0)
    }

    fn text(&mut self, bytes: u32) -> Option<(String, Place)> {
        let start = self.length - self.rest.0.len();
        let text = self.rest.bytes(bytes as usize)?;
        let place = Place {
            start: u32::try_from(start).ok()?,
            bytes,
        };
        Some((std::str::from_utf8(text).ok()?.to_owned(), place))
    }
}

/// The byte of a kind is its place in the declaration of [`Kind`].
pub(super) fn kind_of(byte: u8) -> Option<Kind> {
    [Kind::Word, Kind::Words, Kind::Number, Kind::Date]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
}

#[cfg(test)]
mod tests {
    use crate::vector::Folder;

    use super::*;

    fn note(text: &str) -> Document {
        Document {
            id: "n1".into(),
            patient: b"p1".to_vec(),
            digest: Digest::of(b"n1"),
            title: "Visit".into(),
            date: Some(When::Year(2019)),
            values: vec![
                Value::Words(vec!["R05".into()]),
                Value::Missing,
                Value::Number(2.5),
            ],
            passages: vec![Passage {
                row: 7,
                text: text.into(),
            }],
        }
    }

    fn columns() -> Columns {
        vec![
            ("code".into(), Kind::Words),
            ("seen".into(), Kind::Date),
            ("age".into(), Kind::Number),
        ]
    }

    #[test]
    fn a_body_is_laid_out_as_it_is_described() {
        let mut body = Vec::new();
        put_document(&mut body, &note("ab"));
        let digest = Digest::of(b"n1");
        let expected = [
            b"\x02\0n1\x02\0p1".as_slice(),
            &digest.0,
            b"\x05\0Visit\x02\xe3\x07\0\0",
            b"\x01\x01\0\x03\0R05\0\x02\0\0\0\0\0\0\x04\x40",
            b"\x01\0\0\0\x07\0\0\0\x02\0\0\0ab",
        ]
        .concat();
        assert_eq!(body, expected);
        assert_eq!(header(1, 2), *b"CNSLTEXT\x01\0\x01\0\0\0\x02\0\0\0");
    }

    #[test]
    fn a_passage_opens_alone_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::at(folder.path()).unwrap();
        let node = NodeKey::new(&[3; 32]).unwrap();
        let texts: Vec<String> = (0..60)
            .map(|nth| format!("{nth} ").repeat(nth * 40))
            .collect();
        let documents: Vec<Document> = texts.iter().map(|text| note(text)).collect();
        let named = write(&disk, &node, 5, &columns(), &documents).unwrap();
        let sealed = named.sealed(&node).unwrap();
        let (read_columns, placed) = named.read(&disk, &sealed).unwrap();
        assert!(read_columns == columns() && placed.len() == 60);
        for (placed, document) in placed.iter().zip(&documents) {
            assert!(placed.document == *document);
            assert_eq!(
                sealed.text(&disk, placed.texts[0]).unwrap(),
                document.passages[0].text
            );
            assert_eq!(sealed.text(&disk, placed.title).unwrap(), "Visit");
        }
        let beyond = Place {
            start: named.bytes,
            bytes: 1,
        };
        assert!(sealed.text(&disk, beyond).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_and_a_cut_are_found_and_the_text_is_not_in_clear() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::at(folder.path()).unwrap();
        let node = NodeKey::new(&[3; 32]).unwrap();
        let named = write(
            &disk,
            &node,
            1,
            &columns(),
            &[note("a secret of the patient")],
        )
        .unwrap();
        let name = file_name(1);
        let whole = disk.read(&name, 1 << 20).unwrap();
        assert!(!whole.windows(6).any(|window| window == b"secret"));
        let sealed = named.sealed(&node).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            disk.write(&name, &flipped).unwrap();
            assert!(named.read(&disk, &sealed).is_err(), "byte {at}");
        }
        disk.write(&name, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(
            named.read(&disk, &sealed),
            Err(VectorError::Damaged { .. })
        ));
        let mut other = whole;
        other[8] = 9;
        disk.write(&name, &other).unwrap();
        assert!(matches!(
            named.read(&disk, &sealed),
            Err(VectorError::OtherVersion { found: 9, .. })
        ));
        assert!(named.sealed(&NodeKey::new(&[4; 32]).unwrap()).is_err());
    }
}
