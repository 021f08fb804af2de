//! The vault: what the ledger needs and no auditor may read.
//!
//! A second journal, beside the first and of the same make, that never leaves the site. It holds which patients were
//! charged and the answers that had a cost, so that the same question gets the same bytes. The journal names its
//! entries by their hashes. An entry's hash covers all before it: a vault that was lost, or put back as it
//! was yesterday, lacks a hash that the journal names, and nothing leaves until it is found again.
//!
//! | kind | header, as JSON | after it |
//! |---|---|---|
//! | `vault-begun` | secret | |
//! | `patients-seen` | data set, first number | 16 bytes for each: the keyed hash of what tells them apart |
//! | `patients-charged` | data set, cost | the cohort |
//! | `answer` | request, reservation, receipt, which part of how many | bytes that leave |
//!
//! A patient's number is given once, at first sight, and stays theirs in every later version of the data set. The
//! secret lies in here because losing it would give every patient a new, empty account; it goes with the charges or not
//! at all.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_journal::{Appended, Entries, Entry, Journal, JournalError, Limits};
use consilium_policies::entry::Receipt;
use consilium_privacy::Cost;
use consilium_privacy::ledger::{Cohort, Ledger, PATIENTS_MAX};
use consilium_protocol::{DatasetName, Digest, Millis};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::GateFault;

/// Kind of the first entry.
const VAULT_BEGUN: &str = "vault-begun";
/// Kind of a [`Seen`].
const PATIENTS_SEEN: &str = "patients-seen";
/// Kind of a [`Charged`].
const PATIENTS_CHARGED: &str = "patients-charged";
/// Kind of a [`Part`].
const ANSWER: &str = "answer";

/// An answer that had a cost, in bytes. A model of more parameters than a quarter of this cannot be trained with noise.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Kept answers that are held in memory, together; others are read from the vault again.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Bytes of an answer in one entry.
const PART_BYTES: usize = 1 << 20;
/// Newly seen patients in one entry.
const SEEN_AT_ONCE: usize = 32_768;
/// Bytes of a keyed hash: among eight million patients, two share one with a chance of 1e-25; they would share an
/// account.
const KEY_BYTES: usize = 16;

/// What a vault's journal may grow to: its entries hold a cohort of [`PATIENTS_MAX`] patients.
pub const VAULT_LIMITS: Limits = Limits {
    segment_bytes_max: 64 << 20,
    entry_bytes_max: 2 << 20,
    batch_bytes_max: 8 << 20,
};

/// The vault of a running node.
pub(super) struct Vault {
    journal: Arc<Journal>,
    secret: [u8; 32],
    state: Mutex<State>,
}

/// What the vault said at the start.
#[derive(Default)]
pub(super) struct Found {
    /// Every patient's account, by data set.
    pub ledgers: BTreeMap<DatasetName, Ledger>,
    /// Hashes of what the journal may name: charges and answers.
    pub hashes: BTreeSet<Digest>,
}

/// An answer that is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// The reservation that paid for it.
    pub reserved: u64,
    /// What the journal keeps of it.
    pub receipt: Receipt,
    /// The entry of its last part.
    pub entry: Digest,
    parts: u32,
    /// The vault's place of its first part.
    first: u64,
    bytes: Option<Arc<Vec<u8>>>,
}

#[derive(Default)]
struct State {
    numbers: BTreeMap<DatasetName, HashMap<[u8; KEY_BYTES], u32>>,
    kept: HashMap<Digest, Kept>,
    /// Answers that are held in memory, the oldest first.
    held: VecDeque<Digest>,
    held_bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Begun {
    secret: Digest,
}

#[derive(Serialize, Deserialize)]
struct Seen {
    dataset: DatasetName,
    first: u32,
}

#[derive(Serialize, Deserialize)]
struct Charged {
    dataset: DatasetName,
    cost: Cost,
}

#[derive(Serialize, Deserialize)]
struct Part {
    request: Digest,
    reserved: u64,
    receipt: Receipt,
    part: u32,
    parts: u32,
}

impl Vault {
    /// A secret for another use, from which this one cannot be found.
    pub(super) fn derived_secret(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.secret)
    }

