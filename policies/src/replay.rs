//! A new bundle over the past: which of a journal's asks would it have decided otherwise?
//!
//! Each ask is decided again on the facts that the journal keeps. What was spent is counted anew: what the new bundle
//! would have refused would have cost nothing.

use std::collections::BTreeMap;
use std::fmt;

use consilium_privacy::Account;
use consilium_protocol::{DatasetName, Millis, ProjectName, RefusalCode};

use crate::ask::{Ask, Facts, Spent};
use crate::bundle::Bundle;
use crate::decide::{Verdict, decide};
use crate::entry::{PassRefused, PassReserved};

/// One past ask, and what became of it at the door.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    seq: u64,
    at: Millis,
    ask: Ask,
    facts: Facts,
    /// The refusal's code and words; none where it was permitted.
    refused: Option<(RefusalCode, String)>,
    told: String,
}

/// What a new bundle would have decided otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replay {
    /// Asks that were decided again.
    pub asked: u64,
    /// Those that come out otherwise, in the journal's order.
    pub flips: Vec<Flip>,
}

/// An ask that comes out otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Flip {
    /// The journal's entry.
    pub seq: u64,
    /// When it was asked.
    pub at: Millis,
    /// Who wanted what.
    pub ask: Ask,
    /// What was decided.
    pub was: String,
    /// What the new bundle decides.
    pub now: String,
    /// The new bundle lets out what did not leave.
    pub opens: bool,
}

impl Recorded {
    /// An ask that was permitted, by its journal entry.
    #[must_use]
    pub fn reserved(seq: u64, at: Millis, entry: PassReserved) -> Self {
        let rules: Vec<&str> = entry.rules.iter().map(crate::RuleId::as_str).collect();
        Self {
            seq,
            at,
            told: format!("permitted by {}", rules.join(", ")),
            ask: entry.ask,
            facts: entry.facts,
            refused: None,
        }
    }

    /// An ask that was refused at the door; `None` of one that was refused later, which its reservation stands for.
    #[must_use]
    pub fn refused(seq: u64, at: Millis, entry: PassRefused) -> Option<Self> {
        if entry.reserved.is_some() {
            return None;
        }
        Some(Self {
            seq,
            at,
            told: format!("refused: {}", entry.refusal),
            ask: entry.ask,
            facts: entry.facts,
            refused: Some((entry.refusal.code, entry.refusal.reason)),
        })
    }

    /// Whether a policy decided it. Without one, and while an officer had not spoken yet, nothing was decided that
    /// another policy could decide otherwise.
    fn was_decided(&self) -> bool {
        !matches!(
            self.refused,
            Some((
                RefusalCode::NoBundle
                    | RefusalCode::UnreadableBundle
                    | RefusalCode::NeedsApproval
                    | RefusalCode::AwaitsRelease
                    | RefusalCode::BehindWitness
                    | RefusalCode::Busy,
                _
            ))
        )
    }
}

/// Decides every recorded ask again by `new`, in the order given.
#[must_use]
pub fn replay(new: &Bundle, recorded: impl IntoIterator<Item = Recorded>) -> Replay {
    let mut projects: BTreeMap<(DatasetName, ProjectName), Account> = BTreeMap::new();
    let mut datasets: BTreeMap<DatasetName, Account> = BTreeMap::new();
    let mut replay = Replay::default();
    for past in recorded {
        if !past.was_decided() {
            continue;
        }
        replay.asked += 1;
        let of_project = (past.ask.dataset.clone(), past.ask.project.clone());
        let facts = Facts {
            spent: Spent {
                project: projects.get(&of_project).copied().unwrap_or_default(),
                dataset: datasets.get(&past.ask.dataset).copied().unwrap_or_default(),
            },
            ..past.facts.clone()
        };
        let now = match decide(new, &past.ask, &facts, past.at) {
            Verdict::Permit(permit) => {
                projects.entry(of_project).or_default().add(&facts.cost);
                let of_dataset = past.ask.dataset.clone();
                datasets.entry(of_dataset).or_default().add(&facts.cost);
                let rules: Vec<&str> = permit.rules().iter().map(crate::RuleId::as_str).collect();
                Ok(format!("permitted by {}", rules.join(", ")))
            }
            Verdict::Refuse(refusal) => Err(format!("refused: {refusal}")),
        };
        let opens = now.is_ok();
        if opens == past.refused.is_some() {
            replay.flips.push(Flip {
                seq: past.seq,
                at: past.at,
                ask: past.ask,
                was: past.told,
                now: now.unwrap_or_else(|refused| refused),
                opens,
            });
        }
    }
    replay
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ask {
            project,
            researcher,
            purpose,
            dataset,
            action,
            ..
        } = &self.ask;
        write!(
            f,
            "entry {} of {}: `{}` of `{project}` for {purpose}, {} on `{dataset}`: was {}; would be {}",
            self.seq,
            crate::Day::of(self.at),
            researcher.name,
            action.activity().as_str(),
            self.was,
            self.now
        )
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opened, closed): (Vec<&Flip>, Vec<&Flip>) =
            self.flips.iter().partition(|flip| flip.opens);
        writeln!(
            f,
            "{} past requests decided again: {} would now be permitted, {} would now be refused",
            self.asked,
            opened.len(),
            closed.len()
        )?;
        for flip in &self.flips {
            writeln!(f, "{} {flip}", if flip.opens { "+" } else { "-" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
