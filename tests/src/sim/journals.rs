//! What journals must say, read as an auditor reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_journal::storage::Storage;
use consilium_journal::{Entry, Head, read_on, verify_on};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, BundleInstalled, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED,
    PASS_REPEATED, PASS_RESERVED, PassAbandoned, PassFailed, PassRefused, PassReleased,
    PassRepeated, PassReserved, Receipt,
};
use consilium_policies::{Ask, Bundle, Verdict, decide};
use consilium_protocol::{Digest, Millis};

use super::property::{Property, Step, Violation, broken, must};

/// The chain is whole up to the head that was acknowledged, and beyond.
///
/// # Errors
/// It is not.
pub fn verify(storage: Arc<dyn Storage>, whose: &str, acknowledged: Option<Head>) -> Step {
    let verified = verify_on(storage, acknowledged);
    match (verified, acknowledged) {
        (Ok(Some(_)), _) | (Ok(None), None) => Ok(()),
        (Ok(None), Some(head)) => Err(broken(
            Property::JournalSurvives,
            format!(
                "the journal of {whose} is gone, {} entries with it",
                head.seq
            ),
        )),
        (Err(error), _) => Err(broken(
            Property::JournalSurvives,
            format!("the journal of {whose}: {error}"),
        )),
    }
}

/// All entries.
///
/// # Errors
/// The journal cannot be read.
pub fn entries(storage: Arc<dyn Storage>) -> Step<Vec<Entry>> {
    let unreadable = |error| broken(Property::JournalSurvives, format!("{error}"));
    let entries = read_on(storage).map_err(unreadable)?;
    entries.collect::<Result<_, _>>().map_err(unreadable)
}

/// The last durable entry is the reservation of this very ask.
///
/// # Errors
/// It is not.
pub fn is_reserved(durable: Arc<dyn Storage>, ask: &Ask) -> Step {
    let entries = entries(durable)?;
    let last = entries.last().filter(|entry| entry.kind == PASS_RESERVED);
    let reserved = last.and_then(|entry| entry.parse::<PassReserved>().ok());
    let found = reserved.is_some_and(|reserved| reserved.ask == *ask);
    must(found, Property::ReservedBeforeRelease, || {
        "work began, and its reservation would not survive a loss of power".into()
    })
}

/// A durable entry, near the end, records the release of an update of this hash.
///
/// # Errors
/// None does.
pub fn is_recorded(durable: Arc<dyn Storage>, blake3: [u8; 32]) -> Step {
    let wanted = blake3::Hash::from(blake3).to_string();
    let entries = entries(durable)?;
    let released = entries.iter().rev().filter(|e| e.kind == PASS_RELEASED);
    let found = released
        .filter_map(|entry| entry.parse::<PassReleased>().ok())
        .filter_map(|released| released.receipt.tensors)
        .any(|tensors| tensors.blake3 == wanted);
    must(found, Property::RecordedBeforeRelease, || {
        "an update leaves, and its record would not survive a loss of power".into()
    })
}

/// Walks a node's journal: order, times, bundles, decisions. Gives back how many passes released and were refused.
///
/// # Errors
/// What is wrong in it.
pub fn audit_node(storage: Arc<dyn Storage>, policies: &BTreeMap<Digest, Bundle>) -> Step<Counts> {
    let mut audit = Audit {
        policies,
        installed: None,
        reserved: BTreeMap::new(),
        paid: BTreeMap::new(),
        latest_ms: 0,
        counts: Counts::default(),
    };
    for entry in entries(storage)? {
        audit.entry(&entry)?;
    }
    Ok(audit.counts)
}

/// Passes by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub entries: u64,
    pub released: u64,
    pub refused: u64,
    pub failed: u64,
    pub abandoned: u64,
}

struct Audit<'a> {
    policies: &'a BTreeMap<Digest, Bundle>,
    installed: Option<Digest>,
    reserved: BTreeMap<u64, PassReserved>,
    /// What left, by the reservation that paid for it; of one that was cut off, nothing yet.
    paid: BTreeMap<u64, Option<Receipt>>,
    latest_ms: u64,
    counts: Counts,
}

