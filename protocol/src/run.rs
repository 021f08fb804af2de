//! A run file: what a researcher asks the consortium to do, in one TOML text
//! that every site sees, hashes and decides about.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{DatasetName, ProjectName, Purpose, SiteName};
use crate::limits::{
    BATCH_SIZE_MAX, FEATURES_MAX, LEVELS_MAX, LOCAL_STEPS_MAX, NAME_BYTES_MAX, PARTICIPANTS_MAX,
    ROUNDS_MAX, RUN_TEXT_BYTES_MAX,
};
use crate::model::{Layout, ModelError, ModelSpec};
use crate::strategy::Strategy;

mod privacy;

pub use privacy::PrivacySpec;

/// A run file, parsed and checked: every number is within its limit and the model can be built.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    document: RunDocument,
    layout: Layout,
    digest: Digest,
}

/// A run file as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunDocument {
    /// For people; need not be unique.
    pub name: String,
    pub project: ProjectName,
    pub purpose: Purpose,
    pub dataset: DatasetName,
    /// The sites that take part. No other site ever sees the run.
    pub participants: Vec<SiteName>,
    pub rounds: u32,
    /// The one seed of everything random in the run.
    #[serde(default)]
    pub seed: u64,
    /// Fewest sites whose updates make a round; every participant when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Longest that a round waits for its slowest site.
    #[serde(default = "ten_minutes")]
    pub round_deadline_s: u32,
    pub model: ModelSpec,
    pub strategy: Strategy,
    pub training: TrainingSpec,
    /// Training with noise, and a bound on what it costs each patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySpec>,
    pub data: DataSpec,
    /// Hold out one fold of the training rows instead of using the test rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FoldSpec>,
}

/// What a site does in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainingSpec {
    pub learning_rate: f64,
    /// Optimiser steps per round and site. Zero sends the model back as it came.
    pub local_steps: u32,
    pub batch_size: u32,
}

/// Which columns go in, and which comes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataSpec {
    pub features: Vec<FeatureSpec>,
    pub label: LabelSpec,
}

/// One column as input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FeatureSpec {
    pub column: String,
    /// The levels of a one-hot column in order; the first is dropped. A numeric
    /// column has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_hot: Vec<f64>,
    /// The public range of a numeric column in a run with `[privacy]`: values are clamped into it and scaled by it, for
    /// a mean and a spread that are computed from records would tell of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<[f64; 2]>,
}

/// The binary label: positive where the column's value is greater than the bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LabelSpec {
    pub column: String,
    pub greater_than: f64,
}

/// Fold `fold` of `folds`, counted from 0, of each site's training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FoldSpec {
    pub folds: u32,
    pub fold: u32,
}

/// Why a text is not a run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    #[error("a run file may be at most {RUN_TEXT_BYTES_MAX} bytes long, this one has {bytes}")]
    TooLong { bytes: usize },
    #[error("the run file is not UTF-8 text")]
    NotText,
    #[error("the run file cannot be read: {message}")]
    Syntax { message: String },
    #[error("`{field}` is {value}; it must lie between {minimum} and {maximum}")]
    OutOfRange {
        field: &'static str,
        value: u64,
        minimum: u64,
        maximum: u64,
    },
    #[error("`participants` names `{site}` twice")]
    SiteTwice { site: SiteName },
    #[error("`data` uses column `{column}` twice, or as feature and label at once")]
    ColumnTwice { column: String },
    #[error("`{field}`: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
    #[error("`model`: {0}")]
    Model(#[from] ModelError),
}

impl RunSpec {
    /// Reads a run file as it came from a person or the network.
    ///
    /// # Errors
    /// What is wrong with it, by field and, for syntax, by line.
    pub fn parse(text: &[u8]) -> Result<Self, RunError> {
        if text.len() > RUN_TEXT_BYTES_MAX {
            return Err(RunError::TooLong { bytes: text.len() });
        }
        let toml = std::str::from_utf8(text).map_err(|_| RunError::NotText)?;
        let document: RunDocument = toml::from_str(toml).map_err(|error| RunError::Syntax {
            message: error.to_string().trim_end().to_owned(),
        })?;
        document.check()?;
        let layout = document.model.layout(document.inputs())?;
        privacy::check(&document, &layout)?;
        Ok(Self {
            document,
            layout,
            digest: Digest::of(text),
        })
    }

