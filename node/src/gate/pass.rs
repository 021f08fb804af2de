//! One ask on its way through the gate.
//!
//! An ask that costs nothing has one lock-free way: decide, reserve, work, comply, settle. One that costs something, or
//! that a person has to release, is also *kept*: its patients are charged in the vault before the journal names
//! them, its answer is in the vault before the journal says that it left, and the same ask gets the same bytes ever
//! after. Deciding and charging are under one lock, and no fsync is: passes side by side share those.

use std::sync::Arc;

use consilium_journal::Appended;
use consilium_policies::entry::{
    PASS_FAILED, PASS_REFUSED, PASS_RELEASED, PASS_REPEATED, PASS_RESERVED, PassFailed,
    PassRefused, PassReleased, PassRepeated, PassReserved,
};
use consilium_policies::{Approval, Ask, Bundle, Facts, Permit, Repeats, RuleId, Verdict, decide};
use consilium_privacy::Cost;
use consilium_privacy::ledger::Cohort;
use consilium_protocol::{Digest, MemberName, Millis, Refusal, RefusalCode};

use super::approvals::{Pending, Wanted};
use super::books::{Standing, request_digest};
use super::egress::kept_response;
use super::vault::{ANSWER_BYTES_MAX, Kept};
use super::{Egress, Gate, GateFault, NotReleased, Outcome, Released, SummaryRow, Touches, bundle};

/// Deciding again with fewer patients may be by other rules, with other terms; so often at most.
const DECISIONS_MAX: usize = 4;

/// Parameters of a model that is trained with noise: two vectors of them (SCAFFOLD) and their message can be kept.
const PARAMETERS_MAX: u64 = (ANSWER_BYTES_MAX / 8 - (1 << 16)) as u64;

/// One ask on its way through the gate.
pub(super) struct Pass<'a> {
    pub gate: &'a Gate,
    pub ask: &'a Ask,
    pub facts: Facts,
    pub touches: &'a Touches,
    pub now: Millis,
}

/// How an ask came in.
pub(super) enum Entered {
    /// Work may begin.
    Reserved(Reserved),
    /// It was answered before.
    Again {
        permit: Permit,
        request: Digest,
        kept: Kept,
    },
}

/// What work begins on.
pub(super) struct Reserved {
    pub permit: Permit,
    /// Those whom it may touch.
    pub patients: Cohort,
    seq: u64,
    request: Option<UnderWay>,
}

/// A question's pass that has begun. However it ends, by a panic too, the same question is not begun again.
struct UnderWay {
    books: Arc<super::BooksLock>,
    request: Digest,
    standing: Option<Standing>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut books = self.books.open();
        match self.standing {
            Some(standing) => books.set_standing(self.request, standing),
            None => books.forget(self.request),
        }
    }
}

/// Why nothing was charged.
enum NotCharged {
    Refused(Vec<RuleId>, Refusal),
    Failed(GateFault),
}

