//! What an officer prints: per project and purpose, what left, to whom, under which bundle, what it cost, what was
//! refused.

mod drawing;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use consilium_journal::{Verified, verify_heads};
use consilium_policies::entry::BundleInstalled;
use consilium_privacy::Account;
use serde_json::json;

use super::evidence::{Evidence, Keys, Trust};
use super::passes::{Outcome, Pass, Told, passes, words};
use super::{cosigned, journal_of, write_new};
use crate::ending::{CliError, NoAnswer};
use crate::moment;
use crate::output::Answer;

/// Points of one drawn line; beyond them every second is left out.
const POINTS_MAX: usize = 1000;

/// What a report is made from.
#[derive(Debug, Default)]
struct Report {
    /// One line a project, purpose and data set.
    groups: BTreeMap<Group, Totals>,
    /// What left, and how often.
    left: BTreeMap<Left, Count>,
    /// What was refused, and how often.
    refused: BTreeMap<Refused, Count>,
    bundles: Vec<(u64, BundleInstalled)>,
    /// What was spent on a data set by everybody, over time.
    spent: BTreeMap<String, Line>,
    first_ms: Option<u64>,
    last_ms: u64,
}

/// Who works with what, for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    project: String,
    purpose: String,
    dataset: String,
}

#[derive(Debug, Default)]
struct Totals {
    researchers: BTreeSet<String>,
    outcomes: BTreeMap<Outcome, u64>,
    account: Account,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    group: Group,
    researcher: String,
    what: String,
    bundle: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Refused {
    group: Group,
    researcher: String,
    what: String,
    code: String,
}

#[derive(Debug, Default)]
struct Count {
    times: u64,
    first_ms: u64,
    last_ms: u64,
    account: Account,
    /// Of the last, for people.
    reason: String,
}

/// What one data set has cost, over time.
#[derive(Debug, Default)]
struct Line {
    account: Account,
    points: Vec<(u64, f64)>,
    seen: usize,
    stride: usize,
}

/// The journal that the report is of, as far as it was checked.
struct Source {
    journal: PathBuf,
    verified: Verified,
    witnessed: String,
}

/// Writes the report of the journal in `folder`: a page, and with `csv` its tables.
pub(crate) fn report(
    folder: &Path,
    to: &Path,
    csv: Option<&Path>,
    delta: f64,
    trust: &Trust,
) -> Result<Answer, NoAnswer> {
    let journal = journal_of(folder);
    let keys = Keys::gather(trust, folder, &journal)?;
    let evidence = Evidence::gather(trust, &journal, &keys)?;
    let (verified, _) = verify_heads(&journal, &evidence.heads)?;
    let report = Report::read(&journal, delta)?;
    let witnessed = match evidence.best() {
        Some(best) => format!(
            "The journal continues the checkpoint of {} entries, {}.",
            best.checkpoint.head().size,
            cosigned(best).trim_end().replace('\n', ", ")
        ),
        None => "No checkpoint was there to compare it with: whether its end was cut off cannot be shown.".to_owned(),
    };
    let source = Source {
        journal,
        verified,
        witnessed,
    };
    write_new(to, page::html(&report, &source, delta).as_bytes())?;
    if let Some(csv) = csv {
        write_new(csv, report.csv(delta).as_bytes())?;
    }
    let totals = report.outcomes();
    let counted: Vec<String> = totals
        .iter()
        .map(|(outcome, times)| format!("{times} {}", outcome.as_str()))
        .collect();
    let csv_line = csv.map_or(String::new(), |csv| {
        format!("its tables: {}\n", csv.display())
    });
    Ok(Answer {
        data: json!({
            "report": to,
            "csv": csv,
            "entries": source.verified.entries,
            "outcomes": totals.iter().map(|(outcome, times)| (outcome.as_str(), times)).collect::<BTreeMap<_, _>>(),
        }),
        text: format!(
            "`{}` tells of {} entries: {}\n{csv_line}",
            to.display(),
            source.verified.entries,
            counted.join(", ")
        ),
    })
}

impl Report {
    fn read(journal: &Path, delta: f64) -> Result<Self, CliError> {
        let mut report = Self::default();
        passes(journal, |told| report.take(told, delta))?;
        Ok(report)
    }

    fn take(&mut self, told: Told, delta: f64) {
        match told {
            Told::Installed { at_ms, bundle } => self.bundles.push((at_ms, bundle)),
            Told::Spent { at_ms, ask, cost } => {
                let dataset = ask.dataset.to_string();
                let totals = self.groups.entry(Group::of(&ask)).or_default();
                totals.account.add(&cost);
                let line = self.spent.entry(dataset).or_default();
                line.account.add(&cost);
                line.point(at_ms, delta);
            }
            Told::Ended(pass) => self.ended(&pass),
        }
    }

