//! A checkpoint on its way to the witnesses and back, and when one is due.

use std::sync::Arc;
use std::time::Duration;

use consilium_journal::Snapshot;
use consilium_journal::checkpoint::{
    KeyName, NoteError, NoteSignature, SignedCheckpoint, coordinator_key_name, site_key_name,
};
use consilium_link::{Connection, IdentityError, LinkError, certificate_key, wall_clock};
use consilium_protocol::message::{Cosign, Cosignature, Cosigned, Request, Response};
use consilium_protocol::{Millis, Refusal, Role, SiteName};

use super::{Compared, TestimonyError};
use crate::node::Node;
use crate::server::exchange;

/// How often it is looked whether a checkpoint is due.
const LOOK_MS: u64 = 500;
/// How long one witness may take.
const ANSWER_WAIT_MS: u64 = 4_000;
/// Tries with one witness: what it saw last is known after the first.
const TRIES: usize = 2;

/// How often checkpoints are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Pace {
    /// After so long, if anything was journalled. 60: what a set-back disk can lose unseen is a minute's work.
    pub every_s: u64,
    /// After so many entries, however fast they come.
    pub every_entries: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every_s: 60,
            every_entries: 1000,
        }
    }
}

/// When a checkpoint is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    pace: Pace,
    last: (Millis, u64),
}

impl Schedule {
    /// From a checkpoint of `size` entries at `now` on.
    #[must_use]
    pub fn new(pace: Pace, now: Millis, size: u64) -> Self {
        Self {
            pace,
            last: (now, size),
        }
    }

    /// From a checkpoint of `size` entries that went without its witnesses at `now`: due again after the pace's time,
    /// whether anything new comes or not.
    #[must_use]
    pub fn again(pace: Pace, now: Millis, size: u64) -> Self {
        Self::new(pace, now, size.saturating_sub(1))
    }

    /// Whether one is due at `now`, with `size` entries in the journal.
    #[must_use]
    pub fn due(&self, now: Millis, size: u64) -> bool {
        let (at, last) = self.last;
        let entries = size.saturating_sub(last);
        let waited = now.since_ms(at) >= self.pace.every_s.saturating_mul(1000);
        entries > 0 && (waited || entries >= self.pace.every_entries)
    }
}

