//! The shape of a core: deciding is split from doing.

use std::fmt;
use std::ops::{Add, Sub};

/// A point in time, in milliseconds since the Unix epoch, given by whoever drives a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment and `duration_ms` more; saturates.
    #[must_use]
    pub fn plus_ms(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this moment; zero when it lies ahead.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Millis {
    type Output = Self;
    fn add(self, duration_ms: u64) -> Self {
        self.plus_ms(duration_ms)
    }
}

impl Sub for Millis {
    type Output = u64;
    fn sub(self, earlier: Self) -> u64 {
        self.since_ms(earlier)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A core as a value: input and `now` go in, actions come out.
///
/// A core reads no clock, no socket, no file and no system randomness, so that
/// one driver can run it over QUIC and another over simulated time.
pub trait Machine {
    /// What can happen to it.
    type In;
    /// What it wants done.
    type Out;

    /// Takes one input and says what follows from it.
    #[must_use = "the actions must be carried out"]
    fn step(&mut self, now: Millis, input: Self::In) -> Vec<Self::Out>;

    /// When it wants to be stepped although nothing happened.
    fn wake_at(&self) -> Option<Millis>;
}