    fn ended(&mut self, pass: &Pass) {
        let group = Group::of(&pass.ask);
        let researcher = pass.ask.researcher.name.to_string();
        let totals = self.groups.entry(group.clone()).or_default();
        totals.researchers.insert(researcher.clone());
        *totals.outcomes.entry(pass.outcome).or_default() += 1;
        self.first_ms.get_or_insert(pass.at_ms);
        self.last_ms = self.last_ms.max(pass.at_ms);
        let what = words(pass.ask.action);
        let count = match (&pass.receipt, &pass.refusal) {
            (Some(_), _) => {
                let bundle = pass.bundle.map(|digest| digest.short(12));
                let left = Left {
                    group,
                    researcher,
                    what,
                    bundle: bundle.unwrap_or_default(),
                };
                self.left.entry(left).or_default()
            }
            (None, Some(refusal)) => {
                let refused = Refused {
                    group,
                    researcher,
                    what,
                    code: refusal.code.to_string(),
                };
                let count = self.refused.entry(refused).or_default();
                count.reason.clone_from(&refusal.reason);
                count
            }
            (None, None) => return,
        };
        if count.times == 0 {
            count.first_ms = pass.at_ms;
        }
        count.times += 1;
        count.last_ms = pass.at_ms;
        count.account.add(&pass.cost);
    }

    fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        let mut all = BTreeMap::new();
        for totals in self.groups.values() {
            for (outcome, times) in &totals.outcomes {
                *all.entry(*outcome).or_default() += times;
            }
        }
        all
    }

    /// One table of everything, for a spreadsheet.
    fn csv(&self, delta: f64) -> String {
        let mut text = String::from(
            "outcome,project,purpose,dataset,researcher,what,bundle,code,times,first,last,epsilon,delta\n",
        );
        let mut row = |cells: &[&str]| {
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        };
        let delta_text = delta.to_string();
        for (left, count) in &self.left {
            let Group {
                project,
                purpose,
                dataset,
            } = &left.group;
            row(&[
                "left",
                project,
                purpose,
                dataset,
                &left.researcher,
                &left.what,
                &left.bundle,
                "",
                &count.times.to_string(),
                &moment::utc(count.first_ms),
                &moment::utc(count.last_ms),
                &epsilon(&count.account, delta),
                &delta_text,
            ]);
        }
        for (refused, count) in &self.refused {
            let Group {
                project,
                purpose,
                dataset,
            } = &refused.group;
            row(&[
                "refused",
                project,
                purpose,
                dataset,
                &refused.researcher,
                &refused.what,
                "",
                &refused.code,
                &count.times.to_string(),
                &moment::utc(count.first_ms),
                &moment::utc(count.last_ms),
                &epsilon(&count.account, delta),
                &delta_text,
            ]);
        }
        text
    }
}

impl Group {
    fn of(ask: &consilium_policies::Ask) -> Self {
        Self {
            project: ask.project.to_string(),
            purpose: ask.purpose.to_string(),
            dataset: ask.dataset.to_string(),
        }
    }
}

impl Line {
    fn point(&mut self, at_ms: u64, delta: f64) {
        let stride = self.stride.max(1);
        if self.seen.is_multiple_of(stride) {
            self.points.push((at_ms, self.account.epsilon(delta)));
        }
        self.seen += 1;
        if self.points.len() >= POINTS_MAX {
            let mut nth = 0;
            self.points.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride = stride * 2;
        }
    }

    /// With where it stands now as the last.
    fn drawn(&self, delta: f64) -> Vec<(u64, f64)> {
        let mut points = self.points.clone();
        if let Some((at_ms, last)) = points.last_mut() {
            let now = self.account.epsilon(delta);
            if now > *last {
                let at_ms = *at_ms;
                points.push((at_ms, now));
            }
        }
        points
    }
}

/// ε at `delta`, for people; `0` where nothing was spent.
fn epsilon(account: &Account, delta: f64) -> String {
    if account.is_empty() {
        return "0".to_owned();
    }
    match account.epsilon(delta) {
        epsilon if epsilon.is_finite() => format!("{epsilon:.3}"),
        _ => "unbounded".to_owned(),
    }
}

/// A cell of a CSV file (RFC 4180). One that a spreadsheet would take for a formula is made text.
fn csv_cell(cell: &str) -> String {
    let guarded = match cell.chars().next() {
        Some('=' | '+' | '-' | '@') => format!("'{cell}"),
        _ => cell.to_owned(),
    };
    match guarded.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", guarded.replace('"', "\"\"")),
        false => guarded,
    }
}

#[cfg(test)]
mod tests;
