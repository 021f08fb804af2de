//! What can be typed after `consilium stats`.

use std::time::Duration;

use clap::{Args, Subcommand};
use consilium_protocol::query::limits::{SKETCH_CELLS_MAX, SKETCH_CELLS_MIN};
use consilium_protocol::query::{Accuracy, Bins, Cells, Statistic};
use consilium_protocol::{DatasetName, ProjectName, Purpose, SiteName};

use crate::arguments::duration;

/// The noise where nothing is said: each site's count is right to ±3 patients in 95 of 100 cases, and a few such
/// answers fit in most budgets.
const EPSILON_DEFAULT: f64 = 1.0;

#[derive(Debug, Subcommand)]
pub(crate) enum StatsCommand {
    /// How many patients.
    #[command(after_help = "Examples:\n  \
        consilium stats count --dataset heart-disease --project cardiology --purpose HMB\n  \
        consilium stats count --dataset heart-disease --project cardiology --purpose HMB \\\n    \
        --where \"age >= 60 and sex = 1 and not (chol is missing)\" --epsilon 0.5")]
    Count {
        #[command(flatten)]
        question: Question,
    },
    /// How many patients in each cell of a column.
    #[command(after_help = "Examples:\n  \
        consilium stats histogram num --categories 0,1,2,3,4 \\\n    \
        --dataset heart-disease --project cardiology --purpose HMB\n  \
        consilium stats histogram age --bins 20:90:10 \\\n    \
        --dataset heart-disease --project cardiology --purpose HMB\n  \
        consilium stats histogram diagnosis --unknown-keys \\\n    \
        --dataset visits --project cardiology --purpose HMB")]
    Histogram {
        /// The column.
        column: String,
        #[command(flatten)]
        cells: CellsAsked,
        #[command(flatten)]
        question: Question,
    },
    /// The mean of a column; of a true-or-false column, its share.
    #[command(after_help = "Example:\n  \
        consilium stats mean age --range 0:120 --dataset heart-disease --project cardiology --purpose HMB")]
    Mean {
        /// The column.
        column: String,
        /// Public bounds: a value beyond them counts as the nearer one. Narrow bounds mean little noise.
        #[arg(long, value_name = "LOW:HIGH", value_parser = range, allow_hyphen_values = true)]
        range: (f64, f64),
        #[command(flatten)]
        question: Question,
    },
    /// Values below which shares of the patients lie.
    #[command(after_help = "Example:\n  \
        consilium stats quantile chol --candidates 100:400:10 -p 0.25,0.5,0.75 \\\n    \
        --dataset heart-disease --project cardiology --purpose HMB")]
    Quantile {
        /// The column.
        column: String,
        /// The values among which it is told: from, to, step.
        #[arg(long, value_name = "LOW:HIGH:STEP", value_parser = steps, allow_hyphen_values = true)]
        candidates: Bins,
        /// Shares from 0 to 1; 0.5 is the median. Several cost no more than one.
        #[arg(
            short,
            long,
            value_name = "SHARES",
            value_delimiter = ',',
            default_value = "0.5"
        )]
        probabilities: Vec<f64>,
        #[command(flatten)]
        question: Question,
    },
    /// The most frequent of some values.
    #[command(after_help = "Example:\n  \
        consilium stats top cp --candidates 1,2,3,4 -k 2 --dataset heart-disease --project cardiology --purpose HMB")]
    Top {
        /// The column.
        column: String,
        /// The values that compete.
        #[arg(
            long,
            value_name = "VALUES",
            value_delimiter = ',',
            allow_hyphen_values = true
        )]
        candidates: Vec<String>,
        /// How many of them.
        #[arg(short, default_value_t = 5)]
        k: u32,
        #[command(flatten)]
        question: Question,
    },
    /// How many different patients several sites have together: who is at two of them counts once. Name the sites: if
    /// one of them does not answer, nobody can read what the others sent.
    #[command(after_help = "Example:\n  \
        consilium stats distinct --sites cleveland,hungarian,va --about 1000 --epsilon 2 \\\n    \
        --dataset heart-disease --project cardiology --purpose HMB")]
    Distinct {
        /// About how many patients are expected, all sites together: the sketch gets as many cells. Half as many
        /// or twice as many still count well.
        #[arg(long, value_name = "PATIENTS", default_value_t = 4096)]
        about: u32,
        #[command(flatten)]
        question: Question,
    },
}

/// Cells of a sketch for about so many patients: as many, and a power of two.
fn sketch_cells(about: u32) -> u32 {
    about
        .clamp(SKETCH_CELLS_MIN, SKETCH_CELLS_MAX)
        .next_power_of_two()
}

/// Of whom, for what, and how exact.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// The data set, as the sites call it.
    #[arg(long)]
    pub(crate) dataset: DatasetName,
    /// The project, as the sites' policies name it.
    #[arg(long)]
    pub(crate) project: ProjectName,
    /// The purpose: a DUO code such as HMB.
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// Which records: conditions on columns, with and, or, not, in, between, is missing.
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Only these sites [default: all].
    #[arg(long, value_name = "SITES", value_delimiter = ',')]
    pub(crate) sites: Vec<SiteName>,
    #[command(flatten)]
    noise: Noise,
    /// Sites that have not answered by then are missing from the result.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Noise {
    /// Noise that costs each patient this ε [default: 1].
    #[arg(long)]
    epsilon: Option<f64>,
    /// Gaussian noise that costs each patient this ρ.
    #[arg(long)]
    rho: Option<f64>,
    /// No noise, where a site's policy allows it: rounded, and small groups hidden.
    #[arg(long)]
    exact: bool,
}

