//! What a project may know of its own budgets here.
//!
//! Nothing of it is computed from a record: what an ask costs is known before one is read. Told is what the project
//! itself spent, of the budget that a permit gives it, to a researcher whom that permit covers. Not told is what others
//! spent, nor how many patients have nothing left: that a data set's budget ends before a project's own shows in a
//! refusal.

use consilium_policies::Researcher;
use consilium_policies::bundle::Bundle;
use consilium_policies::entry::{BUDGET_TOLD, BudgetTold};
use consilium_privacy::Budget;
use consilium_protocol::message::{DatasetLeft, SiteBudget};
use consilium_protocol::{DatasetName, Digest, Millis, ProjectName, Refusal, RefusalCode};

use super::{Gate, NotReleased, bundle};
use crate::budget::standing;

/// Who asks about which project's budgets, by a text of this digest.
pub struct BudgetAsk {
    pub question: Digest,
    pub project: ProjectName,
    pub researcher: Researcher,
}

impl Gate {
    /// What a project has left of its budgets in these data sets. Journalled, whatever comes of it.
    ///
    /// # Errors
    /// No permit gives this researcher a budget for the project; or the journal cannot be appended to.
    pub fn tell_budget(
        &self,
        ask: &BudgetAsk,
        datasets: &[DatasetName],
        now: Millis,
    ) -> Result<SiteBudget, NotReleased> {
        let now = self.not_before_the_journal(now);
        let (in_force, told) = match self.policy.current(|news| self.hear(news, now)) {
            Ok(bundle) => (
                Some(bundle.digest()),
                self.told(&bundle, ask, datasets, now),
            ),
            Err(bundle::NotCurrent::Unusable(error)) => (None, Err(error.refusal())),
            Err(bundle::NotCurrent::NotRecorded(fault)) => return Err(fault.into()),
        };
        let entry = BudgetTold {
            question: ask.question,
            project: ask.project.clone(),
            researcher: ask.researcher.clone(),
            datasets: told
                .iter()
                .flat_map(|told| &told.datasets)
                .map(|left| left.dataset.clone())
                .collect(),
            bundle: in_force,
            refusal: told.as_ref().err().cloned(),
        };
        self.record(now, BUDGET_TOLD, &entry)?;
        told.map_err(NotReleased::Refused)
    }

    fn told(
        &self,
        bundle: &Bundle,
        ask: &BudgetAsk,
        datasets: &[DatasetName],
        now: Millis,
    ) -> Result<SiteBudget, Refusal> {
        let left = datasets.iter().filter_map(|dataset| {
            let budget = greatest_budget(bundle, ask, dataset, now)?;
            let account = self.books.open().project(dataset, &ask.project);
            let standing = standing(&account, Some(budget));
            Some(DatasetLeft {
                dataset: dataset.clone(),
                spent_epsilon: standing.spent_epsilon,
                budget_epsilon: budget.epsilon(),
                left_epsilon: standing.left_epsilon.unwrap_or(0.0),
                delta: budget.delta(),
            })
        });
        let datasets: Vec<DatasetLeft> = left.collect();
        match datasets.is_empty() {
            false => Ok(SiteBudget { datasets }),
            true => Err(Refusal::new(
                RefusalCode::NotPermitted,
                format!(
                    "no permit of this site gives you a budget for the project `{}`",
                    ask.project
                ),
                "ask the site's compliance officer for one",
            )),
        }
    }
}

/// The greatest budget of the permits that cover researcher, project and data set today.
fn greatest_budget(
    bundle: &Bundle,
    ask: &BudgetAsk,
    dataset: &DatasetName,
    now: Millis,
) -> Option<Budget> {
    let rules = bundle.rules().iter().filter(|rule| {
        rule.dataset.covers(dataset)
            && rule.projects.covers(&ask.project)
            && rule.researchers.covers(&ask.researcher.name)
            && !rule.until.is_over(now)
    });
    rules
        .filter_map(|rule| rule.budget)
        .max_by(|one, other| one.epsilon().total_cmp(&other.epsilon()))
}
