//! One entry, proved to somebody who has public keys and not the journal.

use std::path::{Path, PathBuf};

use consilium_journal::{ENTRY_PROOF_BYTES_MAX, EntryProof};
use serde_json::json;

use super::evidence::{Evidence, Keys, Trust, Witnessed, read_at_most};
use super::{AuditError, cosigned, entry_json, journal_of, line, write_new};
use crate::ending::{CliError, NoAnswer};
use crate::output::Answer;

/// Writes a proof of entry `seq` of the journal in `folder`.
pub(crate) fn make(
    folder: &Path,
    seq: u64,
    to: Option<PathBuf>,
    trust: &Trust,
) -> Result<Answer, NoAnswer> {
    let journal = journal_of(folder);
    let keys = Keys::gather(trust, folder, &journal)?;
    let evidence = Evidence::gather(trust, &journal, &keys)?;
    let best = evidence.best().ok_or_else(|| match keys.is_empty() {
        true => CliError::from(AuditError::NoKey),
        false => CliError::from(AuditError::NoCheckpoint),
    })?;
    let proof = EntryProof::make(&journal, seq, &best.checkpoint)
        .map_err(|error| CliError::from(AuditError::NotProved(error)))?
        .with_certificates(keys.certificates_of(&best.checkpoint));
    let to = to.unwrap_or_else(|| PathBuf::from(format!("entry-{seq}.proof.json")));
    let json = serde_json::to_vec_pretty(&proof).map_err(|error| CliError::System {
        what: error.to_string(),
    })?;
    write_new(&to, &json)?;
    let head = best.checkpoint.head();
    Ok(Answer {
        data: json!({ "proof": to, "entry": seq, "checkpoint_entries": head.size, "witnesses": witnesses(best) }),
        text: format!(
            "`{}` proves entry {seq} under the checkpoint of {} entries\n{}\
             whoever has it checks it with: consilium audit prove --check {} --authority consortium-ca.crt\n",
            to.display(),
            head.size,
            cosigned(best),
            to.display(),
        ),
    })
}

/// Checks a proof, with keys alone.
pub(crate) fn check(file: &Path, trust: &Trust) -> Result<Answer, NoAnswer> {
    let mut keys = Keys::gather(trust, Path::new(""), Path::new(""))?;
    if keys.is_empty() && keys.authority.is_none() {
        return Err(CliError::from(AuditError::NoKey).into());
    }
    let bytes = read_at_most(file, ENTRY_PROOF_BYTES_MAX as u64)?;
    let broken = |error| CliError::from(AuditError::Proof(error));
    let proof = EntryProof::parse(&bytes).map_err(broken)?;
    let (entry, checkpoint) = proof.check().map_err(broken)?;
    keys.take_in(proof.certificates());
    let wrong = |problem| {
        CliError::from(AuditError::NotACheckpoint {
            path: file.to_owned(),
            problem,
        })
    };
    let witnessed = keys
        .check(&checkpoint)
        .map_err(wrong)?
        .ok_or_else(|| CliError::from(AuditError::NotSigned))?;
    let origin = &checkpoint.checkpoint().origin;
    Ok(Answer {
        data: json!({
            "journal": origin.as_str(),
            "entry": entry_json(&entry),
            "checkpoint_entries": checkpoint.head().size,
            "witnesses": witnesses(&witnessed),
        }),
        text: format!(
            "entry {} is in the journal of `{origin}`, exactly so:\n{}{}",
            entry.seq,
            line(&entry),
            cosigned(&witnessed)
        ),
    })
}

fn witnesses(witnessed: &Witnessed) -> Vec<serde_json::Value> {
    witnessed
        .by
        .iter()
        .map(|(name, at_s)| json!({ "name": name.as_str(), "at_ms": at_s * 1000 }))
        .collect()
}
