//! strace, as a means to stop a process at one exact system call.
//!
//! Seen on Linux 6 with strace 6.1: a `SIGKILL` injected into a call is delivered at its entry, and the call is not
//! made; a `SIGSTOP` is delivered at its entry too, the call is made, and every thread of the process stops before
//! the caller goes on. So *before* is an injected kill, and *after* is an injected stop and then a kill. A process
//! that is stopped keeps still while one strace leaves it and the next, that waits for the next call, comes.
//!
//! strace counts calls for each thread of the traced process by itself, from the moment it attaches. A point must
//! therefore be the n-th such call of whichever thread makes it: most are a first one, on a file that is written once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::within;

/// How long strace may take to attach or to leave.
const ATTACH_WAIT: Duration = Duration::from_secs(120);

/// System calls, by their names for strace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calls {
    /// As in `strace -e trace=`.
    pub(crate) names: &'static str,
    /// Those on this file or folder only.
    pub(crate) on: Option<PathBuf>,
    /// Which of one thread's.
    pub(crate) nth: u32,
    /// And each one after that.
    pub(crate) onwards: bool,
}

/// What becomes of the process, or of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Killed; the call is not made.
    Killed,
    /// Held; the call is made.
    Held,
    /// The call fails with this error.
    Fails(&'static str),
}

/// A strace that waits for its call.
pub(crate) struct Tracer {
    strace: Child,
    log: PathBuf,
}

/// Whether strace is here and may attach to what this process starts; else says why not.
pub(crate) fn usable() -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let Ok(mut sleeper) = Command::new("sleep").arg("300").spawn() else {
        eprintln!("not shown: there is no `sleep` to try strace on");
        return false;
    };
    let calls = Calls {
        names: "read",
        on: None,
        nth: 1,
        onwards: false,
    };
    let tried = Tracer::attach(
        sleeper.id(),
        &calls,
        Fate::Killed,
        &scratch.path().join("try"),
    );
    let usable = match tried {
        Ok(_) => true,
        Err(cause) => {
            eprintln!("not shown: strace cannot be used here: {cause}");
            false
        }
    };
    sleeper.kill().ok();
    sleeper.wait().ok();
    usable
}

/// The words for strace that make this the fate of those calls.
pub(crate) fn words(calls: &Calls, fate: Fate) -> Vec<String> {
    let Calls {
        names,
        on,
        nth,
        onwards,
    } = calls;
    let fate = match fate {
        Fate::Killed => "signal=SIGKILL".to_owned(),
        Fate::Held => "signal=SIGSTOP".to_owned(),
        Fate::Fails(error) => format!("error={error}"),
    };
    let each = if *onwards { "+" } else { "" };
    let mut words = vec![
        "-f".to_owned(),
        "-e".to_owned(),
        format!("trace={names}"),
        "-e".to_owned(),
        format!("inject={names}:{fate}:when={nth}{each}"),
    ];
    if let Some(path) = on {
        words.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    words
}

impl Tracer {
    /// Attaches to a process; returns once every one of its calls is watched. `log` is a file to write beside it.
    pub(crate) fn attach(pid: u32, calls: &Calls, fate: Fate, log: &Path) -> Result<Self, String> {
        let said_in = log.with_extension("strace");
        let said = File::create(&said_in).map_err(|error| error.to_string())?;
        fs::write(log, "").map_err(|error| error.to_string())?;
        let strace = Command::new("strace")
            .args(words(calls, fate))
            .arg("-o")
            .arg(log)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| format!("strace does not start: {error}"))?;
        let mut tracer = Self {
            strace,
            log: log.to_owned(),
        };
        let attached = within(ATTACH_WAIT, || {
            let said = fs::read_to_string(&said_in).unwrap_or_default();
            if said.contains(" attached") {
                return Some(Ok(()));
            }
            let over = tracer.strace.try_wait().is_ok_and(|over| over.is_some());
            over.then(|| Err(said.trim().to_owned()))
        });
        attached.unwrap_or_else(|| Err("it does not attach".to_owned()))?;
        Ok(tracer)
    }

    /// Whether the call was reached and the whole process stands still just after it.
    pub(crate) fn holds(&self) -> bool {
        // A process that is found standing still is said to be stopped as well: only what follows the signal counts.
        let seen = self.seen();
        seen.split_once("--- SIGSTOP {")
            .is_some_and(|(_, since)| since.contains("stopped by SIGSTOP"))
    }

    /// What strace saw.
    pub(crate) fn seen(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Leaves the process as it is.
    pub(crate) fn leave(mut self) {
        let pid = self.strace.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        let left = within(ATTACH_WAIT, || self.strace.try_wait().ok().flatten());
        assert!(left.is_some(), "strace does not leave");
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.strace.kill().ok();
        self.strace.wait().ok();
    }
}
