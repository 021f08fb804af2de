//! What is counted: the kinds of statistics, and the cells that an answer to each has.
//!
//! Every kind is answered by a table of counts (and for a mean, of one sum) in which a patient stands in one cell at
//! most. So every kind costs a patient the same, answers of sites add up, and the researcher's figure is made from the
//! sum: a quantile and a ranking of the consortium are not those of its parts.

use serde::{Deserialize, Serialize};

use super::QueryError;
use super::filter::check_column;
use super::limits::{
    CELLS_MAX, PROBABILITIES_MAX, SKETCH_CELLS_MAX, SKETCH_CELLS_MIN, TEXT_BYTES_MAX,
};

/// The cell of patients whose value is below the first bin.
pub const BELOW: &str = "(below)";
/// The cell of patients whose value is at or above the last bin's end.
pub const ABOVE: &str = "(above)";
/// The cell of patients whose value is none of those that were named.
pub const OTHER: &str = "(other)";
/// The cell of patients without a value.
pub const MISSING: &str = "(missing)";
/// The cell of a count, and of a mean's.
pub const COUNT: &str = "(count)";
/// The cell of a mean's sum: of each patient's distance from the middle between `low` and `high`.
pub const SUM: &str = "(sum)";

/// A question over the patients that a filter leaves. A patient with several such records counts once, by the first of
/// them that has a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Statistic {
    /// How many patients.
    Count,
    /// How many patients in each cell of a column.
    Histogram { column: String, cells: Cells },
    /// The mean of a column; a value outside `low` to `high` counts as that end.
    Mean { column: String, low: f64, high: f64 },
    /// Values below which these shares of the patients lie, each one of `low`, `low + step`, … up to `high`.
    Quantile {
        column: String,
        probabilities: Vec<f64>,
        low: f64,
        high: f64,
        step: f64,
    },
    /// The `k` most frequent of these values.
    Top {
        column: String,
        k: u32,
        candidates: Vec<String>,
    },
    /// How many different patients the named sites have together: each site hashes its patients into so many cells
    /// and tells, hidden from everybody, which are occupied. It has no table of counts.
    Distinct { cells: u32 },
}

/// The cells of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cells {
    /// `low` to `low + width`, without its end, and so on up to `high`; and a cell on each side of them.
    Bins(Bins),
    /// These values, as a schema spells them.
    Categories(Vec<String>),
    /// Whatever values there are: each site tells those that enough of its patients have.
    Unknown,
}

/// Equal intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bins {
    pub low: f64,
    pub high: f64,
    pub width: f64,
}

impl Statistic {
    /// The kind as it is written.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Histogram { .. } => "histogram",
            Self::Mean { .. } => "mean",
            Self::Quantile { .. } => "quantile",
            Self::Top { .. } => "top",
            Self::Distinct { .. } => "distinct",
        }
    }

    /// The column that is looked at; a count looks at none.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Count | Self::Distinct { .. } => None,
            Self::Histogram { column, .. }
            | Self::Mean { column, .. }
            | Self::Quantile { column, .. }
            | Self::Top { column, .. } => Some(column),
        }
    }

    /// The cells of an answer, in order; `None` where each site finds its own.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<String>> {
        let keys = match self {
            Self::Count => vec![COUNT.to_owned()],
            Self::Mean { .. } => vec![COUNT.to_owned(), SUM.to_owned()],
            Self::Histogram { cells, .. } => return cells.keys(),
            Self::Quantile {
                low, high, step, ..
            } => Bins {
                low: *low,
                high: *high,
                width: *step,
            }
            .edges()
            .map(|edge| edge.to_string())
            .collect(),
            Self::Top { candidates, .. } => candidates.clone(),
            Self::Distinct { .. } => Vec::new(),
        };
        Some(keys)
    }

    pub(super) fn canonical(mut self) -> Self {
        match &mut self {
            Self::Count | Self::Distinct { .. } => {}
            Self::Histogram { cells, .. } => {
                if let Cells::Bins(bins) = cells {
                    bins.low += 0.0;
                    bins.high += 0.0;
                }
                if let Cells::Categories(categories) = cells {
                    categories.sort_unstable();
                }
            }
            Self::Mean { low, high, .. } => {
                *low += 0.0;
                *high += 0.0;
            }
            Self::Quantile {
                probabilities,
                low,
                high,
                ..
            } => {
                *low += 0.0;
                *high += 0.0;
                probabilities.sort_by(f64::total_cmp);
                probabilities.dedup();
            }
            Self::Top { candidates, .. } => candidates.sort_unstable(),
        }
        self
    }

    pub(super) fn check(&self) -> Result<(), QueryError> {
        if let Some(column) = self.column() {
            check_column(column)?;
        }
        match self {
            Self::Count => Ok(()),
            Self::Distinct { cells } => {
                if cells.is_power_of_two() && (SKETCH_CELLS_MIN..=SKETCH_CELLS_MAX).contains(cells)
                {
                    return Ok(());
                }
                Err(QueryError::invalid(
                    "statistic.cells",
                    format!("must be a power of two from {SKETCH_CELLS_MIN} to {SKETCH_CELLS_MAX}"),
                ))
            }
            Self::Histogram { cells, .. } => cells.check(),
            Self::Mean { low, high, .. } => check_range(*low, *high),
            Self::Quantile {
                probabilities,
                low,
                high,
                step,
                ..
            } => {
                let within = |p: &f64| (0.0..=1.0).contains(p);
                if probabilities.is_empty()
                    || probabilities.len() > PROBABILITIES_MAX
                    || !probabilities.iter().all(within)
                {
                    return Err(QueryError::invalid(
                        "statistic.probabilities",
                        format!("needs 1 to {PROBABILITIES_MAX} numbers from 0 to 1"),
                    ));
                }
                Bins {
                    low: *low,
                    high: *high,
                    width: *step,
                }
                .check()
            }
            Self::Top { k, candidates, .. } => {
                check_values("statistic.candidates", candidates)?;
                if *k == 0 || *k as usize > candidates.len() {
                    return Err(QueryError::invalid(
                        "statistic.k",
                        "must lie between 1 and the number of candidates",
                    ));
                }
                Ok(())
            }
        }
    }
}

