//! The points of a charged pass on its way through the gate: before or after a system call on one of its two journals.

use crate::points::Side;

/// What a pass comes to when it is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing was reserved: it is as if for the first time.
    Anew,
    Spent,
    /// What was kept, or had left.
    Same,
}

/// A system call of the thread that answers or trains.
pub(crate) struct Point {
    pub(crate) label: &'static str,
    /// Asked once before, so that this is the second time.
    pub(crate) is_repeated: bool,
    pub(crate) side: Side,
    pub(crate) call: &'static str,
    pub(crate) on: &'static str,
    pub(crate) nth: u32,
    pub(crate) then: Then,
}

pub(crate) const WRITE: &str = "write";
pub(crate) const SYNC: &str = "fdatasync";
pub(crate) const VAULT: &str = "vault/00000000000000000000.journal";
pub(crate) const JOURNAL: &str = "journal/00000000000000000000.journal";

/// `label: Before or After CALL n of FILE, again where it is repeated => what it comes to;`
macro_rules! points {
    ($($label:literal: $side:ident $call:ident $nth:literal of $on:ident $($again:ident)? => $then:ident;)*) => {
        [$(crate::passes::Point {
            label: $label,
            is_repeated: crate::passes::points!(@ $($again)?),
            side: crate::points::Side::$side,
            call: crate::passes::$call,
            on: crate::passes::$on,
            nth: $nth,
            then: crate::passes::Then::$then,
        }),*]
    };
    (@ again) => { true };
    (@) => { false };
}
pub(crate) use points;
