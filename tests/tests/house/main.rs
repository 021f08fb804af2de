//! The house rules that a machine can hold, so that review is about ideas.
//!
//! Each rule is a function from a [`Tree`](tree::Tree) to complaints. Each is tested twice: the repository has
//! none, and a small made tree that breaks the rule has one, so that no rule can be silently blind.
//! `deny.toml` and the workspace lints hold the rest.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod code;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod papers;
#[cfg(test)]
mod place;
#[cfg(test)]
mod shape;
#[cfg(test)]
mod tree;
