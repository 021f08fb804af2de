// error: mismatched types
//! What was trained cannot be sent in place of what was released.

use consilium_node::gate::{OutgoingUpdate, Released, TrainedUpdate};

fn send(_: Released<OutgoingUpdate>) {}

fn leak(trained: TrainedUpdate) {
    send(trained);
}

fn main() {
    let _ = leak;
}