    /// Opens the vault on its journal and reads it whole; begins it with a new secret where it is empty.
    pub(super) fn open(
        journal: Arc<Journal>,
        new_secret: [u8; 32],
        now: Millis,
    ) -> Result<(Self, Found), GateFault> {
        let entries = journal.entries().map_err(|cause| GateFault::Vault {
            doing: "read the vault",
            cause,
        })?;
        let (state, secret, found) = read(entries)?;
        let secret = match secret {
            Some(secret) => secret,
            None => {
                let begun = Begun {
                    secret: Digest(new_secret),
                };
                let entry = enqueue(&journal, now, VAULT_BEGUN, &begun, &[])?;
                durable(&journal, entry.seq, VAULT_BEGUN)?;
                new_secret
            }
        };
        let vault = Self {
            journal,
            secret,
            state: Mutex::new(state),
        };
        Ok((vault, found))
    }

    /// The error after which nothing more is taken.
    pub(super) fn failure(&self) -> Option<Arc<JournalError>> {
        self.journal.failure()
    }

    /// A key that only this vault has, for the copy of the books.
    pub(super) fn copy_key(&self) -> [u8; 32] {
        blake3::derive_key("consilium-node 1 copy of the books", &self.secret)
    }

    /// The numbers of patients, given what tells each apart; new ones are written down with the next entry.
    pub(super) fn numbers<'a>(
        &self,
        dataset: &DatasetName,
        keys: impl Iterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Result<Vec<u32>, GateFault> {
        let mut state = self.state();
        let known = state.numbers.entry(dataset.clone()).or_default();
        let mut numbers = Vec::new();
        let mut new = Vec::new();
        let first = known.len();
        for key in keys {
            let hash = self.keyed_hash(key);
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            let number = *known.entry(hash).or_insert_with(|| {
                new.push(hash);
                next
            });
            if number >= PATIENTS_MAX {
                // Forgotten again, or a later and smaller ask would meet numbers that were never written down.
                known.retain(|_, number| (*number as usize) < first);
                return Err(GateFault::TooManyPatients {
                    dataset: dataset.to_string(),
                });
            }
            numbers.push(number);
        }
        // Still under the lock: numbers are written in the order in which they are given.
        for (chunk, hashes) in new.chunks(SEEN_AT_ONCE).enumerate() {
            let seen = Seen {
                dataset: dataset.clone(),
                first: u32::try_from(first + chunk * SEEN_AT_ONCE).unwrap_or(u32::MAX),
            };
            enqueue(
                &self.journal,
                now,
                PATIENTS_SEEN,
                &seen,
                hashes.as_flattened(),
            )?;
        }
        Ok(numbers)
    }

    /// Writes down who is charged what; the entry's place and hash. Not durable yet.
    pub(super) fn charge(
        &self,
        dataset: &DatasetName,
        cohort: &Cohort,
        cost: &Cost,
        now: Millis,
    ) -> Result<Appended, GateFault> {
        let charged = Charged {
            dataset: dataset.clone(),
            cost: cost.clone(),
        };
        enqueue(
            &self.journal,
            now,
            PATIENTS_CHARGED,
            &charged,
            &cohort.to_bytes(),
        )
    }

    /// Returns when the entry, and all before it, are durable.
    pub(super) fn wait_until_durable(&self, entry: Appended) -> Result<(), GateFault> {
        durable(&self.journal, entry.seq, PATIENTS_CHARGED)
    }

