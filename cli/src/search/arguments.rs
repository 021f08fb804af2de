//! What can be typed after `consilium search`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use consilium_protocol::query::Accuracy;
use consilium_protocol::search::{Ranking, Wanted};
use consilium_protocol::{DatasetName, ProjectName, Purpose, SiteName};

use crate::arguments::duration;

/// σ = 10 patients at each site; 200 such answers are ρ = 1 together.
const RHO_DEFAULT: f64 = 0.005;

#[derive(Debug, Args)]
pub(crate) struct SearchAsked {
    /// What to search for. Names, dates and numbers in it that identify someone are taken out before it leaves this
    /// machine.
    #[arg(required_unless_present = "batch")]
    pub(crate) text: Option<String>,
    /// Many texts instead: a JSON file with a list of {"qid", "text"}, over one connection.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) batch: Option<PathBuf>,
    /// The collection, as the sites call it.
    #[arg(long)]
    pub(crate) collection: DatasetName,
    /// The project, as the sites' policies name it.
    #[arg(long)]
    pub(crate) project: ProjectName,
    /// The purpose: a DUO code such as HMB.
    #[arg(long)]
    pub(crate) purpose: Purpose,
    /// How much is told: passages (level 4, public collections), snippets (3), handles (2), votes (1) or count (0).
    #[arg(long, value_enum, default_value_t = Show::Passages)]
    pub(crate) show: Show,
    /// Hits wanted.
    #[arg(short = 'k', default_value_t = 10)]
    pub(crate) hits: u16,
    /// What makes a passage come first.
    #[arg(long, value_enum, default_value_t = By::Both)]
    pub(crate) by: By,
    /// Which documents: conditions on the collection's columns.
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Only these sites [default: all that hold the collection].
    #[arg(long, value_name = "SITES", value_delimiter = ',')]
    pub(crate) sites: Vec<SiteName>,
    /// For count and votes: how near a passage must be, a cosine from 0 to 1.
    #[arg(long, value_name = "COSINE", default_value_t = 0.5)]
    pub(crate) nearness: f64,
    /// For votes: the column whose words are voted for.
    #[arg(long, value_name = "COLUMN", required_if_eq("show", "votes"))]
    pub(crate) column: Option<String>,
    /// For votes: the words that compete.
    #[arg(
        long,
        value_name = "WORDS",
        value_delimiter = ',',
        required_if_eq("show", "votes")
    )]
    pub(crate) candidates: Vec<String>,
    /// For count and votes: noise that costs each patient this ε.
    #[arg(long, conflicts_with = "rho")]
    pub(crate) epsilon: Option<f64>,
    /// For count and votes: Gaussian noise that costs each patient this ρ [default: 0.005].
    #[arg(long)]
    pub(crate) rho: Option<f64>,
    /// Sites that have not answered by then are missing from the result.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// How much of a hit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    Passages,
    Snippets,
    Handles,
    Votes,
    Count,
}

/// What makes a passage come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Its meaning.
    Vectors,
    /// The words in common.
    Words,
    /// Both, by reciprocal rank.
    Both,
}

impl SearchAsked {
    /// What is wanted of each site.
    pub(crate) fn wanted(&self) -> Wanted {
        let (hits, ranking) = (self.hits, self.by.ranking());
        let accuracy = match (self.epsilon, self.rho) {
            (Some(epsilon), _) => Accuracy::Epsilon(epsilon),
            (None, rho) => Accuracy::Rho(rho.unwrap_or(RHO_DEFAULT)),
        };
        // Out of range is told by the search itself; a float that is none becomes 0.
        let nearness = (self.nearness * 100.0).round().clamp(0.0, 255.0) as u8;
        match self.show {
            Show::Passages => Wanted::Passages { hits, ranking },
            Show::Snippets => Wanted::Snippets { hits, ranking },
            Show::Handles => Wanted::Handles { hits, ranking },
            Show::Votes => Wanted::Votes {
                nearness,
                column: self.column.clone().unwrap_or_default(),
                candidates: self.candidates.clone(),
                accuracy,
            },
            Show::Count => Wanted::Count { nearness, accuracy },
        }
    }
}

impl By {
    fn ranking(self) -> Ranking {
        match self {
            Self::Vectors => Ranking::Vectors,
            Self::Words => Ranking::Words,
            Self::Both => Ranking::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn parse(line: &[&str]) -> Result<SearchAsked, clap::Error> {
        let of = [
            "--collection",
            "notes",
            "--project",
            "p",
            "--purpose",
            "HMB",
        ];
        let line = ["consilium", "search"].iter().chain(line).chain(&of);
        match Arguments::try_parse_from(line)?.command {
            Command::Search(asked) => Ok(*asked),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_what_is_wanted() {
        let wanted = |line: &[&str]| parse(line).unwrap().wanted();
        assert_eq!(
            wanted(&["gout"]),
            Wanted::Passages {
                hits: 10,
                ranking: Ranking::Both
            }
        );
        assert_eq!(
            wanted(&["gout", "--show", "handles", "-k", "5", "--by", "vectors"]),
            Wanted::Handles {
                hits: 5,
                ranking: Ranking::Vectors
            }
        );
        assert_eq!(
            wanted(&["gout", "--show", "count", "--nearness", "0.6"]),
            Wanted::Count {
                nearness: 60,
                accuracy: Accuracy::Rho(RHO_DEFAULT)
            }
        );
        assert!(parse(&[]).is_err());
        assert!(parse(&["gout", "--show", "votes"]).is_err());
        assert!(parse(&["gout", "--epsilon", "1", "--rho", "1"]).is_err());
    }
}
