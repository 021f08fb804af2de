//! A consortium in one folder: its coordinator, its nodes, its people.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::member::anybody_types;
use super::{HouseError, Household, Member, Role, Typed, write};

/// Longest that a run of a story waits for its sites: they are on the same machine.
const ADMISSION_DEADLINE_S: u32 = 60;

/// A consortium whose coordinator runs.
pub struct Consortium {
    root: PathBuf,
    household: Household,
    address: String,
    admin: Member,
}

/// What a site has before its node runs.
pub struct Site<'a> {
    pub name: &'a str,
    /// Lines by which it pins the two officers who must sign its policies; none: nobody signs.
    pub officers: &'a [String],
    /// The officer's policy.
    pub policy: &'a str,
    /// Files of the node's folder, by path in it.
    pub files: &'a [(String, &'a str)],
    /// `[[dataset]]` tables that end up in node.toml.
    pub datasets: &'a str,
}

impl Consortium {
    /// Founds a consortium in `root` and starts its coordinator.
    ///
    /// # Errors
    /// If the folder is taken, or a process does not start.
    pub fn found(root: &Path, household: Household, name: &str) -> Result<Self, HouseError> {
        let folder = root.join("coordinator");
        let address = free_address().map_err(|source| HouseError::Disk {
            what: "no UDP port can be had on 127.0.0.1".to_owned(),
            source,
        })?;
        let words = ["init", "--folder"].map(OsStr::new);
        let more = [
            folder.as_os_str(),
            "--name".as_ref(),
            name.as_ref(),
            "--listen".as_ref(),
            address.as_ref(),
        ];
        household.run(Role::Coordinator, &[&words[..], &more[..]].concat())?;
        let settings = folder.join("coordinator.toml");
        edit(&settings, |text| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            for line in lines
                .iter_mut()
                .filter(|line| line.starts_with("admission-deadline-s"))
            {
                *line = format!("admission-deadline-s = {ADMISSION_DEADLINE_S}");
            }
            lines.join("\n") + "\n"
        })?;
        let log = root.join("coordinator.log");
        let run = ["run".as_ref(), "--folder".as_ref(), folder.as_os_str()];
        household.begin(
            "coordinator",
            Role::Coordinator,
            &run,
            &log,
            Some("listening"),
        )?;
        Ok(Self {
            root: root.to_owned(),
            household,
            address,
            admin: Member::at(folder.join("admin")),
        })
    }

    /// Where the coordinator listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A member's folder.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Enrols a site by its invitation, sets it up, lets its doctor look, and starts its node.
    ///
    /// # Errors
    /// What failed, and what was said.
    pub fn join(&self, site: &Site<'_>) -> Result<(), HouseError> {
        self.set_up(site)?;
        self.open(site.name)
    }

    /// Enrols a site by its invitation and sets it up; its node does not run yet.
    ///
    /// # Errors
    /// What failed, and what was said.
    pub fn set_up(&self, site: &Site<'_>) -> Result<(), HouseError> {
        let folder = self.folder(site.name);
        let token = self.invitation("--site", site.name)?;
        let at = [
            "--coordinator".as_ref(),
            self.address.as_ref(),
            "--token-file".as_ref(),
            token.as_os_str(),
        ];
        let init = ["init".as_ref(), "--folder".as_ref(), folder.as_os_str()];
        self.household
            .run(Role::Node, &[&init[..], &at[..]].concat())?;
        remove(&token)?;
        for (path, text) in site.files {
            write(&folder.join(path), text)?;
        }
        write(&folder.join("policy/policy.toml"), site.policy)?;
        // A story's figures must not depend on the machine's GPU.
        edit(&folder.join("node.toml"), |text| {
            let text = text.replace("device = \"auto\"", "device = \"cpu\"");
            let text = match site.officers.is_empty() {
                true => text,
                false => text.replacen("unsigned = true", &pins(site.officers), 1),
            };
            format!("{text}\n{}", site.datasets)
        })
    }

    /// Types `consilium-node VERB --folder … WORDS` at a site; gives what was printed.
    ///
    /// # Errors
    /// What was said, if it failed.
    pub fn at_node(&self, name: &str, verb: &str, words: &[&str]) -> Result<String, HouseError> {
        let folder = self.folder(name);
        let first = [verb.as_ref(), "--folder".as_ref(), folder.as_os_str()];
        let words: Vec<&OsStr> = first
            .into_iter()
            .chain(words.iter().map(|word| OsStr::new(*word)))
            .collect();
        self.household.run(Role::Node, &words)
    }

    /// Lets a site's doctor look, and starts its node.
    ///
    /// # Errors
    /// What failed, and what was said.
    pub fn open(&self, name: &str) -> Result<(), HouseError> {
        let folder = self.folder(name);
        self.at_node(name, "check", &[])?;
        let run = ["run".as_ref(), "--folder".as_ref(), folder.as_os_str()];
        self.household
            .begin(name, Role::Node, &run, &folder.join("node.log"), None)
    }

    /// Kills a site's node outright.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&self, name: &str) -> Result<(), HouseError> {
        self.household.kill(name)
    }

    /// Invites a researcher and enrols them.
    ///
    /// # Errors
    /// What failed, and what was said.
    pub fn researcher(&self, name: &str) -> Result<Member, HouseError> {
        let token = self.invitation("--researcher", name)?;
        let home = self.folder(name);
        let member = Member::at(home);
        let token_path = token.to_string_lossy();
        let words = [
            "enrol",
            "--token-file",
            &token_path,
            "--coordinator",
            &self.address,
        ];
        member.types(&words, Typed::Quietly)?;
        remove(&token)?;
        Ok(member)
    }

    /// The journals' folders by name: the coordinator's, then each of `sites`.
    ///
    /// # Errors
    /// A journal that is not what was written.
    pub fn verify_journals(&self, sites: &[&str]) -> Result<Vec<(String, Value)>, HouseError> {
        let names = std::iter::once("coordinator").chain(sites.iter().copied());
        let verify = |name: &str| {
            let folder = self.folder(name);
            let verified = anybody_types(&["audit", "verify", &folder.to_string_lossy()])?;
            Ok((name.to_owned(), verified))
        };
        names.map(verify).collect()
    }

    /// Processes that fell, with their last words.
    #[must_use]
    pub fn fallen(&self) -> Vec<String> {
        self.household.fallen()
    }

    /// Ends every process.
    pub fn end(&self) {
        self.household.end();
    }

    /// A token in a file of its own, which whoever uses it removes.
    fn invitation(&self, option: &str, name: &str) -> Result<PathBuf, HouseError> {
        let words = ["invite", option, name];
        let invitation = self.admin.types(&words, Typed::Quietly)?;
        let token = invitation
            .get("token")
            .and_then(Value::as_str)
            .ok_or_else(|| HouseError::Answer {
                typed: words.join(" "),
                field: "token",
            })?;
        let path = self.root.join(format!("{name}.invitation"));
        write(&path, token)?;
        Ok(path)
    }
}

/// Both of them sign.
fn pins(officers: &[String]) -> String {
    format!("officers = {officers:?}\nsignatures = {}", officers.len())
}

/// A UDP port of this machine that nobody uses; it is free again when this returns.
fn free_address() -> std::io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.to_string())
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> Result<(), HouseError> {
    let what = || format!("cannot read `{}`", path.display());
    let text = std::fs::read_to_string(path).map_err(|source| HouseError::Disk {
        what: what(),
        source,
    })?;
    write(path, &change(&text))
}

fn remove(path: &Path) -> Result<(), HouseError> {
    let what = || format!("cannot remove `{}`", path.display());
    std::fs::remove_file(path).map_err(|source| HouseError::Disk {
        what: what(),
        source,
    })
}
