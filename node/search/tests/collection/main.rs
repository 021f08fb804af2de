//! A collection as its callers see it.
//!
//! | file | subject |
//! |---|---|
//! | `searching` | filters, patients, words and vectors give what is there, and texts without the names |
//! | `changing` | what is new, changed, gone, or there already; duplicates; the deadline of what was erased |
//! | `crashes`, `breaking` | an ingest that is killed at each step |
//! | `bad_input` | files, arguments and encoders that are not what they should be |
//! | `world` | a small clinic |

#[cfg(test)]
mod bad_input;
#[cfg(test)]
#[path = "../vectors/breaking.rs"]
mod breaking;
#[cfg(test)]
mod changing;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod searching;
#[cfg(test)]
mod world;
