//! What may happen at a site: a bundle says it, an ask wants it, `decide` answers.
//!
//! Pure: text and time come in, values go out; nothing here reads a clock or a disk.
//!
//! | file | subject |
//! |---|---|
//! | [`bundle`] | `policy.toml`, written by a compliance officer, parsed into a [`Bundle`] |
//! | [`ask`] | who wants what with which data |
//! | [`decide`] | bundle, ask and facts into a [`Permit`] or a refusal, with the rules that decided |
//! | [`cases`] | named requests with the decision that is expected: an officer's tests |
//! | [`entry`] | what the journal keeps of every pass, readable for ever |
//! | [`day`] | the last day of a permit |
//! | [`limits`] | every limit, with its name |
//!
//! Deliberately absent until budgets come: Cedar rules (they will join [`bundle`] beside the permits, and a
//! `forbid` will win over every permit), budgets per data set, and signatures. What a permit says now stays
//! as the table of numbers beside those rules.

pub mod ask;
pub mod bundle;
pub mod cases;
pub mod day;
pub mod decide;
pub mod entry;
pub mod limits;

pub use ask::{Action, Activity, Ask, Facts, Researcher};
pub use bundle::{Bundle, BundleError, Release, Rule, RuleId};
pub use day::Day;
pub use decide::{Permit, Verdict, decide};
