//! From text to vectors.
//!
//! [`Encoder::open`] gives one of two encoders behind one call, [`Encoder::encode`]:
//!
//! - `builtin` ([`Builtin`]): static vectors of words and pieces of words, compiled in; no download, no device,
//!   tens of thousands of passages a second. `train/` makes its weights from open texts.
//! - a folder ([`SentenceEncoder`]): a BERT of the MiniLM family as sentence-transformers writes it, on burn.
//!
//! Every vector has unit length. [`EncoderId`] names an encoder with a digest of all that decides its vectors; an
//! index keeps it and refuses vectors of another. A text is read up to a declared limit ([`limits`]) and the rest
//! is ignored, as a passage is cut before it comes here; no text is an error.
//!
//! Deliberately absent: a network (weights come from a folder or from the binary), and anything that reverses a
//! vector or lets one out: vectors are as private as the text they were made of.

mod builtin;
mod encoder;
mod error;
pub mod limits;
mod sentence;

pub use self::builtin::Builtin;
pub use self::encoder::{Encoder, EncoderChoice, EncoderId};
pub use self::error::{EncodeError, OpenError};
pub use self::sentence::SentenceEncoder;

/// Where a sentence encoder computes. The node hands over the one that its trainer chose: a process may open a GPU
/// only once.
pub use burn::tensor::Device;

/// The CPU as a device, for who has no choice to make.
#[must_use]
pub fn cpu() -> Device {
    Device::flex()
}
