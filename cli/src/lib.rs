//! The command `consilium`, as a library so that stories and tests type what people type.
//!
//! | file | subject |
//! |---|---|
//! | `arguments` | what can be typed |
//! | `command` | from what was typed to what was answered |
//! | `home` | a member's folder: key, certificate, address of the coordinator |
//! | `session` | a conversation with the coordinator, and finding it again |
//! | `membership` | enrol, renew, invite, evict, members |
//! | `run_file` | the run file: template, overrides, where in it an error is |
//! | `runs` | submit, list, show, log, wait, stop, resume |
//! | `follow` | a run's events as they happen, across lost connections |
//! | `progress` | what those events mean to a person |
//! | `display` | that, as a bar or as lines |
//! | `download` | the finished model, verified |
//! | `stats` | a question to the sites, and its figures |
//! | `audit` | a journal, offline |
//! | `budget` | what was spent, and what something would cost |
//! | `policy` | a site's policy, as its officers write, sign and install it |
//! | `search` | searches, typed or as a library call ([`Searcher`]) |
//! | `ending` | how a command can end, and with which exit code |
//! | `output` | text for people, one envelope for programs |
//! | `moment` | how a time is written |
//!
//! Deliberately absent: any way to read a record, and any way to change a site's policy from afar.

mod arguments;
mod audit;
mod budget;
mod command;
mod display;
mod download;
mod ending;
mod follow;
mod home;
mod membership;
mod moment;
mod output;
mod policy;
mod progress;
mod run_file;
mod runs;
mod search;
mod session;
mod stats;

pub use command::{execute, run};
pub use output::{Streams, Terminal};
pub use search::{SearchOutcome, Searcher, Told};
