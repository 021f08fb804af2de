//! What one round is about, checked before it begins.

use std::collections::BTreeMap;

use consilium_protocol::limits::{PARTICIPANTS_MAX, RECORDS_MAX};
use consilium_protocol::run::RunSpec;
use consilium_protocol::strategy::Weighting;
use consilium_protocol::{RunId, SiteName};

/// What one round is about: which run, who takes part with how much weight, how many
/// must answer and how long it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTerms {
    pub(super) run_id: RunId,
    pub(super) round: u32,
    pub(super) participants: BTreeMap<SiteName, u64>,
    pub(super) weighting: Weighting,
    pub(super) quorum: usize,
    pub(super) deadline_ms: u64,
    pub(super) update_bytes: u64,
}

/// Why a round cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    #[error(
        "round {round} of run `{run_id}` needs updates from {quorum} sites, and {admitted} admitted the run; \
         lower `quorum` or ask the other sites' officers"
    )]
    QuorumOutOfReach {
        run_id: RunId,
        round: u32,
        quorum: usize,
        admitted: usize,
    },
    #[error(
        "run `{run_id}` has {participants} participants; at most {PARTICIPANTS_MAX} are allowed"
    )]
    TooManyParticipants { run_id: RunId, participants: usize },
    #[error("site `{site}` says that it has {records} records; at most {RECORDS_MAX} are allowed")]
    TooManyRecords { site: SiteName, records: u64 },
    #[error("no site of run `{run_id}` has any record to weigh its update with")]
    NoRecords { run_id: RunId },
}

impl RoundTerms {
    /// The terms of `round` (counted from 1) of a run, for the sites that it
    /// names and that admitted it, each with the records that it will train on.
    ///
    /// # Errors
    /// Fewer sites than the quorum, none with records, or a number beyond its limit.
    pub fn new(
        spec: &RunSpec,
        run_id: RunId,
        round: u32,
        participants: BTreeMap<SiteName, u64>,
    ) -> Result<Self, TermsError> {
        let terms = Self {
            run_id,
            round,
            participants,
            weighting: spec.document().strategy.weighting(),
            quorum: spec.quorum(),
            deadline_ms: spec.round_deadline_ms(),
            update_bytes: spec.bytes_on_the_wire(),
        };
        terms.check()?;
        Ok(terms)
    }

    pub(super) fn check(&self) -> Result<(), TermsError> {
        let admitted = self.participants.len();
        let run_id = || self.run_id.clone();
        if admitted > PARTICIPANTS_MAX {
            return Err(TermsError::TooManyParticipants {
                run_id: run_id(),
                participants: admitted,
            });
        }
        if admitted < self.quorum.max(1) {
            return Err(TermsError::QuorumOutOfReach {
                run_id: run_id(),
                round: self.round,
                quorum: self.quorum,
                admitted,
            });
        }
        let beyond = |&(_, &records): &(&SiteName, &u64)| records > RECORDS_MAX;
        if let Some((site, &records)) = self.participants.iter().find(beyond) {
            return Err(TermsError::TooManyRecords {
                site: site.clone(),
                records,
            });
        }
        if self.weighting == Weighting::Records && self.weight_of_all() == 0 {
            return Err(TermsError::NoRecords { run_id: run_id() });
        }
        Ok(())
    }

    /// What an update of a site with so many records weighs, a whole number so
    /// that weights add up exactly: at most 2⁴⁰ · 1024 = 2⁵⁰ together.
    pub(super) fn weight(&self, records: u64) -> u64 {
        match self.weighting {
            Weighting::Records => records,
            Weighting::Equal => 1,
        }
    }

    pub(super) fn weight_of_all(&self) -> u64 {
        self.participants
            .values()
            .map(|&records| self.weight(records))
            .sum()
    }

    /// Values of one update, all vectors on the wire together.
    pub(super) fn values(&self) -> usize {
        usize::try_from(self.update_bytes / size_of::<f32>() as u64).unwrap_or(usize::MAX)
    }
}
