//! Who wants what, with which data, and what the site knows about it.

use std::collections::BTreeSet;

use consilium_privacy::{Account, Cost};
use consilium_protocol::query::Filter;
use consilium_protocol::{DatasetName, Digest, MemberName, ProjectName, Purpose, Role, RunId};
use serde::{Deserialize, Serialize};

use crate::bundle::Release;
use crate::terms::step_reached;

/// One request that would make something leave the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ask {
    /// The project that the run file or query names.
    pub project: ProjectName,
    /// Who signed it.
    pub researcher: Researcher,
    /// The purpose that it names.
    pub purpose: Purpose,
    /// The data set that it names.
    pub dataset: DatasetName,
    /// The run, as the coordinator calls it; a query has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// SHA-256 of exactly what the researcher signed: the run file, or the query.
    pub run_digest: Digest,
    /// What is to be done now.
    pub action: Action,
}

/// A person, as a certificate names them; never as a message body does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Researcher {
    /// The certificate's name.
    pub name: MemberName,
    /// The certificate's role.
    pub role: Role,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Say whether this site takes part, with how many records of which version.
    Admit {
        /// Rounds of the run.
        rounds: u32,
    },
    /// Train one round and send the update.
    Train {
        /// Which.
        round: u32,
        /// Of how many.
        rounds: u32,
    },
    /// Send how the final model does on the rows held out here.
    Evaluate,
    /// Answer one statistical question.
    Statistic {
        /// Of which kind.
        statistic: StatisticKind,
        /// With noise, and so at a cost; without it, exact above the floor.
        noisy: bool,
    },
    /// Answer one search.
    Search {
        /// How much of a hit is told: 0, a noisy count, to 4, the text. See [`Release::search`].
        level: u8,
    },
}

/// The kinds of statistical questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatisticKind {
    /// How many patients.
    Count,
    /// How many patients in each bin or level.
    Histogram,
    /// The mean of a column.
    Mean,
    /// A quantile of a column.
    Quantile,
    /// The most frequent levels of a column.
    Top,
    /// A sketch from which distinct patients over several sites are counted.
    Distinct,
}

/// What a permit allows, in an officer's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// All steps of training: admission, rounds, evaluation.
    Train,
    /// Statistical questions.
    Statistics,
    /// Searches.
    Search,
}

/// What the site knows about an ask, and no ask may claim.
///
/// A decision depends on nothing of the site but this, so that it can be made again from the journal. Some of it is
/// not kept as it is: `spent` follows from the entries before, and of the cohort only the step that it reached is
/// written down, for the journal is read by people who may not know how many patients fit a filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Facts {
    /// Records that the ask would use; `None` where the site has no such data set.
    pub dataset_records: Option<u64>,
    /// Parameters of the model that would be trained; 0 where none is.
    pub parameters: u64,
    /// The update that would leave has noise added here, and so has a cost.
    pub noisy_update: bool,
    /// Patients of the data set, where its declaration says which column tells them apart.
    pub dataset_patients: Option<u64>,
    /// Patients that the ask touches, where that is known before the work: of a question, those after its filter.
    pub cohort_patients: Option<u64>,
    /// Patients that its filter leaves out; where it is not said, the rest of the data set.
    pub complement_patients: Option<u64>,
    /// What the ask's filter is about.
    pub filter: FilterFacts,
    /// What the ask would cost each patient at most.
    pub cost: Cost,
    /// What was spent before.
    pub spent: Spent,
}

/// [`Facts`] as the journal keeps them: fields are only ever added.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    dataset_records: Option<u64>,
    parameters: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    noisy_update: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset_patients: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cohort_step: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complement_step: Option<u64>,
    #[serde(default, skip_serializing_if = "FilterFacts::is_none")]
    filter: FilterFacts,
    #[serde(default, skip_serializing_if = "Cost::is_none")]
    cost: Cost,
}

