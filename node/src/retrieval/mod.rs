//! Answers to searches: from a signed search to what the gate releases, and nothing nearer to a record than its level.
//!
//! | file | subject |
//! |---|---|
//! | `answer` | the way through: who asks, which rows, the gate |
//! | `private` | levels 2 and 3: which patients' passages are told of |
//! | [`eligible`] | which rows may be candidates |
//! | [`ranked`] | the best passages of a collection, one for each patient or document |
//! | [`tallied`] | patients with a near passage, and their votes: by an exact scan |
//! | [`too_close`] | whether the nearest stands out as a record that the asker had before |
//! | [`disclosure`] | what is told of a private passage: a handle, a bucket, a short redacted part |
//! | [`pace`] | how many searches a project may ask |
//! | [`timing`] | when an answer leaves, so that the time tells nothing |
//!
//! Vectors never leave. Reading is no release: rows that a patient's consent, an embargo or the filter keep out are no
//! candidates from the start, and everything else goes through the gate.

mod answer;
pub mod disclosure;
pub mod eligible;
pub mod pace;
mod private;
pub mod ranked;
pub mod tallied;
pub mod timing;
pub mod too_close;

pub use answer::{Searched, answer, prove};
