//! The journal in the forms that others read: FHIR audit events, and the record that GDPR article 30 wants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use consilium_journal::checkpoint::base64;
use consilium_journal::verify;
use consilium_policies::Bundle;
use consilium_policies::bundle::Named;
use consilium_policies::files::BundleFiles;
use consilium_privacy::Account;
use serde_json::{Value, json};

use super::evidence::read_at_most;
use super::passes::{Outcome, Pass, Told, passes, words};
use super::{AuditError, journal_of, write_new};
use crate::ending::{CliError, NoAnswer};
use crate::moment;
use crate::output::Answer;

const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const ENTITY_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const BALP_QUERY: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query";
const BALP_ENTITIES: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// The longest file of a bundle that is read here.
const BUNDLE_FILE_BYTES_MAX: u64 = 1 << 20;

/// Writes one FHIR R4 AuditEvent a pass, as NDJSON. Of those about answered questions, each follows IHE's Basic Audit
/// Log Patterns (BALP 1.1, "Query"); the rest are plain R4, for BALP has no pattern for a training round or a refusal.
pub(crate) fn fhir(folder: &Path, to: &Path, site: &str) -> Result<Answer, NoAnswer> {
    let journal = journal_of(folder);
    let _ = verify(&journal, None)?;
    let mut lines = String::new();
    let mut events: u64 = 0;
    passes(&journal, |told| {
        if let Told::Ended(pass) = told {
            let _ = writeln!(lines, "{}", audit_event(&pass, site));
            events += 1;
        }
    })?;
    write_new(to, lines.as_bytes())?;
    Ok(Answer {
        data: json!({ "fhir": to, "events": events }),
        text: format!("`{}` holds {events} audit events\n", to.display()),
    })
}

fn audit_event(pass: &Pass, site: &str) -> Value {
    let answered = matches!(pass.outcome, Outcome::Released | Outcome::Repeated);
    let question = !matches!(
        pass.ask.action,
        consilium_policies::Action::Admit { .. }
            | consilium_policies::Action::Train { .. }
            | consilium_policies::Action::Evaluate
    );
    let (outcome, outcome_desc) = match (pass.outcome, &pass.refusal) {
        (Outcome::Released | Outcome::Repeated, _) => ("0", None),
        (Outcome::Refused, Some(refusal)) => ("4", Some(refusal.to_string())),
        (other, _) => ("8", Some(other.as_str().to_owned())),
    };
    let (kind, subtype) = match question {
        true => (
            json!({ "system": EVENT_TYPES, "code": "rest", "display": "Restful Operation" }),
            json!({ "system": "http://hl7.org/fhir/restful-interaction", "code": "search", "display": "search" }),
        ),
        false => (
            json!({ "system": DICOM, "code": "110106", "display": "Export" }),
            json!({ "system": "urn:consilium:pass", "code": words(pass.ask.action) }),
        ),
    };
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": format!("{site}-{}", pass.seq),
        "type": kind,
        "subtype": [subtype],
        "action": "E",
        "recorded": moment::instant(pass.at_ms),
        "outcome": outcome,
        "purposeOfEvent": [{ "text": format!("DUO {}", pass.ask.purpose) }],
        "agent": [
            agent("110153", "Source Role ID", "coordinator", "urn:consilium:coordinator"),
            agent("110152", "Destination Role ID", site, &format!("urn:consilium:site:{site}")),
            {
                "type": { "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                    "code": "IRCP", "display": "information recipient",
                }]},
                "who": { "identifier": {
                    "system": "urn:consilium:member", "value": pass.ask.researcher.name.as_str(),
                }},
                "requestor": true,
                "purposeOfUse": [{ "text": format!("DUO {}", pass.ask.purpose) }],
            },
        ],
        "source": {
            "site": site,
            "observer": { "display": format!("consilium node of {site}") },
            "type": [{
                "system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4",
                "display": "Application Server",
            }],
        },
        "entity": entities(pass, question),
    });
    if let Some(object) = event.as_object_mut() {
        if let Some(why) = outcome_desc {
            object.insert("outcomeDesc".into(), json!(why));
        }
        if question && answered {
            object.insert("meta".into(), json!({ "profile": [BALP_QUERY] }));
        }
    }
    event
}

fn agent(code: &str, display: &str, who: &str, address: &str) -> Value {
    json!({
        "type": { "coding": [{ "system": DICOM, "code": code, "display": display }] },
        "who": { "display": who },
        "requestor": false,
        // 5: a URI.
        "network": { "address": address, "type": "5" },
    })
}

