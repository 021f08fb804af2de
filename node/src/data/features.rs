//! From a table to what a model sees: columns chosen, encoded and standardised
//! as a run's `[data]` says.

use std::collections::HashMap;

use consilium_protocol::run::{DataSpec, FeatureSpec, FoldSpec};

use super::dataset::DataSet;
use super::permutation::{Purpose, permutation};
use super::schema::ColumnSpec;
use super::table::Column;

/// Added to every standard deviation (owkin/FLamby, `fed_heart_disease/dataset.py`).
const SD_FLOOR: f64 = 1e-9;

/// Rows that a trainer can take: finite, with labels 0 and 1. Patient data: it
/// has no `Debug`.
#[derive(Clone, PartialEq)]
pub struct Batchable {
    x: Vec<f32>,
    y: Vec<f32>,
    columns: usize,
    /// For each row its patient.
    patients: Vec<u32>,
}

/// Training and held-out rows, standardised by the training rows.
pub struct Prepared {
    pub train: Batchable,
    pub test: Batchable,
    /// The model's inputs in order, such as `age` and `cp=2`.
    pub names: Vec<String>,
}

/// Training and held-out rows, encoded and not yet standardised. Patient data:
/// it has no `Debug`.
#[derive(Clone)]
pub struct Encoded {
    names: Vec<String>,
    train: Rows,
    test: Rows,
}

#[derive(Clone, Default)]
struct Rows {
    /// Row-major.
    x: Vec<f64>,
    y: Vec<f64>,
    patients: Vec<u32>,
}

/// Why a run cannot use this data set. Names columns and counts, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    #[error("column `{column}` tells who a patient is, and no model may look at it")]
    Identifies { column: String },
    #[error("the data set has no column `{column}`")]
    UnknownColumn { column: String },
    #[error(
        "column `{column}` does not hold numbers; choose another, or list its levels as numbers"
    )]
    NotNumeric { column: String },
    #[error("column `{column}` is missing in {rows} rows; the schema would have to drop them")]
    MissingValues { column: String, rows: usize },
    #[error("column `{column}` holds in {rows} rows a level that the run does not list")]
    UnlistedLevel { column: String, rows: usize },
    #[error("{folds} folds cannot be made of {patients} patients")]
    TooFewForFolds { folds: u32, patients: usize },
    #[error("column `{column}` has no public range, which a private run needs")]
    NoRange { column: String },
    #[error("the data sets to pool have different features")]
    DifferentFeatures,
    #[error("a table of {values} values is not {rows} rows of {columns} columns")]
    Shape {
        values: usize,
        rows: usize,
        columns: usize,
    },
    #[error("row {row}: a feature is not a finite number")]
    NotFinite { row: usize },
    #[error("row {row}: the label is neither 0 nor 1")]
    NotALabel { row: usize },
}

/// Everything from a data set to a trainer's input. With a fold, the fold's rows
/// become the held-out rows and the data set's own test rows stay untouched.
///
/// # Errors
/// If the run's columns and levels do not fit the data set.
pub fn prepare(
    dataset: &DataSet,
    spec: &DataSpec,
    fold: Option<FoldSpec>,
    seed: u64,
) -> Result<Prepared, FeatureError> {
    let encoded = encode(dataset, spec)?;
    match fold {
        Some(fold) => encoded.fold(fold, seed)?.standardise(),
        None => encoded.standardise(),
    }
}

/// Chooses and encodes a run's columns: numeric ones first, then for each
/// one-hot column its levels without the first.
///
/// # Errors
/// If the run's columns and levels do not fit the data set.
pub fn encode(dataset: &DataSet, spec: &DataSpec) -> Result<Encoded, FeatureError> {
    let (one_hot, numeric): (Vec<_>, Vec<_>) = spec
        .features
        .iter()
        .partition(|feature| !feature.one_hot.is_empty());
    let mut names = Vec::new();
    let mut inputs = Vec::new();
    for feature in numeric {
        names.push(feature.column.clone());
        inputs.push(numbers(dataset, &feature.column)?);
    }
    for feature in one_hot {
        for (level, input) in one_hot_inputs(dataset, feature)? {
            names.push(format!("{}={level}", feature.column));
            inputs.push(input);
        }
    }
    let bound = spec.label.greater_than;
    let labels = numbers(dataset, &spec.label.column)?
        .into_iter()
        .map(|value| value > bound);
    let labels: Vec<f64> = labels
        .map(|positive| f64::from(u8::from(positive)))
        .collect();
    let gather = |rows: &[u32]| {
        let mut gathered = Rows::default();
        for &row in rows {
            let at = row as usize;
            gathered
                .x
                .extend(inputs.iter().filter_map(|input| input.get(at)));
            gathered.y.extend(labels.get(at));
            gathered.patients.extend(dataset.patients().get(at));
        }
        gathered
    };
    Ok(Encoded {
        train: gather(dataset.train_rows()),
        test: gather(dataset.test_rows()),
        names,
    })
}

