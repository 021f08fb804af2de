//! The one door: nothing computed from local data leaves this node but through [`Gate::pass`].
//!
//! A pass is a bracket in a fixed order that fails closed:
//!
//! 1. *decide*: the policy bundle that lies there now, or a refusal;
//! 2. *reserve*: `pass-reserved` in the journal, durable;
//! 3. *work*: the caller's closure, which holds the permit;
//! 4. *comply*: what the permit does not release is taken out, what may never leave is refused;
//! 5. *settle*: `pass-released` with a digest of what leaves, durable;
//! 6. [`Released`], which nothing else makes and the server alone can send.
//!
//! What may fail: the journal at 2 means that the work never runs, at 5 that nothing is released. A crash in between
//! leaves a reservation without an ending; the next start finds it and journals it as `pass-abandoned`. It never
//! releases. What is no failure: a refusal. It is journalled as one and kept apart from faults.
//!
//! Passes run side by side; the gate holds no lock during work. Each ends under the bundle that it began under.
//!
//! | file | subject |
//! |---|---|
//! | `mod` | the bracket |
//! | `egress` | what can leave, in principle: a sealed trait |
//! | `egress_training` | the three things that leave in training |
//! | `released` | the proof |
//! | `outcome` | refusals and faults, kept apart |
//! | `bundle` | the policy file, taken up when it changes |
//! | `index` | counts of passes, rebuilt from the journal at need |
//!
//! The budget will be reserved and settled at 2 and 5, in the same journal entries.

mod bundle;
mod egress;
mod egress_training;
mod index;
mod outcome;
mod released;

use std::path::Path;
use std::sync::Arc;

use consilium_journal::Journal;
use consilium_policies::entry::{
    BUNDLE_INSTALLED, BundleInstalled, PASS_ABANDONED, PASS_FAILED, PASS_REFUSED, PASS_RELEASED,
    PASS_RESERVED, PassAbandoned, PassFailed, PassRefused, PassReleased, PassReserved,
};
use consilium_policies::{Ask, Bundle, Facts, Permit, Verdict, decide};
use consilium_protocol::{Digest, Millis, Refusal};
use serde::Serialize;

pub use bundle::{HeldPolicy, POLICY_FILE, PolicyError, read_policy};
pub use egress::Egress;
pub use egress_training::{Admission, Evaluation, OutgoingUpdate, TrainedUpdate};
pub use index::{Outcome, SUMMARY_ROWS_MAX, Summary, SummaryRow};
pub use outcome::{GateFault, NotReleased, WorkError};
pub use released::Released;

use bundle::PolicyFile;
use index::{Found, Index};

/// A node's one door. Shared between threads by reference.
pub struct Gate {
    journal: Arc<Journal>,
    policy: PolicyFile,
    index: Index,
}

/// What opening the gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Passes that the process before had begun and not ended. They stay spent.
    pub abandoned: u64,
    /// The index was missing, behind or broken, and was made anew from the journal.
    pub index_rebuilt: bool,
}

impl Gate {
    /// Opens the gate over this node's journal: ends what a crash cut off, and brings the index up to date.
    ///
    /// `policy_folder` is where the officer's `policy.toml` lies or will lie; `state_folder` holds what can be
    /// rebuilt, and the gate's index in a folder of its own there.
    ///
    /// # Errors
    /// The journal cannot be read or appended to.
    pub fn open(
        journal: Arc<Journal>,
        policy_folder: &Path,
        state_folder: &Path,
        now: Millis,
    ) -> Result<(Self, Opened), GateFault> {
        let (index, found) = Index::open(Some(state_folder), &journal)
            .map_err(GateFault::journal("read the journal"))?;
        let policy = PolicyFile::new(policy_folder, found.bundle);
        Self::begin(journal, policy, index, found, now)
    }

    /// As [`Gate::open`] for a world without a disk: the policy is a text that somebody else holds, and nothing is
    /// kept but the journal.
    ///
    /// # Errors
    /// The journal cannot be read or appended to.
    pub fn open_without_disk(
        journal: Arc<Journal>,
        policy: HeldPolicy,
        now: Millis,
    ) -> Result<(Self, Opened), GateFault> {
        let (index, found) =
            Index::open(None, &journal).map_err(GateFault::journal("read the journal"))?;
        let policy = PolicyFile::held(policy, found.bundle);
        Self::begin(journal, policy, index, found, now)
    }

    fn begin(
        journal: Arc<Journal>,
        policy: PolicyFile,
        index: Index,
        found: Found,
        now: Millis,
    ) -> Result<(Self, Opened), GateFault> {
        let opened = Opened {
            abandoned: found.unended.len() as u64,
            index_rebuilt: found.rebuilt,
        };
        let gate = Self {
            journal,
            policy,
            index,
        };
        let now = gate.not_before_the_journal(now);
        for (
            reserved,
            PassReserved {
                ask, rules, bundle, ..
            },
        ) in found.unended
        {
            let row = SummaryRow::of(&ask, &rules, Outcome::Abandoned);
            gate.index.begun();
            let entry = PassAbandoned {
                reserved,
                ask,
                rules,
                bundle,
            };
            gate.record(now, PASS_ABANDONED, &entry)?;
            gate.index.ended(row);
        }
        Ok((gate, opened))
    }

