// error: Permit: Clone` is not satisfied
//! A permit is for one pass.

use consilium_policies::Permit;

fn two_of<T: Clone>(one: T) -> (T, T) {
    (one.clone(), one)
}

fn twice(permit: Permit) -> (Permit, Permit) {
    two_of(permit)
}

fn main() {
    let _ = twice;
}
