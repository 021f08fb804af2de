//! The nine silos: which they are, and their rows as the sites get them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::story::StoryError;

/// Where the rows come from, and under which licence.
pub(super) const SOURCE: &str = include_str!("../../../data/medquad/SOURCE.md");

/// Most bytes that a silo's file unpacks to; the largest has 9 MB.
const SILO_BYTES_MAX: u64 = 64 << 20;

/// A web site of the National Institutes of Health that answers questions.
pub(super) struct Silo {
    /// As the consortium names it.
    pub(super) site: &'static str,
    packed: &'static [u8],
}

/// In the order of their names.
pub(super) const SILOS: [Silo; 9] = [
    Silo {
        site: "cancergov",
        packed: include_bytes!("../../../data/medquad/cancergov.jsonl.gz"),
    },
    Silo {
        site: "cdc",
        packed: include_bytes!("../../../data/medquad/cdc.jsonl.gz"),
    },
    Silo {
        site: "gard",
        packed: include_bytes!("../../../data/medquad/gard.jsonl.gz"),
    },
    Silo {
        site: "ghr",
        packed: include_bytes!("../../../data/medquad/ghr.jsonl.gz"),
    },
    Silo {
        site: "medlineplus",
        packed: include_bytes!("../../../data/medquad/medlineplus.jsonl.gz"),
    },
    Silo {
        site: "nhlbi",
        packed: include_bytes!("../../../data/medquad/nhlbi.jsonl.gz"),
    },
    Silo {
        site: "niddk",
        packed: include_bytes!("../../../data/medquad/niddk.jsonl.gz"),
    },
    Silo {
        site: "ninds",
        packed: include_bytes!("../../../data/medquad/ninds.jsonl.gz"),
    },
    Silo {
        site: "seniorhealth",
        packed: include_bytes!("../../../data/medquad/seniorhealth.jsonl.gz"),
    },
];

/// A question with its answer, as far as the story needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Not two rows have the same.
    pub(super) id: String,
    pub(super) question: String,
    /// The disease or topic that it is about.
    pub(super) focus: String,
    /// Its types in the UMLS Semantic Network, as `T047`.
    pub(super) semantic_types: BTreeSet<String>,
    /// The whole record as its site ingests it.
    record: Value,
}

/// Everything that all silos hold.
pub(super) struct Holdings {
    /// In the order of [`SILOS`].
    pub(super) silos: Vec<Vec<Row>>,
    /// Rows whose id an earlier row has; they bear a mark besides.
    pub(super) marked: usize,
    places: BTreeMap<String, (usize, usize)>,
}

impl Holdings {
    /// The rows of every silo, or so many of each.
    ///
    /// # Errors
    /// If a file of this repository is not what it was.
    pub(super) fn read(rows_a_silo: Option<usize>) -> Result<Self, StoryError> {
        let mut marked = 0;
        let mut silos = Vec::new();
        for silo in &SILOS {
            let (rows, marks) = rows(silo)?;
            marked += marks;
            silos.push(match rows_a_silo {
                Some(wanted) => spread(rows, wanted),
                None => rows,
            });
        }
        let mut places = BTreeMap::new();
        for (silo, rows) in silos.iter().enumerate() {
            for (place, row) in rows.iter().enumerate() {
                places.insert(row.id.clone(), (silo, place));
            }
        }
        Ok(Self {
            silos,
            marked,
            places,
        })
    }

    /// Every row, silo by silo.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.silos.iter().flatten()
    }

    /// The row of this id.
    pub(super) fn row(&self, id: &str) -> Option<&Row> {
        let (silo, place) = self.places.get(id)?;
        self.silos.get(*silo)?.get(*place)
    }

    /// The place in [`SILOS`] of the silo that holds the row of this id.
    pub(super) fn silo_of(&self, id: &str) -> Option<usize> {
        self.places.get(id).map(|(silo, _)| *silo)
    }
}

