//! Planted faults: ways to be wrong that the simulator must find.

use consilium_coordinator::planted::{self as in_coordinator, Planted as InCoordinator};
use consilium_node::planted::{self as in_node, Planted as InNode};

use super::disk::DiskLie;

/// One planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// In the coordinator's round.
    Round(InCoordinator),
    /// In the node's participant.
    Participant(InNode),
    /// Under a node's journal.
    NodeDisk(DiskLie),
    /// Under a node's vault.
    VaultDisk(DiskLie),
    /// Under the coordinator's journal.
    CoordinatorDisk(DiskLie),
    /// In a shell, as the simulator mirrors it.
    Shell(ShellFault),
}

/// How a shell can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellFault {
    /// The coordinator sets no timer for a round's deadline.
    ForgetDeadline,
    /// `round-closed` is journalled before the next state is written.
    CloseBeforeState,
    /// After a restart the last closed round is collected again.
    ResumeFromTheRoundBefore,
    /// A node sends its update before its local values are written.
    SendBeforePersist,
    /// A node keeps an update in memory, to be sent, whose local values could not be written.
    KeepUnpersisted,
    /// A node trains on a state without comparing its hash.
    TrustState,
    /// A node forgets at a restart what it admitted.
    ForgetAdmission,
    /// A node opens its local values one round off after a restart.
    MisfileLocalValues,
    /// The coordinator forgets, at a restart, which sites it had settled on.
    ReadmitAfterStart,
    /// A node names no patients with a question, and looks at them.
    ForgetPatients,
    /// A node looks at patients whose budget is spent.
    LookAtEverybody,
    /// A node says half of what an answer costs.
    PriceHalf,
    /// A node takes the same question for another one each time.
    AskAnew,
    /// A node begins a new vault at a restart.
    LoseTheVault,
}

impl Mutation {
    /// All of them, with what they are called in reports.
    #[must_use]
    pub fn all() -> Vec<(&'static str, Self)> {
        use InCoordinator as C;
        let in_rounds = [
            ("fold a chunk twice", C::FoldTwice),
            ("accept an update of a stale round", C::AcceptStaleRound),
            ("count the weight of lost sites", C::CountLostWeight),
            ("keep a partial contribution", C::KeepPartial),
            (
                "restart a collection without clearing",
                C::RestartWithoutClearing,
            ),
            (
                "ignore the update's digest on resume",
                C::IgnoreDigestOnResume,
            ),
            ("ignore the update's hash", C::IgnoreUpdateHash),
            ("close below the quorum", C::IgnoreQuorum),
            ("hear what comes on a void ask's stream", C::HearVoidAsks),
            (
                "believe the weight that an update claims",
                C::BelieveRecords,
            ),
        ];
        let in_participants = [
            (
                "train from the newest local values",
                InNode::NewestLocalValues,
            ),
            (
                "send the kept update for any state",
                InNode::KeepForAnyState,
            ),
            ("keep local values of one round only", InNode::KeepOneRound),
            (
                "build on values that could not be persisted",
                InNode::BuildOnUnpersisted,
            ),
        ];
        let under_journals = [
            (
                "skip the fsync before release",
                Self::NodeDisk(DiskLie::SkipSync),
            ),
            (
                "settle before reserving",
                Self::NodeDisk(DiskLie::SyncReservationLate),
            ),
            (
                "release after a failed journal",
                Self::NodeDisk(DiskLie::SwallowErrors),
            ),
            (
                "skip the fsync of a charge",
                Self::VaultDisk(DiskLie::SkipSync),
            ),
            (
                "charge patients after the reservation",
                Self::VaultDisk(DiskLie::SyncReservationLate),
            ),
            (
                "go on after a failed charge",
                Self::VaultDisk(DiskLie::SwallowErrors),
            ),
            (
                "skip the coordinator's fsync",
                Self::CoordinatorDisk(DiskLie::SkipSync),
            ),
            (
                "go on after a failed entry",
                Self::CoordinatorDisk(DiskLie::SwallowErrors),
            ),
        ];
        let in_shells = [
            ("forget the deadline's timer", ShellFault::ForgetDeadline),
            (
                "journal round-closed before the state",
                ShellFault::CloseBeforeState,
            ),
            (
                "resume from the wrong round",
                ShellFault::ResumeFromTheRoundBefore,
            ),
            (
                "send before local values are durable",
                ShellFault::SendBeforePersist,
            ),
            (
                "send what could not be persisted",
                ShellFault::KeepUnpersisted,
            ),
            ("train on an unproven state", ShellFault::TrustState),
            (
                "forget admissions at a restart",
                ShellFault::ForgetAdmission,
            ),
            (
                "reuse local values of the wrong round",
                ShellFault::MisfileLocalValues,
            ),
            (
                "settle the sites anew after a restart",
                ShellFault::ReadmitAfterStart,
            ),
            ("forget the patient's charge", ShellFault::ForgetPatients),
            ("look at who is overdrawn", ShellFault::LookAtEverybody),
            ("charge half of the cost", ShellFault::PriceHalf),
            ("draw a second sample", ShellFault::AskAnew),
            ("begin a new vault at a restart", ShellFault::LoseTheVault),
        ];
        let mut all: Vec<(&'static str, Self)> = Vec::new();
        all.extend(in_rounds.map(|(name, fault)| (name, Self::Round(fault))));
        all.extend(in_participants.map(|(name, fault)| (name, Self::Participant(fault))));
        all.extend(under_journals);
        all.extend(in_shells.map(|(name, fault)| (name, Self::Shell(fault))));
        all
    }
}

/// Plants a fault in this thread's cores for as long as it lives.
pub(super) struct PlantedHere;

impl PlantedHere {
    pub(super) fn new(mutation: Option<Mutation>) -> Self {
        match mutation {
            Some(Mutation::Round(fault)) => in_coordinator::plant(Some(fault)),
            Some(Mutation::Participant(fault)) => in_node::plant(Some(fault)),
            _ => {}
        }
        Self
    }
}

impl Drop for PlantedHere {
    fn drop(&mut self) {
        in_coordinator::plant(None);
        in_node::plant(None);
    }
}