impl Encoded {
    /// Several data sets as one, for the baseline that no consortium may train.
    ///
    /// # Errors
    /// If their features differ.
    pub fn pool(parts: Vec<Self>) -> Result<Self, FeatureError> {
        let mut parts = parts.into_iter();
        let mut pooled = parts.next().ok_or(FeatureError::DifferentFeatures)?;
        for part in parts {
            if part.names != pooled.names {
                return Err(FeatureError::DifferentFeatures);
            }
            let everyone = pooled.train.patients.iter().chain(&pooled.test.patients);
            let first_free = everyone.max().map_or(0, |last| last + 1);
            pooled.train.append(part.train, first_free);
            pooled.test.append(part.test, first_free);
        }
        Ok(pooled)
    }

    /// Splits the training rows: fold `fold` of `folds` becomes the held-out
    /// rows, the others remain. Patients stay whole, and each fold gets its
    /// share of both labels where each label has a patient for every fold.
    ///
    /// # Errors
    /// If there are fewer patients than folds.
    pub fn fold(&self, fold: FoldSpec, seed: u64) -> Result<Self, FeatureError> {
        let mut positive_by_patient: HashMap<u32, bool> = HashMap::new();
        for (patient, label) in self.train.patients.iter().zip(&self.train.y) {
            *positive_by_patient.entry(*patient).or_default() |= *label > 0.0;
        }
        let mut patients: Vec<(u32, bool)> = positive_by_patient.into_iter().collect();
        patients.sort_unstable();
        let folds = fold.folds.max(1);
        if patients.len() < folds as usize {
            return Err(FeatureError::TooFewForFolds {
                folds,
                patients: patients.len(),
            });
        }
        let (positive, negative): (Vec<_>, Vec<_>) = patients.iter().partition(|(_, label)| *label);
        let stratify = positive.len().min(negative.len()) >= folds as usize;
        let strata = if stratify {
            vec![positive, negative]
        } else {
            vec![patients]
        };
        let mut fold_of = HashMap::new();
        let mut dealt = 0_u32;
        for (index, stratum) in (0_u64..).zip(strata) {
            let count = u32::try_from(stratum.len()).unwrap_or(u32::MAX);
            for at in permutation(Purpose::Folds, seed, index, count) {
                if let Some((patient, _)) = stratum.get(at as usize) {
                    fold_of.insert(*patient, dealt % folds);
                    dealt += 1;
                }
            }
        }
        let is_held_out = |patient: u32| fold_of.get(&patient) == Some(&fold.fold);
        Ok(Self {
            train: self
                .train
                .filter(self.names.len(), |patient| !is_held_out(patient)),
            test: self.train.filter(self.names.len(), is_held_out),
            names: self.names.clone(),
        })
    }

    /// Subtracts the training rows' mean and divides by their sample standard
    /// deviation, in `f64`. A column that is constant in training carries nothing
    /// and becomes zeros everywhere; FLamby would make a held-out value that
    /// differs about 10⁹.
    ///
    /// # Errors
    /// If a standardised value does not fit an `f32`.
    pub fn standardise(&self) -> Result<Prepared, FeatureError> {
        let columns = self.names.len();
        let moments: Vec<(f64, f64)> = (0..columns)
            .map(|at| self.train.moments(at, columns))
            .collect();
        let scaled = |rows: &Rows| {
            let scale = |(value, &(mean, sd)): (&f64, &(f64, f64))| match sd > 0.0 {
                true => ((value - mean) / (sd + SD_FLOOR)) as f32,
                false => 0.0,
            };
            let x = rows
                .x
                .iter()
                .zip(moments.iter().cycle())
                .map(scale)
                .collect();
            let y = rows.y.iter().map(|label| *label as f32).collect();
            Batchable::new(x, y, columns)
        };
        Ok(Prepared {
            train: scaled(&self.train)?,
            test: scaled(&self.test)?,
            names: self.names.clone(),
        })
    }
}