impl Pass<'_> {
    /// Decides, and does nothing more. What was paid for once is answered whatever is left.
    pub(super) fn foresee(&mut self) -> Result<(), NotReleased> {
        let bundle = self.bundle()?;
        let cost = std::mem::take(&mut self.facts.cost);
        self.facts.spent = self.gate.books.open().spent(self.ask);
        let mut verdict = decide(&bundle, self.ask, &self.facts, self.now);
        if let Verdict::Permit(permit) = &verdict {
            let request = request_digest(self.ask, self.touches, permit);
            if self.gate.books.open().standing(request).is_none() {
                self.facts.cost = cost;
                verdict = decide(&bundle, self.ask, &self.facts, self.now);
            }
        }
        match verdict {
            Verdict::Permit(_) => Ok(()),
            Verdict::Refuse(refusal) => {
                Err(self.refuse(None, Some(bundle.digest()), &[], refusal, None))
            }
        }
    }

    /// The policy that is in force.
    fn bundle(&self) -> Result<Arc<Bundle>, NotReleased> {
        let now = self.now;
        match self.gate.policy.current(|news| self.gate.hear(news, now)) {
            Ok(bundle) => Ok(bundle),
            Err(bundle::NotCurrent::Unusable(error)) => {
                let detail = Some(error.to_string());
                Err(self.refuse(None, None, &[], error.refusal(), detail))
            }
            Err(bundle::NotCurrent::NotRecorded(fault)) => Err(fault.into()),
        }
    }

    /// Decides, and reserves what the ask costs, durably.
    pub(super) fn enter(&mut self) -> Result<Entered, NotReleased> {
        let now = self.now;
        let bundle = self.bundle()?;
        let cost = std::mem::take(&mut self.facts.cost);
        self.facts.spent = self.gate.books.open().spent(self.ask);
        // Whether this may be at all, before it is known whether it costs anything.
        let permit = match decide(&bundle, self.ask, &self.facts, now) {
            Verdict::Permit(permit) => permit,
            Verdict::Refuse(refusal) => {
                self.facts.cost = cost;
                return Err(self.refuse(None, Some(bundle.digest()), &[], refusal, None));
            }
        };
        let is_kept = !cost.is_none() || matches!(permit.terms().approval, Approval::Outbox { .. });
        self.facts.cost = cost;
        let approved_by = self.approval(&permit)?;
        match is_kept {
            false => self.reserve(permit, approved_by),
            true => self.reserve_kept(&bundle, permit, approved_by),
        }
    }

    /// The officer who approved exactly what was signed, where the policy wants one before any work.
    fn approval(&self, permit: &Permit) -> Result<Option<MemberName>, NotReleased> {
        let Approval::Before { officers } = &permit.terms().approval else {
            return Ok(None);
        };
        let hash = self.ask.run_digest;
        let approvals = &self.gate.approvals;
        let approved_by = approvals.by_whom(Wanted::Approval, hash, officers);
        if approved_by.is_some() {
            return Ok(approved_by);
        }
        let refusal = Refusal::new(
            RefusalCode::NeedsApproval,
            format!("an officer of this site has to approve this first, by its hash {hash}"),
            "wait until she has; nothing needs to be sent again but the ask itself",
        );
        // Whoever waits asks again and again: one entry in the journal is enough.
        match self.gate.waits(hash, self.ask, officers) {
            true => Err(self.refuse(None, Some(permit.bundle()), permit.rules(), refusal, None)),
            false => Err(NotReleased::Refused(refusal)),
        }
    }

    /// Of an ask that costs nothing.
    fn reserve(
        &self,
        permit: Permit,
        approved_by: Option<MemberName>,
    ) -> Result<Entered, NotReleased> {
        self.gate.index.begun();
        let seq = self.record_reserved(&permit, None, None, approved_by)?;
        Ok(Entered::Reserved(Reserved {
            permit,
            patients: self.touches.patients.clone(),
            seq,
            request: None,
        }))
    }

    fn reserve_kept(
        &mut self,
        bundle: &Bundle,
        permit: Permit,
        approved_by: Option<MemberName>,
    ) -> Result<Entered, NotReleased> {
        if self.facts.parameters > PARAMETERS_MAX {
            let refusal = Refusal::new(
                RefusalCode::TooManyParameters,
                format!(
                    "an answer that has a cost is kept, and a model of more than {PARAMETERS_MAX} parameters is too large to"
                ),
                "train a smaller model: fewer columns, levels or hidden units",
            );
            let (bundle, rules) = (Some(permit.bundle()), permit.rules());
            return Err(self.refuse(None, bundle, rules, refusal, None));
        }
        let request = request_digest(self.ask, self.touches, &permit);
        let standing = {
            let mut books = self.gate.books.open();
            let standing = books.standing(request);
            if standing.is_none() {
                books.set_standing(request, Standing::UnderWay);
            }
            standing
        };
        if let Some(standing) = standing {
            return self.again(standing, request, permit);
        }
        let mut under_way = UnderWay {
            books: Arc::clone(&self.gate.books),
            request,
            standing: None,
        };
        let charged = self.charge(bundle, permit);
        let (permit, patients, charged) = match charged {
            Ok(charged) => charged,
            Err(NotCharged::Refused(rules, refusal)) => {
                return Err(self.refuse(None, Some(bundle.digest()), &rules, refusal, None));
            }
            Err(NotCharged::Failed(fault)) => return Err(fault.into()),
        };
        // From here on it is spent, whatever follows.
        under_way.standing = Some(Standing::Ended);
        let vault = match charged {
            None => None,
            Some(entry) => {
                self.gate.vault.wait_until_durable(entry)?;
                Some(entry.hash)
            }
        };
        self.gate.index.begun();
        let seq = self.record_reserved(&permit, Some(request), vault, approved_by)?;
        Ok(Entered::Reserved(Reserved {
            permit,
            patients,
            seq,
            request: Some(under_way),
        }))
    }

    /// Under the lock: leaves out whose budget is spent, decides about the rest, and spends.
    fn charge(
        &mut self,
        bundle: &Bundle,
        permit: Permit,
    ) -> Result<(Permit, Cohort, Option<Appended>), NotCharged> {
        let mut permit = permit;
        if self.facts.cost.is_none() {
            return Ok((permit, self.touches.patients.clone(), None));
        }
        let all = &self.touches.patients;
        let before = self.facts.cohort_patients;
        let mut books = self.gate.books.open();
        self.facts.spent = books.spent(self.ask);
        for _ in 0..DECISIONS_MAX {
            let budget = permit.terms().budget_patient;
            let patients = match &budget {
                None => all.clone(),
                Some(budget) => books.active(self.ask, all, &self.facts.cost, budget),
            };
            // Where patients are not told apart, one number stands for all of them.
            self.facts.cohort_patients = before.map(|before| match patients == *all {
                true => before,
                false => before.min(patients.len()),
            });
            permit = match decide(bundle, self.ask, &self.facts, self.now) {
                Verdict::Permit(permit) => permit,
                Verdict::Refuse(refusal) => return Err(NotCharged::Refused(Vec::new(), refusal)),
            };
            if permit.terms().budget_patient == budget {
                let entry = self.gate.vault.charge(
                    &self.ask.dataset,
                    &patients,
                    &self.facts.cost,
                    self.now,
                );
                let entry = entry.map_err(NotCharged::Failed)?;
                books.spend(self.ask, &patients, &self.facts.cost);
                return Ok((permit, patients, Some(entry)));
            }
        }
        Err(NotCharged::Refused(
            permit.rules().to_vec(),
            Refusal::new(
                RefusalCode::NotPermitted,
                "the rules that permit this depend on each other's budgets for a patient",
                "ask the site's compliance officer to give one budget for each patient in this data set",
            ),
        ))
    }

    fn again(
        &self,
        standing: Standing,
        request: Digest,
        permit: Permit,
    ) -> Result<Entered, NotReleased> {
        let refused = |code, reason: &str, remedy: &str| {
            let refusal = Refusal::new(code, reason, remedy);
            Err(self.refuse(None, Some(permit.bundle()), permit.rules(), refusal, None))
        };
        if standing == Standing::UnderWay {
            return refused(
                RefusalCode::Busy,
                "the same question is being answered at this site",
                "ask again in a moment; you get that answer, at no further cost",
            );
        }
        if standing == Standing::Answered && permit.terms().repeats == Repeats::Refused {
            return refused(
                RefusalCode::AlreadyAnswered,
                "this was answered before, and the site wants it asked once",
                "look for the answer that you have",
            );
        }
        match self.gate.vault.kept(request) {
            Some(kept) => Ok(Entered::Again {
                permit,
                request,
                kept,
            }),
            None => refused(
                RefusalCode::Spent,
                "this was asked and paid for, and its answer was lost before it left the site; it is not computed twice",
                "ask another question or begin another run: it is charged anew",
            ),
        }
    }

    fn record_reserved(
        &self,
        permit: &Permit,
        request: Option<Digest>,
        vault: Option<Digest>,
        approved_by: Option<MemberName>,
    ) -> Result<u64, GateFault> {
        let entry = PassReserved {
            ask: self.ask.clone(),
            facts: self.facts.clone(),
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
            request,
            vault,
            approved_by,
        };
        self.gate.record(self.now, PASS_RESERVED, &entry)
    }

    /// Ends a pass whose work gave an answer.
    pub(super) fn settle<T: Egress>(
        &self,
        reserved: Reserved,
        wire: T::Wire,
    ) -> Result<Released<T::Wire>, NotReleased> {
        let Reserved {
            permit,
            seq,
            request,
            ..
        } = reserved;
        let receipt = match T::receipt(&wire) {
            Ok(receipt) => receipt,
            Err(cause) => return Err(self.fail(seq, &permit, Box::new(cause))),
        };
        let mut in_outbox = None;
        let answer = match &request {
            None => None,
            Some(UnderWay { request, .. }) => {
                let bytes = match T::keep(&wire) {
                    Ok(bytes) => bytes,
                    Err(cause) => return Err(self.fail(seq, &permit, Box::new(cause))),
                };
                in_outbox = self.release(&permit, &bytes).err();
                let kept = self
                    .gate
                    .vault
                    .keep(*request, seq, &receipt, bytes, self.now);
                match kept {
                    Ok(answer) => Some(answer),
                    Err(fault @ GateFault::AnswerTooLarge { .. }) => {
                        return Err(self.fail(seq, &permit, Box::new(fault)));
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
        };
        if let Some(refusal) = in_outbox {
            let (bundle, rules) = (Some(permit.bundle()), permit.rules());
            return Err(self.refuse(Some(seq), bundle, rules, refusal, None));
        }
        let entry = PassReleased {
            reserved: seq,
            ask: self.ask.clone(),
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
            receipt,
            answer,
        };
        self.gate.record(self.now, PASS_RELEASED, &entry)?;
        if let Some(mut request) = request {
            request.standing = Some(Standing::Answered);
        }
        self.gate
            .index
            .ended(SummaryRow::of(self.ask, permit.rules(), Outcome::Released));
        Ok(Released::settled(wire))
    }

    /// The officer who lets these very bytes leave, where the policy wants one to.
    fn release(&self, permit: &Permit, bytes: &[u8]) -> Result<Option<MemberName>, Refusal> {
        let Approval::Outbox { officers } = &permit.terms().approval else {
            return Ok(None);
        };
        let hash = Digest::of(bytes);
        let released_by = self.gate.approvals.by_whom(Wanted::Release, hash, officers);
        if released_by.is_some() {
            return Ok(released_by);
        }
        let pending = Pending {
            wanted: Wanted::Release,
            hash,
            asked_by: asked_by(self.ask),
            officers: officers.clone(),
            text: shown(bytes),
        };
        if let Err(error) = self.gate.approvals.lay_before(&pending) {
            tracing::warn!(%error, "a result waits in the vault, and could not be laid before the officers");
        }
        Err(Refusal::new(
            RefusalCode::AwaitsRelease,
            "the result is there, and an officer of this site has to release it",
            "ask again once she has; it is the same result, at no further cost",
        ))
    }

    /// Lets an answer leave that is kept.
    pub(super) fn repeat<T: Egress>(
        &self,
        permit: &Permit,
        request: Digest,
        kept: Kept,
    ) -> Result<Released<T::Wire>, NotReleased> {
        let bytes = self.gate.vault.bytes(request, &kept)?;
        let not_kept = |cause| GateFault::NotKept {
            entry: kept.entry,
            cause,
        };
        let released_by = match self.release(permit, &bytes) {
            Ok(released_by) => released_by,
            Err(refusal) => return Err(NotReleased::Refused(refusal)),
        };
        let wire = T::kept(&bytes).map_err(not_kept)?;
        let receipt = T::receipt(&wire).map_err(|cause| not_kept(cause.into()))?;
        if receipt != kept.receipt {
            return Err(not_kept(super::NotKept::OtherKind).into());
        }
        let entry = PassRepeated {
            reserved: kept.reserved,
            ask: self.ask.clone(),
            rules: permit.rules().to_vec(),
            bundle: permit.bundle(),
            receipt,
            answer: kept.entry,
            released_by,
        };
        self.gate.index.begun();
        self.gate.record(self.now, PASS_REPEATED, &entry)?;
        self.gate
            .books
            .open()
            .set_standing(request, Standing::Answered);
        self.gate
            .index
            .ended(SummaryRow::of(self.ask, permit.rules(), Outcome::Repeated));
        Ok(Released::again(wire))
    }

    /// Ends a pass whose work was refused.
    pub(super) fn decline(&self, reserved: &Reserved, refusal: Refusal) -> NotReleased {
        let permit = &reserved.permit;
        self.refuse(
            Some(reserved.seq),
            Some(permit.bundle()),
            permit.rules(),
            refusal,
            None,
        )
    }

    /// Ends a pass whose work failed.
    pub(super) fn give_up(
        &self,
        reserved: &Reserved,
        cause: Box<dyn std::error::Error + Send + Sync>,
    ) -> NotReleased {
        self.fail(reserved.seq, &reserved.permit, cause)
    }

    /// Journals a refusal. If even that fails, the fault is told instead: the operator must hear of it.
    fn refuse(
        &self,
        reserved: Option<u64>,
        bundle: Option<Digest>,
        permitted_by: &[RuleId],
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
            facts: self.facts.clone(),
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

/// A result in words, for the officer who looks at it before it leaves.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 64 * 1024;
    match kept_response(bytes) {
        Ok(response) => format!("{response:#?}")
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect(),
        Err(_) => format!("{} bytes: an update of a model", bytes.len()),
    }
}

/// Who asks for what, in one line.
pub(super) fn asked_by(ask: &Ask) -> String {
    format!(
        "{} of project {} for {} on {}, purpose {}",
        ask.researcher.name,
        ask.project,
        ask.action.activity().as_str(),
        ask.dataset,
        ask.purpose
    )
}

/// What is touched by an ask that costs nothing.
pub(super) fn touches_nothing() -> Touches {
    Touches {
        dataset_version: Digest([0; 32]),
        state: None,
        patients: Cohort::default(),
    }
}

/// Whether an ask may do without saying whom it touches.
pub(super) fn is_free(facts: &Facts) -> bool {
    matches!(facts.cost, Cost::None)
}