    /// Keeps an answer, durably.
    pub(super) fn keep(
        &self,
        request: Digest,
        reserved: u64,
        receipt: &Receipt,
        bytes: Vec<u8>,
        now: Millis,
    ) -> Result<Digest, GateFault> {
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(GateFault::AnswerTooLarge { bytes: bytes.len() });
        }
        let parts = u32::try_from(bytes.len().div_ceil(PART_BYTES).max(1)).unwrap_or(u32::MAX);
        let mut first = None;
        let mut last = None;
        // One chunk of nothing where there is nothing.
        let chunks = bytes.chunks(PART_BYTES).map(Some);
        for (part, chunk) in (0..parts).zip(chunks.chain(std::iter::once(None))) {
            let header = Part {
                request,
                reserved,
                receipt: receipt.clone(),
                part,
                parts,
            };
            let entry = enqueue(
                &self.journal,
                now,
                ANSWER,
                &header,
                chunk.unwrap_or_default(),
            )?;
            first.get_or_insert(entry.seq);
            last = Some(entry);
        }
        let (Some(first), Some(last)) = (first, last) else {
            return Err(GateFault::AnswerTooLarge { bytes: bytes.len() });
        };
        durable(&self.journal, last.seq, ANSWER)?;
        let kept = Kept {
            reserved,
            receipt: receipt.clone(),
            entry: last.hash,
            parts,
            first,
            bytes: None,
        };
        let mut state = self.state();
        state.kept.insert(request, kept);
        state.hold(request, Arc::new(bytes));
        Ok(last.hash)
    }

    /// The answer to a request, without its bytes.
    pub(super) fn kept(&self, request: Digest) -> Option<Kept> {
        self.state().kept.get(&request).cloned()
    }

    /// All requests that have an answer.
    pub(super) fn requests(&self) -> Vec<Digest> {
        self.state().kept.keys().copied().collect()
    }

    /// An answer's bytes: from memory, or from the vault.
    pub(super) fn bytes(&self, request: Digest, kept: &Kept) -> Result<Arc<Vec<u8>>, GateFault> {
        if let Some(bytes) = &kept.bytes {
            return Ok(Arc::clone(bytes));
        }
        let read = |cause| GateFault::Vault {
            doing: "read an answer",
            cause,
        };
        let mut bytes = Vec::new();
        let mut found = 0;
        for entry in self.journal.entries().map_err(read)? {
            let entry = entry.map_err(read)?;
            if entry.seq < kept.first || entry.kind != ANSWER {
                continue;
            }
            let (part, chunk) = parse::<Part>(&entry)?;
            if part.request == request && part.reserved == kept.reserved && part.part == found {
                bytes.extend_from_slice(chunk);
                found += 1;
            }
            if found == kept.parts {
                break;
            }
        }
        let bytes = Arc::new(bytes);
        self.state().hold(request, Arc::clone(&bytes));
        Ok(bytes)
    }

    fn keyed_hash(&self, key: &[u8]) -> [u8; KEY_BYTES] {
        let hash = blake3::keyed_hash(&self.secret, key);
        let mut short = [0; KEY_BYTES];
        for (to, from) in short.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        short
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A number that was given and not written is at worst given again by the next process, to the same patient.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn saw(&mut self, (seen, hashes): (Seen, &[u8])) -> Result<(), GateFault> {
        let known = self.numbers.entry(seen.dataset).or_default();
        let (hashes, _) = hashes.as_chunks::<KEY_BYTES>();
        for (number, hash) in (seen.first..).zip(hashes) {
            known.insert(*hash, number);
        }
        Ok(())
    }

    /// An answer counts once its last part is there: parts of one answer are written in order.
    fn kept_part(
        &mut self,
        entry: &Entry,
        begun: &mut HashMap<(Digest, u64), u64>,
    ) -> Result<(), GateFault> {
        let (part, _) = parse::<Part>(entry)?;
        let first = *begun
            .entry((part.request, part.reserved))
            .or_insert(entry.seq);
        if part.part + 1 == part.parts {
            begun.remove(&(part.request, part.reserved));
            let kept = Kept {
                reserved: part.reserved,
                receipt: part.receipt,
                entry: entry.hash,
                parts: part.parts,
                first,
                bytes: None,
            };
            self.kept.insert(part.request, kept);
        }
        Ok(())
    }

    fn hold(&mut self, request: Digest, bytes: Arc<Vec<u8>>) {
        let Some(kept) = self.kept.get_mut(&request) else {
            return;
        };
        if kept.bytes.is_some() || bytes.len() > HELD_BYTES_MAX {
            return;
        }
        self.held_bytes += bytes.len();
        kept.bytes = Some(bytes);
        self.held.push_back(request);
        while self.held_bytes > HELD_BYTES_MAX
            && let Some(oldest) = self.held.pop_front()
        {
            let oldest = self.kept.get_mut(&oldest);
            if let Some(bytes) = oldest.and_then(|kept| kept.bytes.take()) {
                self.held_bytes -= bytes.len();
            }
        }
    }
}

