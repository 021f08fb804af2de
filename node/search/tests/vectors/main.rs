//! The vector index as its callers see it.
//!
//! | file | subject |
//! |---|---|
//! | `hazards` | what instant-distance does that is written nowhere |
//! | `equals_flat` | the plain index is the oracle, also under filters, erasures and concurrent changes |
//! | `erasure` | what is erased is gone |
//! | `crashes`, `breaking` | a disk that breaks at each step |
//! | `bad_input` | files and arguments that are not what they should be |
//! | `world` | a small collection in both indexes |

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod breaking;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod equals_flat;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod hazards;
#[cfg(test)]
mod world;
