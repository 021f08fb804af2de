//! What may happen at a site: a bundle says it, an ask wants it, `decide` answers.
//!
//! Pure: bytes and time come in, values go out; nothing here reads a clock or a disk.
//!
//! | file | subject |
//! |---|---|
//! | [`files`] | the files of a bundle, and the text that officers sign |
//! | [`bundle`] | `policy.toml` and its neighbours, parsed into a [`Bundle`] |
//! | [`duo`] | consent codes, and what each forbids |
//! | [`rules`] | `rules.cedar`, validated and evaluated |
//! | [`signed`] | who signed a bundle |
//! | [`ask`] | who wants what with which data |
//! | [`terms`] | floors, budgets, rounding, repeats, approval |
//! | [`decide`] | bundle, ask and facts into a [`Permit`] or a refusal, with the rules that decided |
//! | [`cases`] | named requests with the decision that is expected: an officer's tests |
//! | [`check`] | what an officer should know before she signs, by file and line |
//! | [`explain`] | could a researcher of project P ever get X from data set D? |
//! | [`diff`] | what one bundle lets out that another does not |
//! | [`replay`] | a new bundle over the past asks of a journal |
//! | [`entry`] | what the journal keeps of every pass, readable for ever |
//! | [`day`] | the last day of a permit |
//! | [`limits`] | every limit, with its name |
//!
//! `GUIDE.md` beside this crate is for officers.

pub mod ask;
pub mod bundle;
pub mod cases;
pub mod check;
pub mod day;
pub mod decide;
pub mod diff;
pub mod duo;
pub mod entry;
pub mod explain;
pub mod files;
pub mod limits;
pub mod replay;
pub mod rules;
pub mod signed;
pub mod terms;

pub use ask::{Action, Activity, Ask, Facts, FilterFacts, Researcher, Spent, StatisticKind};
pub use bundle::{Bundle, BundleError, Dataset, Release, Rule, RuleId};
pub use cases::Cases;
pub use check::{Finding, Severity, check};
pub use day::Day;
pub use decide::{Permit, Verdict, decide};
pub use diff::{Changes, diff};
pub use duo::DuoCode;
pub use explain::{Answer, Explanation, Question, Way, explain};
pub use files::BundleFiles;
pub use replay::{Flip, Recorded, Replay, replay};
pub use signed::{Officer, SIGNING_CONTEXT, SignatureProblem, Signatures};
pub use terms::{Approval, Redaction, Repeats, Terms};

#[cfg(test)]
mod guide;
