// error: are private
//! An outgoing update exists only once it complied.

use consilium_node::gate::OutgoingUpdate;
use consilium_protocol::message::Update;

fn leak(message: Update) -> OutgoingUpdate {
    OutgoingUpdate { message, vectors: vec![vec![1.0]] }
}

fn main() {
    let _ = leak;
}
