//! The story `nine-silos`, run as a person would.

#[cfg(test)]
mod told;
