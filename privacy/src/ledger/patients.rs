//! What was spent on each patient: a Rényi filter for every one of them (Feldman and Zrnic 2021, "Individual privacy
//! accounting via a Rényi filter", section 4).
//!
//! A patient is charged only by answers that touch their records, and has an account of a fixed size whatever was
//! asked: twelve of the sixty orders, in millionths of a nat, 48 bytes. A million patients are 48 MB. Why not
//! classes of patients with the same history: docs/decisions/0011-patient-accounts.md.
//!
//! What was spent on a patient is itself private: numbers leave this file for the site's own officers only.

use std::collections::BTreeMap;
use std::fmt;

use crate::fixed_point::{ATTO, PICO, nearest_up, pico_down};
use crate::ledger::Cohort;
use crate::{Budget, Cost, INFINITE_ORDER, accountant};

/// The orders that are kept, of [`crate::ORDERS`]: steps of at most 5 : 3, so that the best kept order is near the
/// best.
pub const ORDERS_KEPT: [u32; 12] = [2, 3, 4, 5, 7, 10, 15, 24, 40, 80, 160, INFINITE_ORDER];

/// Pico-nats in a millionth of a nat.
const MICRO_PICO: u64 = 1_000_000;
/// A δ is kept in 1e-12.
const DELTA_UNIT_ATTO: u64 = 1_000_000;

/// Divergence at [`ORDERS_KEPT`] in millionths of a nat; `u32::MAX` is infinite and never fits.
type Spent = [u32; ORDERS_KEPT.len()];

/// What was spent on each patient of a data set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PatientAccounts {
    spent: Vec<Spent>,
    /// In 1e-12, of those charged with any δ; shorter than `spent`, or as long.
    delta: Vec<u32>,
}

/// The most that a patient may have spent at each order for one more cost to fit; below 0 where nothing is little
/// enough.
type Room = [i64; ORDERS_KEPT.len()];

impl PatientAccounts {
    /// Spends `cost` on each of these patients.
    pub fn charge(&mut self, cohort: &Cohort, cost: &Cost) {
        if cost.is_none() {
            return;
        }
        let charge = kept(cost);
        let delta = delta_kept(cost);
        let end = cohort.end() as usize;
        if self.spent.len() < end {
            self.spent.resize(end, Spent::default());
        }
        if delta > 0 && self.delta.len() < end {
            self.delta.resize(end, 0);
        }
        for patient in cohort.iter() {
            let patient = patient as usize;
            if let Some(spent) = self.spent.get_mut(patient) {
                for (spent, charge) in spent.iter_mut().zip(&charge) {
                    *spent = spent.saturating_add(*charge);
                }
            }
            if delta > 0
                && let Some(spent) = self.delta.get_mut(patient)
            {
                *spent = spent.saturating_add(delta);
            }
        }
    }

    /// Those of `cohort` for whom `budget` covers `cost` on top of what was spent.
    #[must_use]
    pub fn active(&self, cohort: &Cohort, cost: &Cost, budget: &Budget) -> Cohort {
        let mut active = cohort.clone();
        if cost.is_none() {
            return active;
        }
        let charge = kept(cost);
        let delta = delta_kept(cost);
        // As many as there are different sums of δ: one, unless histograms over unknown keys were asked.
        let mut rooms: BTreeMap<u32, Room> = BTreeMap::new();
        let (mut sum, mut most) = (delta, room(budget, delta, &charge));
        active.retain(|patient| {
            let (spent, spent_delta) = self.account(patient);
            let after = spent_delta.saturating_add(delta);
            if after != sum {
                sum = after;
                most = *rooms
                    .entry(after)
                    .or_insert_with(|| room(budget, after, &charge));
            }
            // Without an early exit it is a few vector instructions.
            let holds = |any, (spent, most): (&u32, &i64)| any | (i64::from(*spent) <= *most);
            spent.iter().zip(&most).fold(false, holds)
        });
        active
    }

    /// How many patients there are on whom something was spent, and for whom `budget` does not cover `cost` any
    /// more. For the site's own officers.
    #[must_use]
    pub fn retired(&self, cost: &Cost, budget: &Budget) -> u64 {
        let all = u32::try_from(self.spent.len()).unwrap_or(u32::MAX);
        let all = Cohort::first(all).unwrap_or_default();
        let mut charged = all;
        charged.retain(|patient| self.account(patient).0 != Spent::default());
        charged.len() - self.active(&charged, cost, budget).len()
    }

    /// Bytes of memory that the accounts take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.spent.capacity() * size_of::<Spent>() + self.delta.capacity() * size_of::<u32>()
    }

    fn account(&self, patient: u32) -> (Spent, u32) {
        let patient = patient as usize;
        (
            self.spent.get(patient).copied().unwrap_or_default(),
            self.delta.get(patient).copied().unwrap_or_default(),
        )
    }
}

/// Says how much is kept, and nothing of anyone.
impl fmt::Debug for PatientAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientAccounts").finish_non_exhaustive()
    }
}

fn kept(cost: &Cost) -> Spent {
    let curve = cost.curve();
    let mut spent = [u32::MAX; ORDERS_KEPT.len()];
    for (kept, slot) in ORDERS_KEPT.iter().zip(&mut spent) {
        if let Some((_, pico)) = curve.points().find(|(order, _)| order == kept) {
            *slot = u32::try_from(pico.div_ceil(MICRO_PICO)).unwrap_or(u32::MAX);
        }
    }
    spent
}

fn delta_kept(cost: &Cost) -> u32 {
    u32::try_from(cost.delta_atto().div_ceil(DELTA_UNIT_ATTO)).unwrap_or(u32::MAX)
}

/// What `budget` leaves before a `charge`, where `delta` of it (in 1e-12) is spent with it.
fn room(budget: &Budget, delta: u32, charge: &Spent) -> Room {
    let spent_delta = match delta {
        0 => 0.0,
        delta => (f64::from(delta) * DELTA_UNIT_ATTO as f64 / ATTO).next_up(),
    };
    let left = budget.delta() - spent_delta;
    let mut room = [-1; ORDERS_KEPT.len()];
    if delta == u32::MAX || left <= 0.0 {
        return room;
    }
    for ((order, charge), most) in ORDERS_KEPT.iter().zip(charge).zip(&mut room) {
        let pico = match *order {
            // The conversion is free there, so a declared ε is the whole number that it was meant to be.
            INFINITE_ORDER => nearest_up(budget.epsilon(), PICO),
            order => pico_down(budget.epsilon() - accountant::conversion(order, left)),
        };
        // Below the infinite, which never fits.
        let allowed = u32::try_from(pico / MICRO_PICO).unwrap_or(u32::MAX - 1);
        *most = i64::from(allowed.min(u32::MAX - 1)) - i64::from(*charge);
    }
    room
}
