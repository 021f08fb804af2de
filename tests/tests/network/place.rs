//! Network namespaces: each participant in a network of its own, a 1500-byte link to the rest of the world.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// The name that every namespace made here begins with; the process and a number follow.
const PREFIX: &str = "consilium-";

static MADE: AtomicU8 = AtomicU8::new(0);

/// A namespace with one link out of it. Both are gone when this is dropped.
pub(crate) struct Place {
    namespace: String,
    /// This process's end of the link.
    pub(crate) here: Ipv4Addr,
    /// The end inside.
    pub(crate) there: Ipv4Addr,
}

impl Place {
    /// A new one.
    ///
    /// # Panics
    /// The kernel does not give it, or this process has made 255 already.
    pub(crate) fn new() -> Self {
        Self::made().unwrap()
    }

    fn made() -> Result<Self, String> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        assert!(number < u8::MAX, "a process has 255 places");
        let process = std::process::id();
        // Two processes at once have different ones, unless their ids are a multiple of 100 apart.
        let subnet = 100 + (process % 100) as u8;
        let place = Self {
            namespace: format!("{PREFIX}{process}-{number}"),
            here: Ipv4Addr::new(10, subnet, number, 1),
            there: Ipv4Addr::new(10, subnet, number, 2),
        };
        let (space, link) = (&place.namespace, format!("cs{process}n{number}"));
        let (here, there) = (format!("{}/30", place.here), format!("{}/30", place.there));
        let steps: [&[&str]; 7] = [
            &["netns", "add", space],
            &[
                "link", "add", &link, "mtu", "1500", "type", "veth", "peer", "name", "eth0",
                "netns", space,
            ],
            &["addr", "add", &here, "dev", &link],
            &["link", "set", &link, "up"],
            &["-n", space, "addr", "add", &there, "dev", "eth0"],
            &["-n", space, "link", "set", "eth0", "up"],
            &["-n", space, "link", "set", "lo", "up"],
        ];
        steps.iter().try_for_each(|step| ip(step))?;
        // The far end of a new link may have another default than 1500.
        ip(&["-n", space, "link", "set", "eth0", "mtu", "1500"])?;
        Ok(place)
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.namespace]) {
            eprintln!("{error}");
        }
    }
}

/// Why no namespace can be made here, if none can. Removes those that a process left behind which is no more.
pub(crate) fn why_there_are_none() -> Option<String> {
    let left_behind = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in left_behind {
        let name = name.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            ip(&["netns", "del", &name]).ok();
        }
    }
    Place::made().err()
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
}