impl Encoded {
    /// As [`Encoded::standardise`] for a private run: numeric columns are clamped into their public ranges, which
    /// become -1 to 1, and one-hot columns stay 0 and 1. One patient's records change no other's.
    ///
    /// # Errors
    /// If a numeric column has no range.
    pub fn scale_publicly(&self, spec: &DataSpec) -> Result<Prepared, FeatureError> {
        // In the order of `encode`: numeric columns first.
        let numeric = spec
            .features
            .iter()
            .filter(|feature| feature.one_hot.is_empty());
        let mut ranges = Vec::with_capacity(self.names.len());
        for feature in numeric {
            let [from, to] = feature.between.ok_or_else(|| FeatureError::NoRange {
                column: feature.column.clone(),
            })?;
            ranges.push(Some((from, to)));
        }
        ranges.resize(self.names.len(), None);
        let scaled = |rows: &Rows| {
            let scale = |(value, range): (&f64, &Option<(f64, f64)>)| match *range {
                Some((from, to)) => {
                    ((value.max(from).min(to) - from) / (to - from) * 2.0 - 1.0) as f32
                }
                None => *value as f32,
            };
            let x = rows
                .x
                .iter()
                .zip(ranges.iter().cycle())
                .map(scale)
                .collect();
            let y = rows.y.iter().map(|label| *label as f32).collect();
            Batchable::new(x, y, self.names.len())?.of_patients(rows.patients.clone())
        };
        Ok(Prepared {
            train: scaled(&self.train)?,
            test: scaled(&self.test)?,
            names: self.names.clone(),
        })
    }
}

impl Rows {
    fn append(&mut self, other: Self, first_patient: u32) {
        self.x.extend(other.x);
        self.y.extend(other.y);
        let renumbered = other
            .patients
            .into_iter()
            .map(|patient| patient + first_patient);
        self.patients.extend(renumbered);
    }

    fn filter(&self, columns: usize, wanted: impl Fn(u32) -> bool) -> Self {
        let mut kept = Self::default();
        let rows = self
            .x
            .chunks(columns.max(1))
            .zip(&self.y)
            .zip(&self.patients);
        for ((x, y), patient) in rows.filter(|(_, patient)| wanted(**patient)) {
            kept.x.extend(x);
            kept.y.push(*y);
            kept.patients.push(*patient);
        }
        kept
    }

    /// Mean and sample standard deviation (divisor n − 1) of one column; the
    /// deviation of a constant is 0, whatever the mean's rounding.
    fn moments(&self, column: usize, columns: usize) -> (f64, f64) {
        let values = || self.x.iter().skip(column).step_by(columns.max(1));
        let first = values().next().copied().unwrap_or(0.0);
        if values().all(|value| *value == first) {
            return (first, 0.0);
        }
        let count = self.y.len() as f64;
        let mean = values().sum::<f64>() / count.max(1.0);
        let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
        (mean, (squares / (count - 1.0).max(1.0)).sqrt())
    }
}

impl Batchable {
    /// `x` is row-major, `y` has one label a row.
    ///
    /// # Errors
    /// If the shapes do not fit, a feature is not finite or a label not 0 or 1.
    pub fn new(x: Vec<f32>, y: Vec<f32>, columns: usize) -> Result<Self, FeatureError> {
        if y.len().checked_mul(columns) != Some(x.len()) || columns == 0 {
            return Err(FeatureError::Shape {
                values: x.len(),
                rows: y.len(),
                columns,
            });
        }
        if let Some(at) = x.iter().position(|value| !value.is_finite()) {
            return Err(FeatureError::NotFinite { row: at / columns });
        }
        if let Some(row) = y.iter().position(|label| *label != 0.0 && *label != 1.0) {
            return Err(FeatureError::NotALabel { row });
        }
        let patients = (0_u32..).take(y.len()).collect();
        Ok(Self {
            x,
            y,
            columns,
            patients,
        })
    }

