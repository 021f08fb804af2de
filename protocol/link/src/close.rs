//! Why a connection ended, as a code on the wire and as a cause for a person.

use std::fmt;

use quinn::{ConnectionError, VarInt};

/// The longest reason that travels, and the longest believed.
const REASON_BYTES_MAX: usize = 200;

/// The application close codes. Numbers are part of the protocol and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Nothing more to say.
    Done,
    /// The member was evicted.
    Evicted,
    /// The member is not on the allow-list.
    NotAdmitted,
    /// No room now; try again later.
    Busy,
    /// This side is shutting down; dial again in a while.
    ShuttingDown,
    /// The peer broke the protocol.
    Protocol,
    /// The peer speaks another version.
    Version,
    /// A stranger asked for more than strangers get, or took too long.
    StrangerLimit,
    /// A newer connection of the same member took this one's place.
    Replaced,
    /// A code that this build does not know.
    Other(u64),
}

impl CloseCode {
    const NAMED: [(Self, u32); 9] = [
        (Self::Done, 0),
        (Self::Evicted, 1),
        (Self::NotAdmitted, 2),
        (Self::Busy, 3),
        (Self::ShuttingDown, 4),
        (Self::Protocol, 5),
        (Self::Version, 6),
        (Self::StrangerLimit, 7),
        (Self::Replaced, 8),
    ];

    pub(crate) fn to_wire(self) -> VarInt {
        if let Self::Other(code) = self {
            return VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        }
        let named = Self::NAMED.iter().find(|(code, _)| *code == self);
        VarInt::from_u32(named.map_or(0, |(_, number)| *number))
    }

    fn from_wire(number: u64) -> Self {
        Self::NAMED
            .iter()
            .find(|(_, known)| u64::from(*known) == number)
            .map_or(Self::Other(number), |(code, _)| *code)
    }
}

/// Why a connection is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// This side closed it.
    ByUs,
    /// The peer's program closed it and said why.
    ByPeer { code: CloseCode, reason: String },
    /// The peer refused the handshake with this TLS alert.
    Alert { alert: u8 },
    /// The peer has no room for another connection.
    Refused,
    /// Nothing was heard for the whole idle limit: the peer or the network is gone.
    Silent,
    /// The peer lost the connection's state; it has probably restarted.
    Restarted,
    /// Neither side speaks a QUIC version of the other.
    NoCommonVersion,
    /// One side broke the rules of QUIC or TLS.
    Broken { what: String },
}

impl std::error::Error for Closed {}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs => f.write_str("this side closed the connection"),
            Self::ByPeer {
                code: CloseCode::Evicted,
                reason,
            } => {
                write!(f, "the peer evicted this member: {reason}")
            }
            Self::ByPeer {
                code: CloseCode::Other(code),
                reason,
            } => {
                write!(
                    f,
                    "the peer closed the connection with code {code}: {reason}"
                )
            }
            Self::ByPeer { reason, .. } => write!(f, "the peer closed the connection: {reason}"),
            Self::Alert { alert } => {
                write!(f, "the peer refused the handshake with TLS alert {alert}")
            }
            Self::Refused => f.write_str("the peer has no room for another connection now"),
            Self::Silent => f.write_str("nothing was heard from the peer for too long"),
            Self::Restarted => {
                f.write_str("the peer has lost this connection; it has probably restarted")
            }
            Self::NoCommonVersion => f.write_str("the peer speaks another version of QUIC"),
            Self::Broken { what } => write!(f, "the connection broke: {what}"),
        }
    }
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::ByUs,
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::VersionMismatch => Self::NoCommonVersion,
            ConnectionError::ApplicationClosed(close) => Self::ByPeer {
                code: CloseCode::from_wire(close.error_code.into_inner()),
                reason: printable(&close.reason),
            },
            ConnectionError::ConnectionClosed(close) => {
                let code = u64::from(close.error_code);
                match alert_of(code) {
                    Some(alert) => Self::Alert { alert },
                    None if code == CONNECTION_REFUSED => Self::Refused,
                    None => Self::Broken {
                        what: printable(&close.reason),
                    },
                }
            }
            ConnectionError::TransportError(error) => Self::Broken {
                what: error.to_string(),
            },
            ConnectionError::CidsExhausted => Self::Broken {
                what: "no connection ids are left".to_owned(),
            },
        }
    }
}

/// A reason, cut to what travels.
pub(crate) fn cut(reason: &str) -> &[u8] {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    reason.as_bytes().get(..end).unwrap_or_default()
}

/// RFC 9000, section 20.1.
const CONNECTION_REFUSED: u64 = 0x2;

/// RFC 9001, section 4.8: 0x0100 to 0x01ff carry a TLS alert.
fn alert_of(code: u64) -> Option<u8> {
    (code & !0xff == 0x100).then_some((code & 0xff) as u8)
}

/// A peer's words, made safe for a terminal and a log.
fn printable(reason: &[u8]) -> String {
    let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
    String::from_utf8_lossy(reason)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_and_an_unknown_one_keeps_its_number() {
        for (code, number) in CloseCode::NAMED {
            assert_eq!(code.to_wire(), VarInt::from_u32(number));
            assert_eq!(CloseCode::from_wire(number.into()), code);
        }
        assert_eq!(CloseCode::from_wire(77), CloseCode::Other(77));
        assert_eq!(CloseCode::Other(77).to_wire(), VarInt::from_u32(77));
    }

    #[test]
    fn a_hostile_reason_is_cut_and_cannot_move_the_cursor() {
        let long = [b'a'; 5000];
        assert_eq!(printable(&long).len(), REASON_BYTES_MAX);
        assert_eq!(printable(b"\x1b[2Jgone\n"), " [2Jgone ");
        assert_eq!(cut(&"é".repeat(300)).len(), REASON_BYTES_MAX);
    }
}
