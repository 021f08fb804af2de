//! How many connections there may be, in all and from one address. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections; each holds a [`Slot`] for as long as it lives.
#[derive(Clone)]
pub(crate) struct Admission {
    shared: Arc<Mutex<Counts>>,
    total_max: usize,
    per_address_max: usize,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place.
pub(crate) struct Slot {
    shared: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            shared: Arc::default(),
            total_max,
            per_address_max,
        }
    }

    /// A place for one more connection from this address, if there is one.
    pub(crate) fn slot(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= self.total_max || here >= self.per_address_max {
            return None;
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        Some(Slot {
            shared: self.shared.clone(),
            address,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_no_address_takes_them_all() {
        let admission = Admission::new(3, 2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let first = admission.slot(a).unwrap();
        let _second = admission.slot(a).unwrap();
        assert!(admission.slot(a).is_none(), "one address has its share");
        let _third = admission.slot(b).unwrap();
        assert!(admission.slot(b).is_none(), "the house is full");
        drop(first);
        assert!(admission.slot(b).is_some());
        assert_eq!(admission.shared.lock().unwrap().by_address.len(), 2);
    }
}
