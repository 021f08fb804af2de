//! How a site's journal is witnessed: checkpoints go to the coordinator and to another site, cosignatures come back.
//!
//! A checkpoint travels as the text that it is on disk (a C2SP signed note); the rooms that know its format parse it.

use super::{MessageError, parse};
use crate::ids::SiteName;
use crate::limits::{CHECKPOINT_BYTES_MAX, PROOF_HASHES_MAX};
use crate::wire;

/// "I witness this": asked by the site whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosign {
    /// The checkpoint, signed by its site.
    pub checkpoint: Vec<u8>,
    /// The site's certificate, DER: whose key signed.
    pub certificate: Vec<u8>,
    /// The size that the proof begins from: what the witness is thought to have seen last.
    pub old_size: u64,
    /// That the checkpoint's tree continues the one of `old_size` (RFC 6962, section 2.1.2).
    pub proof: Vec<[u8; 32]>,
}

/// A cosignature and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// One line of a signed note: name and bytes.
    pub line: String,
    /// The witness's certificate, DER.
    pub certificate: Vec<u8>,
}

/// What a witness says to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cosigned {
    /// Its cosignature; `None` if the proof did not begin from what it saw last.
    pub cosignature: Option<Cosignature>,
    /// What it saw last of this site before, signed; empty if it never saw any.
    pub last: Vec<u8>,
    /// From the coordinator: another site that may be asked now.
    pub peer: Option<SiteName>,
}

impl From<Cosign> for wire::Cosign {
    fn from(cosign: Cosign) -> Self {
        Self {
            checkpoint: cosign.checkpoint.into(),
            certificate: cosign.certificate.into(),
            old_size: cosign.old_size,
            proof: cosign
                .proof
                .into_iter()
                .map(|hash| hash.to_vec().into())
                .collect(),
        }
    }
}

impl TryFrom<wire::Cosign> for Cosign {
    type Error = MessageError;

    fn try_from(wire: wire::Cosign) -> Result<Self, MessageError> {
        parse::at_most("proof", wire.proof.len() as u64, PROOF_HASHES_MAX as u64)?;
        Ok(Self {
            checkpoint: parse::bytes("checkpoint", &wire.checkpoint, CHECKPOINT_BYTES_MAX)?,
            certificate: parse::der("certificate", &wire.certificate)?,
            old_size: wire.old_size,
            proof: wire
                .proof
                .iter()
                .map(|hash| parse::hash("proof", hash))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Cosigned> for wire::Cosigned {
    fn from(cosigned: Cosigned) -> Self {
        Self {
            cosignature: cosigned.cosignature.map(|cosignature| wire::Cosignature {
                line: cosignature.line,
                certificate: cosignature.certificate.into(),
            }),
            last: cosigned.last.into(),
            peer: cosigned
                .peer
                .map(|peer| peer.to_string())
                .unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Cosigned> for Cosigned {
    type Error = MessageError;

    fn try_from(wire: wire::Cosigned) -> Result<Self, MessageError> {
        let cosignature = |wire: wire::Cosignature| -> Result<Cosignature, MessageError> {
            Ok(Cosignature {
                line: parse::sentence("line", wire.line)?,
                certificate: parse::der("certificate", &wire.certificate)?,
            })
        };
        Ok(Self {
            cosignature: wire.cosignature.map(cosignature).transpose()?,
            last: parse::bytes("last", &wire.last, CHECKPOINT_BYTES_MAX)?,
            peer: match wire.peer.as_str() {
                "" => None,
                name => Some(parse::id("peer", name)?),
            },
        })
    }
}
