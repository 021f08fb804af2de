// error: struct literal syntax due to private fields
//! Only the gate makes a `Released`.

use consilium_node::gate::Released;

fn main() {
    let _ = Released { wire: "a patient's record" };
}
