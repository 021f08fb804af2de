//! `consilium budget`: what a project has left, asked of the sites; what was spent, read from a journal; and what
//! something would cost, before it is asked.

mod left;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use consilium_policies::entry::{PASS_RESERVED, PassReserved};
use consilium_privacy::ledger::{Ledger, quote};
use consilium_privacy::{Account, Budget};
use consilium_protocol::{DatasetName, ProjectName, SiteName};
use serde_json::{Value, json};

use crate::arguments::duration;
use crate::ending::{CliError, NoAnswer};
use crate::home::Home;
use crate::output::Answer;

/// The δ at which ε is told where nothing is said.
const DELTA_UNLESS_TYPED: f64 = 1e-6;

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// What a project has left of its budgets, as the sites tell its researchers; or, offline, what was spent at one
    /// site by its journal.
    #[command(
        after_help = "Examples:\n  consilium budget show --project cardiology\n  \
        consilium budget show --project cardiology --site cleveland,va\n  \
        consilium budget show /srv/node --delta 1e-6"
    )]
    Show {
        /// Offline: a journal's folder, or a node's folder that contains one.
        #[arg(required_unless_present = "project", conflicts_with_all = ["project", "sites", "timeout"])]
        folder: Option<PathBuf>,
        /// The δ at which ε is told of a journal [default: 1e-6]; sites tell it at that of their budgets.
        #[arg(long, value_parser = probability, conflicts_with = "project")]
        delta: Option<f64>,
        /// The project, as the sites' policies name it.
        #[arg(long)]
        project: Option<ProjectName>,
        /// Only these sites [default: all].
        #[arg(long = "site", value_name = "SITES", value_delimiter = ',')]
        sites: Vec<SiteName>,
        /// Sites that have not answered by then are missing from the answer.
        #[arg(long, default_value = "30s", value_parser = duration)]
        timeout: Duration,
    },
    /// What something would cost, and whether a site is large enough for it to be of use.
    #[command(
        subcommand,
        after_help = "Example:\n  consilium budget quote count --patients 30 --epsilon 1"
    )]
    Quote(QuoteCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuoteCommand {
    /// A noisy count.
    #[command(
        after_help = "Example:\n  consilium budget quote count --patients 303 --epsilon 0.5 --budget 3"
    )]
    Count {
        /// Patients that it is about, at one site.
        #[arg(long)]
        patients: u64,
        /// What one answer may cost each of them.
        #[arg(long, value_parser = epsilon)]
        epsilon: f64,
        #[command(flatten)]
        within: Within,
    },
    /// Training with noise.
    #[command(after_help = "Example:\n  \
        consilium budget quote training --patients 303 --batch 32 --steps 10 --rounds 15 --parameters 14 --budget 3")]
    Training {
        /// Patients of one site.
        #[arg(long)]
        patients: u64,
        /// Records in a batch.
        #[arg(long)]
        batch: u64,
        /// Local steps of a round.
        #[arg(long)]
        steps: u64,
        #[arg(long)]
        rounds: u32,
        /// Parameters of the model.
        #[arg(long)]
        parameters: u64,
        #[command(flatten)]
        within: Within,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Within {
    /// ε of the budget.
    #[arg(long, default_value_t = 3.0, value_parser = epsilon)]
    budget: f64,
    /// δ of the budget.
    #[arg(long, default_value_t = 1e-6, value_parser = probability)]
    delta: f64,
}

/// Does what was typed. Only what a project has left is asked of others, and needs a member's home.
pub(crate) async fn carry_out(
    command: BudgetCommand,
    home: impl FnOnce() -> Result<Home, CliError>,
) -> Result<Answer, NoAnswer> {
    match command {
        BudgetCommand::Show {
            project: Some(project),
            sites,
            timeout,
            ..
        } => left::ask(&home()?, project, sites, timeout).await,
        BudgetCommand::Show {
            folder: Some(folder),
            delta,
            ..
        } => show(&folder, delta.unwrap_or(DELTA_UNLESS_TYPED)),
        // clap asks for one of the two.
        BudgetCommand::Show { .. } => Err(wrong("name a --project, or a journal's folder")),
        BudgetCommand::Quote(QuoteCommand::Count {
            patients,
            epsilon,
            within,
        }) => quote_count(patients, epsilon, &within),
        BudgetCommand::Quote(QuoteCommand::Training {
            patients,
            batch,
            steps,
            rounds,
            parameters,
            within,
        }) => {
            let budget = within.budget()?;
            let quoted = quote::training(&budget, patients, batch, steps, rounds, parameters);
            let quoted = quoted.map_err(wrong)?;
            let verdict = match quoted.is_useful() {
                true => "the site is large enough".to_owned(),
                false => format!(
                    "the site is too small: {patients} patients, and about {} are needed",
                    quoted.patients_needed
                ),
            };
            Ok(Answer {
                data: json!({
                    "sigma": quoted.sigma, "noise": quoted.noise, "useful": quoted.is_useful(),
                    "patients_needed": quoted.patients_needed,
                }),
                text: format!(
                    "ε = {} at δ = {:e} over {rounds} rounds of {steps} steps needs noise of {:.2} times the clip;\n\
                     on the mean of a batch the noise is {:.2} times as long as the longest step\n{verdict}\n",
                    budget.epsilon(),
                    budget.delta(),
                    quoted.sigma,
                    quoted.noise,
                ),
            })
        }
    }
}

fn quote_count(patients: u64, epsilon: f64, within: &Within) -> Result<Answer, NoAnswer> {
    let budget = within.budget()?;
    let quoted = quote::count(epsilon, patients, &budget).map_err(wrong)?;
    let verdict = match quoted.is_useful() {
        true => "the site is large enough".to_owned(),
        false => format!(
            "the site is too small for it: {} patients or more are needed, or a larger ε",
            quoted.patients_needed
        ),
    };
    let answers = match quoted.answers {
        quote::ANSWERS_MAX => format!("more than {}", quote::ANSWERS_MAX),
        fewer => fewer.to_string(),
    };
    Ok(Answer {
        data: json!({
            "epsilon": epsilon, "error": quoted.error, "share": quoted.share, "useful": quoted.is_useful(),
            "patients_needed": quoted.patients_needed, "answers_within_budget": quoted.answers,
        }),
        text: format!(
            "a count of {patients} patients at ε = {epsilon} is within {} of the truth 19 times of 20: {:.1} % of them\n\
             {verdict}\n\
             {answers} such answers fit a budget of ε = {} at δ = {:e}\n",
            quoted.error,
            100.0 * quoted.share,
            budget.epsilon(),
            budget.delta(),
        ),
    })
}

/// What the journal says was reserved; whatever became of it, it is spent.
fn show(folder: &Path, delta: f64) -> Result<Answer, NoAnswer> {
    let within = folder.join("journal");
    let folder = if within.is_dir() { &within } else { folder };
    let mut ledgers: BTreeMap<DatasetName, Ledger> = BTreeMap::new();
    for entry in consilium_journal::read(folder)? {
        let entry = entry?;
        if entry.kind != PASS_RESERVED {
            continue;
        }
        let PassReserved { ask, facts, .. } = entry.parse()?;
        let ledger = ledgers.entry(ask.dataset).or_default();
        ledger.reserve(ask.project.as_str(), &facts.cost);
    }
    let mut text = String::new();
    let mut data = Vec::new();
    for (dataset, ledger) in &ledgers {
        text += &line(dataset, "all projects", ledger.dataset(), delta);
        let projects: Vec<Value> = ledger
            .projects()
            .map(|(project, account)| {
                text += &line(dataset, project, account, delta);
                json!({ "project": project, "spent_epsilon": spent(account, delta) })
            })
            .collect();
        data.push(json!({
            "dataset": dataset, "delta": delta, "spent_epsilon": spent(ledger.dataset(), delta),
            "reservations": ledger.reservations(), "projects": projects,
        }));
    }
    if text.is_empty() {
        text = "nothing was spent\n".to_owned();
    }
    Ok(Answer {
        data: json!({ "datasets": data }),
        text,
    })
}

fn line(dataset: &DatasetName, whose: &str, account: &Account, delta: f64) -> String {
    let epsilon = spent(account, delta);
    format!("{dataset}, {whose}: ε {epsilon:.3} spent at δ {delta:e}\n")
}

fn spent(account: &Account, delta: f64) -> f64 {
    match account.is_empty() {
        true => 0.0,
        false => account.epsilon(delta),
    }
}

impl Within {
    fn budget(&self) -> Result<Budget, NoAnswer> {
        Budget::new(self.budget, self.delta).map_err(wrong)
    }
}

fn wrong(error: impl std::fmt::Display) -> NoAnswer {
    CliError::Figures {
        message: error.to_string(),
    }
    .into()
}

fn epsilon(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match value > 0.0 && value <= 1000.0 {
        true => Ok(value),
        false => Err("an ε is above 0 and at most 1000".to_owned()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match value > 0.0 && value < 1.0 {
        true => Ok(value),
        false => Err("a δ lies between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use consilium_policies::{Action, Ask, Facts, Researcher, StatisticKind};
    use consilium_privacy::Cost;
    use consilium_protocol::{Digest, Role};

    use super::*;

    #[test]
    fn a_small_site_is_told_so_with_the_number() {
        let within = Within {
            budget: 3.0,
            delta: 1e-6,
        };
        let answer = quote_count(30, 1.0, &within).unwrap_or_else(|_| panic!("no answer"));
        assert_eq!(
            answer.text,
            "a count of 30 patients at ε = 1 is within 3 of the truth 19 times of 20: 10.0 % of them\n\
             the site is too small for it: 60 patients or more are needed, or a larger ε\n\
             3 such answers fit a budget of ε = 3 at δ = 1e-6\n"
        );
        assert_eq!(answer.data["useful"], false);
    }

    #[test]
    fn what_a_journal_says_is_spent() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let limits = consilium_journal::Limits::default();
        let (open, _) = consilium_journal::Journal::open(&journal, limits).unwrap();
        let digest = Digest::of(b"anything");
        let reserved = PassReserved {
            ask: Ask {
                project: "cardiology".parse().unwrap(),
                researcher: Researcher {
                    name: "ada".parse().unwrap(),
                    role: Role::Researcher,
                },
                purpose: "HMB".parse().unwrap(),
                dataset: "heart-disease".parse().unwrap(),
                run: None,
                run_digest: digest,
                action: Action::Statistic {
                    statistic: StatisticKind::Count,
                    noisy: true,
                },
            },
            facts: Facts {
                cost: Cost::pure(0.5).unwrap(),
                ..Facts::default()
            },
            rules: Vec::new(),
            bundle: digest,
            request: None,
            vault: None,
            approved_by: None,
        };
        open.append_json(1, PASS_RESERVED, &reserved).unwrap();
        open.append_json(2, PASS_RESERVED, &reserved).unwrap();
        let answer = show(folder.path(), 1e-6).unwrap_or_else(|_| panic!("no answer"));
        assert_eq!(
            answer.text,
            "heart-disease, all projects: ε 1.000 spent at δ 1e-6\n\
             heart-disease, cardiology: ε 1.000 spent at δ 1e-6\n"
        );
    }
}
