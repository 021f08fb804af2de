//! One state on its way to many sites: each chunk is read, hashed and held once for all of
//! them that are near it, and not once a site.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use consilium_link::Chunk;
use consilium_protocol::message::TensorsAhead;
use consilium_protocol::{RunId, model::chunks_of};
use tokio::sync::Mutex;

use super::ask::AskError;
use crate::state::State;

/// Chunks behind the foremost that are kept for sites that are a little slower.
const CHUNKS_BEHIND_MAX: u64 = 4;

pub(super) struct Broadcast {
    state: Arc<State>,
    held: Mutex<Held>,
}

/// Locked while a chunk is read, so that nobody reads it twice.
#[derive(Default)]
struct Held {
    /// By index: those just read, and those that some connection still holds because its
    /// site has not acknowledged them, which share their memory with the entry here.
    chunks: BTreeMap<u64, Chunk>,
    /// Memory of a chunk that nobody wants any more, for the next: given back to the system
    /// and asked for again a thousand times, it would lie about in pieces.
    spare: BytesMut,
}

impl Broadcast {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            held: Mutex::default(),
        }
    }

    /// What announces the state on the wire.
    pub(super) fn ahead(&self, run_id: RunId, round: u32) -> TensorsAhead {
        TensorsAhead {
            run_id,
            round,
            bytes: self.state.wire_bytes(),
            blake3: self.state.wire_blake3(),
        }
    }

    /// Bytes of the state on the wire.
    pub(super) fn bytes(&self) -> u64 {
        self.state.wire_bytes()
    }

    /// Its chunks.
    pub(super) fn count(&self) -> u64 {
        chunks_of(self.bytes())
    }

    /// One chunk.
    pub(super) async fn chunk(&self, index: u64) -> Result<Chunk, AskError> {
        let mut held = self.held.lock().await;
        if let Some(chunk) = held.chunks.get(&index) {
            return Ok(chunk.clone());
        }
        held.let_go(index);
        let (state, spare) = (self.state.clone(), std::mem::take(&mut held.spare));
        let read = tokio::task::spawn_blocking(move || {
            let bytes = state.wire_chunk_into(index, spare)?;
            Ok::<_, AskError>(Chunk::new(bytes)?)
        });
        let chunk = read.await.map_err(|_| AskError::Interrupted)??;
        held.chunks.insert(index, chunk.clone());
        Ok(chunk)
    }
}

impl Held {
    /// Lets go of chunks that no connection holds and that are not just behind `index`.
    fn let_go(&mut self, index: u64) {
        let gone = self.chunks.extract_if(.., |held, chunk| {
            let recent = *held < index && *held + CHUNKS_BEHIND_MAX >= index;
            !recent && chunk.body().is_unique()
        });
        for (_, chunk) in gone {
            if let Ok(memory) = chunk.into_body().try_into_mut() {
                self.spare = memory;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use consilium_protocol::run::RunSpec;

    use super::*;
    use crate::state::StateFolder;

    /// 12 chunks and a little.
    const RUN: &str = r#"
name = "large"
project = "test"
purpose = "HMB"
dataset = "test"
participants = ["cleveland", "va"]
rounds = 1
[model]
kind = "mlp"
hidden = [800_000]
[strategy]
name = "FedAvg"
[training]
learning-rate = 0.01
local-steps = 1
batch-size = 4
[data]
features = [{ column = "a" }, { column = "b" }]
label = { column = "y", greater-than = 0 }
"#;

    #[tokio::test]
    async fn a_chunk_is_held_once_and_only_while_a_site_may_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let spec = RunSpec::parse(RUN.as_bytes()).unwrap();
        let states = StateFolder::new(folder.path().to_owned(), "r-1".parse().unwrap(), spec);
        let broadcast = Broadcast::new(Arc::new(states.initial().unwrap()));
        assert_eq!(broadcast.count(), 13);
        let slow = broadcast.chunk(0).await.unwrap();
        for index in 1..10 {
            broadcast.chunk(index).await.unwrap();
        }
        let other = broadcast.chunk(0).await.unwrap();
        assert_eq!(slow.body().as_ptr(), other.body().as_ptr());
        assert_eq!(held(&broadcast).await, [0, 5, 6, 7, 8, 9]);
        drop((slow, other));
        broadcast.chunk(10).await.unwrap();
        assert_eq!(held(&broadcast).await, [6, 7, 8, 9, 10]);
    }

    async fn held(broadcast: &Broadcast) -> Vec<u64> {
        broadcast.held.lock().await.chunks.keys().copied().collect()
    }
}
