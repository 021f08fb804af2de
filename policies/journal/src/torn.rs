//! What a crash leaves at the end of the last segment, told apart from what an editor leaves.
//!
//! The unsynced batch of a crashed process is on disk up to some byte, and any of its sectors may never have been
//! written, which then read as zeros. Such an end is no tampering: no caller was told that it is durable, and it may
//! be cut. Everything else may have been acknowledged and is never cut:
//!
//! - a broken entry followed by an entry of a *later* batch: what was broken had been durable;
//! - a broken entry without a sector of zeros in it and with all its bytes there;
//! - an entry that reaches beyond the end only because its length was changed.
//!
//! An editor who zeroes or cuts the last batch is taken for a crash. So is one who cuts the file: only a head kept
//! elsewhere shows either (`verify` with an expected head).

use crate::frame;

/// The unit in which a disk loses writes; file systems may use more, never less.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Never acknowledged: may be cut.
    Torn,
    /// Possibly acknowledged: must be kept and reported.
    Damaged,
}

/// Judges `tail`, the bytes from `offset` to the end of the last segment, which do not begin with a valid frame though
/// entry `seq` should lie there.
pub(crate) fn judge(tail: &[u8], offset: u64, seq: u64) -> Verdict {
    if tail.len() < frame::PREFIX_BYTES {
        return Verdict::Torn;
    }
    let later = batches_after(tail);
    if later.iter().any(|&batch| batch > seq) {
        return Verdict::Damaged;
    }
    let mut sectors = sectors(tail, offset);
    if sectors.next().is_some_and(is_lost) {
        return Verdict::Torn;
    }
    let torn = match frame::frame_bytes_claimed(tail) {
        None => false,
        Some(bytes) if bytes > tail.len() => {
            later.is_empty() && !frame::only_the_length_is_wrong(tail)
        }
        Some(bytes) => sectors
            .take_while(|sector| sector.start < bytes)
            .any(is_lost),
    };
    if torn {
        Verdict::Torn
    } else {
        Verdict::Damaged
    }
}

/// The batches of all valid frames that begin somewhere in `tail`, other than at its start.
fn batches_after(tail: &[u8]) -> Vec<u64> {
    (frame::ALIGNMENT..tail.len())
        .step_by(frame::ALIGNMENT)
        .filter_map(|at| {
            let rest = tail.get(at..)?;
            let bytes = rest.get(..frame::frame_bytes_claimed(rest)?)?;
            frame::decode(bytes).map(|frame| frame.batch)
        })
        .collect()
}

/// The part of one sector of the file that lies in the tail.
struct Sector<'a> {
    /// Where it begins in the tail.
    start: usize,
    bytes: &'a [u8],
}

fn sectors(tail: &[u8], offset: u64) -> impl Iterator<Item = Sector<'_>> {
    let into_sector = usize::try_from(offset % SECTOR_BYTES as u64).unwrap_or(0);
    let mut start = 0;
    let mut end = SECTOR_BYTES - into_sector;
    std::iter::from_fn(move || {
        let bytes = tail
            .get(start..end.min(tail.len()))
            .filter(|bytes| !bytes.is_empty())?;
        let sector = Sector { start, bytes };
        start = end;
        end += SECTOR_BYTES;
        Some(sector)
    })
}

fn is_lost(sector: Sector<'_>) -> bool {
    sector.bytes.iter().all(|&byte| byte == 0)
}
