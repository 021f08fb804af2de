//! A whole consortium over bad networks: the model is the one that a good network gives, bit for bit.
//!
//! Coordinator and nodes are processes, each in a [network namespace](place) of its own with a 1500-byte link; between
//! a node and the coordinator lies a [`wire`] that loses, delays, reorders, doubles and damages, or is cut. Where
//! namespaces cannot be made, each test says that it did not run. Figures are printed past the harness's capture; no
//! time is asserted. `CONSILIUM_NETWORK=all` adds the transfers that take minutes.

#[cfg(test)]
mod consortium;
#[cfg(test)]
mod large;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod place;
#[cfg(test)]
#[path = "../consortium/process.rs"]
#[expect(dead_code, reason = "the consortium's other tests need more of it")]
mod process;
#[cfg(test)]
mod weather;
#[cfg(test)]
mod wire;
#[cfg(test)]
#[path = "../consortium/world.rs"]
#[expect(dead_code, reason = "the consortium's other tests need more of it")]
mod world;
