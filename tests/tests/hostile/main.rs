//! A thousand connections that got through the handshake and then misbehave, beside four honest hospitals.
//!
//! What each kind of them does, [`crowd`] says. Memory, panics and the model are asserted, times are printed. The
//! crowd comes from several addresses, as the coordinator takes a limited number from one; those need network
//! namespaces, and where none can be made the test says that it did not run.

#[cfg(test)]
mod crowd;
#[cfg(test)]
#[path = "../network/place.rs"]
#[expect(dead_code, reason = "nothing runs inside these namespaces")]
mod place;
#[cfg(test)]
#[path = "../consortium/process.rs"]
#[expect(dead_code, reason = "the consortium's other tests need more of it")]
mod process;
#[cfg(test)]
mod siege;
#[cfg(test)]
#[path = "../consortium/world.rs"]
#[expect(dead_code, reason = "the consortium's other tests need more of it")]
mod world;
