//! What can leave a node, in principle.

use consilium_policies::Permit;
use consilium_policies::entry::Receipt;
use consilium_protocol::Refusal;
use consilium_protocol::frame::FrameError;

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
}

pub(super) mod sealed {
    /// Only this room names it.
    pub trait Sealed {}
}
