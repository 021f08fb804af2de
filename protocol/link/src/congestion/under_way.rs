//! What is under way: which packets an acknowledgement speaks of, and when they were sent.

use std::collections::VecDeque;

use super::Micros;

/// Batches remembered. Each is what quinn hands to the kernel at once; beyond so many the oldest are forgotten, and
/// what is acknowledged of them measures nothing.
const BATCHES_MAX: usize = 8192;

/// Packets of the handshake have numbers of their own, the same as the first of those that follow. An acknowledgement
/// of a number below this may be of either.
const NUMBERS_SHARED: u64 = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay {
    /// Oldest first.
    batches: VecDeque<Batch>,
    /// Bytes sent, and not arrived or lost as far as was told.
    bytes: u64,
    /// The last batch that has been acknowledged whole.
    before: Option<Batch>,
    /// The newest packet that was acknowledged.
    newest: Option<Batch>,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    last_number: u64,
    sent: Micros,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) bytes: u64,
    /// When the newest of all that have arrived was sent.
    pub(super) sent: Micros,
    /// Whether that one has just arrived: then it measures a round trip.
    pub(super) is_new: bool,
}

impl UnderWay {
    pub(super) fn sent(&mut self, now: Micros, bytes: u64, last_number: u64) {
        self.bytes += bytes;
        self.batches.push_back(Batch {
            last_number,
            sent: now,
        });
        if self.batches.len() > BATCHES_MAX {
            self.batches.pop_front();
        }
    }

    pub(super) fn lost(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// `still` bytes are under way after an acknowledgement; `largest` is the largest number acknowledged so far.
    pub(super) fn acknowledged(&mut self, still: u64, largest: Option<u64>) -> Arrived {
        // Mere acknowledgements were counted as sent, and are never under way: they count as arrived.
        let bytes = self.bytes.saturating_sub(still);
        self.bytes = still;
        let is_new = largest.is_some_and(|largest| self.finds(largest));
        Arrived {
            bytes,
            sent: self.newest.map_or(0, |newest| newest.sent),
            is_new,
        }
    }

    /// Whether this is newer than all before, and it is known when it was sent. Of a number within a batch that is not
    /// known for sure: a probe of the path's packet size has a number too, and quinn does not tell of it. Then it is as
    /// if it went with the batch before: a round trip that is too long does little harm, and one too short much.
    fn finds(&mut self, largest: u64) -> bool {
        let known = self
            .newest
            .is_some_and(|newest| largest <= newest.last_number);
        if known || largest < NUMBERS_SHARED {
            return false;
        }
        while let Some(batch) = self
            .batches
            .pop_front_if(|batch| batch.last_number < largest)
        {
            self.before = Some(batch);
        }
        let exact = self
            .batches
            .front()
            .filter(|batch| batch.last_number == largest);
        let Some(batch) = exact.or(self.before.as_ref()) else {
            return false;
        };
        self.newest = Some(Batch {
            last_number: largest,
            sent: batch.sent,
        });
        true
    }
}
