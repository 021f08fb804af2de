//! What can go wrong at the edge, one enum for each boundary, each naming the guilty.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use consilium_protocol::Role;
use consilium_protocol::frame::FrameError;
use consilium_protocol::limits::CHUNK_BYTES_MAX;

use crate::close::Closed;
use crate::identity::{Fingerprint, Identity};
use crate::limits::REQUEST_BYTES_MAX;

/// A key, certificate, certificate request or signature that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read `{path}`: {source}")]
    NotRead { path: PathBuf, source: io::Error },
    #[error("cannot write `{path}`: {source}")]
    NotWritten { path: PathBuf, source: io::Error },
    #[error("`{path}` exists already and holds a key that is not overwritten; move it away first")]
    Exists { path: PathBuf },
    #[error(
        "the key file `{path}` can be read by others than its owner (mode {mode:04o}); run `chmod 600 {path}`"
    )]
    KeyFileOpen { path: PathBuf, mode: u32 },
    #[error("`{path}` is not a PEM file of the kind expected")]
    NotPem { path: PathBuf },
    #[error("`{path}` holds no Ed25519 key")]
    NotAKey { path: PathBuf },
    #[error(
        "`{path}` holds no linkage key; it is 64 hexadecimal digits, made by `consilium-node linkage-key`"
    )]
    NotALinkageKey { path: PathBuf },
    #[error("the consortium's name must be 1 to 64 printable characters")]
    ConsortiumName,
    #[error("the certificate cannot be read")]
    NotACertificate,
    #[error("the certificate carries no member's identity (`consilium:<role>:<name>`)")]
    NoIdentity,
    #[error("this is not a certificate authority's certificate")]
    NotAnAuthority,
    #[error("a fingerprint is 64 hexadecimal digits, grouped by `-` or not")]
    NotAFingerprint,
    #[error("the certificate request cannot be read")]
    NotARequest,
    #[error("the certificate request is not signed by the key it names")]
    RequestTampered,
    #[error("the certificate request names a key that is not Ed25519")]
    RequestKeyKind,
    #[error("the certificate was not issued by this consortium's authority")]
    Foreign,
    #[error("the certificate has expired; renew it, or enrol again with a new invitation")]
    Expired,
    #[error("the certificate is not valid yet; check this machine's clock")]
    NotYetValid,
    #[error("the certificate may not be used for this")]
    WrongUse,
    #[error("the certificate belongs to another key than the one in this folder")]
    OtherKey,
    #[error("{identity} may not sign this; it takes a {wanted}")]
    WrongRole { identity: Identity, wanted: String },
    #[error("the signature does not belong to these bytes and this certificate")]
    BadSignature,
    #[error("the cryptographic library failed: {what}")]
    Cryptography { what: String },
}

/// Why the coordinator cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "UDP port {} on {} is in use by another program; stop that program or listen on another port",
        address.port(), address.ip()
    )]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on UDP {address}: {source}")]
    Socket {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{identity} may not listen: this takes a certificate of the role coordinator")]
    NotACoordinator { identity: Identity },
    #[error("the certificate cannot be used to listen: {what}")]
    Tls { what: String },
}

