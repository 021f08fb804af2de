//! A count of distinct patients: the sites' keys for the masks, and the sketches under them.

use super::{MessageError, parse};
use crate::digest::Digest;
use crate::query::limits::SKETCH_CELLS_MAX;
use crate::wire;

/// What a site tells of the linkage key that it has.
pub const LINKAGE_ID_BYTES: usize = 16;

/// The key with which a site masks its sketch: for one query, and once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SketchKey {
    /// X25519 (RFC 7748).
    pub public_key: [u8; 32],
    /// Which linkage key the site has; tells nothing of the key itself.
    pub linkage: [u8; LINKAGE_ID_BYTES],
    /// The site's certificate, DER.
    pub certificate: Vec<u8>,
    /// The site's, over the query's hash, the public key and the linkage key's name.
    pub signature: Vec<u8>,
}

/// Which of a sketch's cells are occupied, behind coins; and, once it is on its way, behind the masks.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedSketch {
    /// A bit for each cell, the first one lowest.
    pub bits: Vec<u8>,
    /// The probability with which an empty cell shows as a 1.
    pub flip: f64,
    /// The policy under which it left.
    pub bundle: Digest,
}

impl From<SketchKey> for wire::SketchKey {
    fn from(key: SketchKey) -> Self {
        Self {
            public_key: key.public_key.to_vec().into(),
            linkage: key.linkage.to_vec().into(),
            certificate: key.certificate.into(),
            signature: key.signature.into(),
        }
    }
}

impl TryFrom<wire::SketchKey> for SketchKey {
    type Error = MessageError;

    fn try_from(wire: wire::SketchKey) -> Result<Self, MessageError> {
        let linkage: [u8; LINKAGE_ID_BYTES] =
            wire.linkage
                .as_ref()
                .try_into()
                .map_err(|_| MessageError::Invalid {
                    field: "linkage",
                    problem: format!("must be {LINKAGE_ID_BYTES} bytes long"),
                })?;
        Ok(Self {
            public_key: parse::hash("public_key", &wire.public_key)?,
            linkage,
            certificate: parse::der("certificate", &wire.certificate)?,
            signature: parse::der("signature", &wire.signature)?,
        })
    }
}

impl From<MaskedSketch> for wire::MaskedSketch {
    fn from(sketch: MaskedSketch) -> Self {
        Self {
            bits: sketch.bits.into(),
            flip: sketch.flip,
            bundle_sha256: sketch.bundle.0.to_vec().into(),
        }
    }
}

impl TryFrom<wire::MaskedSketch> for MaskedSketch {
    type Error = MessageError;

    fn try_from(wire: wire::MaskedSketch) -> Result<Self, MessageError> {
        Ok(Self {
            bits: parse::bytes("bits", &wire.bits, SKETCH_CELLS_MAX as usize / 8)?,
            flip: parse::fraction("flip", wire.flip)?,
            bundle: parse::digest("bundle_sha256", &wire.bundle_sha256)?,
        })
    }
}
