//! The format on disk, version 1. All integers are little-endian.
//!
//! A segment is a header and then frames, one an entry, each a multiple of 8 bytes long:
//!
//! ```text
//! header  magic "consjrnl" 8 | version u32 | first seq u64 | hash before it 32 | crc32 of all that u32
//! frame   len u32 | crc32 u32 | seq u64 | batch u64 | at_ms u64 | hash before it 32
//!         | kind length u8 | kind | payload | 1 to 8 bytes of padding, each 0xA5
//! ```
//!
//! `len` counts from `seq` to the end of the payload; the crc covers `len` and those bytes; an entry's hash is
//! `SHA-256("consilium journal entry v1\0" ‖ len ‖ those bytes)`. `batch` is the sequence number of the first
//! entry written by the same fsync: an entry of batch `b` proves that every entry before `b` was durable.
//! The padding keeps sectors and frames aligned and each frame's end from being zero, which is what lets `torn` tell
//! a write that never reached the disk from one that was changed there. A payload is JSON: it has no zero bytes.

use crate::{Digest, ENTRY_BYTES_CEILING, Head, KIND_BYTES_MAX};

pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 56;
/// `len` and crc.
pub(crate) const PREFIX_BYTES: usize = 8;
pub(crate) const ALIGNMENT: usize = 8;

const MAGIC: [u8; 8] = *b"consjrnl";
const DOMAIN: &[u8] = b"consilium journal entry v1\0";
/// `seq`, `batch`, `at_ms`, the hash before, the kind's length.
const FIXED_BYTES: usize = 8 + 8 + 8 + 32 + 1;
const BODY_BYTES_MIN: usize = FIXED_BYTES + 1;
const BODY_BYTES_MAX: usize = FIXED_BYTES + KIND_BYTES_MAX + ENTRY_BYTES_CEILING;
const PADDING: u8 = 0xA5;

/// One entry as it lies in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub seq: u64,
    pub batch: u64,
    pub at_ms: u64,
    pub hash_before: Digest,
    pub kind: &'a str,
    pub payload: &'a [u8],
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Foreign,
    Version(u32),
    Edited,
}

/// The header of the segment that begins after `before`.
pub(crate) fn encode_header(before: Head) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend(before.seq.to_le_bytes());
    header.extend(before.hash.0);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

pub(crate) fn decode_header(bytes: &[u8]) -> Result<Head, HeaderFault> {
    let mut rest = bytes;
    let magic = take::<8>(&mut rest).ok_or(HeaderFault::Foreign)?;
    let version = take(&mut rest)
        .map(u32::from_le_bytes)
        .ok_or(HeaderFault::Foreign)?;
    if magic != MAGIC {
        return Err(HeaderFault::Foreign);
    }
    if version != VERSION {
        return Err(HeaderFault::Version(version));
    }
    let fields = || -> Option<Head> {
        let seq = take(&mut rest).map(u64::from_le_bytes)?;
        let hash = Digest(take(&mut rest)?);
        Some(Head { seq, hash })
    };
    let before = { fields }().ok_or(HeaderFault::Edited)?;
    if encode_header(before) == bytes {
        Ok(before)
    } else {
        Err(HeaderFault::Edited)
    }
}

impl Frame<'_> {
    /// Appends the frame to `out` and returns the entry's hash; `None`, and nothing written, if the kind or the
    /// payload is not one a reader would accept.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Option<Digest> {
        let kind_len = u8::try_from(self.kind.len()).ok()?;
        if !kind_is_valid(self.kind.as_bytes()) || self.payload.len() > ENTRY_BYTES_CEILING {
            return None;
        }
        let mut fixed = Vec::with_capacity(FIXED_BYTES + self.kind.len());
        fixed.extend(self.seq.to_le_bytes());
        fixed.extend(self.batch.to_le_bytes());
        fixed.extend(self.at_ms.to_le_bytes());
        fixed.extend(self.hash_before.0);
        fixed.push(kind_len);
        fixed.extend(self.kind.as_bytes());

        let body_bytes = fixed.len() + self.payload.len();
        let len = u32::try_from(body_bytes).ok()?.to_le_bytes();
        out.reserve(frame_bytes(body_bytes));
        out.extend(len);
        out.extend(crc(&[&len, &fixed, self.payload]).to_le_bytes());
        out.extend(&fixed);
        out.extend(self.payload);
        out.extend(std::iter::repeat_n(PADDING, padding_bytes(body_bytes)));
        Some(Digest::of_parts(&[DOMAIN, &len, &fixed, self.payload]))
    }
}

