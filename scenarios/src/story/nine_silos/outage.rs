//! A site goes down in the middle of a batch: the answers say so, and are those of the other eight.

use std::time::Duration;

use consilium_protocol::search::Ranking;
use serde_json::{Value, json};

use super::central::Central;
use super::collections::ANSWERS;
use super::desk::{Asked, Desk};
use super::measures::DEPTH;
use super::prompt;
use super::silos::{Row, SILOS};
use crate::house::{Consortium, Exit, Member};
use crate::story::StoryError;
use crate::story::told::step;

/// Whose node is killed.
const SITE: &str = "ninds";

/// Questions before it, and after.
const BEFORE: usize = 5;
const AFTER: usize = 10;

/// How long a search waits for a site that may be gone. Until the coordinator has noticed, each takes that long.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage {
    pub(super) site: &'static str,
    /// Answers before it, all of nine sites.
    pub(super) before: usize,
    pub(super) after: usize,
    /// What the first answer after it says of the site.
    pub(super) first_words: String,
    /// What the last says.
    pub(super) last_words: String,
    /// Answers after it that are not those of the other eight in one place.
    pub(super) mismatches: usize,
}

impl Outage {
    pub(super) fn json(&self) -> Value {
        json!({
            "site": self.site,
            "answers_before": self.before,
            "answers_after": self.after,
            "first_words": self.first_words,
            "last_words": self.last_words,
            "mismatches": self.mismatches,
        })
    }
}

/// Asks, kills, and goes on asking.
///
/// # Errors
/// A search that failed, or an answer that does not say who is missing.
pub(super) fn happens(
    consortium: &Consortium,
    ada: &Member,
    central: &Central,
    items: &[&Row],
) -> Result<Outage, StoryError> {
    let gone = SILOS.iter().position(|silo| silo.site == SITE);
    let mut others = central.rows().clone();
    if let Some(rows) = gone.and_then(|gone| central.of_silo.get(gone)) {
        others.subtract(rows);
    }
    let desk = Desk::open(ada.home())?;
    let mut outage = Outage {
        site: SITE,
        ..Outage::default()
    };
    for (number, item) in items.iter().cycle().take(BEFORE + AFTER).enumerate() {
        if number == BEFORE {
            consortium.kill(SITE)?;
            step(&format!(
                "  … after {BEFORE} answers the process of `{SITE}` is killed, and the batch goes on."
            ));
        }
        let asked = Asked {
            patience: PATIENCE,
            ..Asked::plainly(&item.question, ANSWERS, Ranking::Both, DEPTH as u16)
        };
        let answer = desk.ask(&asked)?;
        if number < BEFORE {
            is_of(SILOS.len(), answer.sites)?;
            outage.before += 1;
            continue;
        }
        is_of(SILOS.len() - 1, answer.sites)?;
        let why = answer.missing.iter().find(|(site, _)| site == SITE);
        let (_, why) = why.ok_or_else(|| {
            StoryError::unexpected(format!("an answer does not say that `{SITE}` is missing"))
        })?;
        if outage.after == 0 {
            outage.first_words.clone_from(why);
        }
        outage.last_words.clone_from(why);
        outage.after += 1;
        let expected = central.best(&item.question, Ranking::Both, &others, DEPTH)?;
        outage.mismatches += usize::from(answer.found != expected);
    }
    desk.close();
    match prompt::asked(ada, "what is a stroke?", &["-k", "1", "--timeout", "2s"]) {
        Exit::Answered => Ok(outage),
        Exit::Failed(code) => Err(StoryError::unexpected(format!(
            "the eight did not answer (exit code {code})"
        ))),
    }
}

fn is_of(expected: usize, sites: usize) -> Result<(), StoryError> {
    match sites == expected {
        true => Ok(()),
        false => Err(StoryError::unexpected(format!(
            "{sites} sites answered, and {expected} should have"
        ))),
    }
}
