//! How members come, stay and go.

use serde::{Deserialize, Serialize};

use super::{MessageError, parse};
use crate::ids::{DatasetName, MemberName, Role};
use crate::limits::{CHAIN_MAX, DATASETS_MAX};
use crate::wire;

/// A certificate fresh from the consortium's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The authority's own certificate, DER.
    pub ca: Vec<u8>,
}

/// A node's first word on a connection. Names only: a count would be computed from records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub software_version: String,
    pub datasets: Vec<DatasetName>,
}

/// An administrator's wish for a new member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub role: Role,
    pub name: MemberName,
    pub lifetime_s: u64,
}

/// The one-time token that makes a member.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    pub token: String,
    pub expires_at_ms: u64,
}

impl std::fmt::Debug for Invitation {
    /// The token is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    Invited,
    Enrolled,
    Evicted,
}

/// One line of the list of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub role: Role,
    pub name: MemberName,
    pub state: MemberState,
    pub connected: bool,
    /// Zero where there is no certificate.
    pub certificate_expires_at_ms: u64,
}

impl From<Certificate> for wire::Certificate {
    fn from(certificate: Certificate) -> Self {
        Self {
            chain: certificate.chain.into_iter().map(Into::into).collect(),
            ca: certificate.ca.into(),
        }
    }
}

impl TryFrom<wire::Certificate> for Certificate {
    type Error = MessageError;

    fn try_from(wire: wire::Certificate) -> Result<Self, MessageError> {
        parse::at_most("chain", wire.chain.len() as u64, CHAIN_MAX as u64)?;
        Ok(Self {
            chain: wire
                .chain
                .iter()
                .map(|der| parse::der("chain", der))
                .collect::<Result<_, _>>()?,
            ca: parse::der("ca", &wire.ca)?,
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            software_version: hello.software_version,
            datasets: hello.datasets.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = MessageError;

    fn try_from(wire: wire::Hello) -> Result<Self, MessageError> {
        parse::at_most("datasets", wire.datasets.len() as u64, DATASETS_MAX as u64)?;
        Ok(Self {
            software_version: parse::sentence("software_version", wire.software_version)?,
            datasets: wire
                .datasets
                .iter()
                .map(|name| parse::id("datasets", name))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Invite> for wire::Invite {
    fn from(invite: Invite) -> Self {
        Self {
            role: invite.role.to_string(),
            name: invite.name.to_string(),
            lifetime_s: invite.lifetime_s,
        }
    }
}

impl TryFrom<wire::Invite> for Invite {
    type Error = MessageError;

    fn try_from(wire: wire::Invite) -> Result<Self, MessageError> {
        Ok(Self {
            role: parse::id("role", &wire.role)?,
            name: parse::id("name", &wire.name)?,
            lifetime_s: wire.lifetime_s,
        })
    }
}

impl From<Invitation> for wire::Invitation {
    fn from(invitation: Invitation) -> Self {
        Self {
            token: invitation.token,
            expires_at_ms: invitation.expires_at_ms,
        }
    }
}

impl TryFrom<wire::Invitation> for Invitation {
    type Error = MessageError;

    fn try_from(wire: wire::Invitation) -> Result<Self, MessageError> {
        Ok(Self {
            token: parse::token("token", wire.token)?,
            expires_at_ms: wire.expires_at_ms,
        })
    }
}

impl From<Member> for wire::Member {
    fn from(member: Member) -> Self {
        Self {
            role: member.role.to_string(),
            name: member.name.to_string(),
            state: match member.state {
                MemberState::Invited => "invited",
                MemberState::Enrolled => "enrolled",
                MemberState::Evicted => "evicted",
            }
            .into(),
            connected: member.connected,
            certificate_expires_at_ms: member.certificate_expires_at_ms,
        }
    }
}

impl TryFrom<wire::Member> for Member {
    type Error = MessageError;

    fn try_from(wire: wire::Member) -> Result<Self, MessageError> {
        Ok(Self {
            role: parse::id("role", &wire.role)?,
            name: parse::id("name", &wire.name)?,
            state: match wire.state.as_str() {
                "invited" => MemberState::Invited,
                "enrolled" => MemberState::Enrolled,
                "evicted" => MemberState::Evicted,
                _ => {
                    return Err(MessageError::Invalid {
                        field: "state",
                        problem: "is none of invited, enrolled, evicted".into(),
                    });
                }
            },
            connected: wire.connected,
            certificate_expires_at_ms: wire.certificate_expires_at_ms,
        })
    }
}
