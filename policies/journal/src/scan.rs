//! The walk along the chain, from the first entry to the last; every check of a journal on disk is made here.
//!
//! Opening, reading and verifying are this walk with different ends. It holds one window of a segment in memory, at
//! most one entry beyond [`READ_BYTES`], and believes no length it has not checked.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use crate::damage::{Damage, Fault};
use crate::frame::{self, Frame, HEADER_BYTES, HeaderFault, PREFIX_BYTES};
use crate::limits::{READ_BYTES, TAIL_BYTES_MAX};
use crate::storage::Storage;
use crate::torn::{self, Verdict};
use crate::{Digest, Head, JournalError};

const EXTENSION: &str = ".journal";

/// The file name of the segment whose first entry is `first_seq`.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}{EXTENSION}")
}

/// A walk in progress.
pub(crate) struct Scan {
    storage: Arc<dyn Storage>,
    segments: Peekable<vec::IntoIter<SegmentFile>>,
    current: Option<Segment>,
    /// After the entries seen so far.
    pub head: Head,
    /// The latest time of the entries seen so far.
    pub latest_ms: u64,
    /// The batch of the last entry seen.
    batch: u64,
    /// What has been learned about the end; complete when [`Scan::advance`] has returned `None`.
    pub end: End,
}

/// How a journal ends.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// The last segment with a valid header.
    pub last: Option<LastSegment>,
    /// A last segment whose creation was interrupted: it holds nothing.
    pub unborn: Option<String>,
    /// Bytes after the last entry that a crash left.
    pub torn_bytes: u64,
    /// Segments with a valid header.
    pub segments: u64,
}

#[derive(Debug)]
pub(crate) struct LastSegment {
    pub name: String,
    /// Where its valid entries end.
    pub end: u64,
    /// Where its last batch begins (the header counts as one).
    pub batch_at: u64,
}

struct SegmentFile {
    name: String,
    first_seq: u64,
}

struct Segment {
    name: String,
    /// Its length when it was opened: a writer may be extending it meanwhile.
    bytes: u64,
    at: u64,
    window: Window,
}

enum Step {
    Entry { at: u64, bytes: usize },
    NextSegment,
    End,
}

impl Scan {
    /// Lists the segments; reads none of them yet.
    pub(crate) fn begin(storage: Arc<dyn Storage>) -> Result<Self, JournalError> {
        let names = storage
            .names()
            .map_err(JournalError::storage("list", "."))?;
        let mut segments = Vec::new();
        for name in names.into_iter().filter(|name| name.ends_with(EXTENSION)) {
            match name.trim_end_matches(EXTENSION).parse() {
                Ok(first_seq) if segment_name(first_seq) == name => {
                    segments.push(SegmentFile { name, first_seq })
                }
                _ => return Err(damaged(&name, 0, 0, Fault::Foreign)),
            }
        }
        segments.sort_by_key(|segment| segment.first_seq);
        Ok(Self {
            storage,
            segments: segments.into_iter().peekable(),
            current: None,
            head: Head::EMPTY,
            latest_ms: 0,
            batch: 0,
            end: End::default(),
        })
    }

    /// As [`Scan::begin`], at the segment that holds entry `seq`; what lies before it is taken on trust. For proofs
    /// about a journal that was read whole before.
    pub(crate) fn begin_before(storage: Arc<dyn Storage>, seq: u64) -> Result<Self, JournalError> {
        let mut scan = Self::begin(storage)?;
        let mut segments: Vec<SegmentFile> = scan.segments.by_ref().collect();
        let holds = segments.partition_point(|segment| segment.first_seq <= seq);
        segments.drain(..holds.saturating_sub(1));
        if let Some(first) = segments.first() {
            let mut header = [0; HEADER_BYTES];
            let read = scan
                .storage
                .read_at(&first.name, 0, &mut header)
                .map_err(JournalError::storage("read", &first.name))?;
            // A header that is none is found out by the first step.
            if let Some(Ok(before)) = header.get(..read).map(frame::decode_header) {
                scan.head = before;
                scan.batch = before.seq;
            }
        }
        scan.segments = segments.into_iter().peekable();
        Ok(scan)
    }