/// The question as it was journalled; what identifies it; and what the site's own record says besides.
fn entities(pass: &Pass, question: bool) -> Vec<Value> {
    let mut entities = Vec::new();
    if question {
        let asked = serde_json::to_vec(&pass.ask).unwrap_or_default();
        entities.push(json!({
            "type": { "system": ENTITY_TYPES, "code": "2", "display": "System Object" },
            "role": {
                "system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "24", "display": "Query",
            },
            "query": base64::encode(&asked),
        }));
    }
    entities.push(json!({
        "type": { "system": BALP_ENTITIES, "code": "XrequestId" },
        "what": { "identifier": { "value": pass.ask.run_digest.to_string() } },
    }));
    let mut details = vec![
        ("project", pass.ask.project.to_string()),
        ("dataset", pass.ask.dataset.to_string()),
        ("journal-entry", pass.seq.to_string()),
        ("journal-entry-hash", pass.hash.to_string()),
    ];
    details.extend(pass.bundle.map(|bundle| ("bundle", bundle.to_string())));
    details.extend(pass.ask.run.as_ref().map(|run| ("run", run.to_string())));
    details.extend(pass.rules.iter().map(|rule| ("rule", rule.to_string())));
    if let Some(receipt) = &pass.receipt {
        details.push(("frame-sha256", receipt.frame.to_string()));
        details.push(("records", receipt.records.to_string()));
    }
    if let Ok(cost) = serde_json::to_string(&pass.cost)
        && !pass.cost.is_none()
    {
        details.push(("cost", cost));
    }
    let details: Vec<Value> = details
        .into_iter()
        .map(|(name, value)| json!({ "type": name, "valueString": value }))
        .collect();
    entities.push(json!({
        "type": { "system": ENTITY_TYPES, "code": "4", "display": "Other" },
        "what": { "display": pass.ask.dataset.as_str() },
        "detail": details,
    }));
    entities
}

/// What one processing activity is known by: project, purpose, data set.
type Activity = (String, String, String);

/// What the journal says of one processing activity.
#[derive(Default)]
struct Done {
    recipients: BTreeSet<String>,
    categories: BTreeSet<String>,
    passes: u64,
    first_ms: u64,
    last_ms: u64,
    account: Account,
}

/// Writes a record of processing activities (GDPR, article 30(1)) from the journal, and from the bundle in `bundle`
/// what is permitted. What no journal knows is left for the controller to fill in, and marked so.
pub(crate) fn article_30(
    folder: &Path,
    to: &Path,
    bundle: Option<&Path>,
    site: &str,
    delta: f64,
) -> Result<Answer, NoAnswer> {
    let journal = journal_of(folder);
    let verified = verify(&journal, None)?;
    let bundle = bundle.map(read_bundle).transpose()?;
    let mut activities: BTreeMap<Activity, Done> = BTreeMap::new();
    let mut bundles = BTreeMap::new();
    passes(&journal, |told| match told {
        Told::Installed { bundle, .. } => {
            bundles.insert(bundle.digest, (bundle.name, bundle.version));
        }
        Told::Spent { ask, cost, .. } => {
            let activity = activities.entry(activity_of(&ask)).or_default();
            activity.account.add(&cost);
        }
        Told::Ended(pass) => {
            let activity = activities.entry(activity_of(&pass.ask)).or_default();
            if pass.receipt.is_some() {
                activity
                    .recipients
                    .insert(pass.ask.researcher.name.to_string());
                activity.categories.insert(words(pass.ask.action));
                if activity.passes == 0 {
                    activity.first_ms = pass.at_ms;
                }
                activity.passes += 1;
                activity.last_ms = pass.at_ms;
            }
        }
    })?;
    let mut text = format!(
        "# Record of processing activities (GDPR, article 30(1))\n\n\
         Site: **{site}**. Made from the site's journal: {} entries, head `{}`.\n\n\
         - Controller, representative, data protection officer (a): _to be filled in by the controller_\n\
         - Categories of data subjects (c): patients whose records the data sets named below hold\n\
         - Transfers to third countries (e): _to be filled in by the controller_; what leaves goes to the consortium's \
         coordinator and, through it, to the recipients named below\n",
        verified.entries, verified.head,
    );
    for ((project, purpose, dataset), done) in &activities {
        activity(&mut text, (project, purpose, dataset), done, delta);
    }
    if activities.is_empty() {
        text.push_str("\nNothing has been processed yet.\n");
    }
    if let Some(bundle) = &bundle {
        permitted(&mut text, bundle);
    }
    measures(&mut text);
    write_new(to, text.as_bytes())?;
    Ok(Answer {
        data: json!({ "record": to, "activities": activities.len() }),
        text: format!(
            "`{}` records {} processing activities; fill in what it marks\n",
            to.display(),
            activities.len()
        ),
    })
}