    /// The document as written.
    #[must_use]
    pub fn document(&self) -> &RunDocument {
        &self.document
    }

    /// The model's tensors.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// SHA-256 of the run file's text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Fewest sites whose updates make a round.
    #[must_use]
    pub fn quorum(&self) -> usize {
        let all = self.document.participants.len();
        self.document
            .quorum
            .map_or(all, |quorum| usize::try_from(quorum).unwrap_or(all))
    }

    /// Longest that a round waits.
    #[must_use]
    pub fn round_deadline_ms(&self) -> u64 {
        u64::from(self.document.round_deadline_s) * 1000
    }

    /// Bytes of tensors that travel to a site in a round, and back.
    #[must_use]
    pub fn bytes_on_the_wire(&self) -> u64 {
        let vectors = self.document.strategy.vectors_on_the_wire();
        (self.layout.shared_len() * vectors * size_of::<f32>()) as u64
    }
}

impl RunDocument {
    /// Inputs of the model after one-hot encoding (first level dropped).
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.data
            .features
            .iter()
            .map(|feature| feature.one_hot.len().max(2) - 1)
            .sum()
    }

    fn check(&self) -> Result<(), RunError> {
        self.check_numbers()?;
        self.check_participants()?;
        self.check_columns()?;
        if let Some(problem) = self.strategy.problem() {
            return Err(invalid("strategy", problem));
        }
        let lr = self.training.learning_rate;
        if !(lr.is_finite() && lr > 0.0) {
            return Err(invalid("training.learning-rate", "must be above 0"));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), RunError> {
        let within = |field, value: u64, minimum: u64, maximum: u64| {
            if (minimum..=maximum).contains(&value) {
                Ok(())
            } else {
                Err(RunError::OutOfRange {
                    field,
                    value,
                    minimum,
                    maximum,
                })
            }
        };
        let participants = self.participants.len() as u64;
        within(
            "name (characters)",
            self.name.len() as u64,
            1,
            NAME_BYTES_MAX as u64,
        )?;
        within("participants", participants, 1, PARTICIPANTS_MAX as u64)?;
        within("rounds", self.rounds.into(), 1, ROUNDS_MAX.into())?;
        if let Some(quorum) = self.quorum {
            within("quorum", quorum.into(), 1, participants)?;
        }
        within(
            "round-deadline-s",
            self.round_deadline_s.into(),
            1,
            7 * 86_400,
        )?;
        let training = &self.training;
        within(
            "training.local-steps",
            training.local_steps.into(),
            0,
            LOCAL_STEPS_MAX.into(),
        )?;
        within(
            "training.batch-size",
            training.batch_size.into(),
            1,
            BATCH_SIZE_MAX.into(),
        )?;
        within(
            "data.features",
            self.data.features.len() as u64,
            1,
            FEATURES_MAX as u64,
        )?;
        if let Some(FoldSpec { folds, fold }) = self.validation {
            within("validation.folds", folds.into(), 2, 100)?;
            within("validation.fold", fold.into(), 0, u64::from(folds) - 1)?;
        }
        Ok(())
    }

    fn check_participants(&self) -> Result<(), RunError> {
        let mut seen = std::collections::BTreeSet::new();
        match self.participants.iter().find(|site| !seen.insert(*site)) {
            Some(site) => Err(RunError::SiteTwice { site: site.clone() }),
            None => Ok(()),
        }
    }

    fn check_columns(&self) -> Result<(), RunError> {
        let mut seen = std::collections::BTreeSet::from([self.data.label.column.as_str()]);
        for feature in &self.data.features {
            if !seen.insert(feature.column.as_str()) {
                return Err(RunError::ColumnTwice {
                    column: feature.column.clone(),
                });
            }
            let levels = &feature.one_hot;
            if levels.len() == 1 || levels.len() > LEVELS_MAX {
                return Err(invalid(
                    "data.features.one-hot",
                    "needs 2 to 256 levels, or none at all",
                ));
            }
            if levels.iter().any(|level| !level.is_finite()) {
                return Err(invalid(
                    "data.features.one-hot",
                    "a level must be a finite number",
                ));
            }
        }
        if !self.data.label.greater_than.is_finite() {
            return Err(invalid(
                "data.label.greater-than",
                "must be a finite number",
            ));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, problem: &str) -> RunError {
    RunError::Invalid {
        field,
        problem: problem.to_owned(),
    }
}

fn ten_minutes() -> u32 {
    600
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const HEART: &str = r#"
name = "heart-disease"
project = "cardiology"
purpose = "HMB"
dataset = "heart-disease"
participants = ["cleveland", "hungarian"]
rounds = 15
seed = 42
quorum = 1

[model]
kind = "logistic"
local = ["intercept"]

[strategy]
name = "FedAdam"
server-learning-rate = 0.01
tau = 1e-8

[training]
learning-rate = 0.01
local-steps = 100
batch-size = 4

[data]
features = [{ column = "age" }, { column = "cp", one-hot = [1, 2, 3, 4] }]
label = { column = "num", greater-than = 0 }
"#;

    fn parse_with(from: &str, to: &str) -> Result<RunSpec, RunError> {
        assert!(HEART.contains(from), "{from}");
        RunSpec::parse(HEART.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn a_run_file_says_what_model_it_trains() {
        let run = RunSpec::parse(HEART.as_bytes()).unwrap();
        assert_eq!(run.document().inputs(), 4);
        assert_eq!(
            (run.layout().shared_len(), run.layout().local_len()),
            (4, 1)
        );
        assert_eq!(run.quorum(), 1);
        assert_eq!(run.bytes_on_the_wire(), 16);
        assert_eq!(run.document().strategy.name(), "FedAdam");
        assert_eq!(run.digest(), Digest::of(HEART.as_bytes()));
    }

    #[test]
    fn a_written_document_reads_back() {
        let run = RunSpec::parse(HEART.as_bytes()).unwrap();
        let text = toml::to_string(run.document()).unwrap();
        assert_eq!(
            RunSpec::parse(text.as_bytes()).unwrap().document(),
            run.document()
        );
    }

    #[test]
    fn a_bad_run_is_refused_by_field() {
        for (from, to, says) in [
            ("rounds = 15", "rounds = 0", "`rounds` is 0"),
            ("rounds = 15", "rounds = 15\nbogus = 1", "bogus"),
            ("quorum = 1", "quorum = 3", "`quorum` is 3"),
            (r#""hungarian""#, r#""cleveland""#, "`cleveland` twice"),
            (r#""hungarian""#, r#""../up""#, "site name"),
            (r#"column = "age""#, r#"column = "num""#, "`num` twice"),
            (r#""FedAdam""#, r#""FedMagic""#, "FedMagic"),
            (r#""logistic""#, r#""transformer""#, "transformer"),
            (
                r#"["intercept"]"#,
                r#"["head"]"#,
                "nothing to train together",
            ),
            (
                "server-learning-rate = 0.01",
                "server-learning-rate = -1",
                "`strategy`",
            ),
            (
                "learning-rate = 0.01\nlocal",
                "learning-rate = nan\nlocal",
                "`training.learning-rate`",
            ),
            ("[1, 2, 3, 4]", "[1]", "one-hot"),
            ("greater-than = 0", "greater-than = inf", "greater-than"),
        ] {
            let error = parse_with(from, to).expect_err(to).to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
        assert_eq!(RunSpec::parse(&[0xff]), Err(RunError::NotText));
        assert!(matches!(
            RunSpec::parse(&vec![b' '; RUN_TEXT_BYTES_MAX + 1]),
            Err(RunError::TooLong { .. })
        ));
    }
}
