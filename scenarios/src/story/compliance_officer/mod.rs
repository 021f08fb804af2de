//! One policy, one budget, one journal: what a compliance officer owns, told line by line on four real hospitals.
//!
//! | file | what |
//! |---|---|
//! | `officers` | keys, bundles, signatures; installing and tightening |
//! | `researcher` | questions, a run with noise, and the end of a budget |
//! | `auditor` | the journal on another machine: verified, edited, cut |
//! | `bundle/` | what the officers write, and the researcher's run file |

mod auditor;
mod officers;
mod researcher;

use std::path::PathBuf;

use super::narrator::{self, Narrator};
use crate::house::{Consortium, Household, write};
use crate::story::StoryError;
use crate::story::stage::{check_writable, settle_in};
use crate::story::told::{result, step};

/// What was asked for on the command line.
pub struct Options {
    pub json: Option<PathBuf>,
    /// Where everything stays; a folder that goes when left out.
    pub keep: Option<PathBuf>,
}

/// The hospital whose officers and journal are watched.
const WATCHED: &str = "cleveland";

/// Tells the story to its end.
///
/// # Errors
/// What went wrong, after every process was ended.
pub fn tell(options: &Options) -> Result<(), StoryError> {
    if let Some(path) = &options.json {
        check_writable(path, "--json")?;
    }
    let (root, household) = settle_in(options.keep.as_deref())?;
    let mut told = Narrator::new(&root);
    result(
        "Lines that begin with ~ hold noise, sizes or times, and differ from one telling to the next.",
    );
    tell_in(&mut told, household)?;
    if let Some(path) = &options.json {
        write(path, &format!("{:#}\n", told.figures()))?;
    }
    if options.keep.is_some() {
        step(&format!("Everything stays in {}.", root.display()));
    }
    Ok(())
}

fn tell_in(told: &mut Narrator, household: Household) -> Result<(), StoryError> {
    step("Founding a consortium: a coordinator and four hospitals, each a process of its own.");
    let consortium = Consortium::found(told.root(), household, "heart")?;
    let went = acts(told, &consortium);
    if let (Err(_), fallen) = (&went, consortium.fallen()) {
        fallen.iter().for_each(|line| step(line));
    }
    consortium.end();
    went
}

fn acts(told: &mut Narrator, consortium: &Consortium) -> Result<(), StoryError> {
    told.chapter("The door is closed");
    officers::make_keys(told)?;
    officers::begin_with_nothing(told, consortium)?;
    let ada = consortium.researcher("ada")?;
    researcher::finds_the_door_closed(told, &ada)?;

    told.chapter("Two officers open it");
    officers::write_a_policy(told)?;
    officers::sign_and_install(told, consortium)?;

    told.chapter("A budget is spent");
    researcher::counts(told, &ada)?;
    researcher::trains(told, &ada)?;
    researcher::asks_again(told, &ada)?;
    researcher::is_refused(told, &ada)?;

    told.chapter("The officers think again");
    officers::tighten(told, consortium)?;
    researcher::meets_the_new_rule(told, &ada)?;

    told.chapter("The auditor trusts nobody");
    auditor::verifies(told)?;
    auditor::finds_an_edit(told)?;
    auditor::finds_a_cut(told)
}
