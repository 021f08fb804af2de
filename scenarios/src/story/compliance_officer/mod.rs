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

use super::narrator::{self, Narrator};
use super::play::Play;
use crate::house::Consortium;
use crate::story::StoryError;

/// The hospital whose officers and journal are watched.
const WATCHED: &str = "cleveland";

/// The story.
pub const PLAY: Play = Play {
    cast: "Founding a consortium: a coordinator and four hospitals, each a process of its own.",
    data: "heart",
    acts,
};

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
