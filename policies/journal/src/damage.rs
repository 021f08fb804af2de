//! What can be wrong with a journal on disk.

use std::fmt;

/// The first place where a journal is not what was written, and in which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment file.
    pub segment: String,
    /// The byte offset in that file.
    pub offset: u64,
    /// The sequence number of the entry that should lie there.
    pub seq: u64,
    /// What was found instead.
    pub fault: Fault,
}

/// In which way a journal is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Bytes were changed: a checksum, a length or the padding does not fit.
    Edited,
    /// The entry is whole, but does not name the hash of the one before it: either was edited together with its
    /// checksum, or comes from another journal.
    Unchained,
    /// An entry or segment lies where another should.
    Reordered {
        /// The sequence number found.
        found: u64,
    },
    /// Entries are gone.
    Missing {
        /// The sequence number that comes next in what is left.
        found: u64,
    },
    /// A segment cut short, with others after it.
    Cut,
    /// No segment of this journal: another file format, name or history.
    Foreign,
    /// A format version this build does not read.
    Version(u32),
}

impl Fault {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Edited | Self::Unchained => "journal-edited",
            Self::Reordered { .. } => "journal-reordered",
            Self::Missing { .. } => "journal-entries-missing",
            Self::Cut => "journal-cut",
            Self::Foreign => "journal-foreign",
            Self::Version(_) => "journal-version",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            offset,
            seq,
            fault,
        } = self;
        write!(f, "segment `{segment}`, byte {offset}: ")?;
        match fault {
            Fault::Edited => write!(f, "entry {seq} was edited, its checksum does not fit"),
            Fault::Unchained => {
                write!(
                    f,
                    "entry {seq} does not chain to the one before it: one of them was edited or is foreign"
                )
            }
            Fault::Reordered { found } => {
                write!(f, "entry {found} was put in the place of entry {seq}")
            }
            Fault::Missing { found } => {
                write!(
                    f,
                    "{} missing from entry {seq} on, the next is entry {found}",
                    counted(found - seq)
                )
            }
            Fault::Cut => write!(
                f,
                "the segment is cut short at entry {seq}, and others follow it"
            ),
            Fault::Foreign => write!(
                f,
                "no segment of this journal (entry {seq} should begin or go on here)"
            ),
            Fault::Version(version) => {
                write!(f, "format version {version} is not one this build reads")
            }
        }?;
        write!(
            f,
            "; keep the folder as it is and compare it with a backup or a witnessed head"
        )
    }
}

fn counted(entries: u64) -> String {
    if entries == 1 {
        "1 entry is".to_owned()
    } else {
        format!("{entries} entries are")
    }
}
