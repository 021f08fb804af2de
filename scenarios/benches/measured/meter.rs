//! What the kernel knows of a process and of the loopback interface. Linux only.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Outcome;

/// `/proc` counts processor time in hundredths of a second on every Linux that we know.
const TICKS_A_SECOND: f64 = 100.0;

/// IPv4 and UDP headers, which are no part of a UDP payload.
const HEADERS_BYTES: u64 = 20 + 8;

/// Looks for a process before it counts as fallen.
const LOOKS_MAX: u32 = 100;

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// The one that was begun with `run --folder FOLDER`.
    pub(crate) fn of_folder(folder: &Path) -> Outcome<Self> {
        // A process that has just begun has no command line for a moment.
        for _ in 0..LOOKS_MAX {
            if let Some(pid) = look_for(folder)? {
                return Ok(Self { pid });
            }
            std::thread::yield_now();
        }
        Err(format!("no process runs in `{}`", folder.display()).into())
    }

    /// Its largest resident set so far.
    pub(crate) fn peak_mib(self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        Ok(kib.ok_or("no VmHWM in /proc")?.parse::<f64>()? / 1024.0)
    }

    /// Processor time that it has used, all threads together.
    pub(crate) fn cpu_s(self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The command's name may hold spaces; fields are counted from its closing parenthesis.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc")?;
        let user_and_system = fields.split_whitespace().skip(11).take(2);
        let ticks = user_and_system
            .map(str::parse::<f64>)
            .sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS_A_SECOND)
    }
}

fn look_for(folder: &Path) -> Outcome<Option<u32>> {
    let asked = [
        OsStr::new("run"),
        OsStr::new("--folder"),
        folder.as_os_str(),
    ];
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Gone in the meantime, or not ours to read.
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let words: Vec<&OsStr> = command
            .split(|byte| *byte == 0)
            .map(OsStr::from_bytes)
            .collect();
        if words.windows(asked.len()).any(|part| part == asked) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// UDP payload bytes that the loopback interface has carried, of this machine's every program.
/// A batch of packets that the kernel handed on at once counts one header.
pub(crate) fn loopback_payload_bytes() -> Outcome<u64> {
    let devices = fs::read_to_string("/proc/net/dev")?;
    let loopback = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let mut fields = loopback
        .ok_or("no loopback interface in /proc/net/dev")?
        .split_whitespace();
    let mut next = || fields.next().unwrap_or_default().parse::<u64>();
    let (bytes, packets) = (next()?, next()?);
    Ok(bytes.saturating_sub(packets * HEADERS_BYTES))
}

/// The 1-minute load average: whether something else ran.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

/// The value below which this share of the values lies; they are sorted for it.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}
