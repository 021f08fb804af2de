//! Frames and messages, as a hostile peer sends them.

use consilium_protocol::frame::{self, FrameError, HEADER_BYTES, Header};
use consilium_protocol::limits::FRAME_BYTES_MAX;
use consilium_protocol::message::{MessageError, Request, Response};
use consilium_protocol::wire;

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "message",
    holds,
    memory_bytes_max: 3 << 20,
    memory_per_byte_max: 8,
};

/// What is accepted is sent on in a frame that is accepted and says the same.
pub fn holds(bytes: &[u8]) {
    header(bytes);
    says_the_same::<wire::Request, Request>(bytes);
    says_the_same::<wire::Response, Response>(bytes);
}

fn header(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return;
    };
    match Header::parse(*first) {
        Ok(header) => {
            assert!(header.payload_bytes() <= FRAME_BYTES_MAX);
            assert_eq!(header.to_bytes(), *first);
            if rest.len() < header.payload_bytes() {
                let cut = frame::decode::<wire::Request>(bytes);
                assert!(matches!(cut, Err(FrameError::Truncated { .. })));
            }
        }
        Err(error) => assert_eq!(frame::decode::<wire::Request>(bytes), Err(error)),
    }
}

fn says_the_same<W, M>(bytes: &[u8])
where
    W: prost::Message + Default + From<M>,
    M: TryFrom<W, Error = MessageError> + Clone + PartialEq + std::fmt::Debug,
{
    let Ok(wire) = frame::decode::<W>(bytes) else {
        return;
    };
    let message = match M::try_from(wire) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let sent = frame::encode(&W::from(message.clone()));
    let received = sent
        .and_then(|sent| frame::decode::<W>(&sent))
        .map(M::try_from);
    assert_eq!(received, Ok(Ok(message)));
}