/// Reads a silo's file. A row whose id an earlier one has gets a mark, `~2` for the second: of two records of one id a
/// node takes the first, and 34 of the National Cancer Institute's answers would be lost.
fn rows(silo: &Silo) -> Result<(Vec<Row>, usize), StoryError> {
    let wrong = |line: usize, what: &str| {
        StoryError::unexpected(format!("{}.jsonl.gz, line {line}: {what}", silo.site))
    };
    let mut text = String::new();
    GzDecoder::new(silo.packed)
        .take(SILO_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| wrong(0, &error.to_string()))?;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut marked = 0;
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let mut record: Value =
            serde_json::from_str(text).map_err(|error| wrong(line, &error.to_string()))?;
        let said = |field: &str| record.get(field).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(question), Some(focus)) = (said("id"), said("question"), said("focus"))
        else {
            return Err(wrong(line, "`id`, `question` or `focus` is missing"));
        };
        let types = record
            .get("semantic_type")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let semantic_types = types.filter_map(Value::as_str).map(str::to_owned).collect();
        let time = times.entry(id.clone()).or_default();
        *time += 1;
        let id = match *time {
            1 => id,
            time => {
                marked += 1;
                format!("{id}{MARK}{time}")
            }
        };
        if let Some(field) = record.get_mut("id") {
            *field = json!(id);
        }
        rows.push(Row {
            id,
            question,
            focus,
            semantic_types,
            record,
        });
    }
    Ok((rows, marked))
}

/// Between an id and what tells apart those that have it.
const MARK: char = '~';

/// An id as the silo's own file has it.
#[must_use]
pub(super) fn without_mark(id: &str) -> &str {
    id.split_once(MARK).map_or(id, |(id, _)| id)
}

/// So many rows, evenly spread over all: of `n` the rows ⌊i·n/wanted⌋ for i from 0.
fn spread(rows: Vec<Row>, wanted: usize) -> Vec<Row> {
    let all = rows.len();
    if wanted >= all {
        return rows;
    }
    let chosen: BTreeSet<usize> = (0..wanted).map(|at| at * all / wanted).collect();
    let kept = rows
        .into_iter()
        .enumerate()
        .filter(|(at, _)| chosen.contains(at));
    kept.map(|(_, row)| row).collect()
}

/// Rows as a site's file has them: JSON Lines, packed.
///
/// # Errors
/// If they cannot be packed.
pub(super) fn packed<'a>(rows: impl Iterator<Item = &'a Row>) -> Result<Vec<u8>, StoryError> {
    let failed = |source| StoryError::Disk {
        what: "cannot pack a silo's rows".to_owned(),
        source,
    };
    let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
    for row in rows {
        writeln!(packing, "{}", row.record).map_err(failed)?;
    }
    packing.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once_with_an_id_of_its_own() {
        let all = Holdings::read(None).unwrap();
        let sizes: Vec<usize> = all.silos.iter().map(Vec::len).collect();
        assert_eq!(sizes, [729, 270, 5389, 5430, 981, 559, 1192, 1088, 769]);
        assert_eq!((all.marked, all.places.len()), (34, 16_407));
        let marked = all.row("cancergov:0000013_2-1~2").unwrap();
        assert_eq!(marked.question, "What is (are) Polycythemia Vera ?");
        assert_eq!(without_mark(&marked.id), "cancergov:0000013_2-1");
        assert_eq!(all.silo_of("ninds:0000001-1"), Some(7));
    }

    #[test]
    fn few_rows_are_spread_over_all() {
        let few = Holdings::read(Some(30)).unwrap();
        assert!(few.silos.iter().all(|rows| rows.len() == 30));
        let all = Holdings::read(None).unwrap();
        assert_eq!(few.silos[7][0], all.silos[7][0]);
        assert_eq!(few.silos[7][29], all.silos[7][29 * 1088 / 30]);
    }

    #[test]
    fn what_a_site_ingests_is_what_was_read() {
        let few = Holdings::read(Some(2)).unwrap();
        let packed = packed(few.silos[0].iter()).unwrap();
        let mut text = String::new();
        GzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["id"], few.silos[0][0].id.as_str());
        assert!(
            first["answer"]
                .as_str()
                .is_some_and(|answer| !answer.is_empty())
        );
    }
}
