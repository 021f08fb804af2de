//! Processes of a story: begun with a log of their own, ended on every way out.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::{HouseError, Role};

/// How long a process may take to say that it is ready.
const READY_WAIT: Duration = Duration::from_secs(60);

/// How long a process that was asked to stop may take, before it is killed.
const END_WAIT: Duration = Duration::from_secs(5);

/// Lines of a log that are told when its process fell.
const LOG_LINES_TOLD: usize = 5;

/// Exit status of a story that was interrupted, as shells have it for Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Every process of a story, and the folder that goes with them. Ends them when dropped, and
/// when this process is asked to stop.
pub struct Household {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    running: Vec<Running>,
    temporary: Option<TempDir>,
}

struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    /// Lines that it prints; disconnected once it is over.
    lines: Receiver<String>,
}

impl Household {
    /// An empty one; `temporary` goes when it ends.
    #[must_use]
    pub fn new(temporary: Option<TempDir>) -> Self {
        let held = Arc::new(Mutex::new(Held {
            running: Vec::new(),
            temporary,
        }));
        let watched = held.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(consilium_link::asked_to_stop());
            end(&watched);
            std::process::exit(INTERRUPTED);
        });
        Self { held }
    }

    /// Begins a process of a role that goes on until the household ends; with `ready`, waits
    /// for a line of its output that begins so.
    ///
    /// # Errors
    /// If it cannot be started or ends before it is ready.
    pub fn begin(
        &self,
        name: &str,
        role: Role,
        arguments: &[&OsStr],
        log: &Path,
        ready: Option<&str>,
    ) -> Result<(), HouseError> {
        let not_started = |source| HouseError::NotStarted {
            name: name.to_owned(),
            source,
        };
        let errors = File::create(log).map_err(not_started)?;
        let mut child = command(role, arguments)
            .map_err(not_started)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(not_started)?;
        let (line, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for text in BufReader::new(output).lines().map_while(Result::ok) {
                    // Nobody listens once it is ready; reading on keeps its pipe from filling.
                    line.send(text).ok();
                }
            });
        }
        let running = Running {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            lines,
        };
        let waited = ready.map_or(Ok(()), |ready| running.wait_for(ready));
        lock(&self.held).running.push(running);
        waited
    }

    /// Runs a role's command to its end; gives what it printed.
    ///
    /// # Errors
    /// What it said, if it failed.
    pub fn run(&self, role: Role, arguments: &[&OsStr]) -> Result<String, HouseError> {
        let name = || {
            arguments
                .iter()
                .map(|word| word.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let not_started = |source| HouseError::NotStarted {
            name: name(),
            source,
        };
        let child = command(role, arguments)
            .map_err(not_started)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        finish(child)
            .map_err(not_started)?
            .map_err(|said| HouseError::Process {
                name: name(),
                waited_for: "its end".to_owned(),
                said,
            })
    }

    /// Kills a process outright, as a machine that loses its power: it gets no chance to say anything.
    ///
    /// # Errors
    /// If there is no such process, or it cannot be killed.
    pub fn kill(&self, name: &str) -> Result<(), HouseError> {
        let mut held = lock(&self.held);
        let process = held.running.iter().position(|running| running.name == name);
        let mut process = match process {
            Some(at) => held.running.remove(at),
            None => {
                return Err(HouseError::Process {
                    name: name.to_owned(),
                    waited_for: "its end".to_owned(),
                    said: "there is no such process".to_owned(),
                });
            }
        };
        let killed = process.child.kill().and_then(|()| process.child.wait());
        killed.map(drop).map_err(|source| HouseError::Disk {
            what: format!("cannot end `{name}`"),
            source,
        })
    }

    /// Processes that are over although nobody ended them, each with its last words.
    #[must_use]
    pub fn fallen(&self) -> Vec<String> {
        let mut held = lock(&self.held);
        let over = |running: &mut Running| match running.child.try_wait() {
            Ok(None) => None,
            _ => Some(format!(
                "{} is over: {}",
                running.name,
                running.last_words()
            )),
        };
        held.running.iter_mut().filter_map(over).collect()
    }

    /// Ends every process. Their folders stay until this is dropped.
    pub fn end(&self) {
        end_processes(&mut lock(&self.held).running);
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        end(&self.held);
    }
}

impl Running {
    fn wait_for(&self, ready: &str) -> Result<(), HouseError> {
        loop {
            match self.lines.recv_timeout(READY_WAIT) {
                Ok(line) if line.starts_with(ready) => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    return Err(HouseError::Process {
                        name: self.name.clone(),
                        waited_for: format!("the line `{ready}`"),
                        said: self.last_words(),
                    });
                }
            }
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES_TOLD);
        lines.get(from..).unwrap_or_default().join(" / ")
    }

    /// Whether its output ends in time, which it does with the process.
    fn is_over_in_time(&self) -> bool {
        loop {
            match self.lines.recv_timeout(END_WAIT) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

/// This program again, in a role.
fn command(role: Role, arguments: &[&OsStr]) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role.argument()).args(arguments);
    Ok(command)
}

/// Waits for a command; its output is what it printed, or all that it said if it failed. Its input stays open until
/// then.
fn finish(mut child: Child) -> std::io::Result<Result<String, String>> {
    let input = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(input);
    Ok(match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err([output.stdout, output.stderr]
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" / ")),
    })
}

fn end(held: &Arc<Mutex<Held>>) {
    let mut held = lock(held);
    end_processes(&mut held.running);
    // Dropping removes the folder.
    held.temporary = None;
}

/// Asks all to stop, the last begun first, then waits for each and kills who does not listen.
fn end_processes(running: &mut Vec<Running>) {
    for process in running.iter().rev() {
        ask_to_stop(process.child.id());
    }
    for mut process in running.drain(..).rev() {
        if !process.is_over_in_time() {
            // Fails where it is over already.
            process.child.kill().ok();
        }
        process.child.wait().ok();
    }
}

/// SIGTERM by the shell's own `kill`: the standard library sends no signal but SIGKILL.
fn ask_to_stop(pid: u32) {
    let pid: OsString = pid.to_string().into();
    let script = "kill -s TERM \"$0\"";
    let mut kill = Command::new("sh");
    kill.arg("-c")
        .arg(script)
        .arg(pid)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Where there is no shell, the wait runs out and the process is killed.
    kill.status().ok();
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
