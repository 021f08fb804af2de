//! How messages travel: QUIC with mutual TLS 1.3, outwards from each node. The only
//! room that names quinn, rustls and rcgen; nothing above it sees their types.
//!
//! - Who: [`CertificateAuthority`] issues certificates, [`Credentials`] hold one,
//!   [`Identity`] is what one says, [`verify_run_file`] and [`verify_query`] are what one signed.
//! - Where: [`Listener`] at the coordinator, [`Dialer`] everywhere else, [`Backoff`] in between.
//! - What: a [`Connection`] carries requests; each is a [`RequestStream`] of messages in
//!   frames and tensor [`Chunk`]s beside them.
//! - How much: [`limits`].
//!
//! Deliberately absent: datagrams, unidirectional streams, 0-RTT and session resumption
//! (each connection proves both ends anew), and any way for a coordinator to dial a node.

mod admission;
mod anchor;
mod authority;
mod backoff;
mod close;
mod congestion;
mod connection;
mod credentials;
mod dialer;
mod error;
mod greeting;
mod host;
mod identity;
mod key_file;
pub mod limits;
mod linkage;
mod listener;
mod lives;
mod log;
mod masks;
mod member_key;
mod restart;
mod sealing;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod whole_file;

pub use anchor::TrustAnchor;
pub use authority::{AUTHORITY_LIFETIME_MS, BACKDATED_MS, CertificateAuthority};
pub use backoff::{BACKOFF_CAP_MS, BACKOFF_FIRST_MS, Backoff};
pub use close::{CloseCode, Closed};
pub use connection::{Connection, ConnectionStats, Peer};
pub use credentials::{
    Credentials, SIGNATURE_BYTES, verify_budget_question, verify_query, verify_run_file,
    verify_search,
};
pub use dialer::Dialer;
pub use error::{DialError, IdentityError, LinkError, ListenError};
pub use host::{asked_to_stop, wall_clock};
pub use identity::{
    Fingerprint, Identity, certificate_expires_at, certificate_issued_at, certificate_key,
};
pub use limits::LinkLimits;
pub use linkage::{LinkageKey, QueryLinkage};
pub use listener::Listener;
pub use lives::{Lives, StorageFailure, serve_in_lives};
pub use log::log_to_stderr;
pub use masks::{MaskError, MaskKey, SiteKeys};
pub use member_key::{MemberKey, certificate_of_pem, pem_certificate, read_certificate};
pub use sealing::{ReplyKey, SealError, seal};
pub use stream::{CHUNK_HEADER_BYTES, Chunk, RequestStream, StreamReceiver, StreamSender};
pub use whole_file::{NotWhole, sync_folder_of, write_whole};
