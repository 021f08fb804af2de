//! What a search needs to know of the gate before it looks: who may still be found, and the site's secret for handles.

use consilium_policies::{Ask, Facts, Verdict, decide};
use consilium_privacy::ledger::Cohort;
use consilium_protocol::{Digest, Millis};

use super::Gate;

/// Who may be found, and how many patients the policy wants behind an answer.
pub struct Candidates {
    pub patients: Cohort,
    pub floor_patients: u32,
}

impl Candidates {
    fn none() -> Self {
        Self {
            patients: Cohort::default(),
            floor_patients: u32::MAX,
        }
    }
}

impl Gate {
    /// Those of `patients` whose own budget covers `facts.cost` once more, under the policy in force; none where it
    /// permits no such ask. Nothing is reserved or journalled, and nothing may leave by it: the pass decides again.
    ///
    /// A patient whose budget is spent is no candidate from the start. Left out after the search instead, the place
    /// that they leave empty would tell of them.
    pub fn candidates(
        &self,
        ask: &Ask,
        facts: &Facts,
        patients: &Cohort,
        now: Millis,
    ) -> Candidates {
        let now = self.not_before_the_journal(now);
        let Ok(bundle) = self.policy.current(|news| self.hear(news, now)) else {
            return Candidates::none();
        };
        let books = self.books.open();
        let facts = Facts {
            spent: books.spent(ask),
            ..facts.clone()
        };
        match decide(&bundle, ask, &facts, now) {
            Verdict::Refuse(_) => Candidates::none(),
            Verdict::Permit(permit) => Candidates {
                patients: match permit.terms().budget_patient {
                    None => patients.clone(),
                    Some(budget) => books.active(ask, patients, &facts.cost, &budget),
                },
                floor_patients: permit.terms().floor_patients,
            },
        }
    }

    /// The digest of the policy in force; `None` where there is none that can be used.
    pub fn bundle_in_force(&self, now: Millis) -> Option<Digest> {
        let now = self.not_before_the_journal(now);
        let current = self.policy.current(|news| self.hear(news, now));
        current.ok().map(|bundle| bundle.digest())
    }

    /// A secret of this site for the handles of its passages; the same for as long as its vault is.
    #[must_use]
    pub fn handle_secret(&self) -> [u8; 32] {
        self.vault.derived_secret("consilium 1 passage handles")
    }
}
