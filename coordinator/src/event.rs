//! What the coordinator's journal records. Names and fields never change meaning.

use std::collections::{BTreeMap, BTreeSet};

use consilium_protocol::message::{Metrics, Missing, RunState};
use consilium_protocol::{
    DatasetName, Digest, MemberName, ProjectName, Purpose, Refusal, RefusalCode, Role, RunId,
    SiteName,
};
use serde::{Deserialize, Serialize};

use crate::round::{Contribution, MissingCause};

/// One entry of the coordinator's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    ConsortiumFounded {
        name: String,
        authority: Digest,
    },
    MemberInvited {
        role: Role,
        name: MemberName,
        /// SHA-256 of the token's secret.
        token: Digest,
        expires_at_ms: u64,
        by: MemberName,
    },
    MemberEnrolled {
        role: Role,
        name: MemberName,
        /// SHA-256 of the certificate.
        certificate: Digest,
        expires_at_ms: u64,
    },
    CertificateRenewed {
        role: Role,
        name: MemberName,
        certificate: Digest,
        expires_at_ms: u64,
    },
    MemberEvicted {
        role: Role,
        name: MemberName,
        reason: String,
        by: MemberName,
    },
    RunSubmitted {
        run_id: RunId,
        /// SHA-256 of researcher and idempotency token.
        token: Digest,
        researcher: MemberName,
        text: String,
        /// DER in hexadecimal.
        certificate: String,
        signature: String,
    },
    SiteAdmitted {
        run_id: RunId,
        site: SiteName,
        admission: Admission,
    },
    SiteRefused {
        run_id: RunId,
        site: SiteName,
        refusal: Refusal,
    },
    /// A site has not decided yet: a person there has to approve the run first. It is asked again until admission ends.
    SiteWaits {
        run_id: RunId,
        site: SiteName,
        refusal: Refusal,
    },
    /// Training begins with these sites and no others.
    RunStarted {
        run_id: RunId,
        sites: Vec<SiteName>,
        /// BLAKE3 of the first state's file.
        state: Digest,
        missing: BTreeMap<SiteName, String>,
    },
    RoundClosed {
        run_id: RunId,
        round: u32,
        /// BLAKE3 of the next state's file.
        state: Digest,
        sites: BTreeMap<SiteName, Contribution>,
        /// Who is missing from the round, and why.
        missing: BTreeMap<SiteName, MissingCause>,
        duration_ms: u64,
        /// How often the round's collection began anew.
        restarts: u32,
    },
    RunEvaluated {
        run_id: RunId,
        sites: BTreeMap<SiteName, Metrics>,
        missing: BTreeMap<SiteName, String>,
    },
    RunEnded {
        run_id: RunId,
        state: RunState,
        cause: String,
        /// SHA-256 of the finished model's file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Digest>,
    },
    RunResumed {
        run_id: RunId,
        by: MemberName,
    },
    /// A researcher asks sites a question, whose text the sites keep.
    QueryAsked {
        /// SHA-256 of its canonical text.
        query: Digest,
        researcher: MemberName,
        project: ProjectName,
        purpose: Purpose,
        dataset: DatasetName,
        statistic: String,
        sites: BTreeSet<SiteName>,
    },
    /// A researcher asks sites what a project has left of its budgets; they journal what they told.
    BudgetAsked {
        /// SHA-256 of exactly what she signed.
        question: Digest,
        researcher: MemberName,
        project: ProjectName,
        sites: BTreeSet<SiteName>,
    },
    /// What came of a query; no figure.
    QueryAnswered {
        query: Digest,
        researcher: MemberName,
        answered: BTreeSet<SiteName>,
        refused: BTreeMap<SiteName, RefusalCode>,
        missing: BTreeMap<SiteName, Missing>,
    },
}

/// What a site said when it admitted a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    pub records: u64,
    pub dataset_version: Digest,
    pub bundle: Digest,
}

impl Event {
    /// The entry's kind, as the journal files it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConsortiumFounded { .. } => "consortium-founded",
            Self::MemberInvited { .. } => "member-invited",
            Self::MemberEnrolled { .. } => "member-enrolled",
            Self::CertificateRenewed { .. } => "certificate-renewed",
            Self::MemberEvicted { .. } => "member-evicted",
            Self::RunSubmitted { .. } => "run-submitted",
            Self::SiteAdmitted { .. } => "site-admitted",
            Self::SiteRefused { .. } => "site-refused",
            Self::SiteWaits { .. } => "site-waits",
            Self::RunStarted { .. } => "run-started",
            Self::RoundClosed { .. } => "round-closed",
            Self::RunEvaluated { .. } => "run-evaluated",
            Self::RunEnded { .. } => "run-ended",
            Self::RunResumed { .. } => "run-resumed",
            Self::QueryAsked { .. } => "query-asked",
            Self::BudgetAsked { .. } => "budget-asked",
            Self::QueryAnswered { .. } => "query-answered",
        }
    }

    /// The run that the entry belongs to, if it belongs to one.
    #[must_use]
    pub fn run_id(&self) -> Option<&RunId> {
        match self {
            Self::ConsortiumFounded { .. }
            | Self::MemberInvited { .. }
            | Self::MemberEnrolled { .. }
            | Self::CertificateRenewed { .. }
            | Self::MemberEvicted { .. }
            | Self::QueryAsked { .. }
            | Self::BudgetAsked { .. }
            | Self::QueryAnswered { .. } => None,
            Self::RunSubmitted { run_id, .. }
            | Self::SiteAdmitted { run_id, .. }
            | Self::SiteRefused { run_id, .. }
            | Self::SiteWaits { run_id, .. }
            | Self::RunStarted { run_id, .. }
            | Self::RoundClosed { run_id, .. }
            | Self::RunEvaluated { run_id, .. }
            | Self::RunEnded { run_id, .. }
            | Self::RunResumed { run_id, .. } => Some(run_id),
        }
    }
}