/// Why a checkpoint went without its witnesses.
#[derive(Debug, thiserror::Error)]
enum Unwitnessed {
    #[error(transparent)]
    Testimony(#[from] TestimonyError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the witness says: {0}")]
    Refused(Refusal),
    #[error("the witness gave no answer in {ANSWER_WAIT_MS} ms")]
    Late,
    #[error("the witness's answer is none")]
    NoAnswer,
    #[error("the witness's certificate: {0}")]
    Certificate(#[from] IdentityError),
    #[error("the cosignature: {0}")]
    Cosignature(#[from] NoteError),
    #[error("it does not find our checkpoint to continue the last one it saw, and we do")]
    Disagrees,
    #[error("our journal is not the one it witnessed")]
    SetBack,
}

/// The first meeting on a connection: compares the journal with what the coordinator's welcome says was witnessed, then
/// with what the coordinator and another site say themselves. After it the node answers, or refuses for good.
pub async fn meet(node: &Arc<Node>, connection: &Connection, welcome: Vec<u8>) {
    if let Err(error) = meet_with(node, connection, welcome).await {
        tracing::warn!(%error, "the journal could not be compared with what was witnessed");
    }
    node.testimony.witnessed.settle();
}

async fn meet_with(
    node: &Arc<Node>,
    connection: &Connection,
    welcome: Vec<u8>,
) -> Result<(), Unwitnessed> {
    if !welcome.is_empty() {
        let remembered = SignedCheckpoint::parse(&welcome)?;
        let snapshot = Arc::new(snapshot(node).await?);
        if let Compared::SetBack(_) = compare(node, &snapshot, remembered, "welcome").await? {
            return Err(Unwitnessed::SetBack);
        }
    }
    round(node, connection).await
}

/// Makes checkpoints as the pace says, until the connection ends.
pub async fn keep_witnessed(node: Arc<Node>, connection: Connection) {
    let journal = node.testimony.journal.clone();
    let pace = node.config.checkpoint;
    let mut schedule = Schedule::new(pace, wall_clock(), journal.head().seq);
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = tokio::time::sleep(Duration::from_millis(LOOK_MS)) => {}
        }
        let (now, size) = (wall_clock(), journal.head().seq);
        if !schedule.due(now, size) {
            continue;
        }
        schedule = Schedule::new(pace, now, size);
        if let Err(error) = round(&node, &connection).await {
            tracing::warn!(%error, "a checkpoint was not witnessed");
            schedule = Schedule::again(pace, now, size);
        }
    }
}

/// One checkpoint: to the coordinator, to the other site that it names, and into the file with what came back.
async fn round(node: &Arc<Node>, connection: &Connection) -> Result<(), Unwitnessed> {
    let snapshot = Arc::new(snapshot(node).await?);
    if snapshot.tree_head().size == 0 {
        return Ok(());
    }
    let credentials = node.credentials();
    let testimony = &node.testimony;
    let mut checkpoint = testimony
        .checkpoint(&credentials, &snapshot)
        .map_err(TestimonyError::from)?;
    let mut certificates = vec![credentials.certificate().to_vec()];
    let coordinator = Asked {
        role: Role::Coordinator,
        site: None,
        name: coordinator_key_name(&testimony.consortium),
    };
    let by_coordinator = ask(node, connection, &coordinator, &snapshot, &checkpoint).await;
    let mut outcome = Ok(());
    let mut peer = None;
    match by_coordinator {
        Ok((signature, certificate, named)) => {
            checkpoint.add(signature)?;
            certificates.push(certificate);
            peer = named;
        }
        Err(error) => outcome = Err(error),
    }
    if let Some(site) = peer {
        let asked = Asked {
            role: Role::Site,
            name: site_key_name(&testimony.consortium, &site),
            site: Some(site),
        };
        match ask(node, connection, &asked, &snapshot, &checkpoint).await {
            Ok((signature, certificate, _)) => {
                checkpoint.add(signature)?;
                certificates.push(certificate);
            }
            Err(error) => outcome = Err(error),
        }
    }
    if testimony.witnessed.stands().is_err() && matches!(outcome, Err(Unwitnessed::SetBack)) {
        return outcome;
    }
    tracing::debug!(
        size = checkpoint.head().size,
        cosignatures = checkpoint.cosignatures(),
        "a checkpoint"
    );
    let keeping = node.clone();
    blocking(move || keeping.testimony.keep(&checkpoint, &certificates)).await?;
    outcome
}

/// Whom a checkpoint is shown to.
struct Asked {
    role: Role,
    /// `None`: the coordinator itself.
    site: Option<SiteName>,
    name: KeyName,
}

type Answered = (NoteSignature, Vec<u8>, Option<SiteName>);

/// Shows the checkpoint to one witness, with the proof that it wants. Every checkpoint of ours that it shows in return
/// is compared with our journal.
async fn ask(
    node: &Arc<Node>,
    connection: &Connection,
    asked: &Asked,
    snapshot: &Arc<Snapshot>,
    checkpoint: &SignedCheckpoint,
) -> Result<Answered, Unwitnessed> {
    let mut old_size = 0;
    for _ in 0..TRIES {
        let cosigned = show(node, connection, asked, snapshot, checkpoint, old_size).await?;
        if let Some(cosignature) = cosigned.cosignature {
            let (signature, certificate) = accept(node, asked, checkpoint, cosignature)?;
            return Ok((signature, certificate, cosigned.peer));
        }
        if cosigned.last.is_empty() {
            return Err(Unwitnessed::NoAnswer);
        }
        let last = SignedCheckpoint::parse(&cosigned.last)?;
        old_size = last.head().size;
        match compare(node, snapshot, last, asked.name.as_str()).await? {
            Compared::Continues => {}
            Compared::NotOurs => return Err(Unwitnessed::NoAnswer),
            Compared::SetBack(_) => return Err(Unwitnessed::SetBack),
        }
    }
    Err(Unwitnessed::Disagrees)
}

async fn show(
    node: &Arc<Node>,
    connection: &Connection,
    asked: &Asked,
    snapshot: &Arc<Snapshot>,
    checkpoint: &SignedCheckpoint,
    old_size: u64,
) -> Result<Cosigned, Unwitnessed> {
    let (proving, new_size) = (snapshot.clone(), checkpoint.head().size);
    let proof = blocking(move || Ok(proving.prove_consistency(old_size, new_size)?)).await?;
    let cosign = Cosign {
        checkpoint: checkpoint.to_string().into_bytes(),
        certificate: node.credentials().certificate().to_vec(),
        old_size,
        proof: proof.path().iter().map(|hash| hash.0).collect(),
    };
    let request = match asked.site.clone() {
        None => Request::Cosign(cosign),
        Some(site) => Request::WitnessPeer { site, cosign },
    };
    let wait = Duration::from_millis(ANSWER_WAIT_MS);
    let answer = tokio::time::timeout(wait, exchange(connection, request));
    match answer.await.map_err(|_| Unwitnessed::Late)?? {
        Response::Cosigned(cosigned) => Ok(cosigned),
        Response::Refusal(refusal) => Err(Unwitnessed::Refused(refusal)),
        _ => Err(Unwitnessed::NoAnswer),
    }
}

/// A cosignature, if it is by whom we asked and under what we showed.
fn accept(
    node: &Arc<Node>,
    asked: &Asked,
    checkpoint: &SignedCheckpoint,
    cosignature: Cosignature,
) -> Result<(NoteSignature, Vec<u8>), Unwitnessed> {
    let Cosignature { line, certificate } = cosignature;
    let identity = node
        .credentials()
        .anchor()
        .identify(&certificate, wall_clock())?;
    let is_the_one = identity.role == asked.role
        && asked
            .site
            .as_ref()
            .is_none_or(|site| site.as_str() == identity.name.as_str());
    if !is_the_one {
        return Err(Unwitnessed::NoAnswer);
    }
    let signature: NoteSignature = line.parse()?;
    let mut signed = checkpoint.clone();
    signed.add(signature.clone())?;
    signed.cosigned_at(&asked.name, certificate_key(&certificate)?)?;
    Ok((signature, certificate))
}

async fn compare(
    node: &Arc<Node>,
    snapshot: &Arc<Snapshot>,
    remembered: SignedCheckpoint,
    whose: &str,
) -> Result<Compared, Unwitnessed> {
    let (node, snapshot, whose) = (node.clone(), snapshot.clone(), whose.to_owned());
    let comparing = move || Ok(node.testimony.take_in(&snapshot, &remembered, &whose)?);
    Ok(blocking(comparing).await?)
}

async fn snapshot(node: &Arc<Node>) -> Result<Snapshot, TestimonyError> {
    let node = node.clone();
    blocking(move || Ok(node.testimony.journal.snapshot()?)).await
}

/// Away from the tasks that serve: the journal's files are read and written.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TestimonyError> + Send + 'static,
) -> Result<T, TestimonyError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(TestimonyError::Task(error)),
    }
}