fn activity_of(ask: &consilium_policies::Ask) -> Activity {
    (
        ask.project.to_string(),
        ask.purpose.to_string(),
        ask.dataset.to_string(),
    )
}

fn activity(
    text: &mut String,
    (project, purpose, dataset): (&str, &str, &str),
    done: &Done,
    delta: f64,
) {
    let list = |set: &BTreeSet<String>| match set.is_empty() {
        true => "none".to_owned(),
        false => set.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    let when = match done.passes {
        0 => "never".to_owned(),
        times => format!(
            "{times} times, from {} to {}",
            moment::utc(done.first_ms),
            moment::utc(done.last_ms)
        ),
    };
    let cost = match done.account.is_empty() {
        true => "no differentially private release".to_owned(),
        false => format!(
            "ε = {:.3} at δ = {delta}, of each patient at most",
            done.account.epsilon(delta)
        ),
    };
    let _ = write!(
        text,
        "\n## Project `{project}`\n\n\
         - Purpose (b): DUO `{purpose}`\n\
         - Categories of personal data (c): data set `{dataset}`\n\
         - Recipients (d): {}\n\
         - What left: {}; {when}\n\
         - Privacy loss: {cost}\n",
        list(&done.recipients),
        list(&done.categories),
    );
}

fn permitted(text: &mut String, bundle: &Bundle) {
    let _ = write!(
        text,
        "\n## What the policy in force permits\n\nBundle `{}`, version {}, digest `{}`.\n\n\
         | permit | projects | purposes | data set | until (f) | may leave |\n|---|---|---|---|---|---|\n",
        bundle.name(),
        bundle.version(),
        bundle.digest()
    );
    for rule in bundle.rules() {
        let projects = match &rule.projects {
            Named::Any => "any".to_owned(),
            Named::These(names) => joined(names.iter()),
        };
        let dataset = match &rule.dataset {
            Named::Any => "any".to_owned(),
            Named::These(names) => joined(names.iter()),
        };
        let releases: Vec<&str> = rule
            .release
            .iter()
            .map(|release| release.as_str())
            .collect();
        let _ = writeln!(
            text,
            "| {} | {projects} | {} | {dataset} | {} | {} |",
            rule.id,
            joined(rule.purposes.iter()),
            rule.until,
            releases.join(", ")
        );
    }
}

fn measures(text: &mut String) {
    text.push_str(
        "\n## Time limits for erasure (f)\n\n\
         Records stay in the site's own systems under the site's own limits; nothing here keeps a copy of a record. \
         The journal holds no personal data of patients.\n\n\
         ## Technical and organisational measures (g)\n\n\
         - Records never leave the site; what is computed from them leaves through one gate that journals it first.\n\
         - A policy signed by the site's officers decides every release; a differential privacy budget bounds them.\n\
         - Connections are mutually authenticated TLS 1.3; members are named by certificate and can be evicted.\n\
         - The journal is hash-chained and its checkpoints are cosigned by others: it can be verified offline \
         (`consilium audit verify`).\n",
    );
}

fn joined<T: ToString>(names: impl Iterator<Item = T>) -> String {
    names
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn read_bundle(folder: &Path) -> Result<Bundle, CliError> {
    let optional = |name: &str| {
        let path = folder.join(name);
        match path.is_file() {
            true => read_at_most(&path, BUNDLE_FILE_BYTES_MAX),
            false => Ok(Vec::new()),
        }
    };
    let files = BundleFiles {
        policy: read_at_most(&folder.join("policy.toml"), BUNDLE_FILE_BYTES_MAX)?,
        rules: optional("rules.cedar")?,
        cases: optional("cases.toml")?,
        signatures: optional("signatures.toml")?,
    };
    let place = folder.display().to_string();
    Bundle::read(&place, &files).map_err(|error| {
        CliError::from(AuditError::Bundle {
            path: folder.to_owned(),
            problem: error.to_string(),
        })
    })
}

/// The name of the site whose journal this is: from its newest checkpoint, else unknown.
pub(crate) fn site_of(folder: &Path) -> Result<String, CliError> {
    let mut site = None;
    let checkpoints = journal_of(folder).join(consilium_journal::checkpoint::CHECKPOINTS_FOLDER);
    consilium_journal::checkpoint::read_checkpoints(&checkpoints, |checkpoint| {
        site = Some(checkpoint.checkpoint().origin.last_part().to_owned());
    })?;
    Ok(site.unwrap_or_else(|| "site".to_owned()))
}
