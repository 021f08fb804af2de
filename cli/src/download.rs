//! The finished model: fetched beside its place, checked against its digest, then put there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use consilium_link::{RequestStream, sync_folder_of};
use consilium_protocol::limits::{CHUNK_BYTES_MAX, PARAMETERS_MAX};
use consilium_protocol::message::{Artefact, Request, Response};
use consilium_protocol::{Digest, RunId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ending::{CliError, NoAnswer};
use crate::home::{Home, replace};
use crate::output::Answer;
use crate::session::Session;

const MODEL_FILE: &str = "model.safetensors";
const CARD_FILE: &str = "model-card.json";

/// Every parameter as `f32`, and a safetensors header that names at most a few dozen tensors.
const MODEL_BYTES_MAX: u64 = PARAMETERS_MAX * 4 + 1024 * 1024;

/// Fetches a run's model and its card into a folder.
pub(crate) async fn download(home: &Home, run_id: &RunId, to: &Path) -> Result<Answer, NoAnswer> {
    let artefact = Session::with(home, async |session| fetch(session, run_id, to).await).await?;
    let folder = to.display();
    Ok(Answer {
        data: json!({
            "run_id": run_id,
            "model": to.join(MODEL_FILE),
            "model_card": to.join(CARD_FILE),
            "bytes": artefact.bytes,
            "sha256": artefact.sha256,
        }),
        text: format!(
            "`{folder}/{MODEL_FILE}`, {} bytes, SHA-256 {} (verified)\n`{folder}/{CARD_FILE}`\n",
            artefact.bytes, artefact.sha256
        ),
    })
}

async fn fetch(session: &Session, run_id: &RunId, to: &Path) -> Result<Artefact, NoAnswer> {
    let (stream, response) = session
        .ask_for_more(Request::DownloadRun(run_id.clone()))
        .await?;
    let Response::Artefact(artefact) = response else {
        return Err(CliError::Unexpected {
            asked: "download-run",
        }
        .into());
    };
    if artefact.bytes > MODEL_BYTES_MAX {
        let run_id = run_id.clone();
        return Err(CliError::ModelTooLarge {
            run_id,
            bytes: artefact.bytes,
        }
        .into());
    }
    if serde_json::from_str::<Value>(&artefact.model_card_json).is_err() {
        let what = "a model card that is no JSON";
        return Err(CliError::Untrustworthy { what }.into());
    }
    let not_written = |source| CliError::NotWritten {
        path: to.to_owned(),
        source,
    };
    fs::create_dir_all(to).map_err(not_written)?;
    let part = Part::create(to.join(MODEL_FILE))?;
    let part = receive(stream, &artefact, part).await?;
    // The card first: where there is a model, there is its card.
    replace(&to.join(CARD_FILE), artefact.model_card_json.as_bytes())?;
    part.put_in_place()?;
    Ok(artefact)
}

/// Writes what comes, and believes it once the digest is right.
async fn receive(
    mut stream: RequestStream,
    artefact: &Artefact,
    mut part: Part,
) -> Result<Part, NoAnswer> {
    let mut hasher = Sha256::new();
    let mut left = artefact.bytes;
    while left > 0 {
        let bytes_max = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(CHUNK_BYTES_MAX);
        let chunk = stream.receive_chunk(bytes_max).await?;
        hasher.update(&chunk);
        part.append(&chunk)?;
        left -= chunk.len() as u64;
    }
    let got = Digest(hasher.finalize().into());
    if got != artefact.sha256 {
        return Err(CliError::ModelDigest {
            got,
            wanted: artefact.sha256,
        }
        .into());
    }
    Ok(part)
}

/// A file on its way to its name; what does not get there is removed.
struct Part {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Part {
    fn create(path: PathBuf) -> Result<Self, CliError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        match File::create(&part) {
            Ok(file) => Ok(Self { path, part, file }),
            Err(source) => Err(CliError::NotWritten { path: part, source }),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file
            .write_all(bytes)
            .map_err(|source| self.not_written(source))
    }

    fn put_in_place(self) -> Result<(), CliError> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .and_then(|()| sync_folder_of(&self.path))
            .map_err(|source| self.not_written(source))
    }

    fn not_written(&self, source: io::Error) -> CliError {
        CliError::NotWritten {
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Fails once it is in its place, as it should.
        fs::remove_file(&self.part).ok();
    }
}