impl Cells {
    fn keys(&self) -> Option<Vec<String>> {
        let own = |key: &str| key.to_owned();
        match self {
            Self::Bins(bins) => {
                let starts: Vec<f64> = bins.starts().collect();
                let ends = starts.iter().skip(1).copied().chain([bins.high]);
                let cells = starts
                    .iter()
                    .zip(ends)
                    .map(|(start, end)| format!("{start} to {end}"));
                Some(
                    cells
                        .chain([own(BELOW), own(ABOVE), own(MISSING)])
                        .collect(),
                )
            }
            Self::Categories(categories) => {
                let cells = categories.iter().cloned();
                Some(cells.chain([own(OTHER), own(MISSING)]).collect())
            }
            Self::Unknown => None,
        }
    }

    fn check(&self) -> Result<(), QueryError> {
        match self {
            Self::Bins(bins) => bins.check(),
            Self::Categories(categories) => check_values("statistic.cells.categories", categories),
            Self::Unknown => Ok(()),
        }
    }
}

impl Bins {
    /// Where each interval begins, in order.
    pub fn starts(self) -> impl Iterator<Item = f64> {
        let Self { low, width, .. } = self;
        (0..self.count()).map(move |at| rounded(low + at as f64 * width))
    }

    /// `low`, `low + width`, … and `high` at the end.
    pub fn edges(self) -> impl Iterator<Item = f64> {
        self.starts().chain([self.high])
    }

    fn count(self) -> usize {
        let exact = (self.high - self.low) / self.width;
        // 0.3 / 0.1 is a little below 3 and must not become a fourth bin of nothing.
        let near = exact.round();
        let count = if (exact - near).abs() < 1e-9 * near.max(1.0) {
            near
        } else {
            exact.ceil()
        };
        (count as usize).clamp(1, CELLS_MAX + 1)
    }

    fn check(self) -> Result<(), QueryError> {
        check_range(self.low, self.high)?;
        if !(self.width.is_finite() && self.width > 0.0) {
            return Err(QueryError::invalid(
                "statistic",
                "the width of a bin must be above 0",
            ));
        }
        if self.count() > CELLS_MAX {
            return Err(QueryError::invalid(
                "statistic",
                format!("an answer has at most {CELLS_MAX} cells; use wider bins"),
            ));
        }
        let starts: Vec<f64> = self.starts().collect();
        let rises = |pair: &[f64]| matches!(pair, [a, b] if a < b);
        if !starts.windows(2).all(rises) || starts.last().is_some_and(|last| *last >= self.high) {
            return Err(QueryError::invalid(
                "statistic",
                "the bins are too narrow for their numbers",
            ));
        }
        Ok(())
    }
}

/// As a person would write it: 0.1 + 0.2 is 0.3.
fn rounded(number: f64) -> f64 {
    const DIGITS: f64 = 1e9;
    if number.abs() >= 1e6 {
        return number;
    }
    (number * DIGITS).round() / DIGITS + 0.0
}

/// Numbers beyond this lose their units to rounding when they are summed.
const NUMBER_MAX: f64 = 1e12;

fn check_range(low: f64, high: f64) -> Result<(), QueryError> {
    let is_number = |number: f64| number.is_finite() && number.abs() <= NUMBER_MAX;
    if is_number(low) && is_number(high) && low < high {
        return Ok(());
    }
    Err(QueryError::invalid(
        "statistic",
        format!("needs a low and a high end, the low one below the high one, up to {NUMBER_MAX:e}"),
    ))
}

fn check_values(field: &'static str, values: &[String]) -> Result<(), QueryError> {
    if values.is_empty() || values.len() > CELLS_MAX {
        return Err(QueryError::invalid(
            field,
            format!("needs 1 to {CELLS_MAX} values"),
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for value in values {
        if value.is_empty() || value.len() > TEXT_BYTES_MAX || value.starts_with('(') {
            return Err(QueryError::invalid(
                field,
                format!("a value has 1 to {TEXT_BYTES_MAX} bytes and does not begin with `(`"),
            ));
        }
        if !seen.insert(value) {
            return Err(QueryError::invalid(field, "a value is there twice"));
        }
    }
    Ok(())
}
