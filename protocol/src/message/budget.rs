//! What a project spent and has left, at one site and at all that were asked.

use serde::{Deserialize, Serialize};

use super::query::{MissingSite, RefusedBy};
use super::{MessageError, Missing, parse};
use crate::ids::{DatasetName, SiteName};
use crate::limits::{DATASETS_MAX, PARTICIPANTS_MAX};
use crate::refusal::Refusal;
use crate::wire;

/// What a project may know of its budgets at one site: its own, in each data set where a permit gives it one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteBudget {
    pub datasets: Vec<DatasetLeft>,
}

/// A project's budget in one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetLeft {
    pub dataset: DatasetName,
    /// ε, at `delta`; so are the two below.
    pub spent_epsilon: f64,
    pub budget_epsilon: f64,
    /// Before the data set's own budget, which all projects share and which may end first.
    pub left_epsilon: f64,
    pub delta: f64,
}

/// What the sites say, and who says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BudgetsLeft {
    pub answered: Vec<(SiteName, SiteBudget)>,
    pub refused: Vec<(SiteName, Refusal)>,
    pub missing: Vec<(SiteName, Missing)>,
}

impl From<SiteBudget> for wire::SiteBudget {
    fn from(budget: SiteBudget) -> Self {
        let datasets = budget.datasets.into_iter().map(Into::into);
        Self {
            datasets: datasets.collect(),
        }
    }
}

impl TryFrom<wire::SiteBudget> for SiteBudget {
    type Error = MessageError;

    fn try_from(wire: wire::SiteBudget) -> Result<Self, MessageError> {
        Ok(Self {
            datasets: parse::list("datasets", wire.datasets, DATASETS_MAX)?,
        })
    }
}

impl From<DatasetLeft> for wire::DatasetLeft {
    fn from(left: DatasetLeft) -> Self {
        Self {
            dataset: left.dataset.to_string(),
            spent_epsilon: left.spent_epsilon,
            budget_epsilon: left.budget_epsilon,
            left_epsilon: left.left_epsilon,
            delta: left.delta,
        }
    }
}

impl TryFrom<wire::DatasetLeft> for DatasetLeft {
    type Error = MessageError;

    fn try_from(wire: wire::DatasetLeft) -> Result<Self, MessageError> {
        Ok(Self {
            dataset: parse::id("dataset", &wire.dataset)?,
            spent_epsilon: parse::finite("spent_epsilon", wire.spent_epsilon)?,
            budget_epsilon: parse::finite("budget_epsilon", wire.budget_epsilon)?,
            left_epsilon: parse::finite("left_epsilon", wire.left_epsilon)?,
            delta: parse::fraction("delta", wire.delta)?,
        })
    }
}

impl From<BudgetsLeft> for wire::BudgetsLeft {
    fn from(left: BudgetsLeft) -> Self {
        let at = |(site, budget): (SiteName, SiteBudget)| wire::BudgetAt {
            site: site.to_string(),
            budget: Some(budget.into()),
        };
        Self {
            answered: left.answered.into_iter().map(at).collect(),
            refused: left.refused.into_iter().map(Into::into).collect(),
            missing: left.missing.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::BudgetsLeft> for BudgetsLeft {
    type Error = MessageError;

    fn try_from(wire: wire::BudgetsLeft) -> Result<Self, MessageError> {
        parse::at_most(
            "answered",
            wire.answered.len() as u64,
            PARTICIPANTS_MAX as u64,
        )?;
        let at = |at: wire::BudgetAt| {
            let budget = parse::present("budget", at.budget)?.try_into()?;
            Ok((parse::id("site", &at.site)?, budget))
        };
        let refused = parse::list("refused", wire.refused, PARTICIPANTS_MAX)?;
        let missing = parse::list("missing", wire.missing, PARTICIPANTS_MAX)?;
        Ok(Self {
            answered: wire
                .answered
                .into_iter()
                .map(at)
                .collect::<Result<_, MessageError>>()?,
            refused: refused.into_iter().map(|RefusedBy(one)| one).collect(),
            missing: missing.into_iter().map(|MissingSite(one)| one).collect(),
        })
    }
}
