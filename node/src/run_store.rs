//! What a site keeps of each run on disk: the signed run file, and its local values by round.
//!
//! A run's folder holds `run.toml`, `run.signature.json` and `local-000007.f32` files. Each
//! is written under a temporary name, synced and renamed: there or not, never half.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use consilium_link::{NotWhole, sync_folder_of, write_whole};
use consilium_protocol::message::SignedRun;
use consilium_protocol::model::{from_le_bytes, to_le_bytes};
use consilium_protocol::run::RunSpec;
use consilium_protocol::{Digest, RunId};
use serde::{Deserialize, Serialize};

use crate::config::Folder;
use crate::round::LocalValues;

/// The file that makes a folder a run: written last, removed first.
const SIGNATURE_FILE: &str = "run.signature.json";

/// A run as it was found on disk.
pub struct StoredRun {
    pub run_id: RunId,
    pub signed: SignedRun,
    pub local: BTreeMap<u32, LocalValues>,
}

/// The folder cannot be read or written, or holds something that this node did not write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} `{path}`: {source}")]
    Disk {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{path}` is damaged; move the run's folder away, the run then goes on without this site"
    )]
    Damaged { path: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct Signature {
    certificate: Vec<u8>,
    signature: Vec<u8>,
}

/// Writes an admitted run down.
///
/// # Errors
/// The disk's.
pub fn save_run(folder: &Folder, run_id: &RunId, signed: &SignedRun) -> Result<(), StoreError> {
    let run = folder.run(run_id);
    fs::create_dir_all(&run).map_err(disk("make", &run))?;
    let signature = Signature {
        certificate: signed.certificate.clone(),
        signature: signed.signature.clone(),
    };
    let signature = serde_json::to_vec(&signature).map_err(|error| StoreError::Disk {
        doing: "write",
        path: run.clone(),
        source: error.into(),
    })?;
    write(&run.join("run.toml"), &signed.text)?;
    write(&run.join(SIGNATURE_FILE), &signature)
}

/// Writes a round's local values down, and lets older rounds' go.
///
/// # Errors
/// The disk's.
pub fn save_local(
    folder: &Folder,
    run_id: &RunId,
    round: u32,
    local: &LocalValues,
    forget_before: u32,
) -> Result<(), StoreError> {
    let run = folder.run(run_id);
    let mut bytes = to_le_bytes(&local.parameters);
    bytes.extend_from_slice(&to_le_bytes(&local.control));
    // The digest tells a damaged file; a torn one cannot be, by the rename.
    bytes.extend_from_slice(&Digest::of(&bytes).0);
    write(&local_path(&run, round), &bytes)?;
    for (old, path) in local_files(&run)? {
        if old < forget_before {
            fs::remove_file(&path).map_err(disk("remove", &path))?;
        }
    }
    Ok(())
}

/// Every run that this site takes part in.
///
/// # Errors
/// The disk's, or a damaged file.
pub fn load_runs(folder: &Folder) -> Result<Vec<StoredRun>, StoreError> {
    let runs = folder.runs();
    fs::create_dir_all(&runs).map_err(disk("make", &runs))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&runs).map_err(disk("read", &runs))? {
        let path = entry.map_err(disk("read", &runs))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(run_id) = name.and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Without its signature the run was not admitted to the end: it is asked again.
        if path.join(SIGNATURE_FILE).exists() {
            found.push(load_run(&path, run_id)?);
        }
    }
    Ok(found)
}

fn load_run(path: &Path, run_id: RunId) -> Result<StoredRun, StoreError> {
    let read = |name: &str| {
        let file = path.join(name);
        fs::read(&file).map_err(disk("read", &file))
    };
    let damaged = || StoreError::Damaged {
        path: path.to_owned(),
    };
    let text = read("run.toml")?;
    let signature: Signature =
        serde_json::from_slice(&read(SIGNATURE_FILE)?).map_err(|_| damaged())?;
    let spec = RunSpec::parse(&text).map_err(|_| damaged())?;
    let mut local = BTreeMap::new();
    for (round, file) in local_files(path)? {
        let bytes = fs::read(&file).map_err(disk("read", &file))?;
        local.insert(round, parse_local(&bytes, &spec).ok_or_else(damaged)?);
    }
    Ok(StoredRun {
        run_id,
        signed: SignedRun {
            text,
            certificate: signature.certificate,
            signature: signature.signature,
        },
        local,
    })
}

fn parse_local(bytes: &[u8], spec: &RunSpec) -> Option<LocalValues> {
    let (values, digest) = bytes.split_last_chunk::<32>()?;
    if Digest::of(values).0 != *digest {
        return None;
    }
    let (parameters, control) = values.split_at_checked(spec.layout().local_len() * 4)?;
    Some(LocalValues {
        parameters: from_le_bytes(parameters),
        control: from_le_bytes(control),
    })
}

/// Removes everything about a run: its signature first, durably, for without it no run is found, whatever else a
/// crash leaves.
///
/// # Errors
/// The disk's.
pub fn forget_run(folder: &Folder, run_id: &RunId) -> Result<(), StoreError> {
    let run = folder.run(run_id);
    let signature = run.join(SIGNATURE_FILE);
    match fs::remove_file(&signature).and_then(|()| sync_folder_of(&signature)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(disk("remove", &signature)(source));
        }
        _ => {}
    }
    match fs::remove_dir_all(&run) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(disk("remove", &run)(source))
        }
        _ => Ok(()),
    }
}

fn local_path(run: &Path, round: u32) -> PathBuf {
    run.join(format!("local-{round:06}.f32"))
}

fn local_files(run: &Path) -> Result<Vec<(u32, PathBuf)>, StoreError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(run).map_err(disk("read", run))? {
        let path = entry.map_err(disk("read", run))?.path();
        let round = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| {
                name.strip_prefix("local-")?
                    .strip_suffix(".f32")?
                    .parse()
                    .ok()
            });
        if let Some(round) = round {
            files.push((round, path));
        }
    }
    Ok(files)
}

/// As the whole of a file, by way of a draft beside it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    Ok(write_whole(path, &path.with_extension("partial"), bytes)?)
}

impl From<NotWhole> for StoreError {
    fn from(error: NotWhole) -> Self {
        Self::Disk {
            doing: error.doing,
            path: error.path,
            source: error.source,
        }
    }
}

fn disk<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Disk {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &[u8] = br#"
name = "r"
project = "p"
purpose = "HMB"
dataset = "d"
participants = ["cleveland"]
rounds = 3
model = { kind = "logistic", local = ["intercept"] }
strategy = { name = "SCAFFOLD" }
training = { learning-rate = 0.1, local-steps = 10, batch-size = 4 }
data = { features = [{ column = "a" }], label = { column = "y", greater-than = 0 } }
"#;

    fn saved() -> (tempfile::TempDir, Folder, RunId) {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let run_id: RunId = "r1".parse().unwrap();
        let signed = SignedRun {
            text: RUN.to_vec(),
            certificate: vec![1],
            signature: vec![2],
        };
        save_run(&folder, &run_id, &signed).unwrap();
        (temp, folder, run_id)
    }

    fn values(x: f32) -> LocalValues {
        LocalValues {
            parameters: vec![x],
            control: vec![2.0 * x],
        }
    }

    #[test]
    fn a_run_is_found_again_with_the_rounds_that_are_still_needed() {
        let (_temp, folder, run_id) = saved();
        for round in 1..=3 {
            save_local(
                &folder,
                &run_id,
                round,
                &values(round as f32),
                round.saturating_sub(1),
            )
            .unwrap();
        }
        let runs = load_runs(&folder).unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].signed.text, RUN);
        assert_eq!(
            runs[0].local,
            BTreeMap::from([(2, values(2.0)), (3, values(3.0))])
        );
        forget_run(&folder, &run_id).unwrap();
        forget_run(&folder, &run_id).unwrap();
        assert!(load_runs(&folder).unwrap().is_empty());
    }

    #[test]
    fn a_flipped_bit_is_found_and_never_trained_on() {
        let (_temp, folder, run_id) = saved();
        save_local(&folder, &run_id, 1, &values(1.0), 0).unwrap();
        let path = local_path(&folder.run(&run_id), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(
            load_runs(&folder),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn a_half_written_run_is_not_taken_for_one() {
        let (_temp, folder, run_id) = saved();
        fs::remove_file(folder.run(&run_id).join("run.signature.json")).unwrap();
        assert!(load_runs(&folder).unwrap().is_empty());
    }
}
