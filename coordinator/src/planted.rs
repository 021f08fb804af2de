//! Faults that tests plant in this crate's cores, to see that the simulator finds each of them.
//!
//! Without the feature `planted-faults` every question here is answered by a constant `false`. With it a fault is
//! active on the thread that planted it and nowhere else; no program of this house plants any.

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A chunk is added to the sum twice.
    FoldTwice,
    /// The head of an update is taken whatever round it is of.
    AcceptStaleRound,
    /// The mean is divided by the weight of all sites, lost ones too.
    CountLostWeight,
    /// What is folded of a site that is out stays in the sum.
    KeepPartial,
    /// The collection begins anew on top of the old sum.
    RestartWithoutClearing,
    /// A site may come back with another update than the one it began.
    IgnoreDigestOnResume,
    /// The update's hash is not compared with its content.
    IgnoreUpdateHash,
    /// The round closes with fewer sites than the quorum.
    IgnoreQuorum,
    /// The content of a void ask's stream is taken for the new one's.
    HearVoidAsks,
    /// A site weighs what it says now, not what it was admitted with.
    BelieveRecords,
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Planted;

    thread_local! {
        static ACTIVE: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// From now on this thread's cores have this fault, or none.
    pub fn plant(fault: Option<Planted>) {
        ACTIVE.set(fault);
    }

    pub(crate) fn is_planted(fault: Planted) -> bool {
        ACTIVE.get() == Some(fault)
    }
}

#[cfg(not(feature = "planted-faults"))]
mod switch {
    pub(crate) const fn is_planted(_fault: super::Planted) -> bool {
        false
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::plant;

pub(crate) use switch::is_planted;
