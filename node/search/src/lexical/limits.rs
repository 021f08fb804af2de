//! What a question may ask for.

/// Of a longer question the rest is not read.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024;
/// Different words of a question that are looked for; of more, those that weigh most.
pub const QUESTION_WORDS_MAX: usize = 64;
/// Longer runs of letters and digits are no words: encoded data, a text without blanks.
pub(super) const WORD_BYTES_MAX: usize = 40;
/// Parts of the index beyond which the smaller half is joined into one.
pub(super) const SEGMENTS_MAX: usize = 12;
/// What the index may hold of passages that are not yet part of it.
pub(super) const WRITER_BYTES: usize = 48 << 20;
/// Threads that read new passages' words.
pub(super) const WRITER_THREADS: usize = 2;
