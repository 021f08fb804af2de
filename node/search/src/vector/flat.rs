//! The plain index: every row is looked at. The oracle of the other one, and enough for a small collection.

use std::collections::BTreeMap;

use super::error::VectorError;
use super::index::{Hit, Question, Reach, VectorIndex, check, check_dimension, in_order};
use super::kernel;
use super::rowset::{RowId, RowSet};
use super::unit::UnitVector;

/// Vectors in memory by row.
pub struct FlatIndex {
    dimension: usize,
    vectors: BTreeMap<RowId, UnitVector>,
}

impl FlatIndex {
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            vectors: BTreeMap::new(),
        }
    }

    /// Adds a row, or replaces it.
    ///
    /// # Errors
    /// A vector of another dimension.
    pub fn put(&mut self, row: RowId, vector: UnitVector) -> Result<(), VectorError> {
        if vector.dimension() != self.dimension {
            return Err(VectorError::WrongDimension {
                expected: self.dimension,
                found: vector.dimension(),
            });
        }
        self.vectors.insert(row, vector);
        Ok(())
    }

    /// Takes a row out; true when it was there.
    pub fn erase(&mut self, row: RowId) -> bool {
        self.vectors.remove(&row).is_some()
    }
}

impl VectorIndex for FlatIndex {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn nearest(&self, question: &Question<'_>) -> Result<Vec<Hit>, VectorError> {
        check(question, self.dimension)?;
        let is_allowed = |row: &RowId| question.allowed.is_none_or(|rows| rows.contains(*row));
        let mut hits: Vec<Hit> = self
            .vectors
            .iter()
            .filter(|(row, _)| is_allowed(row))
            .map(|(row, vector)| Hit {
                row: *row,
                similarity: kernel::dot(question.vector.coordinates(), vector.coordinates()),
            })
            .collect();
        hits.sort_unstable_by(in_order);
        hits.truncate(question.k);
        Ok(hits)
    }

    fn scan(&self, reach: &Reach<'_>, visit: &mut dyn FnMut(Hit)) -> Result<(), VectorError> {
        check_dimension(reach.vector, self.dimension)?;
        for (row, vector) in &self.vectors {
            let similarity = kernel::dot(reach.vector.coordinates(), vector.coordinates());
            let is_allowed = reach.allowed.is_none_or(|rows| rows.contains(*row));
            if is_allowed && similarity >= reach.least {
                let row = *row;
                visit(Hit { row, similarity });
            }
        }
        Ok(())
    }

    fn reaching(&self, reach: &Reach<'_>) -> Result<RowSet, VectorError> {
        let mut rows = RowSet::new();
        self.scan(reach, &mut |hit| {
            rows.insert(hit.row);
        })?;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Effort, K_MAX};

    fn unit(x: f32, y: f32) -> UnitVector {
        UnitVector::parse(&[x, y]).unwrap()
    }

    fn index() -> FlatIndex {
        let mut index = FlatIndex::new(2);
        for (row, x, y) in [(4, 1.0, 0.0), (7, 0.6, 0.8), (9, 0.0, 1.0), (11, 1.0, 0.0)] {
            index.put(RowId(row), unit(x, y)).unwrap();
        }
        index
    }

    fn rows(index: &FlatIndex, k: usize, allowed: Option<&RowSet>) -> Vec<u32> {
        let vector = &unit(1.0, 0.0);
        let effort = Effort::default();
        let hits = index
            .nearest(&Question {
                vector,
                k,
                allowed,
                effort,
            })
            .unwrap();
        hits.iter().map(|hit| hit.row.0).collect()
    }

    #[test]
    fn the_nearest_come_first_and_equals_by_row() {
        assert_eq!(rows(&index(), 3, None), [4, 11, 7]);
        assert_eq!(rows(&index(), 10, None), [4, 11, 7, 9]);
        assert_eq!(rows(&FlatIndex::new(2), 10, None), Vec::<u32>::new());
    }

    #[test]
    fn only_allowed_rows_are_found_and_erased_ones_never() {
        let allowed: RowSet = [RowId(9), RowId(11)].into_iter().collect();
        let mut index = index();
        assert_eq!(rows(&index, 3, Some(&allowed)), [11, 9]);
        assert!(index.erase(RowId(11)));
        assert!(!index.erase(RowId(11)));
        assert_eq!(rows(&index, 3, Some(&allowed)), [9]);
    }

    #[test]
    fn a_question_must_fit_the_index() {
        let ask = |vector: &UnitVector, k| {
            let effort = Effort::Exact;
            index()
                .nearest(&Question {
                    vector,
                    k,
                    allowed: None,
                    effort,
                })
                .unwrap_err()
        };
        let three = UnitVector::parse(&[1.0, 0.0, 0.0]).unwrap();
        assert!(matches!(
            ask(&three, 1),
            VectorError::WrongDimension {
                expected: 2,
                found: 3
            }
        ));
        assert!(matches!(
            ask(&unit(1.0, 0.0), 0),
            VectorError::KOutOfRange { found: 0 }
        ));
        assert!(matches!(
            ask(&unit(1.0, 0.0), 1_000_000),
            VectorError::KOutOfRange { .. }
        ));
        assert_eq!(rows(&index(), K_MAX, None).len(), 4);
    }
}
