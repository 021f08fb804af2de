//! How large anything from outside may be.

/// Bytes of one text that the built-in encoder reads, whatever they are; what follows is ignored. 400 pieces of text
/// have some 2 KiB, and markup or blanks many times that.
pub const BUILTIN_TEXT_BYTES_MAX: usize = 64 << 10;

/// Pieces of one text that the built-in encoder reads, about 300 words: what it was fitted to, and what a passage has.
/// What follows is ignored.
pub const BUILTIN_PIECES_MAX: usize = 400;

/// Bytes of text that a sentence encoder reads for each token of its limit; what follows is ignored. The longest
/// words of English have some 30 letters, so only blanks or gibberish can lose a token to this.
pub const BYTES_PER_TOKEN_MAX: usize = 64;

/// Letters in a word; a longer run is no word but data.
pub const WORD_CHARS_MAX: usize = 64;

/// `config.json`, `modules.json` and their kin have a few hundred bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The largest tokenizers in use have 17 MB (250,000 pieces).
pub const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// BERT large has 1.3 GB in 32 bits.
pub const WEIGHTS_BYTES_MAX: u64 = 2 << 30;

/// BERT large has 1,024.
pub const HIDDEN_SIZE_MAX: usize = 4096;
/// BERT large has 24.
pub const LAYERS_MAX: usize = 48;
/// BERT large has 16.
pub const HEADS_MAX: usize = 64;
/// BERT large has 4,096.
pub const INTERMEDIATE_SIZE_MAX: usize = 16_384;
/// Multilingual models have 250,000 pieces.
pub const VOCABULARY_MAX: usize = 1_000_000;
/// Long-text BERTs have 8,192.
pub const POSITIONS_MAX: usize = 8192;
/// BERT has 2.
pub const TOKEN_TYPES_MAX: usize = 16;

/// Tokens, padding included, that a CPU works on at once: the wide layer of MiniLM then has 3 MB, about what a core
/// has as cache.
pub const CPU_BATCH_TOKENS_MAX: usize = 512;
/// On a GPU larger products pay, and memory allows them.
pub const GPU_BATCH_TOKENS_MAX: usize = 16_384;
/// Of a batch at most one part in this many may be padding.
pub const PADDING_PART_MIN: usize = 8;
/// Threads that encode at once on a CPU.
pub const THREADS_MAX: usize = 16;
