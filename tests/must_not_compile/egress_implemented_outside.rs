// error: Sealed` is not satisfied
//! Nobody adds to the list of what can leave without changing the gate.

use consilium_node::gate::{Egress, NotKept};
use consilium_policies::Permit;
use consilium_policies::entry::Receipt;
use consilium_protocol::Refusal;
use consilium_protocol::frame::FrameError;

struct RawRecords(Vec<String>);

impl Egress for RawRecords {
    type Wire = Vec<String>;

    fn comply(self, _: &Permit) -> Result<Vec<String>, Refusal> {
        Ok(self.0)
    }

    fn receipt(_: &Vec<String>) -> Result<Receipt, FrameError> {
        Err(FrameError::NotAMessage)
    }

    fn keep(_: &Vec<String>) -> Result<Vec<u8>, FrameError> {
        Err(FrameError::NotAMessage)
    }

    fn kept(_: &[u8]) -> Result<Vec<String>, NotKept> {
        Err(NotKept::OtherKind)
    }
}

fn main() {}