/// What a filter is about, without what it compares with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FilterFacts {
    /// Columns of the data set or collection that it names; those that are not there say nothing.
    pub columns: BTreeSet<String>,
    /// How many conditions it joins.
    pub conditions: u16,
}

impl FilterFacts {
    /// Of a filter over what has such columns.
    #[must_use]
    pub fn of(filter: Option<&Filter>, has_column: impl Fn(&str) -> bool) -> Self {
        let conditions = filter.map(Filter::conditions).unwrap_or_default();
        let known = conditions.iter().filter(|column| has_column(column));
        Self {
            columns: known.map(ToString::to_string).collect(),
            conditions: u16::try_from(conditions.len()).unwrap_or(u16::MAX),
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Facts> for Written {
    fn from(facts: Facts) -> Self {
        Self {
            cohort_step: facts.cohort_patients.map(step_reached),
            complement_step: facts.complement().map(step_reached),
            dataset_records: facts.dataset_records,
            parameters: facts.parameters,
            noisy_update: facts.noisy_update,
            dataset_patients: facts.dataset_patients,
            filter: facts.filter,
            cost: facts.cost,
        }
    }
}

impl From<Written> for Facts {
    fn from(written: Written) -> Self {
        Self {
            dataset_records: written.dataset_records,
            parameters: written.parameters,
            noisy_update: written.noisy_update,
            dataset_patients: written.dataset_patients,
            cohort_patients: written.cohort_step,
            complement_patients: written.complement_step,
            filter: written.filter,
            cost: written.cost,
            spent: Spent::default(),
        }
    }
}

impl Facts {
    /// Patients that the ask's filter leaves out, where they can be known.
    #[must_use]
    pub fn complement(&self) -> Option<u64> {
        let rest = || Some(self.dataset_patients?.saturating_sub(self.cohort_patients?));
        self.complement_patients.or_else(rest)
    }
}

/// What was spent on one data set before an ask.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spent {
    /// By the ask's project.
    pub project: Account,
    /// By all projects together.
    pub dataset: Account,
}

impl Action {
    /// The word by which a permit allows it.
    #[must_use]
    pub fn activity(self) -> Activity {
        match self {
            Self::Admit { .. } | Self::Train { .. } | Self::Evaluate => Activity::Train,
            Self::Statistic { .. } => Activity::Statistics,
            Self::Search { .. } => Activity::Search,
        }
    }

    /// Rounds that this ask amounts to. A round beyond the last counts, whatever `rounds` says.
    #[must_use]
    pub fn rounds(self) -> u32 {
        match self {
            Self::Admit { rounds } => rounds,
            Self::Train { round, rounds } => rounds.max(round),
            Self::Evaluate | Self::Statistic { .. } | Self::Search { .. } => 0,
        }
    }

    /// What a permit must release for it; `None` for a search of a level that there is not.
    #[must_use]
    pub fn needs(self, facts: &Facts) -> Option<Release> {
        Some(match self {
            Self::Admit { .. } | Self::Train { .. } if facts.noisy_update => Release::NoisyUpdate,
            Self::Admit { .. } | Self::Train { .. } => Release::Update,
            Self::Evaluate => Release::Metrics,
            Self::Statistic {
                statistic: StatisticKind::Distinct,
                ..
            } => Release::DistinctSketch,
            Self::Statistic { noisy: true, .. } => Release::NoisyStatistics,
            Self::Statistic { noisy: false, .. } => Release::ExactStatistics,
            Self::Search { level } => Release::search(level)?,
        })
    }
}

impl StatisticKind {
    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Histogram => "histogram",
            Self::Mean => "mean",
            Self::Quantile => "quantile",
            Self::Top => "top",
            Self::Distinct => "distinct",
        }
    }
}

impl Activity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Statistics, Self::Search];

    /// The word as an officer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Statistics => "statistics",
            Self::Search => "search",
        }
    }
}