/// What the vault in a folder says of every patient's account. A node may be appending to it meanwhile.
pub(super) fn read_ledgers(folder: &Path) -> Result<BTreeMap<DatasetName, Ledger>, GateFault> {
    let entries = match consilium_journal::read(folder) {
        Err(JournalError::NoJournal { .. }) => return Ok(BTreeMap::new()),
        other => other.map_err(|cause| GateFault::Vault {
            doing: "read the vault",
            cause,
        })?,
    };
    let (_, _, found) = read(entries)?;
    Ok(found.ledgers)
}

fn read(entries: Entries) -> Result<(State, Option<[u8; 32]>, Found), GateFault> {
    let mut found = Found::default();
    let mut state = State::default();
    let mut secret = None;
    let mut begun = HashMap::new();
    for entry in entries {
        let entry = entry.map_err(|cause| GateFault::Vault {
            doing: "read the vault",
            cause,
        })?;
        match entry.kind.as_str() {
            VAULT_BEGUN => secret = Some(parse::<Begun>(&entry)?.0.secret.0),
            PATIENTS_SEEN => state.saw(parse(&entry)?)?,
            PATIENTS_CHARGED => {
                let (Charged { dataset, cost }, bytes) = parse(&entry)?;
                let cohort = Cohort::from_bytes(bytes).map_err(|_| not_readable(&entry))?;
                let ledger = found.ledgers.entry(dataset).or_default();
                ledger.charge(&cohort, &cost);
                found.hashes.insert(entry.hash);
            }
            ANSWER => {
                found.hashes.insert(entry.hash);
                state.kept_part(&entry, &mut begun)?;
            }
            _ => return Err(not_readable(&entry)),
        }
    }
    Ok((state, secret, found))
}

fn enqueue(
    journal: &Journal,
    now: Millis,
    kind: &'static str,
    header: &impl Serialize,
    body: &[u8],
) -> Result<Appended, GateFault> {
    let failed = |cause| GateFault::Vault { doing: kind, cause };
    let mut payload = serde_json::to_vec(header).map_err(|cause| {
        failed(JournalError::NotSerializable {
            kind: kind.to_owned(),
            cause,
        })
    })?;
    payload.push(b'\n');
    payload.extend_from_slice(body);
    journal.enqueue(now.0, kind, &payload).map_err(failed)
}

fn durable(journal: &Journal, seq: u64, doing: &'static str) -> Result<(), GateFault> {
    journal
        .wait_until_durable(seq)
        .map_err(|cause| GateFault::Vault { doing, cause })
}

/// Header and body of an entry.
fn parse<T: DeserializeOwned>(entry: &Entry) -> Result<(T, &[u8]), GateFault> {
    let split = entry.payload.iter().position(|byte| *byte == b'\n');
    let header = split.and_then(|at| entry.payload.split_at_checked(at));
    let (header, body) = header.ok_or_else(|| not_readable(entry))?;
    let header = serde_json::from_slice(header).map_err(|_| not_readable(entry))?;
    Ok((header, body.get(1..).unwrap_or_default()))
}

fn not_readable(entry: &Entry) -> GateFault {
    GateFault::VaultUnreadable {
        seq: entry.seq,
        kind: entry.kind.clone(),
    }
}
