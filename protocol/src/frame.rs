//! A frame: eight bytes of header, then one message.
//!
//! ```text
//! 0      2         4            8
//! | "CS" | version | length, LE | payload (length bytes) |
//! ```
//!
//! The header is checked before a byte of payload is allocated.

use crate::limits::{FRAME_BYTES_MAX, FRAME_FIELDS_MAX};

/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = *b"CS";

/// The protocol that this build speaks.
pub const VERSION: u16 = 1;

/// Bytes of header before the payload.
pub const HEADER_BYTES: usize = 8;

/// A header that names a payload within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    payload_bytes: usize,
}

/// Why a frame cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the peer does not speak the consilium protocol (a frame must begin with `CS`)")]
    NotAFrame,
    #[error(
        "the peer speaks protocol version {theirs} and this build speaks {VERSION}; update the older side"
    )]
    OtherVersion { theirs: u16 },
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong { bytes: u64 },
    #[error("the frame ended after {got} of {wanted} bytes")]
    Truncated { got: usize, wanted: usize },
    #[error("a message of more than {FRAME_FIELDS_MAX} fields is over the limit")]
    TooManyFields,
    #[error("the frame's payload is not a valid message")]
    NotAMessage,
}

impl Header {
    /// The header for a payload of this length.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] over [`FRAME_BYTES_MAX`].
    pub fn for_payload(payload_bytes: usize) -> Result<Self, FrameError> {
        if payload_bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong {
                bytes: payload_bytes as u64,
            });
        }
        Ok(Self { payload_bytes })
    }

    /// Reads a header as it came from the network.
    ///
    /// # Errors
    /// Another magic, another version, or a length over the limit.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [m0, m1, v0, v1, l0, l1, l2, l3] = bytes;
        if [m0, m1] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let theirs = u16::from_le_bytes([v0, v1]);
        if theirs != VERSION {
            return Err(FrameError::OtherVersion { theirs });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        Self::for_payload(length as usize)
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [m0, m1] = MAGIC;
        let [v0, v1] = VERSION.to_le_bytes();
        // `for_payload` keeps the length far below 4 GiB.
        let [l0, l1, l2, l3] = u32::try_from(self.payload_bytes)
            .unwrap_or(u32::MAX)
            .to_le_bytes();
        [m0, m1, v0, v1, l0, l1, l2, l3]
    }

    /// How many bytes of payload follow.
    #[must_use]
    pub fn payload_bytes(self) -> usize {
        self.payload_bytes
    }
}

/// A whole frame around one message.
///
/// # Errors
/// [`FrameError::TooLong`] when the message does not fit in a frame.
pub fn encode(message: &impl prost::Message) -> Result<Vec<u8>, FrameError> {
    let header = Header::for_payload(message.encoded_len())?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + header.payload_bytes());
    frame.extend_from_slice(&header.to_bytes());
    message
        .encode(&mut frame)
        .map_err(|_| FrameError::NotAMessage)?;
    Ok(frame)
}

/// The message of one whole frame; the inverse of [`encode`].
///
/// # Errors
/// Any [`FrameError`]; bytes after the frame count as [`FrameError::NotAMessage`].
pub fn decode<M: prost::Message + Default>(frame: &[u8]) -> Result<M, FrameError> {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Truncated {
            got: frame.len(),
            wanted: HEADER_BYTES,
        });
    };
    let header = Header::parse(*header)?;
    if payload.len() < header.payload_bytes() {
        return Err(FrameError::Truncated {
            got: frame.len(),
            wanted: HEADER_BYTES + header.payload_bytes(),
        });
    }
    if payload.len() > header.payload_bytes() {
        return Err(FrameError::NotAMessage);
    }
    decode_payload(payload)
}

/// The message of a frame's payload, which the caller has received whole.
///
/// # Errors
/// [`FrameError::TooManyFields`], before anything is allocated for them, or
/// [`FrameError::NotAMessage`].
pub fn decode_payload<M: prost::Message + Default>(payload: &[u8]) -> Result<M, FrameError> {
    if fields(payload, LISTS_DEPTH) > FRAME_FIELDS_MAX {
        return Err(FrameError::TooManyFields);
    }
    M::decode(payload).map_err(|_| FrameError::NotAMessage)
}

