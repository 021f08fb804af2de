//! How many connections there may be: in all, from one address, and of one caller. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::Peer;
use crate::identity::Identity;
use crate::limits::LinkLimits;

/// Counts connections; each holds a [`Slot`] for as long as it lives.
#[derive(Clone)]
pub(crate) struct Admission {
    shared: Arc<Mutex<Counts>>,
    most: Most,
}

#[derive(Clone, Copy)]
struct Most {
    total: usize,
    per_address: usize,
    per_member: usize,
    strangers: usize,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Strangers count together, under no identity.
    by_caller: HashMap<Option<Identity>, usize>,
}

/// One connection's place.
pub(crate) struct Slot {
    shared: Arc<Mutex<Counts>>,
    most: Most,
    address: IpAddr,
    /// Once it is known; `None` in it is a stranger.
    caller: Option<Option<Identity>>,
}

impl Admission {
    pub(crate) fn new(limits: &LinkLimits) -> Self {
        Self {
            shared: Arc::default(),
            most: Most {
                total: limits.connections_max,
                per_address: limits.connections_per_address_max,
                per_member: limits.connections_per_member_max,
                strangers: limits.strangers_max,
            },
        }
    }

    /// A place for one more connection from this address, if there is one.
    pub(crate) fn slot(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= self.most.total || here >= self.most.per_address {
            return None;
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        Some(Slot {
            shared: self.shared.clone(),
            most: self.most,
            address,
            caller: None,
        })
    }
}

impl Slot {
    /// Whether whoever came may stay beside those who are the same member, or strangers too.
    pub(crate) fn is_for(&mut self, peer: &Peer) -> bool {
        let caller = peer.identity().cloned();
        let most = match &caller {
            Some(_) => self.most.per_member,
            None => self.most.strangers,
        };
        let mut counts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.by_caller.entry(caller.clone()).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.caller = Some(caller);
        true
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
        if let Some(caller) = &self.caller
            && let Some(count) = counts.by_caller.get_mut(caller)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_caller.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use consilium_protocol::Role;

    use super::*;
    use crate::identity::Fingerprint;

    fn limits() -> LinkLimits {
        LinkLimits {
            connections_max: 3,
            connections_per_address_max: 2,
            ..LinkLimits::default()
        }
    }

    #[test]
    fn no_member_takes_every_place_and_strangers_have_few() {
        let admission = Admission::new(&LinkLimits {
            connections_per_member_max: 2,
            strangers_max: 1,
            ..LinkLimits::default()
        });
        let member = |role, name: &str| Peer::Member {
            identity: Identity::new(role, name.parse().unwrap()),
            certificate: Fingerprint::of(name.as_bytes()),
        };
        let comes_from = |address: &str, peer: &Peer| {
            let mut slot = admission.slot(address.parse().unwrap()).unwrap();
            slot.is_for(peer).then_some(slot)
        };
        let mallory = member(Role::Researcher, "mallory");
        let first = comes_from("10.0.0.1", &mallory).unwrap();
        let _second = comes_from("10.0.0.2", &mallory).unwrap();
        assert!(
            comes_from("10.0.0.3", &mallory).is_none(),
            "wherever it calls from"
        );
        assert!(comes_from("10.0.0.3", &member(Role::Site, "mallory")).is_some());
        drop(first);
        let _third = comes_from("10.0.0.3", &mallory).unwrap();

        let _stranger = comes_from("10.0.0.1", &Peer::Stranger).unwrap();
        assert!(comes_from("10.0.0.2", &Peer::Stranger).is_none());
        assert_eq!(admission.shared.lock().unwrap().by_caller.len(), 2);
    }

    #[test]
    fn a_place_is_given_back_and_no_address_takes_them_all() {
        let admission = Admission::new(&limits());
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
