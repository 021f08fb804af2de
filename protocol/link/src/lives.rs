//! A server that begins anew, in the same process, once a disk that failed it takes writes again.
//!
//! A journal whose write or fsync failed takes nothing more, and so its server answers nothing that must be recorded.
//! It goes on saying so, and answers what needs no record. Meanwhile the disk is tried. Once it takes writes, the
//! server ends as for a stop, every task with it, and is opened again from what is on disk: the same way as after a
//! `kill -9`, and no other. Nothing in memory outlives the failure.
//!
//! What may fail and is no failure: the new life may find the disk bad again. Each try waits longer, by [`Backoff`].

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::Backoff;
use crate::host::asked_to_stop;

/// How often it is looked whether the storage still stands.
const LOOK_MS: u64 = 500;

/// What a disk must take, durably, before it counts as good: far more than an entry.
const PROBE_BYTES: usize = 1 << 20;

/// The file by which a disk is tried; removed at once.
const PROBE_FILE: &str = "disk-probe.partial";

/// A life that lasted this long makes the next failure a new one.
const STEADY_MS: u64 = 60_000;

/// Storage after whose failure a server records nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFailure {
    /// Where it is.
    pub folder: PathBuf,
    /// What was attempted, on which file, and what the system said.
    pub cause: String,
}

/// What a server is made of, for [`serve_in_lives`].
pub struct Lives<R, O, F, M> {
    /// Makes the runtime of one life; all its tasks end with it.
    pub runtime: R,
    /// Opens the server from its folder.
    pub open: O,
    /// What of its storage has failed.
    pub failure: F,
    /// Whether an error of `open` may pass without a person: the disk's, and none of what lies on it.
    pub may_pass: M,
}

/// Serves until this process is asked to stop, beginning anew after each failure of the storage that passes.
///
/// # Errors
/// The first life's `open`, a later one's where it may not pass, and `serve`'s own.
pub fn serve_in_lives<S, E>(
    lives: &Lives<
        impl Fn() -> Result<Runtime, E>,
        impl Fn() -> Result<S, E>,
        impl Fn(&S) -> Option<StorageFailure>,
        impl Fn(&E) -> bool,
    >,
    serve: impl AsyncFn(&S, watch::Receiver<bool>) -> Result<(), E>,
) -> Result<(), E>
where
    E: Display,
{
    // Outlives every life, so that no signal falls between two.
    let watching = (lives.runtime)()?;
    let (asked, stop) = watch::channel(false);
    watching.spawn(async move {
        asked_to_stop().await;
        asked.send_replace(true);
    });
    let mut backoff = Backoff::new(0);
    let mut state = (lives.open)()?;
    let mut is_first = true;
    loop {
        let life = (lives.runtime)()?;
        let began = Instant::now();
        let over = life.block_on(live(&state, &lives.failure, &serve, &stop, &mut backoff));
        // Waits for what is being written; then nobody but this function holds the server.
        drop(life);
        drop(state);
        let mut waits = false;
        match over {
            Ok(Over::Stopped) => return Ok(()),
            Ok(Over::BeginsAnew) => {}
            Err(error) if !is_first && (lives.may_pass)(&error) => {
                tracing::error!(%error, "the storage failed again at once");
                waits = true;
            }
            Err(error) => return Err(error),
        }
        is_first = false;
        if began.elapsed() >= Duration::from_millis(STEADY_MS) {
            backoff.reset();
        }
        state = loop {
            if waits && watching.block_on(pause(&stop, &mut backoff)) == Over::Stopped {
                return Ok(());
            }
            match (lives.open)() {
                Ok(state) => break state,
                Err(error) if (lives.may_pass)(&error) => {
                    tracing::error!(%error, "cannot begin anew yet; trying again");
                    waits = true;
                }
                Err(error) => return Err(error),
            }
        };
    }
}

/// How a life, or a pause between two, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Stopped,
    BeginsAnew,
}

async fn live<S, E>(
    state: &S,
    failure: impl Fn(&S) -> Option<StorageFailure>,
    serve: impl AsyncFn(&S, watch::Receiver<bool>) -> Result<(), E>,
    stop: &watch::Receiver<bool>,
    backoff: &mut Backoff,
) -> Result<Over, E> {
    let (end, ends) = watch::channel(false);
    let serving = serve(state, ends);
    tokio::pin!(serving);
    let mut stop = stop.clone();
    let over = tokio::select! {
        served = &mut serving => return served.map(|()| Over::Stopped),
        _ = stop.wait_for(|stop| *stop) => Over::Stopped,
        () = until_good_again(|| failure(state), backoff) => Over::BeginsAnew,
    };
    end.send_replace(true);
    serving.await.map(|()| over)
}