    /// Whether there is no segment file at all. Asked before the first step.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.segments.peek().is_none() && self.current.is_none()
    }

    /// The next entry and its hash; `None` at the end of the journal.
    pub(crate) fn advance(&mut self) -> Result<Option<(Frame<'_>, Digest)>, JournalError> {
        let (at, bytes) = loop {
            match self.step()? {
                Step::Entry { at, bytes } => break (at, bytes),
                Step::NextSegment => {}
                Step::End => return Ok(None),
            }
        };
        let held = self
            .current
            .as_ref()
            .and_then(|segment| segment.window.held(at, bytes));
        Ok(held
            .and_then(frame::decode)
            .map(|frame| (frame, self.head.hash)))
    }

    fn step(&mut self) -> Result<Step, JournalError> {
        let Some(segment) = &mut self.current else {
            return self.begin_segment();
        };
        let remaining = segment.bytes - segment.at;
        if remaining == 0 {
            return Ok(self.end_segment());
        }
        let prefix = segment.read(&*self.storage, PREFIX_BYTES)?;
        let claimed = frame::frame_bytes_claimed(prefix);
        if let Some(bytes) = claimed.filter(|&bytes| bytes as u64 <= remaining) {
            let at = segment.at;
            let held = segment.read(&*self.storage, bytes)?;
            if let (Some(found), Some(hash)) = (frame::decode(held), frame::hash(held)) {
                let (seq, batch, at_ms) = (found.seq, found.batch, found.at_ms);
                let chained = found.hash_before == self.head.hash;
                if seq != self.head.seq {
                    return Err(self.out_of_order(seq));
                }
                let batch_fits = batch == seq || (batch == self.batch && seq > 0);
                if !chained || !batch_fits {
                    let fault = if chained {
                        Fault::Edited
                    } else {
                        Fault::Unchained
                    };
                    return Err(damaged(&segment.name, at, seq, fault));
                }
                segment.at += bytes as u64;
                self.head = Head { seq: seq + 1, hash };
                self.batch = batch;
                self.latest_ms = self.latest_ms.max(at_ms);
                if let Some(last) = &mut self.end.last {
                    last.end = segment.at;
                    if batch == seq {
                        last.batch_at = at;
                    }
                }
                return Ok(Step::Entry { at, bytes });
            }
        }
        self.broken_at_end_or_damaged(claimed.is_none_or(|bytes| bytes as u64 > remaining))
    }

    fn begin_segment(&mut self) -> Result<Step, JournalError> {
        let Some(SegmentFile { name, first_seq }) = self.segments.next() else {
            return Ok(Step::End);
        };
        let seq = self.head.seq;
        let fault = |fault| Err(damaged(&name, 0, seq, fault));
        if first_seq > seq {
            return fault(Fault::Missing { found: first_seq });
        }
        if first_seq < seq {
            return fault(Fault::Reordered { found: first_seq });
        }
        let bytes = self
            .storage
            .len(&name)
            .map_err(JournalError::storage("measure", &name))?;
        let mut segment = Segment {
            name: name.clone(),
            bytes,
            at: 0,
            window: Window::default(),
        };
        let header = segment.read(&*self.storage, HEADER_BYTES)?;
        // The header is made durable before the first entry is written: an unwritten one is the whole file.
        if header.len() < HEADER_BYTES
            || (bytes == HEADER_BYTES as u64 && header.iter().all(|&byte| byte == 0))
        {
            if self.segments.peek().is_some() {
                return fault(Fault::Cut);
            }
            self.end.unborn = Some(name);
            self.end.torn_bytes = bytes;
            return Ok(Step::End);
        }
        match frame::decode_header(header) {
            Err(HeaderFault::Foreign) => return fault(Fault::Foreign),
            Err(HeaderFault::Version(version)) => return fault(Fault::Version(version)),
            Err(HeaderFault::Edited) => return fault(Fault::Edited),
            Ok(before) if before.seq != seq => {
                return fault(Fault::Reordered { found: before.seq });
            }
            Ok(before) if before.hash != self.head.hash => return fault(Fault::Unchained),
            Ok(_) => {}
        }
        segment.at = HEADER_BYTES as u64;
        self.end.segments += 1;
        self.end.last = Some(LastSegment {
            name,
            end: segment.at,
            batch_at: 0,
        });
        self.current = Some(segment);
        Ok(Step::NextSegment)
    }

    fn end_segment(&mut self) -> Step {
        if self.segments.peek().is_none() {
            return Step::End;
        }
        self.current = None;
        Step::NextSegment
    }

    /// What follows is no valid entry: the end of the journal if a crash explains it, damage otherwise.
    fn broken_at_end_or_damaged(&mut self, reaches_beyond: bool) -> Result<Step, JournalError> {
        let is_last = self.segments.peek().is_none();
        let Some(segment) = &mut self.current else {
            return Ok(Step::End);
        };
        let (at, remaining, seq) = (segment.at, segment.bytes - segment.at, self.head.seq);
        let verdict = match usize::try_from(remaining) {
            Ok(tail_bytes) if is_last && remaining <= TAIL_BYTES_MAX => {
                torn::judge(segment.read(&*self.storage, tail_bytes)?, at, seq)
            }
            _ => Verdict::Damaged,
        };
        if verdict == Verdict::Damaged {
            let fault = if reaches_beyond && !is_last {
                Fault::Cut
            } else {
                Fault::Edited
            };
            return Err(damaged(&segment.name, at, seq, fault));
        }
        segment.bytes = at;
        self.end.torn_bytes = remaining;
        Ok(Step::End)
    }

    /// A whole entry with another sequence number: moved here, or what stood before it is gone.
    fn out_of_order(&mut self, found: u64) -> JournalError {
        let seq = self.head.seq;
        let Some(segment) = &mut self.current else {
            return damaged("", 0, seq, Fault::Foreign);
        };
        let at = segment.at;
        let moved = found < seq || segment.holds_later(&*self.storage, seq);
        let fault = if moved {
            Fault::Reordered { found }
        } else {
            Fault::Missing { found }
        };
        damaged(&segment.name, at, seq, fault)
    }
}

