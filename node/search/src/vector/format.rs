//! A segment's file.
//!
//! ```text
//! header   48 bytes, in clear, and part of what every block's tag covers
//!   0  8   "CNSLMSEG"
//!   8  2   version, 2
//!  10  2   0: without a graph; 1: with one
//!  12  4   dimension
//!  16  4   rows
//!  20  4   links of the lowest layer
//!  24  4   upper layers
//!  28  4   links of all upper layers
//!  32  4   nodes of all upper layers
//!  36  4   members
//!  40  4   orphans
//!  44  4   twins
//! rows     the vector of each row (f32), followed by its tag of 16 bytes: each can be opened alone
//! blocks   64 KiB of the body each, the last one shorter, each followed by its tag of 16 bytes
//! body     row ids, then with a graph: starts and targets of the lowest layer, nodes of each upper layer, starts and
//!          targets of each, members, orphans, twins; 4 bytes each; all little-endian
//! ```
//!
//! The counts say how long the file is, so nothing is allocated before the length agrees with them. Codes are not kept:
//! they are made again from the vectors when a file is opened, which thereby reads it whole and checks each tag.

use std::io::{self, Write};
use std::sync::Arc;

use super::codes::Codes;
use super::disk::{Disk, Pieces};
use super::error::VectorError;
use super::exact::{Exact, Memory, Opened, SealedRows};
use super::graph::{Graph, Links, Upper};
use super::limits::{DIMENSION_MAX, ROW_ID_END, SEGMENT_ROWS_MAX};
use super::published::failed;
use super::rows::Rows;
use super::sealing::{Piece, SegmentKey, TAG_BYTES};
use super::segment::Segment;

const MAGIC: &[u8; 8] = b"CNSLMSEG";
pub(super) const VERSION: u16 = 2;
pub(super) const HEADER_BYTES: usize = 48;
const BLOCK_BYTES: usize = 64 << 10;
const UPPER_LAYERS_MAX: u32 = 16;

/// Rows that are read in one go when a file is opened.
const ROWS_AT_ONCE: usize = 256;

/// What the header says, in its order.
struct Header {
    has_graph: bool,
    dimension: u32,
    rows: u32,
    links: u32,
    uppers: u32,
    upper_links: u32,
    upper_nodes: u32,
    members: u32,
    orphans: u32,
    twins: u32,
}

/// What a segment's file is made of.
pub(super) struct Parts<'a> {
    pub(super) codes: &'a Codes,
    pub(super) graph: Option<&'a Graph>,
    /// Calls back with the vector of each row, in order.
    pub(super) each_row: &'a EachRow<'a>,
}

pub(super) type EachRow<'a> =
    dyn Fn(&mut dyn FnMut(&[f32]) -> Result<(), VectorError>) -> Result<(), VectorError> + 'a;

/// Bytes of a row in the file.
pub(super) fn sealed_row_bytes(dimension: usize) -> usize {
    4 * dimension + TAG_BYTES
}

pub(super) fn damaged(file: &str, what: &'static str) -> VectorError {
    VectorError::Damaged {
        file: file.to_owned(),
        what,
    }
}

/// Writes the file of a segment, sealed with a key that has sealed nothing else. A row at a time: the vectors are never
/// in memory together. Gives the header.
pub(super) fn write(
    disk: &dyn Disk,
    name: &str,
    parts: &Parts<'_>,
    key: &SegmentKey,
) -> Result<[u8; HEADER_BYTES], VectorError> {
    let head = Header::of(parts).bytes();
    let mut fault = None;
    let written = disk.write_by(name, &mut |file| {
        fill(file, name, &head, parts, key).map_err(|error| {
            fault = Some(error);
            io::ErrorKind::Other.into()
        })
    });
    match (written, fault) {
        (_, Some(fault)) => Err(fault),
        (Err(error), None) => Err(failed("write", name)(error)),
        (Ok(()), None) => Ok(head),
    }
}

