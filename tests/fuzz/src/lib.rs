//! What must hold of every parser that reads the network or a file someone else wrote.
//!
//! Each room has one function of bytes, `holds`, that ends the process where something does not hold. `.ci/fuzz` gives
//! it to libFuzzer, one program a room (`targets/`); the test `corpora` gives it every file of `corpus/`, so that what
//! was found once stays found. Both count the memory that an input takes ([`Target::check`]).
//!
//! | room | what it reads | what must hold |
//! |---|---|---|
//! | [`message`] | frames, requests, responses | what is accepted says the same when it is sent on |
//! | [`word`] | tokens, names, digests, days | what is accepted is written as it was read, and is safe as a file name |
//! | [`run_file`] | run files | every number within its limit; what is written reads back |
//! | [`weights`] | updates of a round | the sum is exactly that of the accepted updates, in any order |
//! | [`journal`] | segment files | an edit is found, or all that is left is a beginning of what was written |
//! | [`checkpoint`] | checkpoints, keys, cosignatures | what is accepted is written as it was read |
//! | [`entry_proof`] | proofs of one entry | one that holds, holds for this entry alone |
//! | [`record`] | payloads of journal entries | what is written reads back; a replay gives the same members |
//! | [`policy`] | policies and cases | every number within its limit; a decision names rules that are there |
//! | [`rules`] | rules in Cedar, signatures | an error points into the text; no stranger's signature counts |
//! | [`query`] | queries, typed filters | what is accepted is its own canonical text; what is typed, as meant |
//! | [`certificate`] | requests, certificates, signatures | only what the authority or the member signed is believed |
//! | [`table`] | schemas, CSV, NDJSON | rows are counted whole; a table is the same in both formats |
//! | [`state`] | tensors of a run | one file is opened: the one that the journal remembers |
//! | [`collection`] | mappings, and the records of their sources | what is read twice is read alike |
//! | [`settings`] | the coordinator's configuration | every number within its limit |
//!
//! Deliberately absent: `node.toml`, whose types burn comes with (the test `corpora` reads it), the chunk headers that
//! `consilium-link` reads from a live stream (its own tests misbehave there), and AddressSanitizer: this code has no
//! `unsafe`, and stable Rust has no sanitizer.

pub mod certificate;
pub mod checkpoint;
pub mod collection;
mod draw;
pub mod entry_proof;
pub mod journal;
pub mod message;
pub mod policy;
pub mod query;
pub mod record;
pub mod rules;
pub mod run_file;
pub mod settings;
pub mod state;
pub mod table;
pub mod weights;
pub mod word;

/// The node's room of tables, the same files: building them here leaves burn out.
#[path = "../../../node/src/data/mod.rs"]
pub mod data;

pub use peak_alloc::PeakAlloc;

#[cfg(feature = "libfuzzer")]
pub use libfuzzer_sys;

/// One room and what must hold in it.
#[derive(Clone, Copy)]
pub struct Target {
    /// The room, its folder in `corpus/`, and its program's name after `fuzz-`.
    pub name: &'static str,
    /// Ends the process where something does not hold of these bytes.
    pub holds: fn(&[u8]),
    /// Memory that any input may take, however short.
    pub memory_bytes_max: usize,
    /// Memory that an input may take for each of its own bytes: a parser that takes more turns a small frame into a
    /// large allocation.
    pub memory_per_byte_max: usize,
}

/// Every room.
pub const TARGETS: &[Target] = &[
    certificate::TARGET,
    checkpoint::TARGET,
    collection::TARGET,
    entry_proof::TARGET,
    journal::TARGET,
    message::TARGET,
    policy::TARGET,
    query::TARGET,
    record::TARGET,
    rules::TARGET,
    run_file::TARGET,
    settings::TARGET,
    state::TARGET,
    table::TARGET,
    weights::TARGET,
    word::TARGET,
];

impl Target {
    /// Ends the process where something does not hold of `bytes`, or where that took too much memory as `memory`, the
    /// program's allocator, counts it.
    pub fn check(&self, bytes: &[u8], memory: &PeakAlloc) {
        memory.reset_peak_usage();
        let before = memory.current_usage();
        (self.holds)(bytes);
        let taken = memory.peak_usage().saturating_sub(before);
        let most = self.memory_bytes_max + self.memory_per_byte_max * bytes.len();
        assert!(
            taken <= most,
            "{}: {taken} bytes of memory for {} bytes of input, {most} are the most",
            self.name,
            bytes.len()
        );
    }
}

/// The program that fuzzes one room, with every allocation counted.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! fuzz {
    ($room:ident) => {
        #[global_allocator]
        static MEMORY: $crate::PeakAlloc = $crate::PeakAlloc;

        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::$room::TARGET.check(bytes, &MEMORY);
        });
    };
}
