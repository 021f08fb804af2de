//! What a collection takes at most. Each number bounds memory, time, or both.

/// A mapping, as text.
pub const MAPPING_BYTES_MAX: usize = 64 * 1024;

/// Fields that one list of a mapping may name.
pub const FIELDS_MAX: usize = 64;

/// Filter columns of a collection. Each is a table in memory.
pub const COLUMNS_MAX: usize = 64;

/// The name of a field or a column, as a query bounds it.
pub const NAME_BYTES_MAX: usize = 256;

/// A title may count this many times a passage.
pub const TITLE_WEIGHT_MAX: f64 = 10.0;

/// One record of a source: a line, a CSV record, a note's file.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// A document's text. A long discharge letter has some 50 KiB; what is longer than this is no text that anybody wrote.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// A title, before and after redaction.
pub const TITLE_BYTES_MAX: usize = 4 * 1024;

/// A document's external id, or its patient's identity.
pub const ID_BYTES_MAX: usize = 512;

/// A value of a column of words, as a query bounds its constants.
pub const WORD_BYTES_MAX: usize = 256;

/// Words that one document may have in one column.
pub const WORDS_MAX: usize = 1_024;

/// Names that one record may give for redaction, and the bytes of each.
pub const NAMES_MAX: usize = 64;

/// Documents of a collection: about 1 GB of tables in memory.
pub const DOCUMENTS_MAX: usize = 10_000_000;

/// Notes of a folder that are listed before they are read.
pub const NOTES_MAX: usize = 2_000_000;

/// Bad records that are listed; all are counted.
pub const SKIPPED_LISTED_MAX: usize = 20;

/// Passages that are encoded and published in one step: some seconds of a sentence encoder on a CPU.
pub const STEP_PASSAGES: usize = 1_024;

/// What was erased is gone for good after thirty days at the latest.
pub const ERASE_WITHIN_MS: u64 = 30 * 86_400_000;

/// Bytes of texts of one step, whatever their number.
pub(super) const STEP_BYTES: usize = 16 << 20;

/// Steps after which an ingest joins the runs of vectors that they left.
pub(super) const STEPS_BETWEEN_UPKEEP: usize = 64;

/// Bytes of documents in one sealed file, unless a single one is longer.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// The longest such file that is read: the longest document, twice, for its overlapping passages and their counts.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;

/// Files of one collection.
pub(super) const FILES_MAX: usize = 100_000;

/// Bytes of the file that names the others: the most files, and twelve bytes for each erased document.
pub(super) const MANIFEST_BYTES_MAX: u64 = 80 << 20;

/// Erased documents that may still be in the files.
pub(super) const ERASED_MAX: usize = 2_000_000;

/// Small files; one more, and they are joined.
pub(super) const SMALL_FILES_MAX: usize = 32;

/// Times that a reader begins anew because a writer changed the files under it.
pub(super) const OPENINGS_MAX: usize = 8;