/// Returns once the storage has failed and its disk takes writes again.
async fn until_good_again(failure: impl Fn() -> Option<StorageFailure>, backoff: &mut Backoff) {
    let failed = loop {
        sleep(Duration::from_millis(LOOK_MS)).await;
        if let Some(failed) = failure() {
            break failed;
        }
    };
    let StorageFailure { folder, cause } = failed;
    let shown = folder.display().to_string();
    tracing::error!(
        folder = shown,
        cause,
        "the storage failed; nothing is recorded until its disk takes writes again"
    );
    loop {
        sleep(Duration::from_millis(backoff.next_ms())).await;
        let trying = folder.clone();
        match tokio::task::spawn_blocking(move || takes_writes(&trying)).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => {
                tracing::warn!(folder = shown, %error, "the disk takes no writes yet")
            }
            Err(error) => tracing::error!(%error, "the disk could not be tried"),
        }
    }
    tracing::warn!(
        folder = shown,
        "the disk takes writes again; beginning anew from what is on it"
    );
}

async fn pause(stop: &watch::Receiver<bool>, backoff: &mut Backoff) -> Over {
    let mut stop = stop.clone();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => Over::Stopped,
        () = sleep(Duration::from_millis(backoff.next_ms())) => Over::BeginsAnew,
    }
}

/// Writes a file, syncs it and removes it again.
fn takes_writes(folder: &Path) -> io::Result<()> {
    let path = folder.join(PROBE_FILE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0x5a; PROBE_BYTES])?;
        file.sync_all()
    });
    // What a full disk took of it gives its room back in any case.
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn runtime() -> Result<Runtime, String> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    }

    /// A server in a folder; `held` counts who still holds one.
    struct Server {
        held: Arc<AtomicUsize>,
        broken: AtomicBool,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_server_is_opened_anew_only_when_nobody_holds_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (held, opened) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let lives = Lives {
            runtime,
            open: || {
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                match opened.fetch_add(1, Ordering::SeqCst) {
                    // The second life finds the disk bad once more.
                    1 => {
                        held.fetch_sub(1, Ordering::SeqCst);
                        Err("the disk is full".to_owned())
                    }
                    _ => Ok(Arc::new(Server {
                        held: held.clone(),
                        broken: AtomicBool::new(false),
                    })),
                }
            },
            failure: |server: &Arc<Server>| {
                server
                    .broken
                    .load(Ordering::SeqCst)
                    .then(|| StorageFailure {
                        folder: folder.path().to_owned(),
                        cause: "full".into(),
                    })
            },
            may_pass: |error: &String| error.contains("full"),
        };
        let lived = AtomicUsize::new(0);
        let served = serve_in_lives(&lives, async |server: &Arc<Server>, mut ends| {
            // A task that nobody ends and that holds the server.
            let holding = server.clone();
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(holding);
            });
            if lived.fetch_add(1, Ordering::SeqCst) == 2 {
                return Ok(());
            }
            server.broken.store(true, Ordering::SeqCst);
            ends.wait_for(|ends| *ends).await.ok();
            Ok(())
        });
        assert_eq!(served, Ok(()));
        assert_eq!(lived.load(Ordering::SeqCst), 3);
        assert_eq!(opened.load(Ordering::SeqCst), 4);
        assert_eq!(held.load(Ordering::SeqCst), 0);
        assert!(folder.path().read_dir().unwrap().next().is_none());
    }

    #[test]
    fn what_no_disk_is_to_blame_for_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let opened = AtomicUsize::new(0);
        let lives = Lives {
            runtime,
            open: || match opened.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(()),
                _ => Err("the journal is damaged".to_owned()),
            },
            failure: |(): &()| {
                Some(StorageFailure {
                    folder: folder.path().to_owned(),
                    cause: "full".into(),
                })
            },
            may_pass: |error: &String| error.contains("full"),
        };
        let served = serve_in_lives(&lives, async |(): &(), mut ends| {
            ends.wait_for(|ends| *ends).await.ok();
            Ok(())
        });
        assert_eq!(served, Err("the journal is damaged".to_owned()));
    }

    #[test]
    fn a_folder_that_takes_no_writes_is_no_good_disk() {
        let folder = tempfile::tempdir().unwrap();
        takes_writes(folder.path()).unwrap();
        assert!(takes_writes(&folder.path().join("not-there")).is_err());
    }
}