/// Which cells a histogram has.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CellsAsked {
    /// Equal intervals: from, to, width.
    #[arg(long, value_name = "LOW:HIGH:WIDTH", value_parser = steps, allow_hyphen_values = true)]
    bins: Option<Bins>,
    /// These values.
    #[arg(
        long,
        value_name = "VALUES",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    categories: Option<Vec<String>>,
    /// Whatever values there are; each site tells those that enough of its patients have.
    #[arg(long)]
    unknown_keys: bool,
}

impl Question {
    pub(crate) fn accuracy(&self) -> Accuracy {
        match (self.noise.exact, self.noise.rho, self.noise.epsilon) {
            (true, ..) => Accuracy::Exact,
            (false, Some(rho), _) => Accuracy::Rho(rho),
            (false, None, epsilon) => Accuracy::Epsilon(epsilon.unwrap_or(EPSILON_DEFAULT)),
        }
    }
}

impl CellsAsked {
    fn cells(self) -> Cells {
        match (self.bins, self.categories) {
            (Some(bins), _) => Cells::Bins(bins),
            (None, Some(categories)) => Cells::Categories(categories),
            (None, None) => Cells::Unknown,
        }
    }
}

impl StatsCommand {
    /// What is counted, and of whom.
    pub(crate) fn parts(self) -> (Statistic, Question) {
        match self {
            Self::Count { question } => (Statistic::Count, question),
            Self::Distinct { about, question } => {
                let cells = sketch_cells(about);
                (Statistic::Distinct { cells }, question)
            }
            Self::Histogram {
                column,
                cells,
                question,
            } => {
                let cells = cells.cells();
                (Statistic::Histogram { column, cells }, question)
            }
            Self::Mean {
                column,
                range: (low, high),
                question,
            } => (Statistic::Mean { column, low, high }, question),
            Self::Quantile {
                column,
                candidates: Bins { low, high, width },
                probabilities,
                question,
            } => {
                let statistic = Statistic::Quantile {
                    column,
                    probabilities,
                    low,
                    high,
                    step: width,
                };
                (statistic, question)
            }
            Self::Top {
                column,
                candidates,
                k,
                question,
            } => {
                // Fewer candidates than the default are all of them.
                let k = k
                    .min(u32::try_from(candidates.len()).unwrap_or(u32::MAX))
                    .max(1);
                let statistic = Statistic::Top {
                    column,
                    k,
                    candidates,
                };
                (statistic, question)
            }
        }
    }
}

/// `low:high`.
fn range(text: &str) -> Result<(f64, f64), String> {
    match numbers(text)?.as_slice() {
        [low, high] => Ok((*low, *high)),
        _ => Err("write low:high, such as 0:120".to_owned()),
    }
}

/// `low:high:step`.
fn steps(text: &str) -> Result<Bins, String> {
    match numbers(text)?.as_slice() {
        [low, high, width] => Ok(Bins {
            low: *low,
            high: *high,
            width: *width,
        }),
        _ => Err("write from:to:step, such as 20:90:10".to_owned()),
    }
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let number = |part: &str| {
        let number: Option<f64> = part.trim().parse().ok();
        number.ok_or_else(|| "write numbers with colons between them".to_owned())
    };
    text.split(':').map(number).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    const OF: &str = "--dataset heart-disease --project cardiology --purpose hmb";

    fn parse(line: &str) -> Result<(Statistic, Question), clap::Error> {
        let line = format!("consilium stats {line} {OF}");
        match Arguments::try_parse_from(line.split_whitespace())?.command {
            Command::Stats(stats) => Ok(stats.parts()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let (statistic, question) =
            parse("histogram age --bins -5:90:10 --sites va,cleveland").unwrap();
        let bins = Bins {
            low: -5.0,
            high: 90.0,
            width: 10.0,
        };
        assert_eq!(
            statistic,
            Statistic::Histogram {
                column: "age".into(),
                cells: Cells::Bins(bins)
            }
        );
        assert_eq!(question.sites.len(), 2);
        assert_eq!(question.accuracy(), Accuracy::Epsilon(EPSILON_DEFAULT));
        assert_eq!(question.timeout, Duration::from_secs(60));
        let (statistic, question) = parse("top cp --candidates 1,2 --exact").unwrap();
        assert_eq!(
            statistic,
            Statistic::Top {
                column: "cp".into(),
                k: 2,
                candidates: vec!["1".into(), "2".into()]
            }
        );
        assert_eq!(question.accuracy(), Accuracy::Exact);
        let (_, question) = parse("count --rho 0.5 --timeout 5s").unwrap();
        assert_eq!(question.accuracy(), Accuracy::Rho(0.5));
        for (about, cells) in [
            ("1", 256),
            ("1000", 1024),
            ("1024", 1024),
            ("4000000000", 1 << 20),
        ] {
            let (statistic, _) = parse(&format!("distinct --sites a,b --about {about}")).unwrap();
            assert_eq!(statistic, Statistic::Distinct { cells });
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            "count --exact --epsilon 1",
            "histogram age",
            "histogram age --bins 1:2",
            "histogram age --bins 1:2:x",
            "histogram age --unknown-keys --categories a",
            "mean age",
            "mean age --range 0",
            "quantile age",
            "count --timeout soon",
            "sum age",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
