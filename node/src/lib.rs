//! One institution: its data stays here, its policy decides here, and what leaves passes one door.
//!
//! | room | what |
//! |---|---|
//! | [`gate`] | the one door out: decide, reserve, work, comply, settle |
//! | [`collections`] | text collections: declared, ingested, opened for searches |
//! | [`data`] | sources, schemas, a run's columns made ready |
//! | [`train`] | trainers: burn on GPU or CPU, and a plain linear one as oracle |
//! | [`work`] | what is done under a permit: admit, train, evaluate |
//! | [`query`] | a query, answered from the records that its filter leaves |
//! | [`retrieval`] | a search, answered from the passages that policy and ledger leave |
//! | [`round`] | this site's side of the rounds, as a machine (pure) |
//! | [`run_store`] | what stays at the site between rounds, on disk |
//! | [`node`] | what the tasks share |
//! | [`server`], [`session`] | the dialled connection and the coordinator's requests |
//! | [`budget`], [`officer`] | what was spent and what waits, in words; what an officer types here |
//! | [`witness`] | this site's journal before its witnesses, and this site as a witness |
//! | [`planted`] | faults for the simulator to find; nothing without its feature |
//! | [`command`], [`config`], [`enrol`], [`doctor`] | what an operator types and writes |

pub mod budget;
pub mod collections;
pub mod command;
pub mod config;
pub mod data;
pub mod doctor;
pub mod enrol;
pub mod gate;
pub mod node;
pub mod officer;
pub mod planted;
pub mod query;
pub mod retrieval;
pub mod round;
pub mod run_store;
pub mod server;
pub mod session;
pub mod train;
pub mod witness;
pub mod work;
