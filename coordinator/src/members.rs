//! Who is a member: the allow-list, as the journal makes it.
//!
//! A certificate says who a caller is; this list says whether that member is
//! still one. Every connection ends at the coordinator, so leaving this list
//! is all that eviction needs (docs/decisions/0003-eviction.md).

use std::collections::BTreeMap;

use consilium_protocol::message::{Member, MemberState};
use consilium_protocol::{Digest, MemberName, Millis, Refusal, RefusalCode, Role};

use crate::event::Event;

/// The consortium's members and open invitations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<(Role, MemberName), Standing>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    /// The invitation that is open: its token's digest and last moment.
    invitation: Option<(Digest, Millis)>,
    /// Certificates that are good, newest last, with their last moment. The one
    /// before the newest stays good until it ends, for a renewal under way.
    certificates: Vec<(Digest, Millis)>,
    evicted: bool,
}

/// Certificates of one member that are good at one time: the newest and the one it replaces.
const CERTIFICATES_KEPT: usize = 2;

impl Members {
    /// Takes one journal entry into account; entries about runs change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::MemberInvited {
                role,
                name,
                token,
                expires_at_ms,
                ..
            } => {
                let standing = self.standing(*role, name);
                standing.invitation = Some((*token, Millis(*expires_at_ms)));
            }
            Event::MemberEnrolled {
                role,
                name,
                certificate,
                expires_at_ms,
            } => {
                let standing = self.standing(*role, name);
                *standing = Standing {
                    certificates: vec![(*certificate, Millis(*expires_at_ms))],
                    ..Standing::default()
                };
            }
            Event::CertificateRenewed {
                role,
                name,
                certificate,
                expires_at_ms,
            } => {
                let certificates = &mut self.standing(*role, name).certificates;
                certificates.push((*certificate, Millis(*expires_at_ms)));
                let surplus = certificates.len().saturating_sub(CERTIFICATES_KEPT);
                certificates.drain(..surplus);
            }
            Event::MemberEvicted { role, name, .. } => {
                *self.standing(*role, name) = Standing {
                    evicted: true,
                    ..Standing::default()
                };
            }
            _ => {}
        }
    }

    fn standing(&mut self, role: Role, name: &MemberName) -> &mut Standing {
        self.members.entry((role, name.clone())).or_default()
    }

    /// Whether this certificate belongs to a member now.
    ///
    /// # Errors
    /// [`RefusalCode::NotAMember`], saying whether the member was evicted or its
    /// certificate has ended.
    pub fn admit(
        &self,
        role: Role,
        name: &MemberName,
        certificate: Digest,
        now: Millis,
    ) -> Result<(), Refusal> {
        let standing = self.members.get(&(role, name.clone()));
        let ends_at = standing
            .and_then(|standing| {
                standing
                    .certificates
                    .iter()
                    .find(|(known, _)| *known == certificate)
            })
            .map(|(_, ends_at)| *ends_at);
        let reason = match (ends_at, standing) {
            (Some(ends_at), _) if now <= ends_at => return Ok(()),
            (Some(_), _) => format!("the certificate of {role} `{name}` has expired"),
            (None, Some(standing)) if standing.evicted => format!("{role} `{name}` was evicted"),
            (None, Some(_)) => {
                format!("{role} `{name}` uses a certificate that a newer one has replaced")
            }
            (None, None) => format!("{role} `{name}` is not a member"),
        };
        Err(Refusal::new(
            RefusalCode::NotAMember,
            reason,
            "ask an administrator of the consortium for a new invitation",
        ))
    }

    /// Whether somebody of this role and name is enrolled.
    #[must_use]
    pub fn is_enrolled(&self, role: Role, name: &MemberName) -> bool {
        self.members
            .get(&(role, name.clone()))
            .is_some_and(|standing| !standing.certificates.is_empty())
    }

    /// Whom a token makes a member, if it is good now. The comparison is of
    /// digests of 256 random bits, so its timing tells nothing.
    ///
    /// # Errors
    /// [`RefusalCode::BadToken`] for a token that was used, has expired or never was.
    pub fn redeem(
        &self,
        role: Role,
        name: &MemberName,
        token: Digest,
        now: Millis,
    ) -> Result<(), Refusal> {
        let open = self
            .members
            .get(&(role, name.clone()))
            .and_then(|standing| standing.invitation);
        let reason = match open {
            Some((expected, expires_at)) if expected == token && now <= expires_at => return Ok(()),
            Some((expected, _)) if expected == token => "the invitation has expired",
            _ => "the invitation was used already, was replaced by a newer one, or never was",
        };
        Err(Refusal::new(
            RefusalCode::BadToken,
            format!("{reason} ({role} `{name}`)"),
            "ask an administrator for a new one: consilium invite",
        ))
    }

    /// Everybody, for the list of members.
    pub fn list(&self, connected: impl Fn(Role, &MemberName) -> bool) -> Vec<Member> {
        self.members
            .iter()
            .map(|((role, name), standing)| Member {
                role: *role,
                name: name.clone(),
                state: match standing {
                    Standing { evicted: true, .. } => MemberState::Evicted,
                    Standing { certificates, .. } if certificates.is_empty() => {
                        MemberState::Invited
                    }
                    _ => MemberState::Enrolled,
                },
                connected: connected(*role, name),
                certificate_expires_at_ms: standing.certificates.last().map_or(0, |(_, ms)| ms.0),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Digest = Digest([1; 32]);
    const NEW: Digest = Digest([2; 32]);
    const NEWEST: Digest = Digest([3; 32]);
    const TOKEN: Digest = Digest([9; 32]);

    fn cleveland() -> MemberName {
        "cleveland".parse().unwrap()
    }

    fn after(events: &[Event]) -> Members {
        let mut members = Members::default();
        events.iter().for_each(|event| members.apply(event));
        members
    }

    fn invited() -> Event {
        Event::MemberInvited {
            role: Role::Site,
            name: cleveland(),
            token: TOKEN,
            expires_at_ms: 100,
            by: "root".parse().unwrap(),
        }
    }

    fn enrolled(certificate: Digest) -> Event {
        Event::MemberEnrolled {
            role: Role::Site,
            name: cleveland(),
            certificate,
            expires_at_ms: 1000,
        }
    }

    fn renewed(certificate: Digest) -> Event {
        Event::CertificateRenewed {
            role: Role::Site,
            name: cleveland(),
            certificate,
            expires_at_ms: 2000,
        }
    }

    fn evicted() -> Event {
        Event::MemberEvicted {
            role: Role::Site,
            name: cleveland(),
            reason: "left".into(),
            by: "root".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_makes_a_member_once_and_in_time() {
        let redeem = |members: &Members, token, now| {
            members
                .redeem(Role::Site, &cleveland(), token, Millis(now))
                .map_err(|r| r.reason)
        };
        let open = after(&[invited()]);
        assert!(redeem(&open, TOKEN, 100).is_ok());
        assert!(redeem(&open, TOKEN, 101).unwrap_err().contains("expired"));
        assert!(redeem(&open, OLD, 1).unwrap_err().contains("never was"));
        assert!(
            open.redeem(Role::Admin, &cleveland(), TOKEN, Millis(1))
                .is_err()
        );
        let used = after(&[invited(), enrolled(OLD)]);
        assert!(
            redeem(&used, TOKEN, 1)
                .unwrap_err()
                .contains("used already")
        );
    }

    #[test]
    fn a_certificate_is_good_until_it_is_replaced_twice_or_its_member_evicted() {
        let good = |members: &Members, certificate| {
            members
                .admit(Role::Site, &cleveland(), certificate, Millis(1))
                .is_ok()
        };
        let members = after(&[invited(), enrolled(OLD), renewed(NEW)]);
        assert!(good(&members, OLD) && good(&members, NEW) && !good(&members, NEWEST));
        assert!(
            members
                .admit(Role::Admin, &cleveland(), NEW, Millis(1))
                .is_err()
        );
        assert!(
            members
                .admit(Role::Site, &cleveland(), OLD, Millis(1001))
                .is_err()
        );
        let members = after(&[enrolled(OLD), renewed(NEW), renewed(NEWEST)]);
        assert!(!good(&members, OLD) && good(&members, NEWEST));
        let members = after(&[enrolled(OLD), renewed(NEW), evicted()]);
        assert!(!good(&members, OLD) && !good(&members, NEW));
        let again = after(&[enrolled(OLD), evicted(), invited(), enrolled(NEW)]);
        assert!(good(&again, NEW) && !good(&again, OLD));
    }
}
