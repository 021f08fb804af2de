//! All forbids of a slice as one policy, for the common answer: none of them holds.
//!
//! Cedar spends a few microseconds on each policy before it looks at a condition. Joined by `||`, the conditions are
//! looked at alone, and who, what and which data set once for all rules that say the same of them. The joined policy is
//! false, without an error, if and only if each of the rules is: an error in one is an error of the whole, and what is
//! true stops it. Then, and only then, its answer is taken; otherwise every rule is asked by itself, so that a refusal
//! names the rules that made it. Permits are never joined: one that holds must not hide another's error.

use std::collections::BTreeMap;

use cedar_policy::{Effect as CedarEffect, Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

/// The joined policy's name; it never decides anything that is told.
const NAME: &str = "all-forbids";

/// Rules longer than this, or with more operators, stay as they are: JSON is read and written one call deeper for each.
const RULE_BYTES_MAX: usize = 4096;
/// See [`RULE_BYTES_MAX`].
const OPERATORS_MAX: usize = 256;

/// The permits as they are, and the forbids joined; `None` if that cannot be said in Cedar.
pub(super) fn joined(policies: &PolicySet) -> Option<PolicySet> {
    let (forbids, permits): (Vec<&Policy>, Vec<&Policy>) = policies
        .policies()
        .partition(|policy| policy.effect() == CedarEffect::Forbid);
    let (short, long): (Vec<&Policy>, Vec<&Policy>) =
        forbids.into_iter().partition(|policy| is_short(policy));
    let mut all: Vec<Policy> = permits.into_iter().chain(long).cloned().collect();
    if !short.is_empty() {
        all.push(one_of(&short)?);
    }
    PolicySet::from_policies(all).ok()
}

fn is_short(policy: &Policy) -> bool {
    let text = policy.to_string();
    let operators = text.bytes().filter(|byte| b"&|+-*.=<>![".contains(byte));
    text.len() <= RULE_BYTES_MAX && operators.count() <= OPERATORS_MAX
}

fn one_of(forbids: &[&Policy]) -> Option<Policy> {
    // By what they say of who, what and which data set: as a text, for the order, and as a condition.
    let mut scopes: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for policy in forbids {
        let written = policy.to_json().ok()?;
        let parts = ["principal", "action", "resource"];
        let scope: Vec<Value> = parts
            .iter()
            .map(|variable| scope_of(variable, written.get(variable)?))
            .collect::<Option<Vec<Option<Value>>>>()?
            .into_iter()
            .flatten()
            .collect();
        let conditions = written.get("conditions")?.as_array()?.iter();
        let conditions: Vec<Value> = conditions.map(condition_of).collect::<Option<_>>()?;
        let (_, rules) = scopes
            .entry(json!(scope).to_string())
            .or_insert_with(|| (scope, Vec::new()));
        rules.push(balanced("&&", &conditions, true));
    }
    let groups: Vec<Value> = scopes
        .into_values()
        .map(|(mut scope, rules)| {
            scope.push(balanced("||", &rules, false));
            balanced("&&", &scope, true)
        })
        .collect();
    let any = json!({ "op": "All" });
    let policy = json!({
        "effect": "forbid", "principal": any, "action": any, "resource": any,
        "conditions": [{ "kind": "when", "body": balanced("||", &groups, false) }],
    });
    Policy::from_json(Some(PolicyId::new(NAME)), policy).ok()
}

/// What a scope says of a variable as a condition. The inner `None`: nothing. The outer: something that is not known
/// here.
fn scope_of(variable: &str, scope: &Value) -> Option<Option<Value>> {
    let left = || json!({ "Var": variable });
    let named = |entity: &Value| json!({ "Value": { "__entity": entity } });
    let binary =
        |operator: &str, right: Value| json!({ operator: { "left": left(), "right": right } });
    Some(match scope.get("op")?.as_str()? {
        "All" => None,
        "==" => Some(binary("==", named(scope.get("entity")?))),
        "in" => match (scope.get("entity"), scope.get("entities")) {
            (Some(entity), None) => Some(binary("in", named(entity))),
            (None, Some(entities)) => {
                let each: Vec<Value> = entities.as_array()?.iter().map(named).collect();
                Some(binary("in", json!({ "Set": each })))
            }
            _ => return None,
        },
        "is" => {
            let kind = scope.get("entity_type")?;
            let is = json!({ "is": { "left": left(), "entity_type": kind } });
            Some(match scope.get("in") {
                None => is,
                Some(within) => balanced(
                    "&&",
                    &[is, binary("in", named(within.get("entity")?))],
                    true,
                ),
            })
        }
        _ => return None,
    })
}

fn condition_of(condition: &Value) -> Option<Value> {
    let body = condition.get("body")?;
    match condition.get("kind")?.as_str()? {
        "when" => Some(body.clone()),
        "unless" => Some(json!({ "!": { "arg": body } })),
        _ => None,
    }
}

/// All of them under one operator, no deeper than it must be: Cedar descends one call for each. `of_none` is what there
/// is of nothing.
fn balanced(operator: &str, parts: &[Value], of_none: bool) -> Value {
    match parts {
        [] => json!({ "Value": of_none }),
        [one] => one.clone(),
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            json!({ operator: {
                "left": balanced(operator, left, of_none), "right": balanced(operator, right, of_none),
            } })
        }
    }
}
