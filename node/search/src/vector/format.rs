//! A segment's file.
//!
//! ```text
//! header   48 bytes, in clear, and part of what every block's tag covers
//!   0  8   "CNSLMSEG"
//!   8  2   version, 1
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
//! blocks   64 KiB of the body each, the last one shorter, each followed by its tag of 16 bytes
//! body     row ids, vectors (f32), then with a graph: starts and targets of the lowest layer, nodes of each
//!          upper layer, starts and targets of each, members, orphans, twins; 4 bytes each; all little-endian
//! ```
//!
//! The counts say how long the file is, so nothing is allocated before the length agrees with them.

use super::error::VectorError;
use super::graph::{Graph, Links, Upper};
use super::limits::{DIMENSION_MAX, ROW_ID_END, SEGMENT_ROWS_MAX};
use super::rows::Rows;
use super::sealing::{SegmentKey, TAG_BYTES};
use super::segment::Segment;

const MAGIC: &[u8; 8] = b"CNSLMSEG";
pub(super) const VERSION: u16 = 1;
const HEADER_BYTES: usize = 48;
const BLOCK_BYTES: usize = 64 << 10;
const UPPER_LAYERS_MAX: u32 = 16;

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

/// The file of a segment, sealed with a key that has sealed nothing else.
pub(super) fn encode(segment: &Segment, key: &SegmentKey) -> Result<Vec<u8>, VectorError> {
    let header = Header::of(segment);
    let length = header
        .file_bytes()
        .ok_or(VectorError::Build("too many rows"))?;
    let mut body = Vec::with_capacity(length as usize);
    put(&mut body, segment.rows.ids());
    body.extend(
        segment
            .rows
            .all_exact()
            .iter()
            .flat_map(|x| x.to_le_bytes()),
    );
    if let Some(graph) = &segment.graph {
        put_links(&mut body, &graph.links);
        for upper in &graph.uppers {
            put(&mut body, &[upper.links.nodes() as u32]);
        }
        for upper in &graph.uppers {
            put(&mut body, &[upper.links.parts().1.len() as u32]);
            put_links(&mut body, &upper.links);
        }
        put(&mut body, &graph.members);
        put(&mut body, &graph.orphans);
        for (first, twin) in &graph.twins {
            put(&mut body, &[*first, *twin]);
        }
    }
    let head = header.bytes();
    let mut file = Vec::with_capacity(length as usize);
    file.extend_from_slice(&head);
    for (number, block) in (0u32..).zip(body.chunks_mut(BLOCK_BYTES)) {
        let tag = key.seal_block(number, &head, block)?;
        file.extend_from_slice(block);
        file.extend_from_slice(&tag);
    }
    Ok(file)
}

/// Reads the file called `name`. Any bytes at all give a segment or an error.
pub(super) fn decode(
    name: &str,
    mut file: Vec<u8>,
    key: &SegmentKey,
) -> Result<Segment, VectorError> {
    let damaged = |what| VectorError::Damaged {
        file: name.to_owned(),
        what,
    };
    let not_ours = || VectorError::NotOurs {
        file: name.to_owned(),
    };
    let length = file.len() as u64;
    let (head, blocks) = file
        .split_at_mut_checked(HEADER_BYTES)
        .ok_or_else(not_ours)?;
    let mut fields = Reader(head);
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
    let header = Header::read(&mut fields).ok_or_else(|| damaged("its header is out of range"))?;
    if header.file_bytes() != Some(length) {
        return Err(damaged("its length is not what its header says"));
    }
    let mut body = Vec::with_capacity(blocks.len());
    for (number, block) in (0u32..).zip(blocks.chunks_mut(BLOCK_BYTES + TAG_BYTES)) {
        let text = key.open_block(number, head, block);
        let text = text.ok_or_else(|| VectorError::Unsealable {
            file: name.to_owned(),
        })?;
        body.extend_from_slice(text);
    }
    header.segment(&body).map_err(damaged)
}

impl Header {
    fn of(segment: &Segment) -> Self {
        let mut header = Self {
            has_graph: segment.graph.is_some(),
            dimension: segment.rows.dimension() as u32,
            rows: segment.rows.len() as u32,
            links: 0,
            uppers: 0,
            upper_links: 0,
            upper_nodes: 0,
            members: 0,
            orphans: 0,
            twins: 0,
        };
        if let Some(graph) = &segment.graph {
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

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(u16::from(self.has_graph).to_le_bytes());
        put(
            &mut bytes,
            &[
                self.dimension,
                self.rows,
                self.links,
                self.uppers,
                self.upper_links,
                self.upper_nodes,
                self.members,
                self.orphans,
                self.twins,
            ],
        );
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
        let mut numbers = rows.checked_mul(u64::from(self.dimension) + 1)?;
        if self.has_graph {
            numbers += rows + 1 + u64::from(self.links);
            numbers += uppers * 3 + u64::from(self.upper_nodes) + u64::from(self.upper_links);
            numbers +=
                u64::from(self.members) + u64::from(self.orphans) + 2 * u64::from(self.twins);
        }
        numbers.checked_mul(4)
    }

    fn file_bytes(&self) -> Option<u64> {
        let body = self.body_bytes()?;
        Some(HEADER_BYTES as u64 + body + body.div_ceil(BLOCK_BYTES as u64) * TAG_BYTES as u64)
    }

    fn segment(&self, body: &[u8]) -> Result<Segment, &'static str> {
        const SHORT: &str = "it ends too early";
        let mut rest = Reader(body);
        let rows = self.rows as usize;
        let ids = rest.numbers(rows).ok_or(SHORT)?;
        if !ids.is_sorted_by(|a, b| a < b) || ids.last().is_some_and(|last| *last >= ROW_ID_END) {
            return Err("its rows are out of order");
        }
        let exact = rest.floats(rows * self.dimension as usize).ok_or(SHORT)?;
        if !exact.iter().all(|x| x.abs() <= 1.001) {
            return Err("one of its vectors has not length one");
        }
        let graph = match self.has_graph {
            true => Some(self.graph(&mut rest)?),
            false => None,
        };
        Ok(Segment {
            rows: Rows::new(self.dimension as usize, ids, exact),
            graph,
        })
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
        if !twins.is_sorted() {
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

fn put_links(bytes: &mut Vec<u8>, links: &Links) {
    let (starts, targets) = links.parts();
    put(bytes, starts);
    put(bytes, targets);
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (these, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(these)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
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

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        let bytes = self.bytes(count.checked_mul(4)?)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Some(
            numbers
                .iter()
                .map(|number| f32::from_le_bytes(*number))
                .collect(),
        )
    }

    fn links(&mut self, nodes: usize, targets: usize, below: usize) -> Option<Links> {
        let starts = self.numbers(nodes + 1)?;
        let targets = self.numbers(targets)?;
        Links::from_parts(starts, targets, below)
    }
}
