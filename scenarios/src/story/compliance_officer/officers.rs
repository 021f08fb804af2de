//! What the officers do: keys, bundles, signatures, and what is in force.

use serde_json::Value;

use super::WATCHED;
use super::narrator::{Narrator, number, part, text, texts};
use crate::house::{Consortium, Site, anybody_types, write};
use crate::story::StoryError;
use crate::story::heart_disease::hospitals::{HOSPITALS, Hospital};
use crate::story::stage::wait_until;

const POLICY: &str = include_str!("bundle/policy.toml");
const RULES: &str = include_str!("bundle/rules.cedar");
const CASES: &str = include_str!("bundle/cases.toml");
/// One rule more, and the case that it is for.
const CHEAP_RULE: &str = include_str!("bundle/cheap.cedar");
const DEAR_CASE: &str = include_str!("bundle/dear.toml");

/// Each hospital's two, in the order of [`HOSPITALS`].
const OFFICERS: [[&str; 2]; HOSPITALS.len()] = [
    ["olga", "otto"],
    ["ilona", "istvan"],
    ["heidi", "hans"],
    ["vera", "victor"],
];

/// A checkpoint a second, so that a story need not wait a minute for its witnesses.
const PACE: &str = "[checkpoint]\nevery-s = 1\n";

/// Each officer makes a key of her own; Cleveland's are watched.
pub(super) fn make_keys(told: &Narrator) -> Result<(), StoryError> {
    told.says("Each hospital has two officers. We watch Cleveland's, Olga and Otto; those of the others do the same.");
    told.says("Each makes a key at home. The operator pins its public half in node.toml.");
    for (site, officers) in sites() {
        for officer in officers {
            let words = [
                "policy",
                "keygen",
                &key_of(told, site, officer),
                "--officer",
                officer,
            ];
            if site == WATCHED {
                let made = told.offline(&words)?;
                told.varies(&format!("pin: {}", text(&made, "/pin")?));
            } else {
                anybody_types(&words)?;
            }
        }
    }
    Ok(())
}

/// A first bundle that permits nothing, signed by both; with it the nodes start.
pub(super) fn begin_with_nothing(
    told: &Narrator,
    consortium: &Consortium,
) -> Result<(), StoryError> {
    told.says("A node starts with the careful bundle that ships. It permits nothing, and even that is signed by two.");
    for (site, _) in sites() {
        let bundle = told.path(&bundle_of(site));
        let words = ["policy", "new", &bundle, "--from", "hospital"];
        if site == WATCHED {
            told.offline(&words)?;
        } else {
            anybody_types(&words)?;
        }
        for at in 0..2 {
            signs(told, site, at)?;
        }
    }
    for (hospital, officers) in HOSPITALS.iter().zip(OFFICERS) {
        let pins = officers
            .iter()
            .map(|officer| {
                let path = told.path(&key_of_name(hospital.site, officer));
                pin(told, hospital.site, officer, &path)
            })
            .collect::<Result<Vec<_>, _>>()?;
        join(told, consortium, hospital, &pins)?;
    }
    told.says("The four nodes are up; each operator's `consilium-node check` passed.");
    Ok(())
}

/// What may leave, written down, checked and tried out before it counts.
pub(super) fn write_a_policy(told: &mut Narrator) -> Result<(), StoryError> {
    told.says("Olga writes what the cardiology project may have: counts with noise, and runs with noise, for ε = 3 in");
    told.says("all. Then she lets the program read it.");
    for (site, _) in sites() {
        lay(told, site, POLICY, RULES, CASES)?;
    }
    let bundle = told.path(&bundle_of(WATCHED));
    checks(told, &bundle)?;
    told.says("Her cases say what she expects; each comes out so.");
    tests(told, &bundle, "cases")?;
    told.says("Otto asks the question that worries him: could an exact update ever leave?");
    let words = [
        "policy",
        "explain",
        &bundle,
        "--project",
        "cardiology",
        "--dataset",
        "heart-disease",
        "--release",
        "update",
    ];
    let explained = told.offline(&words)?;
    told.answered(text(&explained, "/answer")?);
    for reason in texts(&explained, "/reasons")? {
        told.answered(&reason);
    }
    Ok(())
}