/// How deep lists lie: a request or a response is one message in another, and every list is
/// in the inner one.
const LISTS_DEPTH: u32 = 2;

/// Fields of the message and of what lies in it, this deep, up to the first byte that no message
/// has there or to one field too many. What is text or a group counts as if it were a
/// message: never less than a reader finds.
fn fields(mut rest: &[u8], depth: u32) -> usize {
    let mut count = 0;
    while count <= FRAME_FIELDS_MAX
        && let Some(key) = varint(&mut rest)
    {
        count += 1;
        // https://protobuf.dev/programming-guides/encoding/#structure
        let skipped = match key & 7 {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut rest),
            3 | 4 => Some(0),
            5 => Some(4),
            _ => None,
        };
        let inner = skipped
            .and_then(|bytes| usize::try_from(bytes).ok())
            .and_then(|bytes| rest.split_at_checked(bytes));
        let Some((inner, after)) = inner else { break };
        if depth > 1 && key & 7 == 2 {
            count += fields(inner, depth - 1);
        }
        rest = after;
    }
    count
}

/// Takes a number of at most ten bytes, seven bits in each, lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn hello() -> wire::Hello {
        wire::Hello {
            software_version: "0.1.0".into(),
            datasets: vec!["heart-disease".into()],
        }
    }

    #[test]
    fn a_frame_has_these_golden_bytes() {
        let frame = encode(&hello()).unwrap();
        assert_eq!(&frame[..8], b"CS\x01\x00\x16\x00\x00\x00");
        assert_eq!(&frame[8..], b"\x0a\x050.1.0\x12\x0dheart-disease");
        assert_eq!(decode::<wire::Hello>(&frame), Ok(hello()));
    }

    #[test]
    fn a_list_longer_than_any_message_has_is_refused_before_it_is_read() {
        let runs = |count| wire::Response {
            kind: Some(wire::response::Kind::Runs(wire::Runs {
                runs: vec![wire::RunSummary::default(); count],
            })),
        };
        let kept = encode(&runs(FRAME_FIELDS_MAX - 1)).unwrap();
        assert!(decode::<wire::Response>(&kept).is_ok());
        let too_many = encode(&runs(FRAME_FIELDS_MAX)).unwrap();
        let refused = Err(FrameError::TooManyFields);
        assert_eq!(decode::<wire::Response>(&too_many), refused);
        // The same list in parts, which a reader joins; behind a group that it skips; and cut short.
        let half = encode(&runs(FRAME_FIELDS_MAX / 2)).unwrap();
        let half = &half[HEADER_BYTES..];
        let twice = decode_payload::<wire::Response>(&[half, half].concat());
        assert_eq!(twice, refused);
        let behind = decode_payload(&[&[0x0b, 0x0c], &too_many[HEADER_BYTES..]].concat());
        assert_eq!(behind, refused);
        let cut = decode_payload(&too_many[HEADER_BYTES..too_many.len() - 1]);
        assert_eq!(cut, Err::<wire::Response, _>(FrameError::NotAMessage));
    }

    #[test]
    fn a_hostile_frame_is_named_for_what_is_wrong_with_it() {
        let frame = encode(&hello()).unwrap();
        let changed = |at: usize, to: u8| {
            let mut bytes = frame.clone();
            bytes[at] = to;
            decode::<wire::Hello>(&bytes)
        };
        assert_eq!(changed(0, b'X'), Err(FrameError::NotAFrame));
        assert_eq!(changed(2, 9), Err(FrameError::OtherVersion { theirs: 9 }));
        assert!(matches!(changed(7, 0xff), Err(FrameError::TooLong { .. })));
        assert!(matches!(
            changed(4, 0x17),
            Err(FrameError::Truncated { .. })
        ));
        assert_eq!(changed(4, 0x15), Err(FrameError::NotAMessage));
        assert_eq!(changed(8, 0xff), Err(FrameError::NotAMessage));
        for end in 0..frame.len() {
            assert!(matches!(
                decode::<wire::Hello>(&frame[..end]),
                Err(FrameError::Truncated { .. })
            ));
        }
    }
}
