// error: module `egress` is private
//! The seal itself cannot be named from elsewhere.

struct RawRecords;

impl consilium_node::gate::egress::sealed::Sealed for RawRecords {}

fn main() {}
