//! Many cases, several at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases that are played at a time: most of a case is waiting.
const AT_ONCE: usize = 8;

/// What came of each case.
pub(crate) fn each<'c, C: Sync, O: Send>(
    cases: &'c [C],
    play: impl Fn(&'c C) -> O + Sync,
) -> Vec<(&'c C, O)> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(case);
                    outcomes.lock().unwrap().push((case, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// Plays each case, and fails with the causes of all that failed; `name` says which a case is.
pub(crate) fn all_pass<C: Sync>(
    cases: &[C],
    name: impl Fn(&C) -> String,
    play: impl Fn(&C) -> Result<(), String> + Sync,
) {
    let failures: Vec<String> = each(cases, play)
        .into_iter()
        .filter_map(|(case, outcome)| Some(format!("{}: {}", name(case), outcome.err()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
