//! The ledger of one data set: what was spent on it by all, by each project, and on each patient.
//!
//! One ledger stands behind every kind of release: training rounds, statistics, searches. What is reserved is
//! spent, and nothing is ever given back: whatever can refuse an ask without reading a record refuses it before the
//! reservation. So every sum only grows, no order of entries changes it, and a ledger that is made anew from all
//! reservations that are on disk is never below what has left.
//!
//! | file | subject |
//! |---|---|
//! | `ledger` | the sums, and making them anew |
//! | [`cohort`] | a set of patients, and its bytes |
//! | [`patients`] | what was spent on each patient; who is left out |
//! | [`quote`] | what something would cost, and whether it would be of use |

pub mod cohort;
pub mod patients;
pub mod quote;

use std::collections::{BTreeMap, BTreeSet};

pub use cohort::{Cohort, CohortError, PATIENTS_MAX};
pub use patients::PatientAccounts;

use crate::{Account, Budget, Cost};

/// What was spent on one data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    dataset: Account,
    projects: BTreeMap<Box<str>, Account>,
    patients: PatientAccounts,
    reservations: u64,
}

impl Ledger {
    /// Spends what one release costs, on the data set and for the project. The patients are charged by
    /// [`Ledger::charge`], from where they are written down.
    pub fn reserve(&mut self, project: &str, cost: &Cost) {
        if cost.is_none() {
            return;
        }
        self.reservations += 1;
        self.dataset.add(cost);
        match self.projects.get_mut(project) {
            Some(account) => account.add(cost),
            None => {
                let mut account = Account::default();
                account.add(cost);
                self.projects.insert(project.into(), account);
            }
        }
    }

    /// Spends it on each of these patients.
    pub fn charge(&mut self, cohort: &Cohort, cost: &Cost) {
        self.patients.charge(cohort, cost);
    }

    /// Those of `cohort` for whom `budget` covers `cost` on top of all that was spent on them, whoever asked. The
    /// others are left out of the answer in silence: who they are says what was asked before.
    #[must_use]
    pub fn active(&self, cohort: &Cohort, cost: &Cost, budget: &Budget) -> Cohort {
        self.patients.active(cohort, cost, budget)
    }

    /// By all projects together.
    #[must_use]
    pub fn dataset(&self) -> &Account {
        &self.dataset
    }

    /// By one project.
    #[must_use]
    pub fn project(&self, project: &str) -> Account {
        self.projects.get(project).copied().unwrap_or_default()
    }

    /// All projects that spent anything.
    pub fn projects(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.projects
            .iter()
            .map(|(project, account)| (&**project, account))
    }

    /// What was spent on each patient.
    #[must_use]
    pub fn patients(&self) -> &PatientAccounts {
        &self.patients
    }

    /// Reservations that had a cost.
    #[must_use]
    pub fn reservations(&self) -> u64 {
        self.reservations
    }
}

/// Makes a ledger anew from entries, each counted once however often it is read.
#[derive(Debug, Default)]
pub struct Replay {
    ledger: Ledger,
    reserved: BTreeSet<u64>,
    charged: BTreeSet<u64>,
}

impl Replay {
    /// The reservation at place `at` of the journal.
    pub fn reserved(&mut self, at: u64, project: &str, cost: &Cost) {
        if self.reserved.insert(at) {
            self.ledger.reserve(project, cost);
        }
    }

    /// The charge at place `at` of the vault.
    pub fn charged(&mut self, at: u64, cohort: &Cohort, cost: &Cost) {
        if self.charged.insert(at) {
            self.ledger.charge(cohort, cost);
        }
    }

    /// The ledger of all that was read.
    #[must_use]
    pub fn finish(self) -> Ledger {
        self.ledger
    }
}

#[cfg(test)]
mod tests;
