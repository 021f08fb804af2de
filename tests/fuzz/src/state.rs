//! A run's tensors on disk, as someone else may have left them.

use std::fs;

use consilium_coordinator::state::{State, StateError, StateFolder};
use consilium_protocol::Digest;
use consilium_protocol::run::RunSpec;
use tempfile::TempDir;

use crate::Target;
use crate::draw::{Draw, edited};

/// SCAFFOLD keeps the most vectors.
const RUN: &str = r#"
name = "heart-disease"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
participants = ["cleveland", "hungarian"]
rounds = 2
[model]
kind = "mlp"
hidden = [3]
[strategy]
name = "SCAFFOLD"
[training]
learning-rate = 0.01
local-steps = 1
batch-size = 4
[data]
features = [{ column = "age" }, { column = "cp", one-hot = [1, 2, 3, 4] }]
label = { column = "num", greater-than = 0 }
"#;

struct World {
    folder: TempDir,
    states: StateFolder,
    content: Digest,
    written: Vec<u8>,
}

thread_local! {
    static WORLD: Option<World> = World::new();
}

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "state",
    holds,
    memory_bytes_max: 8 << 20,
    memory_per_byte_max: 16,
};

/// After an odd first byte the rest is the file; after an even one, edits and a new length of the file that was
/// written.
/// The file is opened if and only if it is the one whose hash is remembered, and is then read whole.
pub fn holds(bytes: &[u8]) {
    WORLD.with(|world| {
        assert!(world.is_some(), "no state could be written to begin with");
        if let Some(world) = world {
            world.opens_only_its_own(bytes);
        }
    });
}

impl World {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let spec = RunSpec::parse(RUN.as_bytes()).ok()?;
        let states = StateFolder::new(folder.path().to_owned(), "r1".parse().ok()?, spec);
        let content = states.initial().ok()?.content();
        let written = fs::read(states.path(0)).ok()?;
        Some(Self {
            folder,
            states,
            content,
            written,
        })
    }

    fn opens_only_its_own(&self, bytes: &[u8]) {
        let mut draw = Draw(bytes);
        let file = if draw.byte() % 2 == 1 {
            draw.0.to_vec()
        } else {
            let length = draw.pair();
            let mut file = edited(&self.written, &mut draw);
            if length > 0 {
                file.resize(length, 0);
            }
            file
        };
        let put = fs::write(self.states.path(0), &file);
        assert!(put.is_ok(), "{put:?} in {:?}", self.folder);
        match self.states.reopen(0, self.content) {
            Ok(state) => {
                assert!(file == self.written, "another file was opened");
                self.reads_whole(&state);
            }
            Err(error) => assert!(file != self.written, "refused its own file: {error}"),
        }
        // Under another hash it is never opened, and with a foreign header its hash is not even asked for.
        let foreign = self.states.reopen(0, Digest([0; 32]));
        assert!(foreign.is_err());
        if !file.starts_with(self.written.get(..16).unwrap_or_default()) {
            assert!(!matches!(foreign, Err(StateError::Changed { .. })));
        }
    }

    fn reads_whole(&self, state: &State) {
        let sent: Vec<u8> = (0..=state.wire_chunks())
            .filter_map(|index| state.wire_chunk(index).ok())
            .flatten()
            .collect();
        assert_eq!(sent.len() as u64, state.wire_bytes());
        assert_eq!(blake3::hash(&sent), state.wire_blake3());
    }
}
