//! What a bundle would do: checked, tested, explained, compared, and replayed over the past.

use std::path::Path;

use consilium_journal::Entry;
use consilium_link::wall_clock;
use consilium_policies::bundle::Named;
use consilium_policies::entry::{PASS_REFUSED, PASS_RESERVED, PassRefused, PassReserved};
use consilium_policies::explain::Way;
use consilium_policies::{
    self as policies, Answer as InAWord, Finding, Flip, Question, Recorded, Severity,
};
use consilium_protocol::Millis;
use serde_json::{Value, json};

use super::arguments::QuestionTyped;
use super::{PolicyError, folder};
use crate::arguments::Format;
use crate::ending::NoAnswer;
use crate::output::{Answer, Streams};

/// Says what an officer should know before she signs; no answer where there is an error.
pub(super) fn check(
    bundle: &Path,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let files = folder::read(bundle)?;
    let findings = policies::check(&bundle.display().to_string(), &files, wall_clock());
    let count = |severity| {
        findings
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let notes = count(Severity::Note);
    let data = json!({
        "bundle": bundle, "errors": errors, "warnings": warnings, "notes": notes,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    });
    let mut text: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    if errors > 0 {
        let why = format!(
            "the policy in `{}` cannot be used as it is",
            bundle.display()
        );
        let remedy = "mend what is named as an error, and check again";
        return Err(not_clean(
            text,
            "policy-errors",
            why,
            remedy,
            data,
            format,
            streams,
        ));
    }
    text += &match (warnings, notes) {
        (0, 0) => "nothing is wrong with it\n".to_owned(),
        _ => format!("no errors, {warnings} warnings, {notes} notes\n"),
    };
    Ok(Answer { data, text })
}

/// Decides the cases; no answer where one comes out otherwise than it says.
pub(super) fn test(
    bundle_folder: &Path,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Answer, NoAnswer> {
    let (bundle, _) = folder::open(bundle_folder)?;
    let mut text = String::new();
    let (mut passed, mut surprises) = (Vec::new(), Vec::new());
    for (name, surprise) in bundle.cases().outcomes(&bundle) {
        match surprise {
            None => {
                text += &format!("as expected: `{name}`\n");
                passed.push(name);
            }
            Some(surprise) => {
                text += &format!("SURPRISE: {surprise}\n");
                surprises.push(json!({
                    "case": surprise.case, "expected": surprise.expected, "decided": surprise.decided,
                }));
            }
        }
    }
    let cases = bundle.cases().count();
    let data = json!({
        "bundle": bundle_folder, "digest": bundle.digest(), "cases": cases, "passed": passed, "surprises": surprises,
    });
    if !surprises.is_empty() {
        let why = format!(
            "{} of {cases} cases come out otherwise than they say",
            surprises.len()
        );
        let remedy = "change the policy or the case, whichever is wrong";
        return Err(not_clean(
            text,
            "policy-surprises",
            why,
            remedy,
            data,
            format,
            streams,
        ));
    }
    text += &match cases {
        0 => "there are no cases, so nothing was tested: write some into cases.toml\n".to_owned(),
        _ => format!("all {cases} cases come out as they say\n"),
    };
    Ok(Answer { data, text })
}

/// Could a researcher of project P ever get X from data set D?
pub(super) fn explain(bundle_folder: &Path, typed: QuestionTyped) -> Result<Answer, NoAnswer> {
    let (bundle, _) = folder::open(bundle_folder)?;
    let QuestionTyped {
        project,
        dataset,
        release,
        researcher,
        purpose,
    } = typed;
    let permitted = bundle
        .rules()
        .iter()
        .any(|rule| rule.dataset.covers(&dataset));
    if !permitted && !bundle.datasets().contains_key(&dataset) {
        let known: Vec<String> = bundle
            .datasets()
            .keys()
            .map(|name| format!("`{name}`"))
            .collect();
        let known = match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(", "),
        };
        return Err(PolicyError::UnknownDataset { dataset, known }.into());
    }
    let question = Question {
        project,
        release,
        dataset,
        researcher,
        purpose,
    };
    let explained = policies::explain(&bundle, &question, wall_clock());
    let answer = match explained.answer {
        InAWord::Yes => "yes",
        InAWord::If => "if",
        InAWord::No => "no",
    };
    Ok(Answer {
        data: json!({
            "project": question.project, "dataset": question.dataset, "release": question.release.as_str(),
            "answer": answer, "ways": explained.ways.iter().map(way).collect::<Vec<_>>(),
            "reasons": explained.reasons,
        }),
        text: explained.to_string(),
    })
}

/// What the new bundle lets out that the old one does not, and the reverse.
pub(super) fn diff(old: &Path, new: &Path) -> Result<Answer, NoAnswer> {
    let (before, _) = folder::open(old)?;
    let (after, _) = folder::open(new)?;
    let changes = policies::diff(&before, &after, wall_clock());
    Ok(Answer {
        data: json!({
            "old": before.digest(), "new": after.digest(), "same": changes.is_empty(),
            "opened": changes.opened, "closed": changes.closed, "firmer": changes.firmer, "looser": changes.looser,
            "numbers": changes.numbers,
        }),
        text: changes.to_string(),
    })
}

/// Decides a journal's past asks again, in their order.
pub(super) fn replay(new: &Path, journal: &Path) -> Result<Answer, NoAnswer> {
    let (bundle, _) = folder::open(new)?;
    let within = journal.join("journal");
    let journal = if within.is_dir() { &within } else { journal };
    let mut entries = consilium_journal::read(journal)?;
    // A journal may be longer than memory; the first fault ends it.
    let mut fault = None;
    let asks = std::iter::from_fn(|| {
        loop {
            let read = entries.next()?.map_err(NoAnswer::from);
            match read.and_then(|entry| recorded(&entry)) {
                Ok(Some(past)) => return Some(past),
                Ok(None) => {}
                Err(broken) => {
                    fault = Some(broken);
                    return None;
                }
            }
        }
    });
    let replayed = policies::replay(&bundle, asks);
    if let Some(fault) = fault {
        return Err(fault);
    }
    let opened = replayed.flips.iter().filter(|flip| flip.opens).count();
    Ok(Answer {
        data: json!({
            "bundle": new, "digest": bundle.digest(), "journal": journal, "asked": replayed.asked,
            "opened": opened, "closed": replayed.flips.len() - opened,
            "flips": replayed.flips.iter().map(flip).collect::<Vec<_>>(),
        }),
        text: replayed.to_string(),
    })
}

/// The ask that an entry keeps, if it is about one.
fn recorded(entry: &Entry) -> Result<Option<Recorded>, NoAnswer> {
    let at = Millis(entry.at_ms);
    Ok(match entry.kind.as_str() {
        PASS_RESERVED => {
            let reserved: PassReserved = entry.parse()?;
            Some(Recorded::reserved(entry.seq, at, reserved))
        }
        PASS_REFUSED => {
            let refused: PassRefused = entry.parse()?;
            Recorded::refused(entry.seq, at, refused)
        }
        _ => None,
    })
}

/// Findings first, line by line, unless they go into the envelope; then why there is no answer.
fn not_clean(
    text: String,
    code: &'static str,
    why: String,
    remedy: &'static str,
    data: Value,
    format: Format,
    streams: &mut Streams<'_>,
) -> NoAnswer {
    if format == Format::Text {
        text.lines().for_each(|line| streams.say(line));
    }
    NoAnswer::PolicyNotClean {
        code,
        why,
        remedy,
        data: Box::new(data),
    }
}

fn finding(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    json!({
        "severity": severity, "file": finding.file, "line": finding.line, "sentence": finding.sentence,
    })
}

fn way(way: &Way) -> Value {
    let researchers = match &way.researchers {
        Named::Any => vec!["*"],
        Named::These(names) => names.iter().map(|name| name.as_str()).collect(),
    };
    json!({
        "rules": way.rules.iter().map(|rule| rule.as_str()).collect::<Vec<_>>(),
        "researchers": researchers, "purpose": way.purpose, "conditions": way.conditions, "certain": way.certain,
    })
}

fn flip(flip: &Flip) -> Value {
    json!({
        "seq": flip.seq, "at_ms": flip.at.0, "project": flip.ask.project, "researcher": flip.ask.researcher.name,
        "purpose": flip.ask.purpose, "dataset": flip.ask.dataset, "activity": flip.ask.action.activity().as_str(),
        "was": flip.was, "now": flip.now, "opens": flip.opens,
    })
}
