//! Names, parsed once into types that cannot hold anything else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::NAME_BYTES_MAX;

/// A name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {what} may not be empty")]
    Empty { what: &'static str },
    #[error("a {what} may be at most {NAME_BYTES_MAX} characters long")]
    TooLong { what: &'static str },
    #[error(
        "a {what} begins with a letter or digit and holds lower-case letters, digits, `-`, `_` and `.` only"
    )]
    BadCharacter { what: &'static str },
    #[error("`{text}` is not a role; it is one of coordinator, site, researcher, officer, admin")]
    NotARole { text: String },
}

/// Lower case only, so that two members cannot differ by case; no path separators,
/// so that a name can name a folder.
fn check(text: &str, what: &'static str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what });
    }
    let letter_or_digit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(letter_or_digit)
        || !text
            .chars()
            .all(|c| letter_or_digit(c) || "-_.".contains(c))
    {
        return Err(NameError::BadCharacter { what });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $what)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A member of the consortium, whatever its role.
    MemberName, "member name"
);
name!(
    /// An institution.
    SiteName, "site name"
);
name!(
    /// A research project, as policies name it.
    ProjectName, "project name"
);
name!(
    /// A data set, as a site offers it.
    DatasetName, "data set name"
);
name!(
    /// One run of one run file.
    RunId, "run id"
);

impl From<SiteName> for MemberName {
    fn from(site: SiteName) -> Self {
        Self(site.0)
    }
}

impl From<MemberName> for SiteName {
    fn from(member: MemberName) -> Self {
        Self(member.0)
    }
}

/// What data is used for: a GA4GH Data Use Ontology shorthand such as `HMB`
/// (health, medical or biomedical research) or `DS` (disease specific).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(String);

impl Purpose {
    /// The purpose as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Purpose {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "purpose";
        check(&text.to_ascii_lowercase(), WHAT)?;
        Ok(Self(text.to_ascii_uppercase()))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a member may do. It stands in the certificate, never in a message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Aggregates and federates; sees no record.
    Coordinator,
    /// An institution's node.
    Site,
    /// Launches runs and searches.
    Researcher,
    /// Writes and signs policy; verifies what left.
    Officer,
    /// Invites and evicts members.
    Admin,
}

impl Role {
    /// The role as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Site => "site",
            Self::Researcher => "researcher",
            Self::Officer => "officer",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        [
            Self::Coordinator,
            Self::Site,
            Self::Researcher,
            Self::Officer,
            Self::Admin,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| NameError::NotARole {
            text: text.chars().take(NAME_BYTES_MAX).collect(),
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_always_name_a_folder() {
        for good in ["cleveland", "long-beach.va", "0", "r_1"] {
            assert_eq!(good.parse::<SiteName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "a\\b",
            "A",
            "é",
            "a b",
            "a\0",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<SiteName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_purpose_is_one_whatever_its_case() {
        assert_eq!("hmb".parse::<Purpose>(), "HMB".parse::<Purpose>());
        assert!("H M".parse::<Purpose>().is_err());
    }

    #[test]
    fn a_role_reads_back() {
        for role in [
            Role::Coordinator,
            Role::Site,
            Role::Researcher,
            Role::Officer,
            Role::Admin,
        ] {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
