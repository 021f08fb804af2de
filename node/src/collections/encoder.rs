//! The encoder of a collection, on the device where the node trains: a process opens a GPU only once.

use std::error::Error;

use consilium_encoder::{Encoder, EncoderChoice, OpenError};
use consilium_search::collection::Encode;

use super::shelf::CollectionFault;
use crate::train::{DeviceChoice, device_for_encoders};

/// An encoder as a collection uses it.
pub(super) struct OfNode(Encoder);

/// Opens the encoder of this choice. The built-in one is a table and needs no device.
pub(super) fn open(
    choice: &EncoderChoice,
    device: DeviceChoice,
) -> Result<OfNode, CollectionFault> {
    let device = match choice {
        EncoderChoice::Builtin => consilium_encoder::cpu(),
        EncoderChoice::Folder(_) => device_for_encoders(device)?,
    };
    let encoder = Encoder::open(choice, &device)
        .map_err(|error: OpenError| CollectionFault::Encoder(error))?;
    Ok(OfNode(encoder))
}

impl Encode for OfNode {
    /// Without the name: a folder may be moved, and gives the same vectors.
    fn id(&self) -> String {
        let id = self.0.id();
        format!("blake3:{}/{}", id.digest, id.dimension)
    }

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn passage_words_max(&self) -> usize {
        self.0.passage_words_max()
    }

    fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.encode(texts)?)
    }
}
