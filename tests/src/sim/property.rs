//! What must hold in every simulated world, after every step.

use std::fmt;

/// One promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Work begins, and an update leaves, only under a reservation that a loss of power would spare.
    ReservedBeforeRelease,
    /// What leaves is journalled, durably, with its hash before its first byte is sent.
    RecordedBeforeRelease,
    /// Every entry of a pass names a bundle that was installed before, and that permits it.
    BundleDecided,
    /// Times in a journal never go back, and no permit outlives its last day.
    TimeGoesForward,
    /// Chains verify, and what was acknowledged is found after any crash.
    JournalSurvives,
    /// The mean that a round gives is exactly that of the updates it accepted, by a sum in 128 bits.
    SumIsExact,
    /// What a round accepts is what it asked for: run, round, weight, length, hash, trained from its state.
    AcceptedWasAsked,
    /// A round closes with its quorum, and everyone is in it or missing with a cause.
    QuorumHolds,
    /// A round ends before its deadline, which restarts extend; a run ends.
    RoundEnds,
    /// A run goes on from the state that its journal names, and ends with the model of the undisturbed run.
    ResumesToTheSame,
    /// What stays at a site is durable before anything that builds on it is sent.
    LocalIsDurable,
    /// An honest site is never told that its update is bad, nor loses a run that it admitted.
    HonestIsNotBlamed,
    /// Queues, kept values and journal entries stay within bounds.
    Bounded,
    /// What is in the books is never below what left, and above it by no more than what was lost on its way.
    SpentCoversLeft,
    /// A question has one answer, whoever asks again and whatever crashes.
    OneAnswer,
    /// Nobody is behind more answers than their own budget pays for.
    NobodyOverdrawn,
    /// Nothing fails where nothing was broken.
    NoFaultOfItsOwn,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBeforeRelease => "reserved before release",
            Self::RecordedBeforeRelease => "recorded before release",
            Self::BundleDecided => "a bundle decided",
            Self::TimeGoesForward => "time goes forward",
            Self::JournalSurvives => "the journal survives",
            Self::SumIsExact => "the sum is exact",
            Self::AcceptedWasAsked => "accepted was asked",
            Self::QuorumHolds => "the quorum holds",
            Self::RoundEnds => "a round ends",
            Self::ResumesToTheSame => "resumes to the same",
            Self::LocalIsDurable => "local values are durable",
            Self::HonestIsNotBlamed => "the honest are not blamed",
            Self::Bounded => "bounded",
            Self::SpentCoversLeft => "spent covers what left",
            Self::OneAnswer => "one answer",
            Self::NobodyOverdrawn => "nobody is overdrawn",
            Self::NoFaultOfItsOwn => "no fault of its own",
        })
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {what}")]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// How.
    pub what: String,
}

/// What a step of the world gives back.
pub type Step<T = ()> = Result<T, Violation>;

/// The promise is broken.
pub fn broken(property: Property, what: impl Into<String>) -> Violation {
    Violation {
        property,
        what: what.into(),
    }
}

/// Breaks the promise unless it holds.
///
/// # Errors
/// It does not.
pub fn must(holds: bool, property: Property, what: impl FnOnce() -> String) -> Step {
    match holds {
        true => Ok(()),
        false => Err(broken(property, what())),
    }
}
