//! A statistic over the patients that are left, exact: what the gate then adds noise to or suppresses.
//!
//! One contribution a patient, by a fixed rule: of her rows that the filter leaves, the first in the file that has a
//! value in the column; without any, she has none. So a patient who comes or goes changes one cell by one, whatever
//! the number of her rows, and that is what a cost is priced for.

use std::collections::{BTreeMap, HashMap};

use consilium_privacy::ledger::Cohort;
use consilium_protocol::query::limits::TEXT_BYTES_MAX;
use consilium_protocol::query::statistic::{ABOVE, BELOW, MISSING, OTHER};
use consilium_protocol::query::{Bins, Cells, Statistic};

use super::filter::{Misfit, column, not_a_value, numbers, wrong_type};
use crate::data::{Column, ColumnSpec, DataSet, Value};

/// An exact answer. Computed from patients' records: it has no `Debug`.
#[derive(Clone, PartialEq)]
pub enum Tally {
    /// Patients in each cell, in the order of the statistic's keys.
    Counts(Vec<u64>),
    /// Patients of each value that there is.
    Named(BTreeMap<String, u64>),
    /// For each patient with a value, its distance from the middle between the bounds, within them.
    Distances(Vec<f64>),
}

/// The patients of these rows, by their number in the data set.
#[must_use]
pub fn patients_of(dataset: &DataSet, rows: &[bool]) -> Cohort {
    let patients = dataset.patients().iter().zip(rows);
    let touched = patients
        .filter(|(_, row)| **row)
        .map(|(patient, _)| *patient);
    let mut cohort = Cohort::default();
    for patient in touched {
        // A data set has fewer rows than a cohort has numbers; one beyond would be left out, never invented.
        cohort.insert(patient).ok();
    }
    cohort
}

/// The statistic over the rows that the filter left and whose patient is in `cohort`.
///
/// # Errors
/// The column is not there, or does not hold what is asked of it.
pub fn tally(
    dataset: &DataSet,
    statistic: &Statistic,
    rows: &[bool],
    cohort: &Cohort,
) -> Result<Tally, Misfit> {
    let Some(name) = statistic.column() else {
        return Ok(Tally::Counts(vec![cohort.len()]));
    };
    let (spec, cells) = column(dataset, name)?;
    let chosen = Chosen {
        dataset,
        rows,
        cohort,
    };
    match statistic {
        Statistic::Count | Statistic::Distinct { .. } => Ok(Tally::Counts(vec![cohort.len()])),
        Statistic::Histogram { cells: wanted, .. } => match wanted {
            Cells::Bins(bins) => {
                let starts: Vec<f64> = bins.starts().collect();
                let values: Vec<Option<f64>> = numbers(spec, cells, "bins of numbers")?.collect();
                let last = starts.len();
                chosen.counts(last + 3, |row| {
                    let value = values.get(row).copied().flatten()?;
                    Some(if value < bins.low {
                        last
                    } else if value >= bins.high {
                        last + 1
                    } else {
                        starts
                            .partition_point(|start| *start <= value)
                            .saturating_sub(1)
                    })
                })
            }
            Cells::Categories(categories) => {
                let places = places_of(spec, cells, categories)?;
                let other = categories.len();
                chosen.counts(other + 2, |row| {
                    let label = label(spec, cells, row)?;
                    Some(places.get(&label).copied().unwrap_or(other))
                })
            }
            Cells::Unknown => chosen.named(spec, cells),
        },
        Statistic::Mean { low, high, .. } => {
            let middle = low + (high - low) / 2.0;
            let values: Vec<Option<f64>> = numbers(spec, cells, "a mean")?.collect();
            let given = chosen.first_values(|row| values.get(row).copied().flatten());
            let distances = given
                .into_iter()
                .flatten()
                .map(|value| value.clamp(*low, *high) - middle);
            Ok(Tally::Distances(distances.collect()))
        }
        Statistic::Quantile {
            low, high, step, ..
        } => {
            let values: Vec<Option<f64>> = numbers(spec, cells, "a quantile")?.collect();
            // Rising: the values among which the quantile is told.
            let candidates: Vec<f64> = Bins {
                low: *low,
                high: *high,
                width: *step,
            }
            .edges()
            .collect();
            let last = candidates.len().saturating_sub(1);
            chosen.counts_of_values(candidates.len(), |row| {
                let value = values.get(row).copied().flatten()?;
                Some(
                    candidates
                        .partition_point(|candidate| *candidate < value)
                        .min(last),
                )
            })
        }
        Statistic::Top { candidates, .. } => {
            let places = places_of(spec, cells, candidates)?;
            chosen.counts_of_values(candidates.len(), |row| {
                places.get(&label(spec, cells, row)?).copied()
            })
        }
    }
}

