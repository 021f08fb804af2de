//! Run files, as researchers write them and every site reads them.

use consilium_protocol::Digest;
use consilium_protocol::limits::{
    CHUNK_BYTES_MAX, LAYERS_MAX, PARAMETERS_MAX, PARTICIPANTS_MAX, ROUNDS_MAX, RUN_TEXT_BYTES_MAX,
};
use consilium_protocol::model::{Home, chunk_len, chunks_of};
use consilium_protocol::run::RunSpec;

use crate::Target;

/// Models up to here are built, not only counted.
const BUILT_VALUES_MAX: usize = 4096;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "run_file",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 256,
};

/// A run that is accepted is within every limit, and its document reads back as the same.
pub fn holds(bytes: &[u8]) {
    let run = match RunSpec::parse(bytes) {
        Ok(run) => run,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(run.digest(), Digest::of(bytes));
    within_limits(&run);
    tensors_fit(&run);
    let document = run.document();
    let text = toml::to_string(document);
    assert!(text.is_ok(), "an accepted run cannot be written: {text:?}");
    let text = text.unwrap_or_default();
    // A text at its limit may be longer when every default is written out.
    if text.len() <= RUN_TEXT_BYTES_MAX {
        let again = RunSpec::parse(text.as_bytes());
        assert_eq!(again.as_ref().map(RunSpec::document), Ok(document));
        assert_eq!(again.as_ref().map(RunSpec::layout), Ok(run.layout()));
    }
}

fn within_limits(run: &RunSpec) {
    let document = run.document();
    let sites = document.participants.len();
    assert!((1..=PARTICIPANTS_MAX).contains(&sites));
    assert!((1..=sites).contains(&run.quorum()));
    assert!((1..=ROUNDS_MAX).contains(&document.rounds));
    assert!(run.round_deadline_ms() >= 1000);
    let rate = document.training.learning_rate;
    assert!(rate.is_finite() && rate > 0.0);
    assert!(document.data.label.greater_than.is_finite());
    let levels = document.data.features.iter().flat_map(|f| &f.one_hot);
    assert!(levels.into_iter().all(|level| level.is_finite()));
    if let Some(fold) = document.validation {
        assert!(fold.fold < fold.folds);
    }
}

fn tensors_fit(run: &RunSpec) {
    let layout = run.layout();
    assert!(layout.tensors().len() <= 2 * LAYERS_MAX);
    assert!(layout.len() as u64 <= PARAMETERS_MAX && layout.shared_len() > 0);
    assert_eq!(layout.shared_len() + layout.local_len(), layout.len());
    let first = layout.tensors().first();
    assert_eq!(first.map(|t| t.fan_in), Some(run.document().inputs()));

    let bytes = run.bytes_on_the_wire();
    let chunks = chunks_of(bytes);
    let last = chunk_len(bytes, chunks.saturating_sub(1)) as u64;
    assert_eq!((chunks - 1) * CHUNK_BYTES_MAX as u64 + last, bytes);
    assert_eq!(chunk_len(bytes, chunks), 0);

    if layout.len() <= BUILT_VALUES_MAX {
        let seed = run.document().seed;
        let draw = |home| layout.initial_values(home, seed).collect::<Vec<f32>>();
        let (shared, local) = (draw(Home::Shared), draw(Home::Local));
        assert!(shared.iter().chain(&local).all(|value| value.is_finite()));
        let whole = layout.join(&shared, &local);
        let parts = whole.and_then(|whole| layout.split(&whole));
        assert_eq!(parts, Ok((shared, local)));
    }
}
