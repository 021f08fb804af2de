//! A journal, offline: is it what was written, and what does it say?

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use consilium_journal::{Entry, Head, read, verify};
use serde_json::{Value, json};

use crate::ending::{CliError, NoAnswer};
use crate::moment;
use crate::output::Answer;

/// Where a node's or coordinator's folder keeps its journal.
const JOURNAL_FOLDER: &str = "journal";

/// Entries that one command prints, whatever was asked for.
const ENTRIES_SHOWN_MAX: usize = 100_000;

/// Walks a journal from its first entry to its last.
pub(crate) fn verify_folder(folder: &Path, head: Option<Head>) -> Result<Answer, NoAnswer> {
    let folder = journal_of(folder);
    let verified = verify(&folder, head)?;
    let torn = match verified.torn_tail_bytes {
        0 => String::new(),
        bytes => format!(
            "torn tail: {bytes} bytes that a crash left, or that are being written now; \
             nothing of them was ever acknowledged\n"
        ),
    };
    let shown = match head {
        Some(head) => format!(
            "the head recorded after entry {} is in it",
            head.seq.saturating_sub(1)
        ),
        None => "the chain cannot show whether its end was cut off: keep the head elsewhere, \
                 and give it with --head"
            .to_owned(),
    };
    Ok(Answer {
        data: json!({
            "journal": folder,
            "entries": verified.entries,
            "segments": verified.segments,
            "head": verified.head.to_string(),
            "torn_tail_bytes": verified.torn_tail_bytes,
            "compared_with_head": head.map(|head| head.to_string()),
        }),
        text: format!(
            "`{}` is what was written\n\
             entries:   {}\n\
             segments:  {}\n\
             head:      {}\n\
             {torn}{shown}\n",
            folder.display(),
            verified.entries,
            verified.segments,
            verified.head,
        ),
    })
}

/// The last entries of a journal, of one kind or of all.
pub(crate) fn show(folder: &Path, kind: Option<&str>, limit: usize) -> Result<Answer, NoAnswer> {
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