/// Where each of these values is counted, by its label.
fn places_of(
    spec: &ColumnSpec,
    column: &Column,
    values: &[String],
) -> Result<HashMap<String, usize>, Misfit> {
    if matches!(column, Column::Float(_)) {
        return Err(wrong_type(spec, column, "single values; use bins"));
    }
    let label = |text: &str| match column {
        // Beyond the declared bounds a number is a value that nobody has, and no mistake.
        Column::Integer(_) => {
            let number: f64 = text.parse().ok()?;
            (number.fract() == 0.0 && number.abs() < 9e15).then(|| (number as i64).to_string())
        }
        _ => label_of(spec, &spec.value_of(text)?),
    };
    let mut places = HashMap::new();
    for (at, text) in values.iter().enumerate() {
        let label = label(text).ok_or_else(|| not_a_value(spec, text))?;
        places.entry(label).or_insert(at);
    }
    Ok(places)
}

fn label_of(spec: &ColumnSpec, value: &Value) -> Option<String> {
    match value {
        Value::Missing => None,
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Category(level) => spec.levels.get(usize::from(*level)).cloned(),
        Value::Text(text) => Some(text.to_string()),
        Value::Boolean(value) => Some(u8::from(*value).to_string()),
        Value::Date(day) => Some(day.to_string()),
    }
}

/// A row's value as a key; none where it is missing.
fn label(spec: &ColumnSpec, column: &Column, row: usize) -> Option<String> {
    fn at<T: Clone>(cells: &[Option<T>], row: usize) -> Option<T> {
        cells.get(row).cloned().flatten()
    }
    let value = match column {
        Column::Integer(cells) => Value::Integer(at(cells, row)?),
        Column::Float(cells) => Value::Float(at(cells, row)?),
        Column::Category(cells) => Value::Category(at(cells, row)?),
        Column::Text(cells) => Value::Text(at(cells, row)?),
        Column::Boolean(cells) => Value::Boolean(at(cells, row)?),
        Column::Date(cells) => Value::Date(at(cells, row)?),
    };
    label_of(spec, &value)
}

/// The rows and patients that are left.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    dataset: &'a DataSet,
    rows: &'a [bool],
    cohort: &'a Cohort,
}

impl Chosen<'_> {
    /// For each patient of the cohort the value of the first row that has one.
    fn first_values<T>(self, value_of: impl Fn(usize) -> Option<T>) -> Vec<Option<T>> {
        let patients = self.dataset.patient_count() as usize;
        let mut values: Vec<Option<T>> = std::iter::repeat_with(|| None).take(patients).collect();
        let chosen = self.rows.iter().zip(self.dataset.patients()).enumerate();
        for (row, (_, &patient)) in chosen.filter(|(_, (row, _))| **row) {
            if !self.cohort.contains(patient) {
                continue;
            }
            if let Some(value) = values.get_mut(patient as usize)
                && value.is_none()
            {
                *value = value_of(row);
            }
        }
        values
    }

    /// Patients in each of `cells`, the last for those without a value.
    fn counts(
        self,
        cells: usize,
        place_of: impl Fn(usize) -> Option<usize>,
    ) -> Result<Tally, Misfit> {
        let Tally::Counts(mut counts) = self.counts_of_values(cells, place_of)? else {
            return Ok(Tally::Counts(Vec::new()));
        };
        let placed: u64 = counts.iter().sum();
        if let Some(missing) = counts.last_mut() {
            *missing = self.cohort.len() - placed.min(self.cohort.len());
        }
        Ok(Tally::Counts(counts))
    }

    /// Patients in each of `cells`; those without a value, or with none of these, are in no cell.
    fn counts_of_values(
        self,
        cells: usize,
        place_of: impl Fn(usize) -> Option<usize>,
    ) -> Result<Tally, Misfit> {
        let mut counts = vec![0; cells];
        for place in self.first_values(place_of).into_iter().flatten() {
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
        }
        Ok(Tally::Counts(counts))
    }

    fn named(self, spec: &ColumnSpec, column: &Column) -> Result<Tally, Misfit> {
        if matches!(column, Column::Float(_) | Column::Date(_)) {
            return Err(wrong_type(spec, column, "single values; use bins"));
        }
        let reserved = [BELOW, ABOVE, OTHER, MISSING];
        let mut named: BTreeMap<String, u64> = BTreeMap::new();
        for label in self
            .first_values(|row| label(spec, column, row))
            .into_iter()
            .flatten()
        {
            if label.len() <= TEXT_BYTES_MAX && !reserved.contains(&label.as_str()) {
                *named.entry(label).or_default() += 1;
            }
        }
        Ok(Tally::Named(named))
    }
}
