//! A bundle in short, alone or as it stands at a node.

use std::path::Path;

use consilium_policies::bundle::{Named, Rule};
use consilium_policies::{Bundle, Dataset, Release};
use consilium_protocol::{DatasetName, MemberName};
use serde_json::{Value, json};

use super::folder;
use super::node::{NodePolicy, REFUSED};
use crate::ending::NoAnswer;
use crate::output::{Answer, table};

/// Shows the bundle in a folder. Whether its signatures are good, only a node's pins can tell.
pub(super) fn bundle(bundle_folder: &Path) -> Result<Answer, NoAnswer> {
    let (bundle, _) = folder::open(bundle_folder)?;
    Ok(Answer {
        data: data(&bundle),
        text: text(&bundle),
    })
}

/// Shows what is in force at a node, what waits there, and what was not taken up.
pub(super) fn node(node_folder: &Path) -> Result<Answer, NoAnswer> {
    let node = NodePolicy::read(node_folder)?;
    let (in_force, mut said) = match folder::open(&node.folder) {
        Ok((bundle, _)) => {
            let verified = match (node.officers.is_empty(), node.signed(&bundle)) {
                (true, _) => "this node takes unsigned policies".to_owned(),
                (false, Ok(names)) => format!("the signatures of {} are good", list(&names)),
                (false, Err(problem)) => format!("the node does not use it: {problem}"),
            };
            let said = format!("in force:\n{}{verified}\n", text(&bundle));
            (data(&bundle), said)
        }
        Err(error) => {
            let said = format!("nothing is in force, so nothing may leave: {error}\n");
            (Value::Null, said)
        }
    };
    let waiting = node.incoming();
    let waiting = waiting.is_dir().then(|| summary(&waiting));
    if let Some((_, line)) = &waiting {
        said += &format!("waits for the node to take it up: {line}\n");
    }
    let refused = node.folder.join(REFUSED);
    let mut not_taken = None;
    if refused.is_dir() {
        let (what, line) = summary(&refused);
        let reason = node.last_refusal()?.map(|refusal| refusal.reason);
        let why = reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        said += &format!("was not taken up: {line}{why}\n");
        not_taken = Some(json!({ "bundle": what, "reason": reason }));
    }
    let pins: Vec<String> = node.officers.iter().map(ToString::to_string).collect();
    Ok(Answer {
        data: json!({
            "in_force": in_force,
            "signed_by": folder::open(&node.folder).ok().and_then(|(bundle, _)| node.signed(&bundle).ok()),
            "waiting": waiting.map(|(what, _)| what),
            "refused": not_taken,
            "officers": pins,
            "signatures": if pins.is_empty() { 0 } else { node.at_least },
        }),
        text: said,
    })
}

/// A bundle in a line; what cannot be read is told as such.
fn summary(bundle_folder: &Path) -> (Value, String) {
    match folder::open(bundle_folder) {
        Ok((bundle, _)) => {
            let line = format!(
                "`{}`, version {}, digest {}",
                bundle.name(),
                bundle.version(),
                bundle.digest()
            );
            (data(&bundle), line)
        }
        Err(error) => (json!({ "error": error.to_string() }), error.to_string()),
    }
}

fn data(bundle: &Bundle) -> Value {
    let permits: Vec<Value> = bundle.rules().iter().map(permit).collect();
    let datasets: Vec<Value> = bundle.datasets().iter().map(dataset).collect();
    let rules: Vec<&str> = bundle
        .cedar()
        .written()
        .iter()
        .map(|rule| rule.id.as_str())
        .collect();
    json!({
        "name": bundle.name(),
        "version": bundle.version(),
        "digest": bundle.digest(),
        "permits": permits,
        "datasets": datasets,
        "rules": rules,
        "cases": bundle.cases().count(),
        "signers": bundle.signatures().officers().collect::<Vec<_>>(),
    })
}

fn permit(rule: &Rule) -> Value {
    let actions: Vec<&str> = rule.actions.iter().map(|action| action.as_str()).collect();
    json!({
        "id": rule.id.as_str(),
        "researchers": names(&rule.researchers),
        "projects": names(&rule.projects),
        "purposes": rule.purposes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "actions": actions,
        "dataset": names(&rule.dataset).join(", "),
        "until": rule.until.to_string(),
        "release": releases(rule),
        "epsilon": rule.budget.map(|budget| budget.epsilon()),
        "approval": rule.approval.as_str(),
    })
}

fn dataset((name, dataset): (&DatasetName, &Dataset)) -> Value {
    let epsilon = |budget: Option<consilium_privacy::Budget>| budget.map(|budget| budget.epsilon());
    json!({
        "name": name,
        "duo": codes(dataset),
        "floor_patients": dataset.floor_patients,
        "rounding": dataset.rounding,
        "epsilon": epsilon(dataset.budget),
        "epsilon_patient": epsilon(dataset.budget_patient),
        "until": dataset.until.map(|day| day.to_string()),
    })
}

fn text(bundle: &Bundle) -> String {
    let mut text = format!(
        "`{}`, version {}\ndigest:  {}\nrules:   {} in rules.cedar, {} cases in cases.toml\n",
        bundle.name(),
        bundle.version(),
        bundle.digest(),
        bundle.cedar().written().len(),
        bundle.cases().count()
    );
    let rows: Vec<[String; 4]> = bundle
        .datasets()
        .iter()
        .map(|(name, dataset)| {
            let epsilon = |budget: Option<consilium_privacy::Budget>| {
                budget.map_or("-".to_owned(), |budget| budget.epsilon().to_string())
            };
            let of = (epsilon(dataset.budget), epsilon(dataset.budget_patient));
            [
                name.to_string(),
                codes(dataset).join(", "),
                dataset.floor_patients.to_string(),
                format!("{} / {}", of.0, of.1),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text += &table(
            ["data set", "consent", "floor", "ε in all / per patient"],
            &rows,
        );
    }
    let rows: Vec<[String; 6]> = bundle
        .rules()
        .iter()
        .map(|rule| {
            [
                rule.id.to_string(),
                names(&rule.projects).join(", "),
                names(&rule.dataset).join(", "),
                releases(rule).join(", "),
                rule.until.to_string(),
                rule.approval.as_str().to_owned(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => text += "there is no permit, so nothing may leave\n",
        false => {
            let headings = [
                "permit",
                "projects",
                "data set",
                "lets leave",
                "until",
                "approval",
            ];
            text += &table(headings, &rows);
        }
    }
    let signers: Vec<MemberName> = bundle.signatures().officers().cloned().collect();
    match signers.is_empty() {
        true => text += "nobody signed it\n",
        false => text += &format!("signatures: {}\n", list(&signers)),
    }
    text
}

fn names<T: Ord + ToString>(named: &Named<T>) -> Vec<String> {
    match named {
        Named::Any => vec!["*".to_owned()],
        Named::These(names) => names.iter().map(ToString::to_string).collect(),
    }
}

fn releases(rule: &Rule) -> Vec<&'static str> {
    rule.release
        .iter()
        .map(|release: &Release| release.as_str())
        .collect()
}

fn codes(dataset: &Dataset) -> Vec<&'static str> {
    dataset.duo.iter().map(|code| code.as_str()).collect()
}

fn list(names: &[MemberName]) -> String {
    let names: Vec<&str> = names.iter().map(MemberName::as_str).collect();
    names.join(", ")
}
