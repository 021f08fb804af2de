//! What a node's journal says of each pass, put together from its entries: who asked for what, what became of it, under
//! which bundle, at what cost.

use std::collections::BTreeMap;
use std::path::Path;

use consilium_journal::{Entry, read};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, BundleInstalled, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED,
    PASS_REPEATED, PASS_RESERVED, PassAbandoned, PassFailed, PassRefused, PassReleased,
    PassRepeated, PassReserved, Receipt,
};
use consilium_policies::{Action, Ask, RuleId};
use consilium_privacy::Cost;
use consilium_protocol::{Digest, Refusal};
use serde::de::DeserializeOwned;

use crate::ending::CliError;

/// What became of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Released,
    /// The answer that was paid for before, again.
    Repeated,
    Refused,
    Failed,
    /// Cut off by the end of the process.
    Abandoned,
}

/// One ask's way through the gate, at its end.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    /// Of the entry that ended it.
    pub(super) seq: u64,
    pub(super) hash: Digest,
    pub(super) at_ms: u64,
    pub(super) ask: Ask,
    pub(super) outcome: Outcome,
    pub(super) rules: Vec<RuleId>,
    pub(super) bundle: Option<Digest>,
    /// What left, if anything did.
    pub(super) receipt: Option<Receipt>,
    pub(super) refusal: Option<Refusal>,
    /// What was reserved for it; nothing where it was refused at the door.
    pub(super) cost: Cost,
}

/// What a journal tells, in its order.
#[derive(Debug)]
pub(super) enum Told {
    /// Budget was spent: from here on, whatever follows.
    Spent {
        at_ms: u64,
        ask: Ask,
        cost: Cost,
    },
    Ended(Box<Pass>),
    Installed {
        at_ms: u64,
        bundle: BundleInstalled,
    },
}

impl Outcome {
    pub(super) const ALL: [Self; 5] = [
        Self::Released,
        Self::Repeated,
        Self::Refused,
        Self::Failed,
        Self::Abandoned,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "cut off",
        }
    }
}

/// Reads the journal in `folder` from its first entry to its last, each checked. Entries of other kinds are passed
/// over.
pub(super) fn passes(folder: &Path, mut visit: impl FnMut(Told)) -> Result<(), CliError> {
    let mut reserved: BTreeMap<u64, Cost> = BTreeMap::new();
    for entry in read(folder)? {
        let entry = entry?;
        if entry.kind == PASS_RESERVED {
            let pass: PassReserved = entry.parse()?;
            let cost = pass.facts.cost;
            if !cost.is_none() {
                visit(Told::Spent {
                    at_ms: entry.at_ms,
                    ask: pass.ask,
                    cost: cost.clone(),
                });
                reserved.insert(entry.seq, cost);
            }
        } else if entry.kind == BUNDLE_INSTALLED {
            visit(Told::Installed {
                at_ms: entry.at_ms,
                bundle: entry.parse()?,
            });
        } else if let Some(pass) = ending(&entry, &mut reserved)? {
            visit(Told::Ended(Box::new(pass)));
        }
    }
    Ok(())
}

fn ending(entry: &Entry, reserved: &mut BTreeMap<u64, Cost>) -> Result<Option<Pass>, CliError> {
    fn parse<T: DeserializeOwned>(entry: &Entry) -> Result<T, CliError> {
        Ok(entry.parse()?)
    }
    let mut cost_of = |seq: u64| reserved.remove(&seq).unwrap_or(Cost::None);
    let of = |ask: Ask, outcome: Outcome| Pass {
        seq: entry.seq,
        hash: entry.hash,
        at_ms: entry.at_ms,
        ask,
        outcome,
        rules: Vec::new(),
        bundle: None,
        receipt: None,
        refusal: None,
        cost: Cost::None,
    };
    Ok(Some(match entry.kind.as_str() {
        PASS_RELEASED => {
            let pass: PassReleased = parse(entry)?;
            Pass {
                rules: pass.rules,
                bundle: Some(pass.bundle),
                receipt: Some(pass.receipt),
                cost: cost_of(pass.reserved),
                ..of(pass.ask, Outcome::Released)
            }
        }
        PASS_REPEATED => {
            let pass: PassRepeated = parse(entry)?;
            Pass {
                rules: pass.rules,
                bundle: Some(pass.bundle),
                receipt: Some(pass.receipt),
                ..of(pass.ask, Outcome::Repeated)
            }
        }
        PASS_REFUSED => {
            let pass: PassRefused = parse(entry)?;
            Pass {
                bundle: pass.bundle,
                refusal: Some(pass.refusal),
                cost: pass.reserved.map_or(Cost::None, cost_of),
                ..of(pass.ask, Outcome::Refused)
            }
        }
        PASS_FAILED => {
            let pass: PassFailed = parse(entry)?;
            Pass {
                rules: pass.rules,
                bundle: Some(pass.bundle),
                cost: cost_of(pass.reserved),
                ..of(pass.ask, Outcome::Failed)
            }
        }
        PASS_ABANDONED => {
            let pass: PassAbandoned = parse(entry)?;
            Pass {
                rules: pass.rules,
                bundle: Some(pass.bundle),
                cost: cost_of(pass.reserved),
                ..of(pass.ask, Outcome::Abandoned)
            }
        }
        _ => return Ok(None),
    }))
}

/// An action in a few words.
pub(super) fn words(action: Action) -> String {
    match action {
        Action::Admit { .. } => "admission".to_owned(),
        Action::Train { .. } => "training".to_owned(),
        Action::Evaluate => "evaluation".to_owned(),
        Action::Statistic { statistic, noisy } => {
            let how = if noisy { "noisy" } else { "exact" };
            format!("{} ({how})", statistic.as_str())
        }
        Action::Search { level } => format!("search, level {level}"),
    }
}
