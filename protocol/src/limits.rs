//! Every limit of the protocol, with its name and its reason.

/// One message; the largest is a run's detail with its events.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Fields of one message; the longest list is [`MEMBERS_MAX`]. An empty entry of a list is
/// two bytes in a frame and some two hundred in memory, so that without this limit one
/// frame would take half a gigabyte.
pub const FRAME_FIELDS_MAX: usize = 2 * MEMBERS_MAX;

/// One tensor chunk. Small enough that an interrupted upload loses little,
/// large enough that its 36 bytes of header vanish.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Parameters of one model: 4 GiB of `f32`.
pub const PARAMETERS_MAX: u64 = 1 << 30;

/// Layers of one model.
pub const LAYERS_MAX: usize = 32;

/// A run file, as text.
pub const RUN_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Rounds of one run.
pub const ROUNDS_MAX: u32 = 100_000;

/// Sites that one run may name.
pub const PARTICIPANTS_MAX: usize = 1024;

/// Columns that one run may use.
pub const FEATURES_MAX: usize = 4096;

/// Levels of one one-hot feature.
pub const LEVELS_MAX: usize = 256;

/// Local steps in one round.
pub const LOCAL_STEPS_MAX: u32 = 10_000_000;

/// Records in one batch.
pub const BATCH_SIZE_MAX: u32 = 65_536;

/// A name: site, project, data set, researcher, run.
pub const NAME_BYTES_MAX: usize = 63;

/// Data sets that one node may offer.
pub const DATASETS_MAX: usize = 256;

/// Any sentence meant for a person: a reason, a remedy, a cause.
pub const SENTENCE_BYTES_MAX: usize = 2048;

/// Policy rules that one refusal may name.
pub const RULES_MAX: usize = 64;

/// A checkpoint with its cosignatures.
pub const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;

/// Hashes of one proof in a Merkle tree: no tree of 2^64 entries needs more.
pub const PROOF_HASHES_MAX: usize = 65;

/// A DER certificate, certificate request or signature.
pub const DER_BYTES_MAX: usize = 16 * 1024;

/// Certificates in a chain.
pub const CHAIN_MAX: usize = 4;

/// A one-time or idempotency token, as text.
pub const TOKEN_BYTES_MAX: usize = 512;

/// Runs in one listing (the newest are kept).
pub const RUNS_LISTED_MAX: usize = 1000;

/// Members in one listing.
pub const MEMBERS_MAX: usize = 4096;

/// Events of one run sent in a detail; the rest come by following the run.
pub const EVENTS_LISTED_MAX: usize = 2000;

/// One event, as JSON: a closed round of as many sites as there may be, with what each gave.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Events of one run sent in a detail, together: they fit in a frame with the run file.
pub const EVENTS_LISTED_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// A model card, as JSON: with a line for each of as many sites as there may be, and some rounds.
pub const MODEL_CARD_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Records that one site may weigh an update with.
pub const RECORDS_MAX: u64 = 1 << 40;
