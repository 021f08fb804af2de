//! What can leave a node, in principle.

use consilium_policies::Permit;
use consilium_policies::entry::Receipt;
use consilium_protocol::frame::{self, FrameError};
use consilium_protocol::message::{MessageError, Response};
use consilium_protocol::{Refusal, wire};

/// Something computed from local data that can leave, once it complies with a permit.
///
/// Sealed: what can leave is a list in this room, and each item on it is reviewed here.
pub trait Egress: sealed::Sealed {
    /// What others get.
    type Wire;

    /// Takes out what the permit does not release.
    ///
    /// # Errors
    /// What is left may not leave at all: the permit is for something else, or a number is none.
    fn comply(self, permit: &Permit) -> Result<Self::Wire, Refusal>;

    /// What the journal keeps of it: digests of every byte that leaves, and no content.
    ///
    /// # Errors
    /// It does not fit in a frame.
    fn receipt(wire: &Self::Wire) -> Result<Receipt, FrameError>;

    /// All bytes that leave, as the vault keeps them of an answer that had a cost.
    ///
    /// # Errors
    /// It does not fit in a frame.
    fn keep(wire: &Self::Wire) -> Result<Vec<u8>, FrameError>;

    /// The answer that was kept: the inverse of [`Egress::keep`].
    ///
    /// # Errors
    /// The bytes are no such answer.
    fn kept(bytes: &[u8]) -> Result<Self::Wire, NotKept>;
}

/// Bytes of the vault that are not the answer they are said to be.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// They are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame holds no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The message answers something else.
    #[error("the answer that was kept is of another kind")]
    OtherKind,
}

/// The frame of an answer that is one message; for [`Egress::keep`].
pub(super) fn keep_response(response: Response) -> Result<Vec<u8>, FrameError> {
    frame::encode(&wire::Response::from(response))
}

/// The message of such a frame; for [`Egress::kept`].
pub(super) fn kept_response(frame: &[u8]) -> Result<Response, NotKept> {
    Ok(frame::decode::<wire::Response>(frame)?.try_into()?)
}

pub(super) mod sealed {
    /// Only this room names it.
    pub trait Sealed {}
}
