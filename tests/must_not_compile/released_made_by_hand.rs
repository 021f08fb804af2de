// error: Released` is private
//! Only the gate makes a `Released`.

use consilium_node::gate::Released;

fn main() {
    let _ = Released { wire: "a patient's record" };
}