impl Audit<'_> {
    fn entry(&mut self, entry: &Entry) -> Step {
        must(
            entry.at_ms >= self.latest_ms,
            Property::TimeGoesForward,
            || format!("entry {} lies before the one before it", entry.seq),
        )?;
        self.latest_ms = entry.at_ms;
        self.counts.entries += 1;
        match entry.kind.as_str() {
            BUNDLE_INSTALLED => {
                self.installed = Some(parsed::<BundleInstalled>(entry)?.digest);
                Ok(())
            }
            PASS_RESERVED => self.reserves(entry, parsed(entry)?),
            PASS_RELEASED => {
                let PassReleased {
                    reserved,
                    ask,
                    bundle,
                    receipt,
                    ..
                } = parsed(entry)?;
                self.counts.released += 1;
                self.paid.insert(reserved, Some(receipt));
                self.ends(entry, reserved, &ask, bundle)
            }
            PASS_FAILED => {
                let PassFailed {
                    reserved,
                    ask,
                    bundle,
                    ..
                } = parsed(entry)?;
                self.counts.failed += 1;
                self.ends(entry, reserved, &ask, bundle)
            }
            PASS_ABANDONED => {
                let PassAbandoned {
                    reserved,
                    ask,
                    bundle,
                    ..
                } = parsed(entry)?;
                self.counts.abandoned += 1;
                self.ends(entry, reserved, &ask, bundle)
            }
            PASS_REPEATED => self.repeats(entry, parsed(entry)?),
            PASS_REFUSED => self.refuses(entry, parsed(entry)?),
            other => Err(broken(
                Property::BundleDecided,
                format!("an entry of the kind `{other}`"),
            )),
        }
    }

    fn reserves(&mut self, entry: &Entry, reserved: PassReserved) -> Step {
        let decided_by = |what: &str| {
            broken(
                Property::BundleDecided,
                format!("entry {} {what}", entry.seq),
            )
        };
        if self.installed != Some(reserved.bundle) {
            return Err(decided_by("names a bundle that is not the one installed"));
        }
        let bundle = self
            .policies
            .get(&reserved.bundle)
            .ok_or_else(|| decided_by("names a bundle that no officer wrote"))?;
        let verdict = decide(bundle, &reserved.ask, &reserved.facts, Millis(entry.at_ms));
        if !matches!(verdict, Verdict::Permit(_)) {
            return Err(decided_by("reserves what its bundle does not permit"));
        }
        if reserved.request.is_some() {
            self.paid.insert(entry.seq, None);
        }
        self.reserved.insert(entry.seq, reserved);
        Ok(())
    }

    fn ends(&mut self, entry: &Entry, reserved: u64, ask: &Ask, bundle: Digest) -> Step {
        let before = self.reserved.remove(&reserved);
        let fits = before.is_some_and(|before| before.ask == *ask && before.bundle == bundle);
        must(fits, Property::ReservedBeforeRelease, || {
            format!("entry {} ends a pass that was not reserved so", entry.seq)
        })
    }

    /// What leaves again was paid for, and is what left before.
    fn repeats(&mut self, entry: &Entry, repeated: PassRepeated) -> Step {
        let before = self.paid.get_mut(&repeated.reserved);
        let same = before.is_some_and(|before| {
            let left = before.get_or_insert_with(|| repeated.receipt.clone());
            *left == repeated.receipt
        });
        must(same, Property::OneAnswer, || {
            format!(
                "entry {} lets out again what was not paid for so",
                entry.seq
            )
        })
    }

    fn refuses(&mut self, entry: &Entry, refused: PassRefused) -> Step {
        self.counts.refused += 1;
        match (refused.reserved, refused.bundle) {
            (Some(reserved), Some(bundle)) => self.ends(entry, reserved, &refused.ask, bundle),
            (Some(_), None) => Err(broken(
                Property::BundleDecided,
                format!("entry {} was reserved by no bundle", entry.seq),
            )),
            (None, _) => Ok(()),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, Violation> {
    entry
        .parse()
        .map_err(|error| broken(Property::JournalSurvives, format!("{error}")))
}