    /// The only way anything computed from local data leaves this node.
    ///
    /// `now` is the clock's; the gate takes the latest time in its journal if that is later, so that a clock set back
    /// revives no permit. Every entry of the pass carries the time at which it began.
    ///
    /// # Errors
    /// [`NotReleased::Refused`] when somebody decided so: the policy, `comply`, or the work by
    /// [`WorkError::Refused`]. [`NotReleased::Failed`] when something broke. Either way nothing is released.
    pub fn pass<T: Egress>(
        &self,
        ask: &Ask,
        facts: &Facts,
        now: Millis,
        work: impl FnOnce(&Permit) -> Result<T, WorkError>,
    ) -> Result<Released<T::Wire>, NotReleased> {
        let now = self.not_before_the_journal(now);
        let pass = Pass {
            gate: self,
            ask,
            facts,
            now,
        };
        let bundle = match self.policy.current(|bundle| self.install(bundle, now)) {
            Ok(bundle) => bundle,
            Err(bundle::NotCurrent::Unusable(error)) => {
                return Err(pass.refuse(None, None, &[], error.refusal(), Some(error.to_string())));
            }
            Err(bundle::NotCurrent::NotRecorded(fault)) => return Err(fault.into()),
        };
        let permit = match decide(&bundle, ask, facts, now) {
            Verdict::Permit(permit) => permit,
            Verdict::Refuse(refusal) => {
                return Err(pass.refuse(None, Some(bundle.digest()), &[], refusal, None));
            }
        };
        let reserved = pass.reserve(&permit)?;
        let outcome = work(&permit).and_then(|computed| Ok(computed.comply(&permit)?));
        match outcome {
            Ok(wire) => pass.settle::<T>(reserved, &permit, wire),
            Err(WorkError::Refused(refusal)) => Err(pass.refuse(
                Some(reserved),
                Some(permit.bundle()),
                permit.rules(),
                refusal,
                None,
            )),
            Err(WorkError::Failed(cause)) => Err(pass.fail(reserved, &permit, cause)),
        }
    }

    /// How often what was asked, and what became of it, over the whole journal.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.index.summary()
    }

    fn install(&self, bundle: &Bundle, now: Millis) -> Result<(), GateFault> {
        let entry = BundleInstalled {
            name: bundle.name().to_owned(),
            version: bundle.version(),
            digest: bundle.digest(),
        };
        self.index.begun();
        self.record(now, BUNDLE_INSTALLED, &entry)?;
        self.index.installed(bundle.digest());
        Ok(())
    }

    fn record(
        &self,
        now: Millis,
        kind: &'static str,
        entry: &impl Serialize,
    ) -> Result<u64, GateFault> {
        let appended = self.journal.append_json(now.0, kind, entry);
        Ok(appended.map_err(GateFault::journal(kind))?.seq)
    }

    fn not_before_the_journal(&self, now: Millis) -> Millis {
        now.max(Millis(self.journal.latest_ms()))
    }
}

/// One ask on its way through the gate.
struct Pass<'a> {
    gate: &'a Gate,
    ask: &'a Ask,
    facts: &'a Facts,
    now: Millis,
}

impl Pass<'_> {
    fn reserve(&self, permit: &Permit) -> Result<u64, GateFault> {
        let entry = PassReserved {
            ask: self.ask.clone(),
            facts: *self.facts,
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
        };
        self.gate.index.begun();
        self.gate.record(self.now, PASS_RESERVED, &entry)
    }

    fn settle<T: Egress>(
        &self,
        reserved: u64,
        permit: &Permit,
        wire: T::Wire,
    ) -> Result<Released<T::Wire>, NotReleased> {
        let receipt = match T::receipt(&wire) {
            Ok(receipt) => receipt,
            Err(cause) => return Err(self.fail(reserved, permit, Box::new(cause))),
        };
        let entry = PassReleased {
            reserved,
            ask: self.ask.clone(),
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
            receipt,
        };
        self.gate.record(self.now, PASS_RELEASED, &entry)?;
        self.gate
            .index
            .ended(SummaryRow::of(self.ask, permit.rules(), Outcome::Released));
        Ok(Released::settled(wire))
    }

    /// Journals a refusal. If even that fails, the fault is told instead: the operator must hear of it.
    fn refuse(
        &self,
        reserved: Option<u64>,
        bundle: Option<Digest>,
        permitted_by: &[consilium_policies::RuleId],
        refusal: Refusal,
        detail: Option<String>,
    ) -> NotReleased {
        let row = match reserved {
            Some(_) => SummaryRow::of(self.ask, permitted_by, Outcome::Refused),
            None => SummaryRow::refused(self.ask, &refusal),
        };
        let entry = PassRefused {
            reserved,
            ask: self.ask.clone(),
            facts: *self.facts,
            bundle,
            refusal: refusal.clone(),
            detail,
        };
        if reserved.is_none() {
            self.gate.index.begun();
        }
        if let Err(fault) = self.gate.record(self.now, PASS_REFUSED, &entry) {
            return fault.into();
        }
        self.gate.index.ended(row);
        NotReleased::Refused(refusal)
    }

    fn fail(
        &self,
        reserved: u64,
        permit: &Permit,
        cause: Box<dyn std::error::Error + Send + Sync>,
    ) -> NotReleased {
        let entry = PassFailed {
            reserved,
            ask: self.ask.clone(),
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
            cause: consilium_protocol::refusal::bounded(cause.to_string()),
        };
        if let Err(fault) = self.gate.record(self.now, PASS_FAILED, &entry) {
            tracing::error!(%cause, "the work of a pass failed, and the journal too");
            return fault.into();
        }
        self.gate
            .index
            .ended(SummaryRow::of(self.ask, permit.rules(), Outcome::Failed));
        NotReleased::Failed(GateFault::Work { cause })
    }
}

#[cfg(test)]
mod tests;
