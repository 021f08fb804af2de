//! A whole consortium on one thread, in virtual time, from one seed.
//!
//! The cores run as they are: `Round`, its accumulator and strategies, `RunRecord`, `Members`, `StateFolder`, the
//! journal on memory that can lose power, `Participant`, `Gate`, `decide`, the linear trainer, and every message
//! through its frame and parser. Three shells are mirrored, thinly and in their order of writes: the coordinator's
//! run driver, the node's session, and the link between them.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | what a seed stands for: sites, run, what will go wrong |
//! | `world` | the queue of happenings and the loop |
//! | `network`, `disk`, `clock` | what carries, keeps and dates things, and how it fails |
//! | `coordinator`, `admission`, `rounds`, `streams` | the coordinator's shell, mirrored |
//! | `site`, `session`, `passes`, `work` | the node's shell, mirrored; what it computes |
//! | `questions` | what costs something: one answer, paid for |
//! | `liar`, `trouble` | nodes and a coordinator that lie; everything that befalls |
//! | `oracle`, `journals`, `property` | what must hold, worked out beside the machines |
//! | `mutation` | planted faults, to see that they are found |
//! | `report`, `scale` | counts; a consortium of ten thousand |
//!
//! # What is not simulated
//! QUIC, TLS and signatures (the link has its own tests; one word stands for a good signature). The states' folder
//! is the real one on a real file system, so a crash spares what it wrote; its fsyncs are for the tests that kill
//! processes. A site's run files and local values are maps that stand for files written whole. sled is left out on
//! both sides: whatever it holds is rebuilt from the journal, which is what happens here at every start.
//!
//! # What is not failure
//! A site that is late, lost, refused or out for good; a run that fails with its cause below its quorum; a lie that
//! no coordinator can see (numbers within bounds that no training gave).

pub mod admission;
pub mod clock;
pub mod coordinator;
pub mod dice;
pub mod disk;
pub mod journals;
pub mod liar;
pub mod mutation;
pub mod network;
pub mod oracle;
pub mod passes;
pub mod plan;
pub mod property;
pub mod questions;
pub mod report;
pub mod rounds;
pub mod scale;
pub mod session;
pub mod site;
pub mod streams;
pub mod trouble;
pub mod work;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mutation::{Mutation, PlantedHere};
use plan::Plan;
use property::{Property, Step, broken};
use report::Report;
use world::World;

/// Runs the world of one seed to its end.
///
/// # Errors
/// The first promise that was broken in it; a panic is one.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Step<Report> {
    let _planted = PlantedHere::new(mutation);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(Plan::of(seed)?, mutation)?;
        world.run()?;
        world.report.worlds = 1;
        world.report.sites = world.sites.len() as u64;
        Ok(world.report)
    }));
    match lived {
        Ok(lived) => lived,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let what = format!("a panic: {}", said.unwrap_or("of no words"));
            Err(broken(Property::NoFaultOfItsOwn, what))
        }
    }
}

/// The one line by which anybody sees a failure again.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("replay: cargo run -p consilium-tests --bin soak -- --seed {seed}")
}
