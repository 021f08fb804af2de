//! A journal, offline: is it what was written, what does it say, and how is that shown to others?
//!
//! | file | subject |
//! |---|---|
//! | `audit` | walking a journal, printing entries |
//! | `evidence` | checkpoints and keys: what others say of the journal |
//! | `prove` | one entry, for somebody who has not the journal |
//! | `passes` | what the journal says of each pass, put together |
//! | `report` | what an officer prints: a page with drawings, and tables |
//! | `export` | FHIR audit events, and the record of GDPR article 30 |

pub(crate) mod arguments;
mod error;
mod evidence;
mod export;
mod passes;
mod prove;
mod report;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use consilium_journal::{Entry, Head, Verified, read, verify, verify_heads};
use serde_json::{Value, json};

pub(crate) use error::AuditError;
pub(crate) use evidence::Trust;

use crate::ending::{CliError, NoAnswer};
use crate::moment;
use crate::output::Answer;
use arguments::AuditCommand;
use evidence::{Evidence, Keys, Origin, Witnessed};

/// Where a node's or coordinator's folder keeps its journal.
const JOURNAL_FOLDER: &str = "journal";

/// Entries that one command prints, whatever was asked for.
const ENTRIES_SHOWN_MAX: usize = 100_000;

/// One `consilium audit` command.
pub(crate) fn carry_out(command: AuditCommand) -> Result<Answer, NoAnswer> {
    match command {
        AuditCommand::Verify {
            folder,
            head,
            require_witness,
            trust,
        } => verify_folder(&folder, head, require_witness, &trust),
        AuditCommand::Show {
            folder,
            kind,
            limit,
        } => show(&folder, kind.as_deref(), limit),
        AuditCommand::Prove {
            check: Some(proof),
            trust,
            ..
        } => prove::check(&proof, &trust),
        AuditCommand::Prove {
            folder,
            seq,
            to,
            trust,
            ..
        } => prove::make(
            &folder.unwrap_or_default(),
            seq.unwrap_or_default(),
            to,
            &trust,
        ),
        AuditCommand::Report {
            folder,
            to,
            csv,
            delta,
            trust,
        } => report::report(&folder, &to, csv.as_deref(), delta, &trust),
        AuditCommand::Export {
            folder,
            fhir,
            article_30,
            bundle,
            site,
            delta,
        } => {
            let site = match site {
                Some(site) => site,
                None => export::site_of(&folder)?,
            };
            let mut answer = Answer {
                data: json!({}),
                text: String::new(),
            };
            let fhir = fhir.map(|to| export::fhir(&folder, &to, &site));
            let record = article_30
                .map(|to| export::article_30(&folder, &to, bundle.as_deref(), &site, delta));
            for part in [fhir, record].into_iter().flatten() {
                let part = part?;
                answer.text.push_str(&part.text);
                if let (Some(all), Value::Object(data)) = (answer.data.as_object_mut(), part.data) {
                    all.extend(data);
                }
            }
            Ok(answer)
        }
    }
}

/// Walks a journal from its first entry to its last, and compares it with every head and checkpoint there is.
fn verify_folder(
    folder: &Path,
    head: Option<Head>,
    require_witness: bool,
    trust: &Trust,
) -> Result<Answer, NoAnswer> {
    let journal = journal_of(folder);
    if let Some(head) = head {
        // By the chain alone: whoever wrote a head down wrote no root.
        let _ = verify(&journal, Some(head))?;
    }
    let keys = Keys::gather(trust, folder, &journal)?;
    let evidence = Evidence::gather(trust, &journal, &keys)?;
    let (verified, _) = verify_heads(&journal, &evidence.heads)?;
    if require_witness && evidence.newest_cosigned.is_none() {
        return Err(CliError::from(AuditError::NotWitnessed {
            unchecked: evidence.unchecked,
        })
        .into());
    }
    let torn = match verified.torn_tail_bytes {
        0 => String::new(),
        bytes => format!(
            "torn tail: {bytes} bytes that a crash left, or that are being written now; \
             nothing of them was ever acknowledged\n"
        ),
    };
    Ok(Answer {
        data: json!({
            "journal": journal,
            "entries": verified.entries,
            "segments": verified.segments,
            "head": verified.head.to_string(),
            "root": verified.root,
            "torn_tail_bytes": verified.torn_tail_bytes,
            "compared_with_head": head.map(|head| head.to_string()),
            "compared_with_checkpoints": evidence.heads.len(),
            "checkpoints_unchecked": evidence.unchecked,
            "checkpoints_damaged": evidence.damaged,
            "witnessed_entries": evidence.newest_cosigned.as_ref().map(|newest| newest.checkpoint.head().size),
            "end_recorded": covered(head, &evidence).is_some_and(|size| size >= verified.entries),
            "cosigned_by": evidence.newest_cosigned.as_ref().map(|newest| {
                newest.by.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
            }),
        }),
        text: format!(
            "`{}` is what was written\n\
             entries:   {}\n\
             segments:  {}\n\
             head:      {}\n\
             root:      {}\n\
             {torn}{}",
            journal.display(),
            verified.entries,
            verified.segments,
            verified.head,
            verified.root,
            shown(head, &verified, &keys, &evidence),
        ),
    })
}

