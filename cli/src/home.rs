//! A member's folder: key, certificate, the consortium's authority, and where the coordinator is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use consilium_link::{Credentials, MemberKey, write_whole};
use consilium_protocol::Millis;
use serde::Deserialize;

use crate::ending::CliError;
use crate::moment::span;

const CONFIG_FILE: &str = "consilium.toml";

/// The file that makes a folder a member's: the certificate.
const CERTIFICATE_FILE: &str = "identity.crt";

const KEY_FILE: &str = "identity.key";

/// A certificate that ends within this is worth a word: two weeks, a holiday.
const RENEW_WITHIN_MS: u64 = 14 * 24 * 60 * 60 * 1000;

/// Longest configuration, token or other small text that is read.
const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A member's folder. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    coordinator: String,
}

impl Home {
    /// The folder named on the command line, else by the environment, else `~/.consilium`.
    pub(crate) fn resolve(named: Option<PathBuf>) -> Result<Self, CliError> {
        Self::choose(named, |variable| std::env::var_os(variable))
    }

    fn choose(
        named: Option<PathBuf>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CliError> {
        let set = |variable| environment(variable).filter(|value| !value.is_empty());
        let folder = named
            .or_else(|| set("CONSILIUM_HOME").map(PathBuf::from))
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".consilium")))
            .ok_or(CliError::NoHome)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The member's credentials, and the coordinator's `host:port`.
    pub(crate) fn open(&self) -> Result<(Credentials, String), CliError> {
        if !self.folder.join(CERTIFICATE_FILE).exists() {
            return Err(CliError::NotEnrolled {
                home: self.folder.clone(),
            });
        }
        let credentials = Credentials::load(&self.folder)?;
        Ok((credentials, self.config()?.coordinator))
    }

    /// What to tell a member whose certificate ends soon: one that has ended takes an invitation.
    pub(crate) fn reminder(&self, now: Millis) -> Option<String> {
        let ends = Credentials::load(&self.folder).ok()?.expires_at();
        let left_ms = ends.since_ms(now);
        (0 < left_ms && left_ms < RENEW_WITHIN_MS).then(|| {
            format!(
                "note: this certificate ends in {}; renew it: consilium renew",
                span(left_ms)
            )
        })
    }

    /// Prepares the folder for a member to come: its key, and where the coordinator is. What an
    /// enrolment left that did not come to its end is used again.
    pub(crate) fn prepare(&self, coordinator: &str) -> Result<MemberKey, CliError> {
        if self.folder.join(CERTIFICATE_FILE).exists() {
            return Err(CliError::HomeTaken {
                home: self.folder.clone(),
            });
        }
        let key = match self.folder.join(KEY_FILE).exists() {
            true => MemberKey::load(&self.folder)?,
            false => {
                let key = MemberKey::generate()?;
                key.save(&self.folder)?;
                key
            }
        };
        let address = toml::Value::from(coordinator);
        let text = format!(
            "# Consilium, the command line. Where the coordinator is: host:port.\ncoordinator = {address}\n"
        );
        replace(&self.folder.join(CONFIG_FILE), text.as_bytes())?;
        Ok(key)
    }

    fn config(&self) -> Result<Config, CliError> {
        let path = self.folder.join(CONFIG_FILE);
        let text = read_small(&path)?;
        toml::from_str(&text).map_err(|error| CliError::Config {
            path,
            message: error.to_string().trim_end().to_owned(),
        })
    }
}

/// Reads a small text.
pub(crate) fn read_small(path: &Path) -> Result<String, CliError> {
    let not_read = |source| CliError::NotRead {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(not_read)?;
    small_text(file).map_err(not_read)
}

/// Reads a small text to its end.
pub(crate) fn small_text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(SMALL_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > SMALL_FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {SMALL_FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}

/// Writes or replaces a file: whole, or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    write_whole(path, &part, bytes).map_err(|error| {
        // What could not be written whole helps nobody.
        fs::remove_file(&part).ok();
        CliError::NotWritten {
            path: path.to_owned(),
            source: error.source,
        }
    })
}

#[cfg(test)]
mod tests {
    use consilium_link::{CertificateAuthority, Identity};
    use consilium_protocol::Role;

    use super::*;

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = |variable: &str| match variable {
            "CONSILIUM_HOME" => Some("/env".into()),
            _ => Some("/people/ada".into()),
        };
        let folder = |home: Result<Home, CliError>| home.unwrap().folder;
        assert_eq!(
            folder(Home::choose(Some("/named".into()), environment)),
            Path::new("/named")
        );
        assert_eq!(folder(Home::choose(None, environment)), Path::new("/env"));
        let only_home = |variable: &str| (variable == "HOME").then(|| "/people/ada".into());
        assert_eq!(
            folder(Home::choose(None, only_home)),
            Path::new("/people/ada/.consilium")
        );
        assert!(matches!(
            Home::choose(None, |_| Some("".into())),
            Err(CliError::NoHome)
        ));
    }

    #[test]
    fn a_key_that_an_unfinished_enrolment_left_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            folder: folder.path().join("ada"),
        };
        assert!(matches!(home.open(), Err(CliError::NotEnrolled { .. })));
        home.prepare("hub:4433").unwrap();
        let key = fs::read(home.folder.join(KEY_FILE)).unwrap();
        home.prepare("other:4433").unwrap();
        assert_eq!(fs::read(home.folder.join(KEY_FILE)).unwrap(), key);
        assert_eq!(home.config().unwrap().coordinator, "other:4433");
        fs::write(home.folder.join(CERTIFICATE_FILE), "").unwrap();
        assert!(matches!(
            home.prepare("hub:4433"),
            Err(CliError::HomeTaken { .. })
        ));
    }

    #[test]
    fn a_member_is_reminded_before_the_certificate_ends_and_not_after() {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            folder: folder.path().join("ada"),
        };
        let now = Millis(1_795_526_776_000);
        let authority = CertificateAuthority::create("Cardiology", now).unwrap();
        let key = MemberKey::generate().unwrap();
        let request = key.certificate_request().unwrap();
        let ada = Identity::new(Role::Researcher, "ada".parse().unwrap());
        let leaf = authority.issue(&request, &ada, 90 * DAY_MS, now).unwrap();
        Credentials::new(key, &leaf, authority.anchor().clone())
            .unwrap()
            .save(&home.folder)
            .unwrap();
        let after = |days: u64| home.reminder(now.plus_ms(days * DAY_MS));
        assert_eq!(after(0), None);
        assert_eq!(after(75), None);
        assert!(after(80).unwrap().contains("ends in 10 d; renew it"));
        // Then the coordinator says so itself.
        assert_eq!(after(91), None);
    }

    #[test]
    fn a_configuration_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            folder: folder.path().to_owned(),
        };
        let path = folder.path().join(CONFIG_FILE);
        for text in [
            "",
            "coordinator = 4433",
            "coordinator = \"a:1\"\nserver = \"b\"",
            "]",
        ] {
            fs::write(&path, text).unwrap();
            let error = home.config().unwrap_err().to_string();
            assert!(error.contains(CONFIG_FILE), "{error}");
        }
        fs::write(&path, vec![b'#'; 70_000]).unwrap();
        assert!(matches!(home.config(), Err(CliError::NotRead { .. })));
    }
}
