//! The one door: nothing computed from local data leaves this node but through [`Gate::pass`].
//!
//! A pass is a bracket in a fixed order that fails closed:
//!
//! 1. *decide*: the policy bundle that lies there now, or a refusal;
//! 2. *reserve*: which patients are charged in the vault, then `pass-reserved` with the cost in the journal, each
//!    durable;
//! 3. *work*: the caller's closure, which holds the permit and those patients whose budget is not spent;
//! 4. *comply*: what the permit does not release is taken out, what may never leave is refused;
//! 5. *settle*: the answer in the vault if it had a cost, then `pass-released` with a digest of what leaves, each
//!    durable;
//! 6. [`Released`], which nothing else makes and the server alone can send.
//!
//! What may fail: a journal at 2 means that the work never runs, at 5 that nothing is released. A crash in between
//! leaves a reservation without an ending; the next start finds it and journals it as `pass-abandoned`. It never
//! releases, and what it cost stays spent. What is no failure: a refusal. It is journalled as one and kept apart from
//! faults.
//!
//! What had a cost is answered once. The same ask gets the kept answer, byte for byte and at no further cost, also from
//! the process after; or, where the power went before the answer was kept, a refusal that says it is spent. There is
//! never a second sample of the noise.
//!
//! Passes run side by side; the gate holds no lock during work or an fsync. Each ends under the bundle that it began
//! under.
//!
//! | file | subject |
//! |---|---|
//! | `mod` | opening, and the way through |
//! | `pass` | the bracket, step by step |
//! | `books` | what is spent and what was asked: behind the one lock |
//! | `copy` | what the books take of the journal, so that a start reads it once |
//! | `budgets` | what a project may know of its own |
//! | `approvals` | what waits for a person |
//! | `vault` | who was charged, and the kept answers: behind the one door that is never opened |
//! | `egress` | what can leave, in principle: a sealed trait |
//! | `egress_search` | what leaves of a search, by its level |
//! | `candidates` | who may still be found by a search |
//! | `egress_sketch` | which cells of a sketch are occupied, behind coins and masks |
//! | `egress_training` | the three things that leave in training |
//! | `released` | the proof |
//! | `outcome` | refusals and faults, kept apart |
//! | `bundle` | the policy file, taken up when it changes |
//! | `index` | counts of passes, rebuilt from the journal at need |

mod approvals;
mod books;
mod budgets;
mod bundle;
mod candidates;
mod copy;
mod egress;
mod egress_search;
mod egress_sketch;
mod egress_statistics;
mod egress_training;
mod index;
mod outcome;
mod pass;
mod released;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_journal::{Journal, JournalError};
use consilium_policies::entry::{
    BUNDLE_INSTALLED, BUNDLE_REFUSED, BundleInstalled, BundleRefused, PASS_ABANDONED,
    PassAbandoned, PassReserved,
};
use consilium_policies::{Ask, Facts, Permit};
use consilium_privacy::ledger::{Cohort, Ledger};
use consilium_protocol::{DatasetName, Digest, MemberName, Millis};
use serde::Serialize;

pub use approvals::{ApprovalError, Approvals, PENDING_MAX, Pending, Wanted};
pub use budgets::BudgetAsk;
pub use bundle::{
    HeldPolicy, INCOMING, POLICY_FILE, PolicyError, REFUSED, Signers, read_bundle_files,
    read_policy,
};
pub use candidates::Candidates;
pub use egress::{Egress, NotKept};
pub use egress_search::{PrivateHit, SearchFinding, count_price};
pub use egress_sketch::{NoisySketch, OccupiedCells, sketch_price};
pub use egress_statistics::{PriceError, StatisticsAnswer, UNKNOWN_KEYS_DELTA, price};
pub use egress_training::{Admission, Evaluation, OutgoingUpdate, PrivateUpdate, TrainedUpdate};
pub use index::{Outcome, SUMMARY_ROWS_MAX, Summary, SummaryRow};
pub use outcome::{GateFault, NotReleased, WorkError};
pub use released::Released;
pub use vault::{ANSWER_BYTES_MAX, VAULT_LIMITS};

