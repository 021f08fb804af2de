//! A copy of what the books take of the journal, so that a start does not read again what the start before had read.
//!
//! It holds the journal's own entries that are of the books, without the rest of them, and where the journal stood:
//! they go the way that the entries go. It is used only if the journal stood there, hash and all, and if it was written
//! by a node with this vault: its first 32 bytes are a BLAKE3 of the others, keyed by the vault's secret. Otherwise,
//! and where it is lost, torn or old, the journal is read. The vault itself is read whole at every start.

use std::io::Read;
use std::path::{Path, PathBuf};

use consilium_journal::{Head, Journal, JournalError};
use consilium_link::write_whole;
use serde::{Deserialize, Serialize};

use super::books::{Line, Reading};

/// The file within the node's state.
const FILE: &str = "gate-books";
/// Changes whenever older copies cannot be read any more.
const FORMAT: u32 = 1;
/// Entries that are read sooner than a copy is written.
const ENTRIES_MIN: u64 = 1_000;
/// A copy of two million reservations; a longer one is not made.
const BYTES_MAX: u64 = 1 << 30;
const SEAL_BYTES: usize = 32;

/// The copy in a state folder.
pub(super) struct Copy {
    path: PathBuf,
    key: [u8; 32],
    /// Where the copy on disk stands.
    stands_at: Head,
}

#[derive(Serialize, Deserialize)]
struct Body<Lines> {
    format: u32,
    head: Head,
    lines: Lines,
}

impl Copy {
    /// Has `reading` take in the copy in this folder, if there is one and it is one of this journal's past.
    ///
    /// # Errors
    /// The journal cannot be read. A copy that cannot be used is no error.
    pub(super) fn take_in(
        state_folder: &Path,
        key: [u8; 32],
        journal: &Journal,
        reading: &mut Reading,
    ) -> Result<Self, JournalError> {
        let mut copy = Self {
            path: state_folder.join(FILE),
            key,
            stands_at: Head::EMPTY,
        };
        if let Some(Body { head, lines, .. }) = copy.read()
            && journal.entries_after(head)?.is_some()
        {
            copy.stands_at = head;
            reading.copied(head, lines);
        }
        Ok(copy)
    }

    /// Writes a newer copy, where it saves the next start anything. One that cannot be written is none.
    pub(super) fn renew(&self, reading: &Reading) {
        let head = reading.head();
        if head.seq < self.stands_at.seq + ENTRIES_MIN {
            return;
        }
        let body = Body {
            format: FORMAT,
            head,
            lines: reading.lines(),
        };
        let Ok(body) = serde_json::to_vec(&body) else {
            return;
        };
        if body.len() as u64 > BYTES_MAX {
            return;
        }
        let bytes = [self.seal(&body).as_slice(), &body].concat();
        let draft = self.path.with_extension("draft");
        if let Err(error) = write_whole(&self.path, &draft, &bytes) {
            tracing::info!(%error, "the next start reads the whole journal");
        }
    }

    fn read(&self) -> Option<Body<Vec<Line>>> {
        let file = std::fs::File::open(&self.path).ok()?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + SEAL_BYTES as u64)
            .read_to_end(&mut bytes)
            .ok()?;
        let (seal, body) = bytes.split_first_chunk::<SEAL_BYTES>()?;
        // blake3 compares in constant time.
        if blake3::Hash::from_bytes(*seal) != blake3::Hash::from_bytes(self.seal(body)) {
            return None;
        }
        let body: Body<Vec<Line>> = serde_json::from_slice(body).ok()?;
        (body.format == FORMAT).then_some(body)
    }

    fn seal(&self, body: &[u8]) -> [u8; SEAL_BYTES] {
        *blake3::keyed_hash(&self.key, body).as_bytes()
    }
}