/// How long the frame is that begins with `prefix`, if its length is one a frame can have.
pub(crate) fn frame_bytes_claimed(prefix: &[u8]) -> Option<usize> {
    let mut rest = prefix;
    let len = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    (BODY_BYTES_MIN..=BODY_BYTES_MAX)
        .contains(&len)
        .then(|| frame_bytes(len))
}

/// Reads the frame that `bytes` is, exactly; `None` if any of it is not as [`Frame::encode`] writes it.
pub(crate) fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut rest = bytes;
    let len: [u8; 4] = take(&mut rest)?;
    let body_bytes = usize::try_from(u32::from_le_bytes(len)).ok()?;
    let crc_stored = u32::from_le_bytes(take(&mut rest)?);
    let (body, padding) = rest.split_at_checked(body_bytes)?;
    if padding.len() != padding_bytes(body_bytes) || padding.iter().any(|&byte| byte != PADDING) {
        return None;
    }
    if crc(&[&len, body]) != crc_stored {
        return None;
    }
    let mut rest = body;
    let seq = u64::from_le_bytes(take(&mut rest)?);
    let batch = u64::from_le_bytes(take(&mut rest)?);
    let at_ms = u64::from_le_bytes(take(&mut rest)?);
    let hash_before = Digest(take(&mut rest)?);
    let [kind_bytes] = take(&mut rest)?;
    let (kind, payload) = rest.split_at_checked(usize::from(kind_bytes))?;
    if !kind_is_valid(kind) || payload.len() > ENTRY_BYTES_CEILING {
        return None;
    }
    let kind = std::str::from_utf8(kind).ok()?;
    Some(Frame {
        seq,
        batch,
        at_ms,
        hash_before,
        kind,
        payload,
    })
}

/// The hash of the entry whose frame is `bytes`; only for bytes that [`decode`] accepted.
pub(crate) fn hash(bytes: &[u8]) -> Option<Digest> {
    let mut rest = bytes;
    let len: [u8; 4] = take(&mut rest)?;
    let _crc: [u8; 4] = take(&mut rest)?;
    let body = rest.get(..usize::try_from(u32::from_le_bytes(len)).ok()?)?;
    Some(Digest::of_parts(&[DOMAIN, &len, body]))
}

/// Whether `bytes` would be a whole frame if only its length field said so.
pub(crate) fn only_the_length_is_wrong(bytes: &[u8]) -> bool {
    let Some(stored) = bytes.get(PREFIX_BYTES..) else {
        return false;
    };
    (1..=ALIGNMENT)
        .filter_map(|padding| stored.len().checked_sub(padding))
        .any(|body_bytes| {
            let Ok(len) = u32::try_from(body_bytes) else {
                return false;
            };
            let mut mended = bytes.to_vec();
            mended.splice(..4, len.to_le_bytes());
            decode(&mended).is_some()
        })
}

/// 1 to [`KIND_BYTES_MAX`] printable ASCII characters without blanks.
pub(crate) fn kind_is_valid(kind: &[u8]) -> bool {
    (1..=KIND_BYTES_MAX).contains(&kind.len()) && kind.iter().all(u8::is_ascii_graphic)
}

fn frame_bytes(body_bytes: usize) -> usize {
    PREFIX_BYTES + body_bytes + padding_bytes(body_bytes)
}

fn padding_bytes(body_bytes: usize) -> usize {
    ALIGNMENT - (PREFIX_BYTES + body_bytes) % ALIGNMENT
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
