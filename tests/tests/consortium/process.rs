//! Child processes that end with the test, and waiting for something to be so.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The longest that anything here may take: far more than anything needs, for a machine that is busy with something
/// else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `look` finds something.
///
/// # Panics
/// It is not found within [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, look) {
        Some(found) => found,
        None => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// As [`eventually`], with a limit of its own and no panic.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let ends_at = Instant::now() + limit;
    while Instant::now() < ends_at {
        if let Some(found) = look() {
            return Some(found);
        }
        pause(LOOK_EVERY);
    }
    None
}

/// Lets some time pass: between two looks, or to hit a process at another moment; never to wait for anything.
pub(crate) fn pause(time: Duration) {
    runtime().block_on(async { tokio::time::sleep(time).await });
}

/// A runtime for one test's own part in the consortium.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// One of the three programs, ready to be given arguments.
pub(crate) fn role(name: &str) -> Command {
    role_in(name, None)
}

/// As [`role`], in a network namespace if one is named.
fn role_in(name: &str, namespace: Option<&str>) -> Command {
    let program = env!("CARGO_BIN_EXE_consilium-role");
    let mut command = match namespace {
        None => Command::new(program),
        Some(namespace) => {
            // It becomes the program, and so does the process that is started.
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, program]);
            command
        }
    };
    command
        .arg(name)
        .env_remove("CONSILIUM_HOME")
        .env("RUST_LOG", "info")
        .stdin(Stdio::null());
    command
}

/// What came of a command that ended by itself.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a program to its end.
pub(crate) fn types<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Typed {
    let output = role(name).args(arguments).output().unwrap();
    Typed {
        exit: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Typed {
    /// The one envelope on standard output.
    pub(crate) fn envelope(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        let envelope: Value = serde_json::from_str(&self.out).unwrap();
        assert_eq!(envelope["schema_version"], 1);
        assert_eq!(envelope["exit_code"], self.exit);
        let status = if self.exit == 0 { "ok" } else { "error" };
        assert_eq!(envelope["status"], status);
        envelope
    }

    /// The answer of a command that succeeded.
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        self.envelope()["data"].take()
    }

    /// The exit code, the code for programs, and the message of a command that did not.
    pub(crate) fn error(&self) -> (i32, String, String) {
        let error = self.envelope()["error"].take();
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        (self.exit, text("code"), text("message"))
    }
}

/// A program that serves until it is ended, at the latest when this is dropped. It can be started again.
pub(crate) struct Process {
    name: &'static str,
    folder: PathBuf,
    log: PathBuf,
    namespace: Option<String>,
    child: Option<Child>,
}

impl Process {
    /// The program `name` that serves from `folder`; not started yet. Its log lies beside the folder.
    pub(crate) fn new(name: &'static str, folder: &Path) -> Self {
        let mut log = folder.as_os_str().to_owned();
        log.push(".log");
        Self {
            name,
            folder: folder.to_owned(),
            log: log.into(),
            namespace: None,
            child: None,
        }
    }

    /// Has it run in this network namespace from its next start on.
    pub(crate) fn move_to(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything that it has said, of all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.log.display());
        let log = || -> File {
            let mut options = OpenOptions::new();
            options.create(true).append(true).open(&self.log).unwrap()
        };
        let mut command = role_in(self.name, self.namespace.as_deref());
        command.args(["run", "--folder"]).arg(&self.folder);
        self.child = Some(command.stdout(log()).stderr(log()).spawn().unwrap());
    }

    /// Ends it as a power cut would: SIGKILL, with no time for a last word.
    pub(crate) fn kill_9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends it a signal. `-STOP` makes it a machine that hangs: it keeps its socket and says nothing.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => child.try_wait().unwrap().is_none(),
            None => false,
        }
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn ends(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let ended = within(PATIENCE, || child.try_wait().unwrap());
        if ended.is_none() {
            child.kill().ok();
            child.wait().ok();
        }
        ended
            .unwrap_or_else(|| panic!("{} does not end:\n{}", self.log.display(), self.log()))
            .code()
            .unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}