/// One signature is not enough; with two the running node takes it up.
pub(super) fn sign_and_install(
    told: &mut Narrator,
    consortium: &Consortium,
) -> Result<(), StoryError> {
    told.says("Olga signs, and tries to install it alone.");
    signs(told, WATCHED, 0)?;
    let bundle = told.path(&bundle_of(WATCHED));
    let node = consortium.folder(WATCHED).to_string_lossy().into_owned();
    let no = told.is_refused_offline(&["policy", "install", &bundle, "--node", &node])?;
    told.answered(&format!("{}: {}", no.code, no.message));
    told.says("Otto reads it and signs. No node is restarted.");
    signs(told, WATCHED, 1)?;
    installs(told, WATCHED)?;
    for (site, _) in sites().filter(|(site, _)| *site != WATCHED) {
        for at in 0..2 {
            signs(told, site, at)?;
        }
        installs(told, site)?;
    }
    told.says("The officers of the other three did the same.");
    Ok(())
}

/// A stricter bundle: compared, replayed over the past, signed, installed.
pub(super) fn tighten(told: &mut Narrator, consortium: &Consortium) -> Result<(), StoryError> {
    told.says("Olga read the journal. A single question took a third of the budget: from now on one answer may cost");
    told.says("ε = 0.5 at most, and only Ada may ask. She adds a rule, and a case for it.");
    let policy = POLICY
        .replace("version = 2", "version = 3")
        .replace("researchers = [\"*\"]", "researchers = [\"ada\"]");
    let (rules, cases) = (RULES.to_owned() + CHEAP_RULE, CASES.to_owned() + DEAR_CASE);
    lay(told, WATCHED, &policy, &rules, &cases)?;
    let bundle = told.path(&bundle_of(WATCHED));
    let node = consortium.folder(WATCHED);
    let in_force = node.join("policy").to_string_lossy().into_owned();
    let node = node.to_string_lossy().into_owned();
    checks(told, &bundle)?;
    tests(told, &bundle, "cases_tightened")?;
    told.says("What does the change let out that was not let out before?");
    let changes = told.offline(&["policy", "diff", &in_force, &bundle])?;
    let lists = [
        ('+', "/opened"),
        ('-', "/closed"),
        ('?', "/looser"),
        (' ', "/numbers"),
    ];
    for (sign, list) in lists {
        for line in texts(&changes, list)? {
            told.answered(&format!("{sign} {line}"));
        }
    }
    let opened = texts(&changes, "/opened")?.len();
    told.answered(&format!("{opened} things that were closed are open"));
    told.figure("diff_opened", opened);
    told.figure("diff_closed", texts(&changes, "/closed")?.len());
    told.says("And whose work does it stop? The journal's past requests are decided again.");
    let replayed = told.offline(&["policy", "replay", &bundle, "--journal", &node])?;
    let (asked, closed) = (part(&replayed, "/asked")?, part(&replayed, "/closed")?);
    told.varies(&format!("{asked} past requests decided again"));
    told.answered(&format!(
        "{} would now be permitted, {closed} would now be refused",
        number(&replayed, "/opened")?
    ));
    for flip in part(&replayed, "/flips")?.as_array().into_iter().flatten() {
        told.varies(&format!(
            "entry {}: {} by {}: was {}; would be {}",
            number(flip, "/seq")?,
            text(flip, "/activity")?,
            text(flip, "/researcher")?,
            word(part(flip, "/was")?),
            word(part(flip, "/now")?),
        ));
    }
    told.figure("replayed", asked.clone());
    told.figure("replay_closed", closed.clone());
    told.says("That is what they want. Both sign, and the node takes it up.");
    signs(told, WATCHED, 0)?;
    signs(told, WATCHED, 1)?;
    installs(told, WATCHED)
}

fn checks(told: &Narrator, bundle: &str) -> Result<(), StoryError> {
    let checked = told.offline(&["policy", "check", bundle])?;
    for finding in part(&checked, "/findings")?
        .as_array()
        .into_iter()
        .flatten()
    {
        told.answered(&format!(
            "{}, line {}: {}: {}",
            text(finding, "/file")?,
            number(finding, "/line")?,
            text(finding, "/severity")?,
            text(finding, "/sentence")?
        ));
    }
    told.answered(&format!(
        "{} errors, {} warnings, {} notes",
        number(&checked, "/errors")?,
        number(&checked, "/warnings")?,
        number(&checked, "/notes")?
    ));
    Ok(())
}

fn tests(told: &mut Narrator, bundle: &str, figure: &str) -> Result<(), StoryError> {
    let tested = told.offline(&["policy", "test", bundle])?;
    let passed = texts(&tested, "/passed")?;
    for case in &passed {
        told.answered(&format!("as expected: {case}"));
    }
    told.figure(figure, passed.len());
    Ok(())
}