impl Segment {
    /// `bytes` bytes from the current place, fewer at the end of the segment.
    fn read(&mut self, storage: &dyn Storage, bytes: usize) -> Result<&[u8], JournalError> {
        let remaining = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        self.window
            .fill(
                storage,
                &self.name,
                self.at,
                bytes.min(remaining),
                remaining,
            )
            .map_err(JournalError::storage("read", &self.name))
    }

    /// Whether entry `seq` lies somewhere after the current place. Leaves the place there: for reports only.
    fn holds_later(&mut self, storage: &dyn Storage, seq: u64) -> bool {
        while self.at < self.bytes {
            let Some(bytes) = self
                .read(storage, PREFIX_BYTES)
                .ok()
                .and_then(frame::frame_bytes_claimed)
            else {
                return false;
            };
            let Ok(held) = self.read(storage, bytes) else {
                return false;
            };
            match frame::decode(held) {
                None => return false,
                Some(frame) if frame.seq == seq => return true,
                Some(_) => self.at += bytes as u64,
            }
        }
        false
    }
}

/// A stretch of a segment in memory.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The bytes at `at`, if the window holds them all.
    fn held(&self, at: u64, bytes: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(bytes)?)
    }

    /// The bytes at `at`, read if need be together with what follows, of which there are `remaining`; fewer if the
    /// file has become shorter.
    fn fill(
        &mut self,
        storage: &dyn Storage,
        name: &str,
        at: u64,
        bytes: usize,
        remaining: usize,
    ) -> std::io::Result<&[u8]> {
        if self.held(at, bytes).is_none() {
            self.bytes.clear();
            self.bytes.resize(bytes.max(READ_BYTES).min(remaining), 0);
            self.start = at;
            let mut filled = 0;
            while let Some(rest) = self.bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match storage.read_at(name, at + filled as u64, rest)? {
                    0 => break,
                    more => filled += more,
                }
            }
            self.bytes.truncate(filled);
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let held = self.bytes.get(from..).unwrap_or_default();
        Ok(held.get(..bytes).unwrap_or(held))
    }
}

fn damaged(segment: &str, offset: u64, seq: u64, fault: Fault) -> JournalError {
    JournalError::Damaged(Damage {
        segment: segment.to_owned(),
        offset,
        seq,
        fault,
    })
}