fn fill(
    file: &mut dyn Write,
    name: &str,
    head: &[u8; HEADER_BYTES],
    parts: &Parts<'_>,
    key: &SegmentKey,
) -> Result<(), VectorError> {
    let mut put_in = |bytes: &[u8]| file.write_all(bytes).map_err(failed("write", name));
    put_in(head)?;
    let (mut number, mut bytes) = (0, Vec::new());
    (parts.each_row)(&mut |row| {
        bytes.clear();
        bytes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
        let tag = key.seal(Piece::Row(number), head, &mut bytes)?;
        number += 1;
        put_in(&bytes)?;
        put_in(&tag)
    })?;
    let mut body = Vec::new();
    put(&mut body, parts.codes.ids());
    if let Some(graph) = parts.graph {
        put_graph(&mut body, graph);
    }
    for (number, block) in (0u32..).zip(body.chunks_mut(BLOCK_BYTES)) {
        let tag = key.seal(Piece::Block(number), head, block)?;
        put_in(block)?;
        put_in(&tag)?;
    }
    Ok(())
}

/// Reads the file called `name`. Any bytes at all give a segment or an error.
pub(super) fn read(
    disk: &dyn Disk,
    name: &str,
    key: Arc<SegmentKey>,
    memory: Memory,
) -> Result<Segment, VectorError> {
    let not_ours = || VectorError::NotOurs {
        file: name.to_owned(),
    };
    let file = disk.open(name).map_err(failed("read", name))?;
    let length = file.length().map_err(failed("read", name))?;
    if length < HEADER_BYTES as u64 {
        return Err(not_ours());
    }
    let mut head = [0; HEADER_BYTES];
    file.read_at(0, &mut head).map_err(failed("read", name))?;
    let mut fields = Reader(&head);
    if fields.bytes(MAGIC.len()) != Some(MAGIC.as_slice()) {
        return Err(not_ours());
    }
    let found = fields.u16().ok_or_else(not_ours)?;
    if found != VERSION {
        return Err(VectorError::OtherVersion {
            file: name.to_owned(),
            found,
            expected: VERSION,
        });
    }
    let header =
        Header::read(&mut fields).ok_or_else(|| damaged(name, "its header is out of range"))?;
    if header.file_bytes() != Some(length) {
        return Err(damaged(name, "its length is not what its header says"));
    }
    let body = header.open_body(file.as_ref(), name, &head, &key)?;
    let (ids, graph) = header
        .parse_body(&body)
        .map_err(|what| damaged(name, what))?;
    drop(body);
    let sealed = SealedRows::new(file, name, key, head, header.dimension as usize);
    let rows = header.read_rows(&ids, sealed, memory)?;
    Ok(Segment::new(rows, graph))
}