/// One of a hospital's two officers signs its bundle; Cleveland's is watched.
fn signs(told: &Narrator, site: &str, at: usize) -> Result<(), StoryError> {
    let officers = sites().find(|(name, _)| *name == site);
    let officer = officers.and_then(|(_, officers)| officers.get(at).copied());
    let officer = officer.ok_or_else(|| StoryError::unexpected("there is no such officer"))?;
    let (bundle, key) = (told.path(&bundle_of(site)), key_of(told, site, officer));
    let words = [
        "policy",
        "sign",
        &bundle,
        "--key",
        &key,
        "--officer",
        officer,
    ];
    if site != WATCHED {
        anybody_types(&words)?;
        return Ok(());
    }
    let signed = told.offline(&words)?;
    told.answered(&format!(
        "{} signed version {}",
        text(&signed, "/officer")?,
        number(&signed, "/version")?
    ));
    Ok(())
}

/// Lays a bundle before a node and waits until it is in force.
fn installs(told: &Narrator, site: &str) -> Result<(), StoryError> {
    let (bundle, node) = (told.path(&bundle_of(site)), told.path(site));
    let words = ["policy", "install", &bundle, "--node", &node];
    let show = ["policy", "show", "--node", &node];
    let laid = match site == WATCHED {
        true => told.offline(&words)?,
        false => anybody_types(&words)?,
    };
    let digest = part(&laid, "/digest")?;
    wait_until("a policy that is taken up", || {
        let shown = anybody_types(&show)?;
        let in_force = shown.pointer("/in_force/digest") == Some(digest);
        match shown.pointer("/refused/reason").and_then(Value::as_str) {
            Some(reason) if !in_force => Err(StoryError::unexpected(reason)),
            _ => Ok(in_force && part(&shown, "/waiting")?.is_null()),
        }
    })?;
    if site != WATCHED {
        return Ok(());
    }
    let shown = told.offline(&show)?;
    told.answered(&format!(
        "in force: version {}, signed by {}",
        number(&shown, "/in_force/version")?,
        texts(&shown, "/signed_by")?.join(", ")
    ));
    Ok(())
}

/// Writes a hospital's bundle; signatures under an older one hold no longer.
fn lay(
    told: &Narrator,
    site: &str,
    policy: &str,
    rules: &str,
    cases: &str,
) -> Result<(), StoryError> {
    let folder = told.root().join(bundle_of(site));
    let name = format!("name = \"{site}\"");
    write(
        &folder.join("policy.toml"),
        &policy.replacen("name = \"hospital\"", &name, 1),
    )?;
    write(&folder.join("rules.cedar"), rules)?;
    Ok(write(&folder.join("cases.toml"), cases)?)
}

fn join(
    told: &Narrator,
    consortium: &Consortium,
    hospital: &Hospital,
    pins: &[String],
) -> Result<(), StoryError> {
    let folder = told.root().join(bundle_of(hospital.site));
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name)).map_err(|source| StoryError::Disk {
            what: format!("cannot read `{name}` of {}", hospital.title),
            source,
        })
    };
    let bundle = ["rules.cedar", "cases.toml", "signatures.toml"]
        .map(|name| Ok((format!("policy/{name}"), read(name)?)));
    let bundle = bundle.into_iter().collect::<Result<Vec<_>, StoryError>>()?;
    let mut files: Vec<(String, &str)> = hospital.files().to_vec();
    files.extend(
        bundle
            .iter()
            .map(|(path, text)| (path.clone(), text.as_str())),
    );
    consortium.join(&Site {
        name: hospital.site,
        officers: pins,
        policy: &read("policy.toml")?,
        files: &files,
        datasets: &format!("{PACE}\n{}", Hospital::declaration()),
    })?;
    Ok(())
}

/// The line that the operator writes into node.toml: what signing once more says.
fn pin(told: &Narrator, site: &str, officer: &str, key: &str) -> Result<String, StoryError> {
    let bundle = told.path(&bundle_of(site));
    let signed = anybody_types(&[
        "policy",
        "sign",
        &bundle,
        "--key",
        key,
        "--officer",
        officer,
    ])?;
    Ok(text(&signed, "/pin")?.to_owned())
}

fn sites() -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    HOSPITALS.iter().map(|hospital| hospital.site).zip(OFFICERS)
}

fn bundle_of(site: &str) -> String {
    format!("{site}-policy")
}

fn key_of_name(site: &str, officer: &str) -> String {
    format!("{site}-officers/{officer}")
}

fn key_of(told: &Narrator, site: &str, officer: &str) -> String {
    told.path(&key_of_name(site, officer))
}

/// A verdict in a word.
fn word(verdict: &Value) -> String {
    match verdict.as_str() {
        Some(word) => word.to_owned(),
        None => verdict.to_string(),
    }
}