    /// With each row's patient; without, every row is a patient of its own.
    ///
    /// # Errors
    /// If there is not one for each row.
    pub fn of_patients(self, patients: Vec<u32>) -> Result<Self, FeatureError> {
        if patients.len() != self.rows() {
            return Err(FeatureError::Shape {
                values: patients.len(),
                rows: self.rows(),
                columns: 1,
            });
        }
        Ok(Self { patients, ..self })
    }

    /// One row's features and its label; nothing past the last.
    #[must_use]
    pub fn row(&self, row: usize) -> (&[f32], f32) {
        let from = row.saturating_mul(self.columns);
        let x = self.x.get(from..from.saturating_add(self.columns));
        let label = self.y.get(row).copied();
        (x.unwrap_or_default(), label.unwrap_or_default())
    }

    /// For each row its patient, by the number in the data set.
    #[must_use]
    pub fn patients(&self) -> &[u32] {
        &self.patients
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// Number of features.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The features, row by row.
    #[must_use]
    pub fn x(&self) -> &[f32] {
        &self.x
    }

    /// The labels, 0 or 1.
    #[must_use]
    pub fn y(&self) -> &[f32] {
        &self.y
    }
}

/// A whole column as numbers.
fn numbers(dataset: &DataSet, name: &str) -> Result<Vec<f64>, FeatureError> {
    fn convert<T>(cells: &[Option<T>], number: impl Fn(&T) -> f64) -> Vec<Option<f64>> {
        cells
            .iter()
            .map(|cell| cell.as_ref().map(&number))
            .collect()
    }
    let (spec, column) = find(dataset, name)?;
    let not_numeric = || FeatureError::NotNumeric {
        column: name.to_owned(),
    };
    let cells = match column {
        Column::Integer(cells) => convert(cells, |value| *value as f64),
        Column::Float(cells) => convert(cells, |value| *value),
        Column::Boolean(cells) => convert(cells, |value| f64::from(u8::from(*value))),
        Column::Date(cells) => convert(cells, |value| f64::from(*value)),
        Column::Category(cells) => {
            let levels: Result<Vec<f64>, _> =
                spec.levels.iter().map(|level| level.parse()).collect();
            let levels = levels.map_err(|_| not_numeric())?;
            let level = |at: &u16| levels.get(usize::from(*at)).copied().unwrap_or(f64::NAN);
            convert(cells, level)
        }
        Column::Text(_) => return Err(not_numeric()),
    };
    let missing = cells.iter().filter(|cell| cell.is_none()).count();
    if missing > 0 {
        return Err(FeatureError::MissingValues {
            column: name.to_owned(),
            rows: missing,
        });
    }
    Ok(cells.into_iter().flatten().collect())
}

/// A zero-one input for each level but the first.
fn one_hot_inputs(
    dataset: &DataSet,
    feature: &FeatureSpec,
) -> Result<Vec<(f64, Vec<f64>)>, FeatureError> {
    let values = numbers(dataset, &feature.column)?;
    let unlisted = values
        .iter()
        .filter(|value| !feature.one_hot.contains(value))
        .count();
    if unlisted > 0 {
        return Err(FeatureError::UnlistedLevel {
            column: feature.column.clone(),
            rows: unlisted,
        });
    }
    let input = |level: &f64| {
        let hot = values
            .iter()
            .map(|value| f64::from(u8::from(value == level)));
        (*level, hot.collect())
    };
    Ok(feature.one_hot.iter().skip(1).map(input).collect())
}

fn find<'a>(
    dataset: &'a DataSet,
    name: &str,
) -> Result<(&'a ColumnSpec, &'a Column), FeatureError> {
    if dataset.identifies(name) {
        return Err(FeatureError::Identifies {
            column: name.to_owned(),
        });
    }
    dataset
        .table()
        .column(name)
        .ok_or_else(|| FeatureError::UnknownColumn {
            column: name.to_owned(),
        })
}
