//! A frame: eight bytes of header, then one message.
//!
//! ```text
//! 0      2         4            8
//! | "CS" | version | length, LE | payload (length bytes) |
//! ```
//!
//! The header is checked before a byte of payload is allocated.

use crate::limits::FRAME_BYTES_MAX;

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
    M::decode(payload).map_err(|_| FrameError::NotAMessage)
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