/// Why a connection to the coordinator did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("`{address}` is not an address; write host:port, such as coordinator.example.org:4433")]
    NotAnAddress { address: String },
    #[error(
        "the name `{host}` is not known here: {source}; check the spelling and this machine's DNS"
    )]
    UnknownHost { host: String, source: io::Error },
    #[error("{address} cannot be reached from here: {what}; check this machine's network")]
    Unreachable { address: SocketAddr, what: String },
    #[error(
        "{address} did not answer in {waited_ms} ms; is the coordinator running there, and does the firewall let UDP out to port {}?",
        address.port()
    )]
    TimedOut { address: SocketAddr, waited_ms: u64 },
    #[error(
        "{address} belongs to another consortium than the one expected ({expected}); check the address and the invitation"
    )]
    WrongConsortium {
        address: SocketAddr,
        expected: Fingerprint,
    },
    #[error("{address} is not a coordinator but {identity}")]
    NotACoordinator {
        address: SocketAddr,
        identity: Identity,
    },
    #[error(
        "the certificate of the coordinator at {address} is not valid: {cause}; check both clocks, or ask its operator to renew it"
    )]
    CoordinatorCertificate { address: SocketAddr, cause: String },
    #[error("our certificate has expired, says {address}; enrol again with a new invitation")]
    CertificateExpired { address: SocketAddr },
    #[error("our certificate was not issued by the consortium at {address}; enrol there first")]
    CertificateForeign { address: SocketAddr },
    #[error("{address} does not accept our certificate (TLS alert {alert})")]
    CertificateRefused { address: SocketAddr, alert: u8 },
    #[error("{address} evicted this member: {reason}")]
    Evicted { address: SocketAddr, reason: String },
    #[error("{address} has no room for another connection now; try again later")]
    Busy { address: SocketAddr },
    #[error("{address} does not speak this version of the protocol{}; update the older side", match theirs { Some(v) => format!(" but version {v}"), None => String::new() })]
    VersionMismatch {
        address: SocketAddr,
        theirs: Option<u16>,
    },
    #[error("the connection to {address} broke before it stood: {cause}")]
    Broken {
        address: SocketAddr,
        cause: LinkError,
    },
    #[error("our own credentials cannot be used: {what}")]
    Credentials { what: String },
}

/// What can happen to a connection that stood, and to a stream on it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer ended the stream where a message was due")]
    Ended,
    #[error("a request of {bytes} bytes is over the limit of {REQUEST_BYTES_MAX}")]
    RequestTooLong { bytes: usize },
    #[error("the peer ended the stream after {got} of {wanted} bytes of a chunk")]
    ChunkTruncated { got: usize, wanted: usize },
    #[error("a chunk of {bytes} bytes is over the limit of {limit}")]
    ChunkTooLong { bytes: usize, limit: usize },
    #[error(
        "a chunk of {bytes} bytes does not match its hash; it was damaged or forged on the way"
    )]
    ChunkHash { bytes: usize },
    #[error(
        "a chunk may be at most {CHUNK_BYTES_MAX} bytes and at least one; this one has {bytes}"
    )]
    ChunkSize { bytes: usize },
    #[error("the peer made no progress for {waited_ms} ms")]
    Stalled { waited_ms: u64 },
    #[error("the peer did not complete a message or chunk within {waited_ms} ms")]
    TooSlow { waited_ms: u64 },
    #[error("no answer began within {waited_ms} ms")]
    NoAnswer { waited_ms: u64 },
    #[error("the peer gave this stream up (code {code})")]
    GivenUp { code: u64 },
    #[error("this stream is finished on our side")]
    Finished,
    #[error("a stranger may open one request and opened more")]
    StrangerRequests,
}

impl DialError {
    /// A word for programs; it never changes meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "no-answer",
            Self::UnknownHost { .. } => "unknown-host",
            Self::NotAnAddress { .. } => "bad-address",
            Self::WrongConsortium { .. } => "wrong-consortium",
            // Whether it hears of it while it dials or just after: one code.
            Self::Evicted { .. } => "not-admitted",
            Self::CertificateExpired { .. } => "certificate-expired",
            Self::Busy { .. } => "busy",
            Self::VersionMismatch { .. } => "other-version",
            _ => "not-connected",
        }
    }
}

impl IdentityError {
    pub(crate) fn wrong_role(identity: Identity, allowed: &[Role]) -> Self {
        let wanted: Vec<_> = allowed.iter().map(|role| role.as_str()).collect();
        Self::WrongRole {
            identity,
            wanted: wanted.join(" or "),
        }
    }

    pub(crate) fn cryptography(error: impl std::fmt::Display) -> Self {
        Self::Cryptography {
            what: error.to_string(),
        }
    }
}
