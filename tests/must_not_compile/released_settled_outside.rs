// error: associated function `settled` is private
//! The gate's own way of making a `Released` cannot be called from elsewhere.

use consilium_node::gate::Released;

fn main() {
    let _ = Released::settled("a patient's record");
}
