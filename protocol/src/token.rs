//! The one-time token that makes a member, as an administrator passes it on.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::ids::{MemberName, Role};
use crate::limits::TOKEN_BYTES_MAX;

/// The first part of every token: its kind and version.
const PREFIX: &str = "consilium1";

/// `consilium1:<role>:<name>:<secret>:<CA fingerprint>`, so that whoever holds it
/// knows whom it makes a member and which consortium to trust.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    pub role: Role,
    pub name: MemberName,
    /// 256 random bits. The coordinator keeps only their SHA-256.
    secret: [u8; 32],
    /// SHA-256 of the consortium authority's certificate.
    pub authority: Digest,
}

/// The text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an enrolment token; copy the whole line that begins with `consilium1:` from the invitation"
)]
pub struct TokenError;

impl EnrolmentToken {
    /// A token around 32 bytes of fresh randomness.
    #[must_use]
    pub fn new(role: Role, name: MemberName, secret: [u8; 32], authority: Digest) -> Self {
        Self {
            role,
            name,
            secret,
            authority,
        }
    }

    /// What the coordinator keeps in place of the token.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// The text to pass on. It is a secret until it is used.
    #[must_use]
    pub fn expose(&self) -> String {
        format!(
            "{PREFIX}:{}:{}:{}:{}",
            self.role,
            self.name,
            Digest(self.secret),
            self.authority
        )
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError);
        }
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(TokenError);
        if next()? != PREFIX {
            return Err(TokenError);
        }
        let role = next()?.parse().map_err(|_| TokenError)?;
        let name = next()?.parse().map_err(|_| TokenError)?;
        let secret: Digest = next()?.parse().map_err(|_| TokenError)?;
        let authority = next()?.parse().map_err(|_| TokenError)?;
        match parts.next() {
            None => Ok(Self::new(role, name, secret.0, authority)),
            Some(_) => Err(TokenError),
        }
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentToken({}:{})", self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_does_not_show_its_secret() {
        let token = EnrolmentToken::new(
            Role::Site,
            "cleveland".parse().unwrap(),
            [7; 32],
            Digest([1; 32]),
        );
        assert_eq!(format!(" {}\n", token.expose()).parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("0707"));
        for bad in [
            "",
            "consilium1:site:x",
            &token.expose().replace("consilium1", "consilium2"),
            &token.expose().replace("site", "root"),
            &format!("{}:more", token.expose()),
        ] {
            assert_eq!(bad.parse::<EnrolmentToken>(), Err(TokenError), "{bad}");
        }
    }
}
