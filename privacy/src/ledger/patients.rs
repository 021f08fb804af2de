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
use crate::ledger::cohort::Block;
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
///
/// Most asks are about everybody, or everybody of long stretches. So patients stand in blocks of 64, and what is spent
/// on all of a block is written once, beside what was spent on some of it: an account is the sum of the two. All sums
/// are of whole numbers that saturate, so it is the same sum however it is split. And where the block's greatest
/// accounts have room, all of it have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PatientAccounts {
    /// But for what is spent on whole blocks.
    spent: Vec<Spent>,
    /// In 1e-12, of those charged with any δ; shorter than `spent`, or as long.
    delta: Vec<u32>,
    blocks: Vec<OfBlock>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct OfBlock {
    /// Spent on each of its patients.
    by_all: Spent,
    delta_by_all: u32,
    /// At each order the most that stands in `spent` for any of them.
    most: Spent,
    /// Whether δ was spent on some of its patients and not on all.
    delta_differs: bool,
}

/// What a patient must have spent less than at some order for one more cost to fit; 0 where nothing is little enough.
type Room = [u32; ORDERS_KEPT.len()];

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
            self.blocks
                .resize(end.div_ceil(Block::PATIENTS), OfBlock::default());
        }
        if delta > 0 && self.delta.len() < end {
            self.delta.resize(end, 0);
        }
        for (at, (touched, block)) in cohort.blocks().zip(&mut self.blocks).enumerate() {
            if touched.is_full() {
                add(&mut block.by_all, &charge);
                block.delta_by_all = block.delta_by_all.saturating_add(delta);
                continue;
            }
            block.delta_differs |= delta > 0 && !touched.is_empty();
            for place in touched.places() {
                let patient = at * Block::PATIENTS + place;
                if let Some(spent) = self.spent.get_mut(patient) {
                    add(spent, &charge);
                    for (most, spent) in block.most.iter_mut().zip(spent) {
                        *most = (*most).max(*spent);
                    }
                }
                if delta > 0
                    && let Some(spent) = self.delta.get_mut(patient)
                {
                    *spent = spent.saturating_add(delta);
                }
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
        let mut rooms = Rooms {
            budget,
            charge,
            known: BTreeMap::new(),
            last: (delta, room(budget, delta, &charge)),
        };
        let mut rooms_of_blocks = rooms.clone();
        let nothing = OfBlock::default();
        active.retain_blocks(
            |at, touched| {
                let block = self.blocks.get(at).unwrap_or(&nothing);
                let mut most = block.most;
                add(&mut most, &block.by_all);
                let after = block.delta_by_all.saturating_add(delta);
                !touched.is_empty() && !block.delta_differs && rooms_of_blocks.fit(&most, after)
            },
            |patient| {
                let (spent, spent_delta) = self.account(patient);
                rooms.fit(&spent, spent_delta.saturating_add(delta))
            },
        );
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
        self.spent.capacity() * size_of::<Spent>()
            + self.delta.capacity() * size_of::<u32>()
            + self.blocks.capacity() * size_of::<OfBlock>()
    }

    fn account(&self, patient: u32) -> (Spent, u32) {
        let patient = patient as usize;
        let mut spent = self.spent.get(patient).copied().unwrap_or_default();
        let mut delta = self.delta.get(patient).copied().unwrap_or_default();
        if let Some(block) = self.blocks.get(patient / Block::PATIENTS) {
            add(&mut spent, &block.by_all);
            delta = delta.saturating_add(block.delta_by_all);
        }
        (spent, delta)
    }
}

/// What fits beside each sum of δ.
#[derive(Clone)]
struct Rooms<'a> {
    budget: &'a Budget,
    charge: Spent,
    known: BTreeMap<u32, Room>,
    last: (u32, Room),
}

impl Rooms<'_> {
    /// Whether the cost fits on top of what was spent, with a sum of δ after it.
    fn fit(&mut self, spent: &Spent, delta: u32) -> bool {
        if delta != self.last.0 {
            let known = self.known.entry(delta);
            let known = *known.or_insert_with(|| room(self.budget, delta, &self.charge));
            self.last = (delta, known);
        }
        // Without an early exit it is a few vector instructions.
        let holds = |any, (spent, below): (&u32, &u32)| any | (spent < below);
        spent.iter().zip(&self.last.1).fold(false, holds)
    }
}

fn add(spent: &mut Spent, charge: &Spent) {
    for (spent, charge) in spent.iter_mut().zip(charge) {
        *spent = spent.saturating_add(*charge);
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
    let mut room = [0; ORDERS_KEPT.len()];
    if delta == u32::MAX || left <= 0.0 {
        return room;
    }
    for ((order, charge), below) in ORDERS_KEPT.iter().zip(charge).zip(&mut room) {
        let pico = match *order {
            // The conversion is free there, so a declared ε is the whole number that it was meant to be.
            INFINITE_ORDER => nearest_up(budget.epsilon(), PICO),
            order => pico_down(budget.epsilon() - accountant::conversion(order, left)),
        };
        // Below the infinite, which never fits.
        let allowed = u32::try_from(pico / MICRO_PICO).unwrap_or(u32::MAX - 1);
        let most = allowed.min(u32::MAX - 1).checked_sub(*charge);
        *below = most.map_or(0, |most| most + 1);
    }
    room
}
