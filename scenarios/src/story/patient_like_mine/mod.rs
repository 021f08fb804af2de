//! A patient like mine: a clinician looks for similar patients in the notes of three hospitals, and what identifies
//! anyone stays where it is.
//!
//! | file | what |
//! |---|---|
//! | `hospitals` | their notes, with what must never leave planted in them; what operators type |
//! | `clinician` | searches at the levels that policy leaves her |
//! | `officer` | what was spent, what left, and the search for what must not have |
//! | `bundle/` | the officers' policy |

mod clinician;
mod hospitals;
mod officer;

use super::narrator::Narrator;
use super::play::Play;
use crate::house::Consortium;
use crate::story::StoryError;

/// The story.
pub const PLAY: Play = Play {
    cast: "Founding a consortium: a coordinator and three hospitals, each a process of its own.",
    data: "notes",
    acts,
};

fn acts(told: &mut Narrator, consortium: &Consortium) -> Result<(), StoryError> {
    told.chapter("Three hospitals take their notes in");
    let planted = hospitals::open(told, consortium)?;
    let mut left = Vec::new();

    told.chapter("A clinician looks for patients like hers");
    let ada = consortium.researcher("ada")?;
    left.push(clinician::finds_handles(told, &ada)?);
    clinician::may_not_read(told, &ada)?;

    told.chapter("How many, and what is written of them");
    left.push(clinician::counts(told, &ada)?);
    left.push(clinician::lets_them_vote(told, &ada)?);

    told.chapter("An approved project reads redacted parts");
    left.extend(clinician::reads_parts(told, &ada)?);

    told.chapter("Too few patients look like none");
    left.extend(clinician::asks_about_few(told, &ada)?);

    told.chapter("A patient is pointed at so often and no more");
    left.extend(clinician::asks_until_nobody_is_left(told, &ada)?);

    told.chapter("What the officer sees");
    officer::sees_what_was_spent(told, consortium)?;
    officer::reads_the_journal(told)?;
    officer::looks_for_what_must_not_have_left(told, &planted, &left)
}
