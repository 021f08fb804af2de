//! What this site's officer types at the node: what waits for her word, and what was spent.

use std::path::Path;

use consilium_link::MemberKey;
use consilium_protocol::Digest;
use serde_json::{Value, json};

use crate::budget::budget_of;
use crate::config::{Config, Folder};
use crate::gate::{Approvals, Pending, Wanted, read_ledgers, read_policy};
use crate::node::NodeError;

/// What waits for her: runs and questions, or results in the outbox; each with its hash and its text.
///
/// # Errors
/// The folder is no node's, or cannot be read.
pub fn waiting(folder: &Path, wanted: Wanted) -> Result<Value, NodeError> {
    let pending = approvals(folder)?.pending()?;
    let of_this: Vec<Pending> = pending
        .into_iter()
        .filter(|pending| pending.wanted == wanted)
        .collect();
    let lines = of_this.iter().flat_map(lines);
    Ok(json!({ "waiting": of_this.len(), "what": lines.collect::<Vec<_>>() }))
}

/// Gives her word on what waits under `hash`, with the key in her own folder.
///
/// # Errors
/// Nothing of that hash waits, or the key is not that of an officer who may.
pub fn say_yes(
    folder: &Path,
    wanted: Wanted,
    hash: Digest,
    key_folder: &Path,
) -> Result<Value, NodeError> {
    let key = MemberKey::load(key_folder)?;
    let officer = approvals(folder)?.approve(wanted, hash, &key)?;
    let done = match wanted {
        Wanted::Approval => "approved",
        Wanted::Release => "released",
    };
    Ok(json!({ done: hash, "by": officer }))
}

/// What was spent and what is left, by data set and project, and how many patients are left out.
///
/// # Errors
/// The journal or the vault cannot be read.
pub fn budget(folder: &Path) -> Result<Value, NodeError> {
    let config = Config::load(folder)?;
    let at = Folder::new(folder);
    let ledgers = read_ledgers(&at.journal(), &at.vault())?;
    let policy = read_policy(&folder.join(&config.policy_folder));
    let bundle = policy.as_ref().ok();
    let mut budgets = Vec::new();
    let collections = config.collections.iter().map(|declared| &declared.name);
    let datasets = config.datasets.iter().map(|declared| &declared.name);
    for name in datasets.chain(collections) {
        let ledger = ledgers.get(name).cloned().unwrap_or_default();
        budgets.push(budget_of(name, &ledger, bundle));
    }
    let lines: Vec<String> = budgets.iter().flat_map(|budget| budget.lines()).collect();
    let mut told = json!({ "budget": lines, "datasets": budgets });
    if let (Err(error), Some(told)) = (&policy, told.as_object_mut()) {
        told.insert("policy".into(), json!(error.to_string()));
    }
    Ok(told)
}

fn approvals(folder: &Path) -> Result<Approvals, NodeError> {
    let config = Config::load(folder)?;
    let officers = config.policy.signers().officers;
    Ok(Approvals::new(&Folder::new(folder).approvals(), officers))
}

fn lines(pending: &Pending) -> Vec<String> {
    let officers: Vec<String> = pending.officers.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        pending.hash.to_string(),
        format!("  asked by {}", pending.asked_by),
        format!("  may be decided by {}", officers.join(", ")),
    ];
    lines.extend(pending.text.lines().map(|line| format!("  | {line}")));
    lines
}