impl Header {
    fn of(parts: &Parts<'_>) -> Self {
        let mut header = Self {
            has_graph: parts.graph.is_some(),
            dimension: parts.codes.dimension() as u32,
            rows: parts.codes.len() as u32,
            links: 0,
            uppers: 0,
            upper_links: 0,
            upper_nodes: 0,
            members: 0,
            orphans: 0,
            twins: 0,
        };
        if let Some(graph) = parts.graph {
            header.links = graph.links.parts().1.len() as u32;
            header.uppers = graph.uppers.len() as u32;
            header.upper_links = graph
                .uppers
                .iter()
                .map(|upper| upper.links.parts().1.len() as u32)
                .sum();
            header.upper_nodes = graph
                .uppers
                .iter()
                .map(|upper| upper.links.nodes() as u32)
                .sum();
            header.members = graph.members.len() as u32;
            header.orphans = graph.orphans.len() as u32;
            header.twins = graph.twins.len() as u32;
        }
        header
    }

    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let numbers = [
            self.dimension,
            self.rows,
            self.links,
            self.uppers,
            self.upper_links,
            self.upper_nodes,
            self.members,
            self.orphans,
            self.twins,
        ];
        let mut bytes = [0; HEADER_BYTES];
        let written = MAGIC
            .iter()
            .copied()
            .chain(VERSION.to_le_bytes())
            .chain(u16::from(self.has_graph).to_le_bytes())
            .chain(numbers.into_iter().flat_map(u32::to_le_bytes));
        for (to, from) in bytes.iter_mut().zip(written) {
            *to = from;
        }
        bytes
    }

    /// What follows the version; `None` when a count is out of range.
    fn read(fields: &mut Reader<'_>) -> Option<Self> {
        let has_graph = match fields.u16()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut next = || fields.u32();
        let header = Self {
            has_graph,
            dimension: next()?,
            rows: next()?,
            links: next()?,
            uppers: next()?,
            upper_links: next()?,
            upper_nodes: next()?,
            members: next()?,
            orphans: next()?,
            twins: next()?,
        };
        let of_graph = [
            header.links,
            header.uppers,
            header.upper_links,
            header.upper_nodes,
        ];
        let of_rows = [header.members, header.orphans, header.twins];
        let in_range = (1..=DIMENSION_MAX as u32).contains(&header.dimension)
            && header.rows as usize <= SEGMENT_ROWS_MAX
            && header.uppers <= UPPER_LAYERS_MAX
            && of_rows.iter().all(|count| *count <= header.rows)
            && (has_graph || of_graph.iter().chain(&of_rows).all(|count| *count == 0));
        in_range.then_some(header)
    }

    /// Four bytes a number, in the order of the body.
    fn body_bytes(&self) -> Option<u64> {
        let (rows, uppers) = (u64::from(self.rows), u64::from(self.uppers));
        let mut numbers = rows;
        if self.has_graph {
            numbers += rows + 1 + u64::from(self.links);
            numbers += uppers * 3 + u64::from(self.upper_nodes) + u64::from(self.upper_links);
            numbers +=
                u64::from(self.members) + u64::from(self.orphans) + 2 * u64::from(self.twins);
        }
        numbers.checked_mul(4)
    }

    fn rows_bytes(&self) -> u64 {
        u64::from(self.rows) * sealed_row_bytes(self.dimension as usize) as u64
    }

    fn file_bytes(&self) -> Option<u64> {
        let body = self.body_bytes()?;
        let tags = body.div_ceil(BLOCK_BYTES as u64) * TAG_BYTES as u64;
        Some(HEADER_BYTES as u64 + self.rows_bytes() + body + tags)
    }

    fn open_body(
        &self,
        file: &dyn Pieces,
        name: &str,
        head: &[u8],
        key: &SegmentKey,
    ) -> Result<Vec<u8>, VectorError> {
        let mut left = self.body_bytes().unwrap_or(0) as usize;
        let mut at = HEADER_BYTES as u64 + self.rows_bytes();
        let (mut body, mut block) = (Vec::with_capacity(left), Vec::new());
        for number in 0u32.. {
            if left == 0 {
                break;
            }
            let length = left.min(BLOCK_BYTES);
            block.resize(length + TAG_BYTES, 0);
            file.read_at(at, &mut block).map_err(failed("read", name))?;
            let text = key.open(Piece::Block(number), head, &mut block);
            let text = text.ok_or_else(|| VectorError::Unsealable {
                file: name.to_owned(),
            })?;
            body.extend_from_slice(text);
            at += block.len() as u64;
            left -= length;
        }
        Ok(body)
    }

    /// The ids of the rows, and the graph.
    fn parse_body(&self, body: &[u8]) -> Result<(Vec<u32>, Option<Graph>), &'static str> {
        let mut rest = Reader(body);
        let ids = rest
            .numbers(self.rows as usize)
            .ok_or("it ends too early")?;
        if !ids.is_sorted_by(|a, b| a < b) || ids.last().is_some_and(|last| *last >= ROW_ID_END) {
            return Err("its rows are out of order");
        }
        let graph = match self.has_graph {
            true => Some(self.graph(&mut rest)?),
            false => None,
        };
        Ok((ids, graph))
    }

    /// Opens every vector once, for its codes.
    fn read_rows(
        &self,
        ids: &[u32],
        sealed: SealedRows,
        memory: Memory,
    ) -> Result<Rows, VectorError> {
        let dimension = self.dimension as usize;
        let (mut codes, mut floats) = (Codes::with_capacity(dimension, ids.len()), Vec::new());
        if memory == Memory::Fast {
            floats.reserve_exact(ids.len() * dimension);
        }
        let mut space = Opened::default();
        for (nth, ids) in (0u32..).zip(ids.chunks(ROWS_AT_ONCE)) {
            let opened = sealed.open(nth * ROWS_AT_ONCE as u32, ids.len(), &mut space)?;
            if !opened.iter().all(|x| x.abs() <= 1.001) {
                return Err(damaged(
                    sealed.name(),
                    "one of its vectors has not length one",
                ));
            }
            for (id, row) in ids.iter().zip(opened.chunks_exact(dimension)) {
                codes.push(*id, row);
            }
            if memory == Memory::Fast {
                floats.extend_from_slice(opened);
            }
        }
        let exact = match memory {
            Memory::Fast => Exact::Held { dimension, floats },
            Memory::Small => Exact::Sealed(sealed),
        };
        Ok(Rows::new(codes, exact))
    }

    fn graph(&self, rest: &mut Reader<'_>) -> Result<Graph, &'static str> {
        const WRONG: &str = "its graph points outside";
        let rows = self.rows as usize;
        let links = rest.links(rows, self.links as usize, rows).ok_or(WRONG)?;
        let sizes = rest.numbers(self.uppers as usize).ok_or(WRONG)?;
        let nodes = sizes
            .iter()
            .try_fold(0u32, |sum, size| sum.checked_add(*size));
        let shape = sizes.is_sorted()
            && nodes == Some(self.upper_nodes)
            && sizes.last().unwrap_or(&0) <= &self.members;
        if !shape {
            return Err(WRONG);
        }
        let mut uppers = Vec::with_capacity(sizes.len());
        for size in sizes {
            let targets = rest
                .numbers(1)
                .and_then(|counts| counts.first().copied())
                .ok_or(WRONG)?;
            let links = rest
                .links(size as usize, targets as usize, size as usize)
                .ok_or(WRONG)?;
            uppers.push(Upper { links });
        }
        let members = rest.numbers(self.members as usize).ok_or(WRONG)?;
        let orphans = rest.numbers(self.orphans as usize).ok_or(WRONG)?;
        let twins = rest.numbers(2 * self.twins as usize).ok_or(WRONG)?;
        let inside = members
            .iter()
            .chain(&orphans)
            .chain(&twins)
            .all(|node| *node < self.rows);
        if !inside || !rest.0.is_empty() || (members.is_empty() && rows > 0) {
            return Err(WRONG);
        }
        let twins: Vec<(u32, u32)> = twins
            .chunks_exact(2)
            .filter_map(|pair| <[u32; 2]>::try_from(pair).ok())
            .map(|[first, twin]| (first, twin))
            .collect();
        if !twins.is_sorted() || !orphans.is_sorted_by(|a, b| a < b) {
            return Err(WRONG);
        }
        Ok(Graph {
            links,
            uppers,
            members,
            orphans,
            twins,
        })
    }
}

fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn put_graph(body: &mut Vec<u8>, graph: &Graph) {
    put_links(body, &graph.links);
    for upper in &graph.uppers {
        put(body, &[upper.links.nodes() as u32]);
    }
    for upper in &graph.uppers {
        put(body, &[upper.links.parts().1.len() as u32]);
        put_links(body, &upper.links);
    }
    put(body, &graph.members);
    put(body, &graph.orphans);
    for (first, twin) in &graph.twins {
        put(body, &[*first, *twin]);
    }
}

fn put_links(bytes: &mut Vec<u8>, links: &Links) {
    let (starts, targets) = links.parts();
    put(bytes, starts);
    put(bytes, targets);
}

/// What is left to read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (these, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(these)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(super) fn numbers(&mut self, count: usize) -> Option<Vec<u32>> {
        let bytes = self.bytes(count.checked_mul(4)?)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Some(
            numbers
                .iter()
                .map(|number| u32::from_le_bytes(*number))
                .collect(),
        )
    }

    fn links(&mut self, nodes: usize, targets: usize, below: usize) -> Option<Links> {
        let starts = self.numbers(nodes + 1)?;
        let targets = self.numbers(targets)?;
        Links::from_parts(starts, targets, below)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::vector::Folder;

    fn key() -> SegmentKey {
        SegmentKey::from_bytes(Zeroizing::new([7; 32])).unwrap()
    }

    fn graph() -> Graph {
        Graph {
            links: Links::new([vec![1], vec![0], vec![]].into_iter()),
            uppers: vec![Upper {
                links: Links::new([vec![1], vec![0]].into_iter()),
            }],
            members: vec![1, 0],
            orphans: vec![1],
            twins: vec![(0, 2)],
        }
    }

    /// Three rows, of which the last is the first's twin.
    fn written(disk: &Folder, graph: Option<&Graph>) -> [u8; HEADER_BYTES] {
        let rows = [[0.6, 0.8], [1.0, 0.0], [0.6, 0.8]];
        let codes = Codes::of(2, &[3, 9, 70_000], rows.as_flattened());
        let parts = Parts {
            codes: &codes,
            graph,
            each_row: &|visit| rows.iter().try_for_each(|row| visit(row)),
        };
        write(disk, "a", &parts, &key()).unwrap()
    }

    /// Whoever changes one byte of the format changes its version, and refuses or still reads this one.
    #[test]
    fn the_bytes_of_version_2_are_these() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::at(folder.path()).unwrap();
        let sha256 = |graph: Option<&Graph>| {
            written(&disk, graph);
            let bytes = std::fs::read(folder.path().join("a")).unwrap();
            let digest = digest(&SHA256, &bytes);
            let digits: String = digest.as_ref().iter().map(|x| format!("{x:02x}")).collect();
            (bytes.len(), digits)
        };
        let (short, long) = (sha256(None), sha256(Some(&graph())));
        let digest = "38882c160bdd78c19581cdab6e090b20683111c82b93d54602a4f0f3645a11b5";
        assert_eq!((short.0, short.1.as_str()), (148, digest));
        // Eighteen numbers more.
        assert_eq!(long.0, 148 + 18 * 4);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::at(folder.path()).unwrap();
        for memory in [Memory::Small, Memory::Fast] {
            for graph in [None, Some(graph())] {
                written(&disk, graph.as_ref());
                let segment = read(&disk, "a", Arc::new(key()), memory).unwrap();
                assert_eq!(segment.graph, graph);
                assert_eq!(segment.rows.codes.ids(), [3, 9, 70_000]);
                let mut space = Opened::default();
                assert_eq!(segment.rows.exact.row(1, &mut space).unwrap(), [1.0, 0.0]);
                assert_eq!(segment.rows.exact.row(2, &mut space).unwrap(), [0.6, 0.8]);
            }
        }
    }

    proptest! {
        /// Sealed by the right key and nonsense all the same: what a program with a fault wrote.
        #[test]
        fn any_body_is_a_graph_or_an_error(
            body in prop::collection::vec(prop_oneof![4 => 0u32..6, 1 => any::<u32>()], 0..60),
            counts in prop::array::uniform8(0u32..6),
        ) {
            let [rows, links, uppers, upper_links, upper_nodes, members, orphans, twins] = counts;
            let (has_graph, dimension) = (true, 2);
            let header = Header {
                has_graph, dimension, rows, links, uppers, upper_links, upper_nodes, members, orphans, twins,
            };
            let mut bytes = Vec::new();
            put(&mut bytes, &body);
            if let Ok((ids, Some(graph))) = header.parse_body(&bytes) {
                let targets = graph.links.parts().1.iter().chain(&graph.members).chain(&graph.orphans);
                prop_assert!(targets.into_iter().all(|node| *node < ids.len() as u32));
            }
        }
    }
}
