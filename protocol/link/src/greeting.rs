//! The first exchange on every connection: each end shows the protocol version it speaks.
//!
//! In TLS 1.3 a client counts the handshake as done before the server has looked at its
//! certificate. Only the answer to the greeting tells the dialer that it was let in, so
//! that a refused certificate is an error of `dial` and not of some later request.
//!
//! The greeting is a frame header with no payload, each way, on the first stream.

use consilium_protocol::frame::{FrameError, HEADER_BYTES, Header};
use quinn::{RecvStream, SendStream};

use crate::close::{CloseCode, Closed};
use crate::error::LinkError;

/// The dialer's part.
pub(crate) async fn greet(quic: &quinn::Connection) -> Result<(), LinkError> {
    let (mut send, mut receive) = quic.open_bi().await.map_err(Closed::from)?;
    show_version(quic, &mut send).await?;
    read_version(quic, &mut receive).await
}

/// The listener's part. A peer of another version is shown ours before it is turned away.
pub(crate) async fn answer(quic: &quinn::Connection) -> Result<(), LinkError> {
    let (mut send, mut receive) = quic.accept_bi().await.map_err(Closed::from)?;
    let theirs = read_version(quic, &mut receive).await;
    match theirs {
        Ok(()) => show_version(quic, &mut send).await,
        Err(error) => {
            let code = match error {
                LinkError::Frame(FrameError::OtherVersion { .. }) => CloseCode::Version,
                _ => CloseCode::Protocol,
            };
            quic.close(code.to_wire(), crate::close::cut(&error.to_string()));
            Err(error)
        }
    }
}

async fn show_version(quic: &quinn::Connection, send: &mut SendStream) -> Result<(), LinkError> {
    let header = Header::for_payload(0)?.to_bytes();
    send.write_all(&header).await.map_err(|_| lost(quic))?;
    send.finish().map_err(|_| LinkError::Finished)
}

async fn read_version(quic: &quinn::Connection, receive: &mut RecvStream) -> Result<(), LinkError> {
    let mut header = [0; HEADER_BYTES];
    receive
        .read_exact(&mut header)
        .await
        .map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(got) => FrameError::Truncated {
                got,
                wanted: HEADER_BYTES,
            }
            .into(),
            quinn::ReadExactError::ReadError(_) => lost(quic),
        })?;
    match Header::parse(header)?.payload_bytes() {
        0 => Ok(()),
        _ => Err(FrameError::NotAMessage.into()),
    }
}

fn lost(quic: &quinn::Connection) -> LinkError {
    match quic.close_reason() {
        Some(error) => Closed::from(error).into(),
        None => LinkError::Ended,
    }
}