use books::{Books, BooksLock, Reading};
use bundle::{InForce, News, PolicyFile};
use copy::Copy;
use index::Index;
use pass::{Entered, Pass, is_free, touches_nothing};
use vault::Vault;

/// A node's one door. Shared between threads by reference.
pub struct Gate {
    journal: Arc<Journal>,
    vault: Vault,
    books: Arc<BooksLock>,
    policy: PolicyFile,
    index: Index,
    approvals: Approvals,
    /// What was refused until an officer has approved it, by hash: who asks, and who may approve.
    waiting: Mutex<BTreeMap<Digest, Waiting>>,
}

struct Waiting {
    asked_by: String,
    officers: BTreeSet<MemberName>,
}

/// A node's two journals: one for officers and auditors, one that nobody outside the site may read.
pub struct Records {
    /// What passed, and what it cost.
    pub journal: Arc<Journal>,
    /// Who was charged, and the kept answers. Opened with [`VAULT_LIMITS`].
    pub vault: Arc<Journal>,
    /// 32 bytes that nobody can guess, for a vault that is new; one that is not keeps its own.
    pub new_secret: [u8; 32],
}

impl Records {
    /// The journal, and the vault in its folder, which only the node's own user may read.
    ///
    /// # Errors
    /// The vault is damaged or cannot be opened, or the system has no randomness.
    pub fn open(journal: Arc<Journal>, vault_folder: &Path) -> Result<Self, GateFault> {
        let doing = "open the vault";
        let failed = |cause| GateFault::Vault { doing, cause };
        let (vault, _) = Journal::open(vault_folder, VAULT_LIMITS).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let owner_only = std::fs::Permissions::from_mode(0o700);
            let closed = std::fs::set_permissions(vault_folder, owner_only);
            closed.map_err(|cause| GateFault::System { doing, cause })?;
        }
        let mut new_secret = [0; 32];
        getrandom::fill(&mut new_secret).map_err(|cause| GateFault::System {
            doing,
            cause: std::io::Error::other(cause),
        })?;
        Ok(Self {
            journal,
            vault: Arc::new(vault),
            new_secret,
        })
    }
}

/// The ledgers of a node that may be running, from its journal and its vault.
///
/// # Errors
/// One of them cannot be read.
pub fn read_ledgers(
    journal_folder: &Path,
    vault_folder: &Path,
) -> Result<BTreeMap<DatasetName, Ledger>, GateFault> {
    Books::look(journal_folder, vault_folder)
}

/// What an ask's answer depends on and its text does not say.
pub struct Touches {
    /// The version of the data set.
    pub dataset_version: Digest,
    /// What else was sent with the ask: the state that a round is trained from.
    pub state: Option<Digest>,
    /// The patients whose records it is computed from, by [`Gate::numbers`].
    pub patients: Cohort,
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
    /// Opens the gate over this node's journals: ends what a crash cut off, and makes books and index anew.
    ///
    /// `policy_folder` is where the officer's `policy.toml` lies or will lie; `state_folder` holds what can be
    /// rebuilt, and the gate's index in a folder of its own there.
    ///
    /// # Errors
    /// A journal cannot be read or appended to; or the vault lacks what the journal names.
    pub fn open(
        records: Records,
        policy_folder: &Path,
        state_folder: &Path,
        now: Millis,
    ) -> Result<(Self, Opened), GateFault> {
        Self::begin(records, Some(state_folder), now, |recorded| {
            PolicyFile::new(policy_folder, recorded)
        })
    }