/// What the comparison shows and, as plainly, what it cannot.
fn shown(head: Option<Head>, verified: &Verified, keys: &Keys, evidence: &Evidence) -> String {
    let mut lines = Vec::new();
    if let Some(head) = head {
        let last = head.seq.saturating_sub(1);
        lines.push(format!("the head recorded after entry {last} is in it"));
    }
    match &keys.authority {
        Some((fingerprint, Origin::Folder)) => lines.push(format!(
            "authority: {fingerprint}, from this very folder: compare it with the one you know, or bring your own \
             with --authority"
        )),
        Some((fingerprint, Origin::Given)) => lines.push(format!("authority: {fingerprint}")),
        None => {}
    }
    for place in &evidence.damaged {
        lines.push(format!("a checkpoint was changed or is none: {place}"));
    }
    if evidence.unchecked > 0 {
        lines.push(format!(
            "{} checkpoints are signed by keys that are not known here; give them with --key or --authority",
            evidence.unchecked
        ));
    }
    if let Some(newest) = evidence
        .newest_cosigned
        .as_ref()
        .or(evidence.newest.as_ref())
    {
        let size = newest.checkpoint.head().size;
        lines.push(format!("it continues the checkpoint of {size} entries"));
        lines.push(cosigned(newest).trim_end().to_owned());
    }
    lines.push(match covered(head, evidence) {
        Some(size) if size >= verified.entries => {
            "no entry is missing at its end, as far as that was recorded".to_owned()
        }
        Some(size) => format!(
            "the last {} entries came after it: were some of them cut off, nothing here would show it",
            verified.entries - size
        ),
        None => "the chain cannot show whether its end was cut off: bring a checkpoint of it (--checkpoint) or a head \
                 that was kept elsewhere (--head)"
            .to_owned(),
    });
    lines.join("\n") + "\n"
}

/// How many entries were recorded elsewhere: what came after them could be cut off unseen.
fn covered(head: Option<Head>, evidence: &Evidence) -> Option<u64> {
    let sizes = evidence.heads.iter().map(|head| head.size);
    sizes.chain(head.map(|head| head.seq)).max()
}

/// Who cosigned a checkpoint, and when.
fn cosigned(witnessed: &Witnessed) -> String {
    let mut text = format!("signed by {}\n", witnessed.checkpoint.checkpoint().origin);
    for (name, at_s) in &witnessed.by {
        text.push_str(&format!(
            "cosigned by {name} at {}\n",
            moment::utc(at_s.saturating_mul(1000))
        ));
    }
    text
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::Exists {
            path: path.to_owned(),
        },
        _ => CliError::NotWritten {
            path: path.to_owned(),
            source,
        },
    })
}

/// The last entries of a journal, of one kind or of all.
fn show(folder: &Path, kind: Option<&str>, limit: usize) -> Result<Answer, NoAnswer> {
    let folder = journal_of(folder);
    let limit = limit.min(ENTRIES_SHOWN_MAX);
    let mut last = VecDeque::new();
    let mut matching: u64 = 0;
    for entry in read(&folder).map_err(CliError::from)? {
        let entry = entry.map_err(CliError::from)?;
        if kind.is_some_and(|kind| kind != entry.kind) {
            continue;
        }
        matching += 1;
        last.push_back(entry);
        if last.len() > limit {
            last.pop_front();
        }
    }
    let mut text: String = last.iter().map(line).collect();
    if matching > last.len() as u64 {
        text.push_str(&format!(
            "the last {} of {matching}; see more with --limit\n",
            last.len()
        ));
    }
    Ok(Answer {
        data: json!({
            "journal": folder,
            "matching": matching,
            "entries": last.iter().map(entry_json).collect::<Vec<_>>(),
        }),
        text,
    })
}

/// The folder itself, or the journal inside a node's or coordinator's.
fn journal_of(folder: &Path) -> PathBuf {
    let inside = folder.join(JOURNAL_FOLDER);
    if inside.is_dir() {
        inside
    } else {
        folder.to_owned()
    }
}

fn line(entry: &Entry) -> String {
    let payload = String::from_utf8_lossy(&entry.payload);
    // JSON has no line breaks of its own that matter; one entry stays one line.
    let payload = payload.replace(['\n', '\r'], " ");
    format!(
        "{:>8}  {}  {}  {payload}\n",
        entry.seq,
        moment::utc(entry.at_ms),
        entry.kind
    )
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "seq": entry.seq,
        "at_ms": entry.at_ms,
        "at": moment::utc(entry.at_ms),
        "kind": entry.kind,
        "hash": entry.hash,
        "payload": serde_json::from_slice::<Value>(&entry.payload)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&entry.payload))),
    })
}

#[cfg(test)]
mod tests;
