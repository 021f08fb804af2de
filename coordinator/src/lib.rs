//! The consortium's meeting room: it aggregates updates and federates queries, and never sees a record.
//!
//! | room | what |
//! |---|---|
//! | [`round`] | one round as a machine: who answered, the sum, the strategies (pure) |
//! | [`state`] | a run's tensors between rounds, on disk |
//! | [`run`] | a run from its submission to its model: drives [`round`] over the link |
//! | [`query`] | one question to many sites: fan-out, merge |
//! | [`members`] | the allow-list (pure) |
//! | [`event`] | what the journal records |
//! | [`index`] | quick answers, rebuilt from the journal; the only file that names sled |
//! | [`coordinator`] | what the tasks share; the one door to the journal |
//! | [`server`], [`session`] | connections and requests |
//! | [`witness`] | what is remembered of the sites' journals, and cosigned |
//! | [`planted`] | faults for the simulator to find; nothing without its feature |
//! | [`command`], [`config`] | what an operator types and writes |

pub mod command;
pub mod config;
pub mod coordinator;
pub mod event;
pub mod index;
pub mod members;
pub mod planted;
pub mod query;
pub mod round;
pub mod run;
pub mod server;
pub mod session;
pub mod state;
pub mod witness;