    /// As [`Gate::open`] for a world without a disk: the policy is a text that somebody else holds, and nothing is
    /// kept but the journals.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub fn open_without_disk(
        records: Records,
        policy: HeldPolicy,
        now: Millis,
    ) -> Result<(Self, Opened), GateFault> {
        Self::begin(records, None, now, |recorded| {
            PolicyFile::held(policy, recorded)
        })
    }

    fn begin(
        records: Records,
        state_folder: Option<&Path>,
        now: Millis,
        policy: impl FnOnce(Option<InForce>) -> PolicyFile,
    ) -> Result<(Self, Opened), GateFault> {
        let Records {
            journal,
            vault,
            new_secret,
        } = records;
        let now = now.max(Millis(journal.latest_ms()));
        let (vault, in_vault) = Vault::open(vault, new_secret, now)?;
        let mut reading = Reading::new(in_vault);
        let copy = state_folder
            .map(|folder| Copy::take_in(folder, vault.copy_key(), &journal, &mut reading))
            .transpose()
            .map_err(GateFault::journal("read the journal"))?;
        let (index, found) = Index::open(state_folder, &journal, &mut reading)
            .map_err(GateFault::journal("read the journal"))?;
        if let Some(copy) = copy {
            copy.renew(&reading);
        }
        let books = reading.finish(&vault)?;
        let opened = Opened {
            abandoned: found.unended.len() as u64,
            index_rebuilt: found.rebuilt,
        };
        let policy = policy(found.bundle);
        let gate = Self {
            journal,
            vault,
            books: Arc::new(BooksLock::new(books)),
            policy,
            index,
            approvals: Approvals::default(),
            waiting: Mutex::default(),
        };
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

    /// With officers of whom some must have signed every bundle.
    #[must_use]
    pub fn with_signers(mut self, signers: Signers) -> Self {
        self.policy.set_signers(signers);
        self
    }

    /// Takes up a new bundle, if one lies there, as the next pass would.
    ///
    /// # Errors
    /// The journal cannot be appended to. A bundle that cannot be used is no error here: it refuses each pass.
    pub fn look_at_policy(&self, now: Millis) -> Result<(), GateFault> {
        let now = self.not_before_the_journal(now);
        match self.policy.current(|news| self.hear(news, now)) {
            Err(bundle::NotCurrent::NotRecorded(fault)) => Err(fault),
            Ok(_) | Err(bundle::NotCurrent::Unusable(_)) => Ok(()),
        }
    }

    /// With a folder for what waits for a person. Without one, what needs a person's word is refused.
    #[must_use]
    pub fn with_approvals(self, approvals: Approvals) -> Self {
        Self { approvals, ..self }
    }

    /// Lays a signed text before the officers, if an ask was refused because they have not approved it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn lay_before_officers(&self, text: &[u8]) -> Result<(), ApprovalError> {
        let hash = Digest::of(text);
        let pending = self.waiting().get(&hash).map(|waiting| Pending {
            wanted: Wanted::Approval,
            hash,
            asked_by: waiting.asked_by.clone(),
            officers: waiting.officers.clone(),
            text: String::from_utf8_lossy(text).into_owned(),
        });
        match pending {
            None => Ok(()),
            Some(pending) => self.approvals.lay_before(&pending),
        }
    }

    /// Notes that an ask waits; whether that is new.
    fn waits(&self, hash: Digest, ask: &Ask, officers: &BTreeSet<MemberName>) -> bool {
        let mut waiting = self.waiting();
        let is_new = !waiting.contains_key(&hash);
        if waiting.len() < PENDING_MAX || !is_new {
            let asked_by = pass::asked_by(ask);
            let officers = officers.clone();
            waiting.insert(hash, Waiting { asked_by, officers });
        }
        is_new
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Digest, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only way anything computed from local data leaves this node; this one is for what costs nothing.
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
        match is_free(facts) {
            true => self.pass_touching(ask, facts, &touches_nothing(), now, |permit, _| {
                work(permit)
            }),
            false => Err(GateFault::CostWithoutPatients.into()),
        }
    }

    /// As [`Gate::pass`], of an ask that may have a cost (`facts.cost`, for each patient whom it touches). What was
    /// spent before is the gate's to say, whatever `facts` says.
    ///
    /// The work gets those patients whose own budget covers the cost, and must look at no others: they are charged.
    /// It does not run where the same ask was answered before: then [`Released::is_repeated`].
    ///
    /// # Errors
    /// As [`Gate::pass`].
    pub fn pass_touching<T: Egress>(
        &self,
        ask: &Ask,
        facts: &Facts,
        touches: &Touches,
        now: Millis,
        work: impl FnOnce(&Permit, &Cohort) -> Result<T, WorkError>,
    ) -> Result<Released<T::Wire>, NotReleased> {
        let mut pass = Pass {
            gate: self,
            ask,
            facts: facts.clone(),
            touches,
            now: self.not_before_the_journal(now),
        };
        let reserved = match pass.enter()? {
            Entered::Reserved(reserved) => reserved,
            Entered::Again {
                permit,
                request,
                kept,
            } => return pass.repeat::<T>(&permit, request, kept),
        };
        let outcome = work(&reserved.permit, &reserved.patients)
            .and_then(|computed| Ok(computed.comply(&reserved.permit)?));
        match outcome {
            Ok(wire) => pass.settle::<T>(reserved, wire),
            Err(WorkError::Refused(refusal)) => Err(pass.decline(&reserved, refusal)),
            Err(WorkError::Failed(cause)) => Err(pass.give_up(&reserved, cause)),
        }
    }

    /// Whether [`Gate::pass_touching`] would refuse this ask now, as far as policy and budgets say. It reserves
    /// nothing; a refusal is journalled as one. For what needs several sites, so that no site pays for what another
    /// one refuses.
    ///
    /// # Errors
    /// As [`Gate::pass`].
    pub fn would_pass(
        &self,
        ask: &Ask,
        facts: &Facts,
        touches: &Touches,
        now: Millis,
    ) -> Result<(), NotReleased> {
        let mut pass = Pass {
            gate: self,
            ask,
            facts: facts.clone(),
            touches,
            now: self.not_before_the_journal(now),
        };
        pass.foresee()
    }

    /// The patients' numbers in a data set's ledger, given what tells each apart, in any bytes: the same for ever
    /// after.
    ///
    /// # Errors
    /// The vault cannot be appended to, or there are too many.
    pub fn numbers<'a>(
        &self,
        dataset: &DatasetName,
        keys: impl Iterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Result<Vec<u32>, GateFault> {
        self.vault
            .numbers(dataset, keys, self.not_before_the_journal(now))
    }

    /// The ledger of a data set as it stands. For the site's own people: what was spent on a patient is private.
    #[must_use]
    pub fn ledger(&self, dataset: &DatasetName) -> Ledger {
        self.books.open().ledger(dataset)
    }

    /// How often what was asked, and what became of it, over the whole journal.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.index.summary()
    }

    /// The error after which the journal takes nothing more, and so nothing leaves, until the gate is opened anew.
    #[must_use]
    pub fn journal_failure(&self) -> Option<Arc<JournalError>> {
        self.journal.failure()
    }

    /// As [`Gate::journal_failure`], of the vault.
    #[must_use]
    pub fn vault_failure(&self) -> Option<Arc<JournalError>> {
        self.vault.failure()
    }

    /// Journals what became of a new bundle.
    fn hear(&self, news: News<'_>, now: Millis) -> Result<(), GateFault> {
        match news {
            News::Installed { bundle, officers } => {
                let entry = BundleInstalled {
                    name: bundle.name().to_owned(),
                    version: bundle.version(),
                    digest: bundle.digest(),
                    officers: officers.iter().map(ToString::to_string).collect(),
                };
                self.index.begun();
                self.record(now, BUNDLE_INSTALLED, &entry)?;
                self.index.installed(InForce {
                    digest: bundle.digest(),
                    version: bundle.version(),
                });
            }
            News::Refused { digest, reason } => {
                self.record(now, BUNDLE_REFUSED, &BundleRefused { digest, reason })?;
            }
        }
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

#[cfg(test)]
mod tests;
