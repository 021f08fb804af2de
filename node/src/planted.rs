//! Faults that tests plant in this crate's cores, to see that the simulator finds each of them. The gate has none.
//!
//! Without the feature `planted-faults` every question here is answered by a constant `false`. With it a fault is
//! active on the thread that planted it and nowhere else; no program of this house plants any.

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A round is trained from the newest local values, not from those of the round before.
    NewestLocalValues,
    /// A released update answers every ask of its round, whatever the state.
    KeepForAnyState,
    /// Local values of one round only are kept.
    KeepOneRound,
    /// Local values that could not be written down are built on all the same.
    BuildOnUnpersisted,
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
